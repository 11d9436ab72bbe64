use super::*;

fn of(annotations: &[(&str, &str)]) -> (Qos, Vec<Ignored>) {
    let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
    Qos::of(&annotations.iter().map(owned).collect())
}

#[test]
fn every_limit_is_read_and_becomes_what_the_endpoint_says() {
    let (qos, ignored) = of(&[
        ("qos.projectcalico.org/ingressBandwidth", "10M"),
        ("qos.projectcalico.org/ingressBurst", "2M"),
        ("qos.projectcalico.org/ingressPeakrate", "20M"),
        ("qos.projectcalico.org/ingressMinburst", "3000"),
        ("qos.projectcalico.org/egressBandwidth", "1.5Gi"),
        ("qos.projectcalico.org/egressPacketRate", "100"),
        ("qos.projectcalico.org/ingressPacketRate", "200"),
        ("qos.projectcalico.org/ingressPacketBurst", "50"),
        ("qos.projectcalico.org/egressMaxConnections", "7"),
        ("qos.projectcalico.org/dscp", "AF11"),
    ]);
    assert_eq!(ignored, []);
    let said = qos.controls().expect("limits");
    assert_eq!(
        said,
        QosControls {
            ingress_bandwidth: Some(10_000_000),
            ingress_burst: Some(2_000_000),
            ingress_peakrate: Some(20_000_000),
            ingress_minburst: Some(3_000),
            egress_bandwidth: Some(1_610_612_736),
            egress_burst: Some(4_294_967_296),
            egress_packet_rate: Some(100),
            egress_packet_burst: Some(5),
            ingress_packet_rate: Some(200),
            ingress_packet_burst: Some(50),
            egress_max_connections: Some(7),
            dscp: "AF11".parse().ok(),
            ..QosControls::default()
        }
    );
}

#[test]
fn kubernetes_own_annotations_count_where_calicos_are_not() {
    let (qos, ignored) = of(&[
        ("kubernetes.io/ingress-bandwidth", "1M"),
        ("kubernetes.io/egress-bandwidth", "2M"),
        ("qos.projectcalico.org/egressBandwidth", "3M"),
    ]);
    assert_eq!((qos.ingress.bandwidth, qos.egress.bandwidth), (Some(1_000_000), Some(3_000_000)));
    assert_eq!(ignored, []);
    assert_eq!(of(&[]).0.controls(), None);
}

#[test]
fn what_cannot_be_is_left_out_and_named_and_the_rest_counts() {
    let (qos, ignored) = of(&[
        ("qos.projectcalico.org/ingressBandwidth", "10M"),
        ("qos.projectcalico.org/ingressPeakrate", "10M"),
        ("qos.projectcalico.org/ingressMinburst", "3000"),
        ("qos.projectcalico.org/egressBandwidth", "fast"),
        ("qos.projectcalico.org/egressBurst", "1M"),
        ("qos.projectcalico.org/egressPacketRate", "10001"),
        ("qos.projectcalico.org/egressPacketBurst", "3"),
        ("qos.projectcalico.org/ingressMaxConnections", "0"),
        ("qos.projectcalico.org/dscp", "64"),
    ]);
    assert_eq!(
        qos,
        Qos {
            ingress: Limits {
                bandwidth: Some(10_000_000),
                burst: Some(4 << 30),
                ..Limits::default()
            },
            ..Qos::default()
        }
    );
    let named: Vec<&str> = ignored
        .iter()
        .filter_map(|ignored| ignored.annotation.strip_prefix("qos.projectcalico.org/"))
        .collect();
    let expected = [
        "ingressPeakrate",
        "ingressMinburst",
        "ingressMaxConnections",
        "egressBandwidth",
        "egressBurst",
        "egressPacketRate",
        "egressPacketBurst",
        "dscp",
    ];
    assert_eq!(named, expected);
    assert!(ignored[3].why.contains("\"fast\""), "{ignored:?}");
}

#[test]
fn quantities_are_those_of_kubernetes() {
    for (text, value) in [
        ("1000", Some(1000)),
        ("1k", Some(1000)),
        ("1Ki", Some(1024)),
        ("0.5", Some(1)),
        (".5k", Some(500)),
        ("1.", Some(1)),
        ("1500m", Some(2)),
        ("2e3", Some(2000)),
        ("2E-1", Some(1)),
        ("1E", Some(1_000_000_000_000_000_000)),
        ("", None),
        (".", None),
        ("1.2.3", None),
        ("-1", None),
        ("k", None),
        ("1K", None),
        ("1 k", None),
        ("9223372036854775808", None),
        ("1e99", None),
        ("99999999999999999999999999999999999999999", None),
        ("é", None),
    ] {
        assert_eq!(quantity(text), value, "{text:?}");
    }
}

#[test]
fn a_journal_entry_keeps_limits_and_an_older_one_has_none() {
    let (qos, _) = of(&[("kubernetes.io/ingress-bandwidth", "1M")]);
    let text = serde_json::to_string(&qos).expect("it can be written");
    assert_eq!(serde_json::from_str::<Qos>(&text).expect("it can be read"), qos);
    assert_eq!(serde_json::from_str::<Qos>("{}").expect("it can be read"), Qos::default());
}
