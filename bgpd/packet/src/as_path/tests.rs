use super::*;

fn path(text: &str) -> AsPath {
    text.parse().unwrap()
}

fn merged(as_path: &str, as4_path: &str) -> String {
    path(as_path).merged(path(as4_path)).to_string()
}

#[test]
fn a_set_counts_one_hop_and_confederation_segments_none() {
    assert_eq!(path("1 2 3").hops(), 3);
    assert_eq!(path("1 2 {3,4,5}").hops(), 3);
    assert_eq!(path("(65010 65011) [65012,65013] 1 2").hops(), 2);
    assert_eq!(path("").hops(), 0);
}

#[test]
fn the_neighbour_is_the_first_as_outside_the_confederation() {
    assert_eq!(path("7 8").neighbour(), Some(Asn(7)));
    assert_eq!(path("(65010) [65011] 7 8").neighbour(), Some(Asn(7)));
    assert_eq!(path("(65010)").neighbour(), None);
    assert_eq!(path("").neighbour(), None);
    assert_eq!(path("{7,8} 9").neighbour(), None);
}

#[test]
fn the_origin_is_the_last_as_unless_a_set_ends_the_path() {
    assert_eq!(path("7 8").origin(), Some(Asn(8)));
    assert_eq!(path("7 {8,9}").origin(), None);
    assert_eq!(path("(65010)").origin(), None);
    assert_eq!(path("").origin(), None);
}

#[test]
fn counting_tells_confederation_segments_from_the_others() {
    let path = path("(7 8) 7 7 {7,9}");
    assert_eq!(path.count(Asn(7)), 3);
    assert_eq!(path.count_confed(Asn(7)), 1);
    assert_eq!(path.count_confed(Asn(9)), 0);
    assert!(path.contains(Asn(8)));
    assert!(!path.contains(Asn(10)));
}

#[test]
fn prepending_extends_the_first_sequence() {
    let mut path = path("2 3");
    path.prepend(Asn(1), 2);
    assert_eq!(path, AsPath::sequence([1, 1, 2, 3].map(Asn)));
}

#[test]
fn prepending_makes_a_segment_before_a_set_and_in_an_empty_path() {
    let mut set = path("{2,3}");
    set.prepend(Asn(1), 1);
    assert_eq!(set.to_string(), "1 {2,3}");
    let mut empty = AsPath::default();
    empty.prepend(Asn(1), 1);
    assert_eq!(empty, AsPath::sequence([Asn(1)]));
    empty.prepend(Asn(1), 0);
    assert_eq!(empty.hops(), 1);
}

#[test]
fn prepending_makes_a_segment_when_the_first_is_full() {
    let mut path = AsPath::sequence(vec![Asn(2); 254]);
    path.prepend(Asn(1), 3);
    let lengths: Vec<usize> = path.0.iter().map(|segment| segment.asns().len()).collect();
    assert_eq!(lengths, [2, 255]);
    assert_eq!(path.hops(), 257);
    assert_eq!(path.0[1].asns()[0], Asn(1));
    path.prepend(Asn(1), 600);
    assert!(path.0.iter().all(|segment| segment.asns().len() <= MAX_SEGMENT_LEN));
    assert_eq!(path.hops(), 857);
}

#[test]
fn a_member_as_goes_into_its_own_kind_of_segment() {
    let mut path = path("1 2");
    path.prepend_confed(Asn(65010));
    path.prepend_confed(Asn(65011));
    assert_eq!(path.to_string(), "(65011 65010) 1 2");
    path.strip_confed();
    assert_eq!(path.to_string(), "1 2");
}

#[test]
fn retain_drops_segments_that_end_up_empty() {
    let mut path = path("64512 1 {64513}");
    path.retain(|asn| !asn.is_private());
    assert_eq!(path, AsPath::sequence([Asn(1)]));
}

#[test]
fn a_path_is_wholly_private_only_if_it_has_a_number() {
    assert!(path("64512 {64513}").is_wholly_private());
    assert!(!path("64512 1").is_wholly_private());
    assert!(!path("").is_wholly_private());
}

#[test]
fn text_reads_back_as_the_same_path() {
    for text in ["", "1", "65001 65002 {1,2} (65010)", "(1 2) [3,4] 5 {6} 7", "{1} {2}"] {
        assert_eq!(path(text).to_string(), text);
    }
    assert_eq!(path("(65010)65001{1 2}").to_string(), "(65010) 65001 {1,2}");
}

#[test]
fn text_that_is_no_path_is_refused() {
    for text in ["x", "1 {2", "1 }", "{}", "1 2)", "4294967296", "{1 (2)}"] {
        assert!(text.parse::<AsPath>().is_err(), "{text}");
    }
}

#[test]
fn as4_path_of_the_same_length_replaces_all() {
    assert_eq!(merged("23456 2 23456", "100000 2 200000"), "100000 2 200000");
}

#[test]
fn as4_path_that_is_shorter_leaves_the_leading_hops() {
    assert_eq!(merged("1 2 23456 4", "100000 4"), "1 2 100000 4");
    // One segment where it fits, so that equal paths are equal values.
    assert_eq!(
        path("1 2 23456").merged(path("100000")),
        AsPath::sequence([1, 2, 100_000].map(Asn))
    );
}

#[test]
fn as4_path_that_is_longer_is_ignored() {
    assert_eq!(merged("1 23456", "1 2 100000"), "1 23456");
}

#[test]
fn a_set_in_the_leading_part_counts_one_hop() {
    assert_eq!(merged("{1,2} 23456 3", "100000 3"), "{1,2} 100000 3");
    assert_eq!(merged("1 {2,3} 23456", "{4,5} 100000"), "1 {4,5} 100000");
}

#[test]
fn confederation_segments_beside_the_taken_part_stay() {
    assert_eq!(merged("(65010 65011) 23456 2", "100000 2"), "(65010 65011) 100000 2");
    assert_eq!(merged("(65010) 1 [65011] 23456 2", "100000 2"), "(65010) 1 [65011] 100000 2");
}

#[test]
fn segments_over_255_are_split_on_the_wire() {
    let path = AsPath(vec![AsSegment::Sequence((1..=300).map(Asn).collect())]);
    let mut octets = Vec::new();
    path.to_wire(AsnWidth::Four, &mut octets);
    assert_eq!(octets.len(), path.wire_len(AsnWidth::Four));
    let read = AsPath::from_wire(&octets, AsnWidth::Four).unwrap();
    assert_eq!(read.0.len(), 2);
    assert!(read.asns().eq(path.asns()));
}

#[test]
fn a_path_beyond_65535_octets_ends_at_a_whole_segment() {
    let path = AsPath::sequence((1..=20_000).map(Asn));
    let mut octets = Vec::new();
    path.to_wire(AsnWidth::Four, &mut octets);
    assert_eq!(octets.len(), path.wire_len(AsnWidth::Four));
    assert!(octets.len() <= 65535);
    assert!(AsPath::from_wire(&octets, AsnWidth::Four).is_ok());
}
