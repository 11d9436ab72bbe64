use super::*;

fn hop(last: u8) -> BgpNextHop {
    let address = std::net::Ipv4Addr::new(192, 0, 2, last).into();
    BgpNextHop { address, link_local: None, interface: None }
}

#[tokio::test]
async fn a_flapping_next_hop_costs_one_entry_and_the_last_word_wins() {
    let events = KernelEvents::default();
    let up = Some(Resolution { cost: 0, direct: true, local: false, interface: None });
    for _ in 0..100 {
        events.put(vec![FibEvent::NextHop(hop(1), up.clone()), FibEvent::NextHop(hop(2), None)]);
        events.put(vec![FibEvent::NextHop(hop(1), None), FibEvent::NextHop(hop(2), up.clone())]);
    }
    let changes = events.next().await;
    assert_eq!(changes.next_hops, BTreeMap::from([(hop(1), None), (hop(2), up)]));
}

#[tokio::test]
async fn routes_that_differ_in_more_than_the_prefix_stay_apart() {
    let events = KernelEvents::default();
    let route = |metric, there| {
        let prefix = "10.0.0.0/8".parse().expect("a prefix");
        let (table, protocol) = (254, 4);
        let learned = Learned {
            prefix,
            table,
            protocol,
            metric,
            gateway: None,
            interface: None,
            connected: false,
        };
        FibEvent::Learned(learned, there)
    };
    events.put(vec![route(1, true), route(2, true), route(1, false)]);
    let changes = events.next().await;
    let there: Vec<_> = changes.learned.values().map(|(l, there)| (l.metric, *there)).collect();
    assert_eq!(there, [(1, false), (2, true)]);
}
