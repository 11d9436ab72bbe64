use super::*;

#[test]
fn durations_show_their_two_largest_units() {
    for (seconds, text) in [
        (0, "0s"),
        (59, "59s"),
        (60, "1m00s"),
        (3599, "59m59s"),
        (3600, "1h00m"),
        (86_399, "23h59m"),
        (86_400, "1d00h"),
        (4_838_399, "55d23h"),
        (4_838_400, "8w0d"),
    ] {
        assert_eq!(duration(seconds), text);
    }
}

#[test]
fn points_in_time_are_dates_in_utc() {
    for (at, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (68_169_599, "1972-02-28T23:59:59Z"),
        (68_169_600, "1972-02-29T00:00:00Z"),
        (951_868_800, "2000-03-01T00:00:00Z"),
        (1_767_225_599, "2025-12-31T23:59:59Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
    ] {
        assert_eq!(timestamp(at), text);
    }
}

#[test]
fn communities_are_decimal_also_where_they_have_a_name() {
    assert_eq!(community(65000 << 16 | 1), "65000:1");
    assert_eq!(community(0xFFFF_FF01), "65535:65281");
}

#[test]
fn route_targets_and_origins_have_names_and_the_rest_is_hexadecimal() {
    for (value, text) in [
        (0x0002_FDE9_0001_0000, "rt:65001:65536"),
        (0x0003_FDE9_0000_0001, "ro:65001:1"),
        (0x0102_0A00_0001_0005, "rt:10.0.0.1:5"),
        (0x0202_FA56_EA01_0007, "rt:4200000001:7"),
        // Not transitive, another subtype, opaque.
        (0x4002_FDE9_0000_0001, "4002fde900000001"),
        (0x0006_0000_0000_0001, "0006000000000001"),
        (0x0302_0000_0000_0001, "0302000000000001"),
    ] {
        assert_eq!(ext_community(value), text);
    }
}

#[test]
fn a_path_is_numbers_and_whole_segments() {
    let segment =
        |kind: AsSegmentKind, asns: &[u32]| AsSegment { kind: kind.into(), asns: asns.to_vec() };
    let path = as_path(vec![
        segment(AsSegmentKind::ConfedSequence, &[64512, 64513]),
        segment(AsSegmentKind::ConfedSet, &[64514, 64515]),
        segment(AsSegmentKind::Sequence, &[1, 2]),
        segment(AsSegmentKind::Sequence, &[3]),
        segment(AsSegmentKind::Set, &[4, 5]),
    ]);
    assert_eq!(as_path_text(&path), "(64512 64513) [64514,64515] 1 2 3 {4,5}");
    let json = serde_json::to_string(&path).expect("serialisable");
    let expected = r#"[{"type":"confed-sequence","asns":[64512,64513]},{"type":"confed-set","asns":[64514,64515]},1,2,3,{"type":"set","asns":[4,5]}]"#;
    assert_eq!(json, expected);
}
