use super::*;

fn spec() -> LinkSpec {
    let addresses = ["10.65.0.1", "fd00::1"].map(|a| a.parse().expect("an address"));
    let mut spec = LinkSpec::new("cali1", "eth0", addresses.to_vec());
    spec.alias = "mine".to_owned();
    spec
}

/// As the specification says, with more than it asks for.
fn as_wished() -> Observed {
    let spec = spec();
    let more = |text: &str| text.parse().expect("a prefix");
    Observed {
        host: Some(HostLink {
            index: 7,
            name: "cali1".to_owned(),
            alias: "mine".to_owned(),
            mac: spec.host_mac,
            mtu: 1500,
            up: true,
            peer_index: 2,
            limit: None,
        }),
        container: Some(ContainerSide {
            index: 2,
            mac: [2; 6],
            mtu: 1500,
            up: true,
            peer_index: Some(7),
            addresses: ["10.65.0.1/32", "fd00::1/128", "192.0.2.1/24"].map(more).into(),
            routes: wanted_routes(&spec).into_iter().map(|(to, via)| (to, Some(via))).collect(),
            neighbours: BTreeSet::new(),
            limit: None,
        }),
    }
}

fn told(change: impl FnOnce(&mut HostLink, &mut ContainerSide)) -> Vec<String> {
    let mut seen = as_wished();
    if let (Some(host), Some(container)) = (&mut seen.host, &mut seen.container) {
        change(host, container);
    }
    seen.differences(&spec()).iter().map(ToString::to_string).collect()
}

#[test]
fn what_a_workload_adds_itself_is_no_difference() {
    assert_eq!(told(|_, _| {}), [""; 0]);
}

#[test]
fn each_thing_that_is_not_as_wished_is_named() {
    assert_eq!(told(|h, _| h.alias.clear()), ["the alias of cali1 is \"\", not \"mine\""]);
    assert_eq!(told(|h, _| h.up = false), ["interface cali1 is down, not up"]);
    assert_eq!(
        told(|h, _| h.mac = [2; 6]),
        ["MAC of cali1 is 02:02:02:02:02:02, not ee:ee:ee:ee:ee:ee"]
    );
    assert_eq!(told(|_, c| c.mtu = 1400), ["MTU of eth0 is 1400, not 1500"]);
    assert_eq!(told(|_, c| c.peer_index = Some(9)), ["the peer of eth0 is another, not paired"]);
    assert_eq!(told(|h, _| h.peer_index = 9), ["the peer of eth0 is another, not paired"]);
    assert_eq!(
        told(|_, c| c.addresses.clear()),
        [
            "address 10.65.0.1/32 on eth0 is missing, not there",
            "address fd00::1/128 on eth0 is missing, not there"
        ]
    );
    assert_eq!(
        told(|_, c| c.routes.retain(|(to, _)| matches!(to, IpNet::V4(_)))),
        ["route ::/0 via fe80::ecee:eeff:feee:eeee over eth0 is missing, not there"]
    );
}

#[test]
fn an_end_that_is_not_there_is_one_difference() {
    let seen = Observed { container: None, ..as_wished() };
    let told: Vec<String> = seen.differences(&spec()).iter().map(ToString::to_string).collect();
    assert_eq!(told, ["interface eth0 in the container is missing, not there"]);
    assert_eq!(Observed::default().differences(&spec()).len(), 2);
}

#[test]
fn a_limit_that_is_missing_or_another_is_named_and_one_that_nobody_wished_is_not() {
    let limit = Bandwidth { rate: 80_000_000, burst: Some(8_000_000), peak: None };
    let mut wished = spec();
    (wished.ingress, wished.egress) = (Some(limit), Some(limit));
    let bucket = limit.bucket(1500);
    let right =
        Filling { rate: bucket.rate, burst: 1_562_500, queue: bucket.queue, ..Filling::default() };
    let mut seen = as_wished();
    let mut told = |at_host: Option<Filling>, at_container: Option<Filling>| -> Vec<String> {
        if let (Some(host), Some(container)) = (&mut seen.host, &mut seen.container) {
            (host.limit, container.limit) = (at_host, at_container);
        }
        assert_eq!(seen.differences(&spec()), [], "nobody wished it");
        seen.differences(&wished).iter().map(ToString::to_string).collect()
    };
    assert_eq!(told(Some(right), Some(right)), [""; 0]);
    assert_eq!(told(None, Some(right)), ["the limit of what cali1 sends is missing, not there"]);
    let faster = Filling { rate: 20_000_000, ..right };
    assert_eq!(
        told(Some(right), Some(faster)),
        ["the limit of what eth0 sends is 20000000 octets/s, 2000000 at once, not 10000000 \
          octets/s, 1000000 at once"]
    );
}
