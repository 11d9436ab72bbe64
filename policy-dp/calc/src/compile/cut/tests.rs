use super::*;

fn cut(ranges: &[(&str, u32)]) -> Vec<String> {
    let ranges = ranges.iter().map(|(net, class)| (net.parse().unwrap(), ClassId(*class)));
    let word = |piece: &Piece| format!("{}-{} {}", piece.first, piece.last, piece.class.0);
    pieces(ranges).iter().map(word).collect()
}

#[test]
fn a_range_within_a_range_cuts_it_in_two() {
    assert_eq!(
        cut(&[("10.0.0.0/24", 1), ("10.0.0.128/25", 2), ("10.0.0.200/32", 3)]),
        [
            "10.0.0.0-10.0.0.127 1",
            "10.0.0.128-10.0.0.199 2",
            "10.0.0.200-10.0.0.200 3",
            "10.0.0.201-10.0.0.255 2"
        ]
    );
}

#[test]
fn ranges_at_either_end_leave_nothing_empty() {
    assert_eq!(
        cut(&[("10.0.0.0/30", 1), ("10.0.0.0/32", 2), ("10.0.0.3/32", 2)]),
        ["10.0.0.0-10.0.0.0 2", "10.0.0.1-10.0.0.2 1", "10.0.0.3-10.0.0.3 2"]
    );
}

#[test]
fn neighbours_of_one_class_are_one_piece() {
    assert_eq!(cut(&[("10.0.0.0/32", 1), ("10.0.0.1/32", 1)]), ["10.0.0.0-10.0.0.1 1"]);
    assert_eq!(cut(&[("10.0.0.0/31", 1), ("10.0.0.1/32", 1)]), ["10.0.0.0-10.0.0.1 1"]);
}

#[test]
fn whole_families_end_where_they_end() {
    assert_eq!(
        cut(&[("0.0.0.0/0", 1), ("255.255.255.255/32", 2), ("::/0", 1), ("::/128", 3)]),
        [
            "0.0.0.0-255.255.255.254 1",
            "255.255.255.255-255.255.255.255 2",
            "::-:: 3",
            "::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 1"
        ]
    );
    let last = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    assert_eq!(cut(&[("::/0", 1), (&format!("{last}/128"), 2)])[1], format!("{last}-{last} 2"));
}
