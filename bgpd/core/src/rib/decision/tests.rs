use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

const PLAIN: DecisionConfig = DecisionConfig {
    always_compare_med: false,
    missing_med_worst: false,
    deterministic_med: true,
    prefer_older: false,
};

fn path(session: u16) -> Candidate {
    Candidate {
        weight: 0,
        local_pref: DEFAULT_LOCAL_PREF,
        local: false,
        path_len: 3,
        origin: Origin::Igp,
        med: None,
        neighbour: Some(Asn(1)),
        external: true,
        metric: 0,
        router_id: 10,
        cluster_len: 0,
        address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, session as u8)),
        path_id: 0,
        session,
    }
}

/// Each step in turn: `b` is worse by that step, better by all that follow.
#[test]
fn every_step_decides_before_the_next() {
    type Worsen = fn(&mut Candidate);
    let worse: [(Reason, Worsen); 12] = [
        (Reason::Weight, |_| {}),
        (Reason::LocalPref, |c| c.local_pref = 99),
        (Reason::LocalRoute, |c| c.local = false),
        (Reason::AsPathLength, |c| c.path_len = 4),
        (Reason::Origin, |c| c.origin = Origin::Egp),
        (Reason::Med, |c| c.med = Some(11)),
        (Reason::PeerType, |c| c.external = false),
        (Reason::IgpMetric, |c| c.metric = 6),
        (Reason::RouterId, |c| c.router_id = 11),
        (Reason::ClusterList, |c| c.cluster_len = 3),
        (Reason::PeerAddress, |c| c.address = "2001:db8::1".parse().unwrap()),
        (Reason::PathId, |c| c.path_id = 6),
    ];
    let base = Candidate {
        weight: 1,
        local: true,
        med: Some(10),
        metric: 5,
        cluster_len: 2,
        path_id: 5,
        ..path(1)
    };
    let better = Candidate {
        weight: 1,
        local_pref: 101,
        local: true,
        path_len: 2,
        origin: Origin::Igp,
        med: Some(9),
        external: true,
        metric: 4,
        router_id: 9,
        cluster_len: 1,
        address: "9.0.0.0".parse().unwrap(),
        path_id: 4,
        ..base
    };
    for (position, (reason, make_worse)) in worse.iter().enumerate() {
        let mut b = better;
        // Equal before this step, worse in it, better behind it.
        for (earlier, _) in &worse[..position] {
            copy(*earlier, &base, &mut b);
        }
        make_worse(&mut b);
        if *reason == Reason::Weight {
            b.weight = 0;
        }
        assert_eq!(compare(&base, &b, &PLAIN), (Ordering::Less, *reason));
        assert_eq!(compare(&b, &base, &PLAIN), (Ordering::Greater, *reason));
    }
}

fn copy(step: Reason, from: &Candidate, to: &mut Candidate) {
    match step {
        Reason::Weight => to.weight = from.weight,
        Reason::LocalPref => to.local_pref = from.local_pref,
        Reason::LocalRoute => to.local = from.local,
        Reason::AsPathLength => to.path_len = from.path_len,
        Reason::Origin => to.origin = from.origin,
        Reason::Med => to.med = from.med,
        Reason::PeerType => to.external = from.external,
        Reason::IgpMetric => to.metric = from.metric,
        Reason::RouterId => to.router_id = from.router_id,
        Reason::ClusterList => to.cluster_len = from.cluster_len,
        Reason::PeerAddress => to.address = from.address,
        _ => to.path_id = from.path_id,
    }
}

#[test]
fn med_counts_between_routes_of_one_neighbour_as_only() {
    let a = Candidate { med: Some(5), router_id: 2, ..path(1) };
    let b = Candidate { med: Some(1), router_id: 3, neighbour: Some(Asn(2)), ..path(2) };
    assert_eq!(compare(&a, &b, &PLAIN).1, Reason::RouterId);
    let always = DecisionConfig { always_compare_med: true, ..PLAIN };
    assert_eq!(compare(&b, &a, &always), (Ordering::Less, Reason::Med));
    let own = |med| Candidate { med, neighbour: None, ..path(1) };
    assert_eq!(compare(&own(None), &own(Some(1)), &PLAIN), (Ordering::Less, Reason::Med));
}

#[test]
fn an_absent_med_is_best_or_worst_as_configured() {
    let absent = path(1);
    let present = Candidate { med: Some(7), ..path(2) };
    assert_eq!(compare(&absent, &present, &PLAIN).0, Ordering::Less);
    let worst = DecisionConfig { missing_med_worst: true, ..PLAIN };
    assert_eq!(compare(&absent, &present, &worst), (Ordering::Greater, Reason::Med));
}

#[test]
fn the_classic_med_triangle_has_one_answer_in_any_order() {
    // RFC 3345: A and C share a neighbour AS; A > B > C > A pairwise.
    let a = Candidate { med: Some(10), router_id: 1, ..path(1) };
    let b = Candidate { neighbour: Some(Asn(2)), router_id: 2, ..path(2) };
    let c = Candidate { med: Some(0), router_id: 3, ..path(3) };
    for order in [[a, b, c], [c, b, a], [b, a, c], [b, c, a], [a, c, b], [c, a, b]] {
        let best = decide(&order, None, &PLAIN).unwrap();
        assert_eq!(order[best].session, 2, "C beats A by MED, B beats C by router id");
    }
    assert_eq!(why_lost(&b, &a, false, &PLAIN), Reason::Med);
}

#[test]
fn an_older_external_path_is_kept_against_a_lower_router_id() {
    let config = DecisionConfig { prefer_older: true, ..PLAIN };
    let current = Candidate { router_id: 20, ..path(1) };
    let newer = Candidate { router_id: 5, ..path(2) };
    assert_eq!(decide(&[newer, current], Some(1), &config), Some(1));
    assert_eq!(decide(&[newer, current], Some(1), &PLAIN), Some(0));
    assert_eq!(why_lost(&current, &newer, true, &config), Reason::Older);
    let shorter = Candidate { path_len: 2, ..newer };
    assert_eq!(decide(&[shorter, current], Some(1), &config), Some(0));
    let twin = Candidate { address: "9.0.0.0".parse().unwrap(), router_id: 20, ..path(3) };
    assert_eq!(decide(&[newer, current, twin], Some(1), &config), Some(2), "same router");
    let internal = |c| Candidate { external: false, ..c };
    assert_eq!(decide(&[internal(newer), internal(current)], Some(1), &config), Some(0));
}

fn candidate() -> impl Strategy<Value = Candidate> {
    (
        (0u32..2, 99u32..101, any::<bool>(), 1u16..3, 0u8..2),
        (proptest::option::of(0u32..3), proptest::option::of(1u32..4), any::<bool>()),
        (0u32..2, 1u32..4, 0u8..2),
    )
        .prop_map(|((weight, pref, local, path_len, origin), (med, asn, external), rest)| {
            Candidate {
                weight,
                local_pref: pref,
                local: local && weight == 1,
                path_len,
                origin: if origin == 0 { Origin::Igp } else { Origin::Incomplete },
                med,
                neighbour: asn.map(Asn),
                external,
                metric: rest.0,
                router_id: rest.1,
                cluster_len: rest.2,
                ..path(0)
            }
        })
}

fn config() -> impl Strategy<Value = DecisionConfig> {
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(always, worst, deterministic)| {
        DecisionConfig {
            always_compare_med: always,
            missing_med_worst: worst,
            deterministic_med: deterministic,
            prefer_older: false,
        }
    })
}

/// Written from RFC 4271 §9.1.2.2 by elimination, step by step, not by comparing pairs.
fn naive(all: &[Candidate], config: &DecisionConfig) -> u16 {
    let keep = |set: Vec<Candidate>, key: &dyn Fn(&Candidate) -> u64| {
        let best = set.iter().map(key).min().unwrap();
        set.into_iter().filter(|c| key(c) == best).collect::<Vec<_>>()
    };
    let eliminate = |mut set: Vec<Candidate>| {
        set = keep(set, &|c| u64::from(u32::MAX - c.weight));
        set = keep(set, &|c| u64::from(u32::MAX - c.local_pref));
        set = keep(set, &|c| u64::from(!c.local));
        set = keep(set, &|c| u64::from(c.path_len));
        set = keep(set, &|c| c.origin as u64);
        let all = set.clone();
        set.retain(|c| {
            !all.iter().any(|other| {
                (config.always_compare_med || other.neighbour == c.neighbour)
                    && med(other, config) < med(c, config)
            })
        });
        set = keep(set, &|c| u64::from(!c.external));
        set = keep(set, &|c| u64::from(c.metric));
        set = keep(set, &|c| u64::from(c.router_id));
        set = keep(set, &|c| u64::from(c.cluster_len));
        set.iter().min_by_key(|c| (c.address, c.path_id)).unwrap().session
    };
    eliminate(all.to_vec())
}

proptest! {
    #[test]
    fn deciding_equals_elimination_in_any_order(
        mut all in proptest::collection::vec(candidate(), 1..8),
        config in config(),
        rotate in 0usize..8,
    ) {
        let config = DecisionConfig { deterministic_med: true, ..config };
        for (session, candidate) in all.iter_mut().enumerate() {
            candidate.session = session as u16;
            candidate.address = path(session as u16).address;
        }
        let best = all[decide(&all, None, &config).unwrap()].session;
        prop_assert_eq!(best, naive(&all, &config));
        let middle = rotate % all.len();
        all.rotate_left(middle);
        prop_assert_eq!(all[decide(&all, None, &config).unwrap()].session, best);
        all.reverse();
        prop_assert_eq!(all[decide(&all, None, &config).unwrap()].session, best);
    }

    #[test]
    fn the_pairwise_scan_does_not_depend_on_order_either(
        mut all in proptest::collection::vec(candidate(), 1..8),
        config in config(),
    ) {
        for (session, candidate) in all.iter_mut().enumerate() {
            candidate.session = session as u16;
            candidate.address = path(session as u16).address;
        }
        let best = all[decide(&all, None, &config).unwrap()].session;
        all.reverse();
        prop_assert_eq!(all[decide(&all, None, &config).unwrap()].session, best);
    }

    #[test]
    fn ranking_is_deciding_again_without_the_winner(
        mut all in proptest::collection::vec(candidate(), 1..8),
        config in config(),
    ) {
        for (session, candidate) in all.iter_mut().enumerate() {
            candidate.session = session as u16;
            candidate.address = path(session as u16).address;
        }
        let all: Few<Candidate> = all.into_iter().collect();
        let ranked: Vec<usize> = rank(all.clone(), None, &config).collect();
        prop_assert_eq!(ranked.len(), all.len());
        prop_assert_eq!(ranked[0], decide(&all, None, &config).unwrap());
        let mut left: Vec<usize> = (0..all.len()).collect();
        for next in &ranked {
            let held: Vec<Candidate> = left.iter().map(|at| all[*at]).collect();
            prop_assert_eq!(left.remove(decide(&held, None, &config).unwrap()), *next);
        }
    }
}
