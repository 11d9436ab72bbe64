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

#[test]
fn a_histogram_ends_with_all_its_sum_and_its_count() {
    let mut text = Exposition::default();
    let mut metric = text.metric("margay_cni_step_seconds", Kind::Histogram, "How long.");
    metric.histogram(&[("step", "attach")], [("0.1".to_owned(), 2)], 3, 0.75);
    assert_eq!(
        text.finish(),
        "# HELP margay_cni_step_seconds How long.\n\
         # TYPE margay_cni_step_seconds histogram\n\
         margay_cni_step_seconds_bucket{step=\"attach\",le=\"0.1\"} 2\n\
         margay_cni_step_seconds_bucket{step=\"attach\",le=\"+Inf\"} 3\n\
         margay_cni_step_seconds_sum{step=\"attach\"} 0.75\n\
         margay_cni_step_seconds_count{step=\"attach\"} 3\n"
    );
}
