//! Stops, starts, and changes of configuration.

use bgp_packet::{Family, FamilySet};

use super::*;
use crate::{
    config::{
        Confederation, KernelSource, MaxPrefixAction, MaxPrefixes, Origination, Redistribution,
        Secret,
    },
    policy::RoutePolicy,
};

fn cease(bench: &mut Bench, id: ConnectionId, reason: StopReason) -> (u8, Vec<u8>) {
    bench.give(Input::Stop(reason));
    let sent = bench.notified(id);
    assert_eq!(sent.len(), 1, "{:?}", bench.out);
    assert_eq!(sent[0].code, 6);
    assert!(bench.closed(id));
    (sent[0].subcode, sent[0].data.to_vec())
}

#[test]
fn shutdown_carries_its_text_and_lasts() {
    let (mut bench, id) = Bench::established();
    let stop = StopReason::AdminShutdown("maintenance \u{2013} back at 10".to_owned());
    let (subcode, data) = cease(&mut bench, id, stop);
    assert_eq!(subcode, 2);
    assert_eq!(usize::from(data[0]), data.len() - 1);
    assert_eq!(&data[1..], "maintenance \u{2013} back at 10".as_bytes());
    assert!(bench.out.contains(&Output::Down(id, FamilySet::EMPTY)));
    assert!(bench.advance(secs(10_000)).is_empty());
    assert!(bench.session.is_down());
    bench.give(Input::Start);
    assert_eq!(bench.state(), State::Connect);
}

#[test]
fn long_texts_are_cut_between_characters_and_empty_ones_left_out() {
    let (mut bench, id) = Bench::established();
    let stop = StopReason::AdminShutdown("\u{20ac}".repeat(100));
    let (_, data) = cease(&mut bench, id, stop);
    assert_eq!((data[0], data.len()), (255, 256));
    let (mut bench, id) = Bench::established();
    let stop = StopReason::AdminShutdown("\u{e9}".repeat(200));
    let (_, data) = cease(&mut bench, id, stop);
    assert_eq!(data[0], 254);
    assert!(std::str::from_utf8(&data[1..]).is_ok());
    let (mut bench, id) = Bench::established();
    assert_eq!(cease(&mut bench, id, StopReason::AdminShutdown(String::new())), (2, vec![]));
}

#[test]
fn reset_and_change_of_configuration_start_again_at_once() {
    let (mut bench, id) = Bench::established();
    assert_eq!(cease(&mut bench, id, StopReason::AdminReset("now".to_owned())).0, 4);
    assert!(bench.attempt().is_some());
    let (mut bench, id) = Bench::established();
    assert_eq!(cease(&mut bench, id, StopReason::ConfigChange), (6, vec![]));
    assert!(bench.attempt().is_some());
    let states: Vec<_> = bench
        .out
        .iter()
        .filter_map(|output| match output {
            Output::StateChanged { to, .. } => Some(*to),
            _ => None,
        })
        .collect();
    assert_eq!(states, [State::Idle, State::Connect]);
}

#[test]
fn removed_peer_is_told_so() {
    let (mut bench, id) = Bench::established();
    assert_eq!(cease(&mut bench, id, StopReason::Deconfigured), (3, vec![]));
    assert!(bench.session.is_down());
}

#[test]
fn too_many_prefixes_stop_the_session_with_the_numbers() {
    let stop =
        |restart| StopReason::MaxPrefixes { family: Family::IPV6_UNICAST, limit: 1000, restart };
    let (mut bench, id) = Bench::established();
    assert_eq!(cease(&mut bench, id, stop(None)), (1, vec![0, 2, 1, 0, 0, 3, 232]));
    assert!(bench.advance(secs(10_000)).is_empty());

    let (mut bench, id) = Bench::established();
    cease(&mut bench, id, stop(Some(secs(30))));
    assert_eq!(bench.session.accept(bench.now), None);
    bench.advance(secs(29));
    assert_eq!(bench.state(), State::Idle);
    bench.advance(secs(1));
    assert_eq!(bench.state(), State::Connect);
}

#[test]
fn limit_reported_after_the_session_ended_changes_nothing() {
    let mut bench = Bench::started();
    let family = Family::IPV4_UNICAST;
    bench.give(Input::Stop(StopReason::MaxPrefixes { family, limit: 1, restart: None }));
    assert!(bench.out.is_empty());
    assert_eq!(bench.state(), State::Connect);
}

#[test]
fn stop_reaches_every_connection_and_attempt() {
    let mut bench = Bench::started();
    let attempt = bench.attempt().expect("an attempt");
    let inbound = bench.accepted();
    assert_eq!(cease(&mut bench, inbound, StopReason::AdminShutdown(String::new())).0, 2);
    assert!(bench.closed(attempt));
    let mut bench = Bench::started();
    let outbound = bench.connected();
    bench.give(Input::Open(outbound, their_open()));
    assert_eq!(cease(&mut bench, outbound, StopReason::AdminShutdown(String::new())).0, 2);
}

#[test]
fn reset_of_a_session_that_is_down_leaves_it_down() {
    let mut bench = Bench::new(global(), peer());
    for stop in [StopReason::AdminReset(String::new()), StopReason::ConfigChange] {
        assert!(bench.give(Input::Stop(stop)).is_empty());
    }
    assert_eq!(bench.state(), State::Idle);
}

#[test]
fn start_and_reset_end_a_pause() {
    for input in [Input::Start, Input::Stop(StopReason::AdminReset(String::new()))] {
        let mut bench = Bench::started();
        let id = bench.connected();
        bench.give(Input::KeepAlive(id));
        assert!(bench.session.timers().idle_hold.is_some());
        bench.give(input);
        assert!(bench.attempt().is_some());
    }
}

#[test]
fn manual_stop_resets_the_counters() {
    let mut bench = Bench::started();
    for _ in 0..4 {
        let id = bench.connected();
        bench.give(Input::KeepAlive(id));
        let until = bench.session.timers().idle_hold.expect("a pause");
        bench.advance(until - bench.now);
    }
    assert_eq!(bench.session.connect_retry_counter(), 4);
    bench.give(Input::Stop(StopReason::AdminReset(String::new())));
    assert_eq!(bench.session.connect_retry_counter(), 0);
    let id = bench.connected();
    bench.give(Input::KeepAlive(id));
    let until = bench.session.timers().idle_hold.expect("a pause");
    assert!(until - bench.now <= secs(1));
}

#[test]
fn new_settings_are_taken_over_without_a_bounce() {
    let (mut bench, _) = Bench::established();
    let new = PeerConfig { connect_retry: secs(1), min_hold_time: secs(30), ..peer() };
    assert!(bench.give(Input::Reconfigure(Box::new((global(), new)))).is_empty());
    assert_eq!(bench.state(), State::Established);
    assert_eq!(bench.session.config().min_hold_time, secs(30));
}

#[test]
fn shorter_connect_retry_shortens_the_running_pause() {
    let slow = PeerConfig { connect_retry: secs(1000), ..peer() };
    let mut bench = Bench::new(global(), slow);
    bench.give(Input::Start);
    let connection = bench.attempt().expect("an attempt");
    bench.give(Input::ConnectFailed { connection, why: "refused".to_owned() });
    bench.give(Input::Reconfigure(Box::new((global(), peer()))));
    bench.advance(secs(10));
    assert!(bench.attempt().is_some());
}

#[test]
fn session_made_passive_gives_up_its_attempt_and_back() {
    let mut bench = Bench::started();
    let attempt = bench.attempt().expect("an attempt");
    let passive = PeerConfig { passive: true, ..peer() };
    bench.give(Input::Reconfigure(Box::new((global(), passive))));
    assert!(bench.closed(attempt));
    assert_eq!(bench.state(), State::Active);
    assert_eq!(bench.session.next_deadline(), None);
    bench.give(Input::Reconfigure(Box::new((global(), peer()))));
    bench.advance(secs(10));
    assert!(bench.attempt().is_some());
}

#[test]
fn every_setting_of_a_peer_has_its_impact() {
    use Impact::{Live, Reset, Soft};
    let limit = |action| Some(MaxPrefixes { limit: 10, warn_at: 0.8, action });
    let policy = Some(Arc::new(RoutePolicy::accept()));
    type Change = Box<dyn Fn(&mut PeerConfig)>;
    let changes: Vec<(&str, Impact, Change)> = vec![
        ("name", Reset, Box::new(|p| p.name = "x".to_owned())),
        ("group", Live, Box::new(|p| p.group = Some("x".to_owned()))),
        ("address", Reset, Box::new(|p| p.address = PeerAddress::Interface("x".to_owned()))),
        ("port", Reset, Box::new(|p| p.port = 1179)),
        ("asn", Reset, Box::new(|p| p.asn = PeerAsn::Any)),
        ("local-asn", Reset, Box::new(|p| p.local_asn = Some(Asn(1)))),
        ("local-asn-mode", Soft, Box::new(|p| p.local_asn_mode = LocalAsnMode::Replace)),
        ("local-address", Reset, Box::new(|p| p.local_address = Some(LOCAL))),
        ("passive", Live, Box::new(|p| p.passive = true)),
        ("families", Reset, Box::new(|p| p.families = Some(FamilySet::EMPTY))),
        ("import", Soft, {
            let policy = policy.clone();
            Box::new(move |p| p.import = policy.clone())
        }),
        ("export", Soft, Box::new(move |p| p.export = policy.clone())),
        ("hold-time", Reset, Box::new(|p| p.hold_time = secs(9))),
        ("connect-retry", Live, Box::new(|p| p.connect_retry = secs(9))),
        ("multihop", Reset, Box::new(|p| p.multihop = Some(2))),
        ("ttl-security", Reset, Box::new(|p| p.ttl_security = Some(1))),
        ("min-hold-time", Live, Box::new(|p| p.min_hold_time = secs(9))),
        ("enforce-first-as", Soft, Box::new(|p| p.enforce_first_as = false)),
        ("as-set", Soft, Box::new(|p| p.reject_as_set = true)),
        ("password", Reset, Box::new(|p| p.password = Some(Secret(vec![1])))),
        ("password-file", Reset, Box::new(|p| p.password_error = Some("x".to_owned()))),
        ("route-reflector-client", Soft, Box::new(|p| p.route_reflector_client = true)),
        ("route-server-client", Soft, Box::new(|p| p.route_server_client = true)),
        ("next-hop", Soft, Box::new(|p| p.next_hop = NextHopMode::SelfAddress)),
        ("max-prefixes", Live, Box::new(move |p| p.max_prefixes = limit(MaxPrefixAction::Warn))),
        (
            "max-prefixes that drops",
            Soft,
            Box::new(move |p| p.max_prefixes = limit(MaxPrefixAction::Discard)),
        ),
        ("add-path.receive", Reset, Box::new(|p| p.add_path.receive = true)),
        ("add-path.send", Reset, Box::new(|p| p.add_path.send = 2)),
        (
            "graceful-restart",
            Reset,
            Box::new(|p| {
                let restart_time = secs(120);
                p.graceful_restart = Some(crate::config::GracefulRestart { restart_time });
            }),
        ),
        ("extended-messages", Reset, Box::new(|p| p.extended_messages = false)),
        ("extended-next-hop", Reset, Box::new(|p| p.extended_next_hop = true)),
        ("allow-own-asn", Soft, Box::new(|p| p.allow_own_asn = 1)),
        ("remove-private-asn", Soft, Box::new(|p| p.remove_private_asn = RemovePrivate::All)),
        ("as-override", Soft, Box::new(|p| p.as_override = true)),
        ("enabled", Reset, Box::new(|p| p.enabled = false)),
        ("description", Live, Box::new(|p| p.description = "x".to_owned())),
    ];
    assert_eq!(change_impact(&peer(), &peer()), Impact::None);
    let mut all = peer();
    for (name, impact, change) in &changes {
        let mut new = peer();
        change(&mut new);
        assert_ne!(new, peer(), "{name} changes nothing");
        assert_eq!(change_impact(&peer(), &new), *impact, "{name}");
        assert_eq!(change_impact(&new, &peer()), *impact, "{name} and back");
        change(&mut all);
    }
    assert_eq!(change_impact(&peer(), &all), Reset, "the strongest counts");
    // As many changes as fields, but for the two with two ways to change.
    let shown = format!("{:#?}", peer());
    let fields = shown.lines().filter(|l| l.starts_with("    ") && !l.starts_with("     "));
    let fields = fields.filter(|l| l.contains(": ")).count();
    assert_eq!(fields, changes.len() - 2, "a field is missing here");
}

#[test]
fn number_of_added_paths_alone_is_no_capability() {
    let add_path = |send| PeerConfig { add_path: AddPathConfig { receive: false, send }, ..peer() };
    assert_eq!(change_impact(&add_path(2), &add_path(4)), Impact::Soft);
}

#[test]
fn settings_of_the_speaker_have_their_impact_too() {
    let with = |change: fn(&mut GlobalConfig)| {
        let mut new = global();
        change(&mut new);
        global_change_impact(&global(), &new)
    };
    assert_eq!(with(|_| {}), Impact::None);
    assert_eq!(with(|g| g.asn = Asn(1)), Impact::Reset);
    assert_eq!(with(|g| g.router_id = Ipv4Addr::LOCALHOST), Impact::Reset);
    let confederation = |g: &mut GlobalConfig| {
        g.confederation = Some(Confederation { id: Asn(1), members: Vec::new() });
    };
    assert_eq!(with(confederation), Impact::Reset);
    assert_eq!(with(|g| g.cluster_id = Ipv4Addr::LOCALHOST), Impact::Soft);
    assert_eq!(with(|g| g.multipath_ebgp = 8), Impact::Soft);
    assert_eq!(with(|g| g.multipath_ibgp = 8), Impact::Soft);
    assert_eq!(with(|g| g.multipath_relax = true), Impact::Soft);
    assert_eq!(with(|g| g.require_policy = false), Impact::Soft);
    assert_eq!(with(|g| g.decision.prefer_older = true), Impact::Soft);
    let end = SocketAddr::new(LOCAL, 179);
    assert_eq!(
        global_change_impact(&global(), &GlobalConfig { listen: vec![end], ..global() }),
        Impact::Live
    );
}

#[test]
fn own_routes_are_the_only_settings_of_the_speaker_that_are_nothing_to_its_peers() {
    let concerns = |change: fn(&mut GlobalConfig)| {
        let mut new = global();
        change(&mut new);
        global_change_concerns_peers(&global(), &new)
    };
    let route = |g: &mut GlobalConfig| {
        g.originate.push(Origination {
            prefix: "10.244.0.0/26".parse().unwrap(),
            next_hop: None,
            communities: Vec::new(),
            blackhole: true,
        });
    };
    let redistribution = |g: &mut GlobalConfig| {
        g.redistribute.push(Redistribution {
            source: KernelSource::Static,
            table: 254,
            policy: None,
        });
    };
    assert!(!concerns(|_| {}) && !concerns(route) && !concerns(redistribution));
    assert!(concerns(|g| g.asn = Asn(1)));
    assert!(concerns(|g| g.router_id = Ipv4Addr::LOCALHOST));
    assert!(concerns(|g| g.listen = vec![SocketAddr::new(LOCAL, 179)]));
    assert!(concerns(|g| g.cluster_id = Ipv4Addr::LOCALHOST));
    let confederation = |g: &mut GlobalConfig| {
        g.confederation = Some(Confederation { id: Asn(1), members: Vec::new() });
    };
    assert!(concerns(confederation));
    assert!(concerns(|g| g.multipath_ebgp = 8));
    assert!(concerns(|g| g.multipath_ibgp = 8));
    assert!(concerns(|g| g.multipath_relax = true));
    assert!(concerns(|g| g.require_policy = false));
    assert!(concerns(|g| g.decision.prefer_older = true));
}
