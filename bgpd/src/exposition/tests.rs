use super::*;

#[test]
fn labels_are_escaped() {
    let mut text = Exposition::default();
    let mut metric = text.metric("margay_bgp_session_up", Kind::Gauge, "Whether it is up.");
    metric.sample(&[("peer", "a \"b\" \\c\n"), ("family", "x")], 1);
    metric.value(0.5);
    assert_eq!(
        text.finish(),
        "# HELP margay_bgp_session_up Whether it is up.\n\
         # TYPE margay_bgp_session_up gauge\n\
         margay_bgp_session_up{peer=\"a \\\"b\\\" \\\\c\\n\",family=\"x\"} 1\n\
         margay_bgp_session_up 0.5\n"
    );
}
