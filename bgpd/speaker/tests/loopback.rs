//! Two speakers over real sockets on loopback addresses; no privileges needed.

mod common;

use std::time::Duration;

use bgp_core::{
    config::{
        GracefulRestart, MaxPrefixAction, MaxPrefixes, PeerAddress, PeerAsn, PeerConfig, Secret,
    },
    fsm::{ErrorDirection, State},
    policy::{CommunityValue, RoutePolicy},
    rib::{RouteQuery, Select, SoftReset, View},
};
use bgp_packet::{Capability, Community, Family, HEADER_LEN, RefreshKind, end_of_rib, message};
use bgp_speaker::{
    AddedRoute, AdminState, ByHand, Knowledge, MessageKind, SpeakerConfig, SpeakerHandle, Stop,
};
use common::{
    End, PATIENCE, established, knows, net, peer,
    raw::{RawPeer, bracket, call, call_once},
    until,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

type Pair = (End, End);

fn pair(first: u8, left: &[&'static str], right: &[&'static str]) -> Pair {
    (End::new(first, left), End::new(first + 1, right))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_go_both_ways_over_several_shards() {
    let (a, b) = pair(11, &["10.11.0.0/16", "10.11.1.0/24"], &["10.12.0.0/16"]);
    let (left, kernel) = a.start_sharded(vec![a.peer(&b)], 3).await;
    let (right, _) = b.start_sharded(vec![b.peer(&a)], 2).await;
    until("routes", async || {
        knows(&left, &["10.12.0.0/16"]).await
            && knows(&right, &["10.11.0.0/16", "10.11.1.0/24"]).await
    })
    .await;
    let row = peer(&left, "p12").await;
    assert_eq!(row.status.address.map(|address| address.ip()), Some(b.address()));
    assert_eq!((row.routes[0].received, row.routes[0].advertised), (1, 2));
    assert!(kernel.wishes.lock().expect("unharmed").contains_key(&net("10.12.0.0/16")));
    until("the sweep after End-of-RIB", async || {
        kernel.in_sync.load(std::sync::atomic::Ordering::Relaxed)
    })
    .await;
    left.stop(String::new(), Stop::ForGood).await;
    right.stop(String::new(), Stop::ForGood).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_speaker_that_goes_takes_its_routes_along_and_brings_them_back() {
    let (a, b) = pair(21, &[], &["10.22.0.0/16"]);
    let (left, kernel) = a.start(vec![a.peer(&b)]).await;
    let (right, _) = b.start(vec![b.peer(&a)]).await;
    until("the route", async || knows(&left, &["10.22.0.0/16"]).await).await;
    right.stop("for maintenance".to_owned(), Stop::ForGood).await;
    until("no route", async || knows(&left, &[]).await).await;
    assert!(kernel.wishes.lock().expect("unharmed").is_empty());
    let status = peer(&left, "p22").await.status;
    let (error, _) = status.last_error.expect("a reason");
    assert_eq!((error.direction, error.code, error.subcode), (ErrorDirection::Received, 6, 2));
    assert!(error.text.contains("for maintenance"), "{}", error.text);
    let (right, _) = b.start(vec![b.peer(&a)]).await;
    until("the route again", async || knows(&left, &["10.22.0.0/16"]).await).await;
    assert_eq!(peer(&left, "p22").await.status.flaps, 1);
    left.stop(String::new(), Stop::ForGood).await;
    right.stop(String::new(), Stop::ForGood).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_passwords_meet_and_others_do_not() {
    let (a, b) = pair(31, &["10.31.0.0/16"], &[]);
    let with = |end: &End, other: &End, password: &str| {
        let mut peer = end.peer(other);
        peer.password = Some(Secret(password.as_bytes().to_vec()));
        peer
    };
    let (left, _) = a.start(vec![with(&a, &b, "one")]).await;
    let (right, _) = b.start(vec![with(&b, &a, "two")]).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!established(&left, "p32").await && !established(&right, "p31").await);
    // A reload with the right one is enough.
    right.apply(b.config(vec![with(&b, &a, "one")]), ByHand::Undo).await;
    until("the route", async || knows(&right, &["10.31.0.0/16"]).await).await;
    // With a key on our side only, the peer hears nothing.
    right.apply(b.config(vec![b.peer(&a)]), ByHand::Undo).await;
    until("the session down", async || !established(&right, "p31").await).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!established(&right, "p31").await);
    left.stop(String::new(), Stop::ForGood).await;
    right.stop(String::new(), Stop::ForGood).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_peer_stays_down_until_it_is_enabled() {
    let (a, b) = pair(41, &[], &["10.42.0.0/16"]);
    let (left, _) = a.start(vec![a.peer(&b)]).await;
    let (right, _) = b.start(vec![b.peer(&a)]).await;
    until("the session", async || established(&left, "p42").await).await;
    left.disable("p42", "until noon".to_owned()).await.expect("it is there");
    until("the reason at the other end", async || {
        let status = peer(&right, "p41").await.status;
        status.last_error.is_some_and(|(error, _)| error.text.contains("until noon"))
    })
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let status = peer(&left, "p42").await.status;
    assert_eq!((status.state, status.admin), (State::Idle, AdminState::Down));
    left.enable("127.0.0.42").await.expect("it is found by its address");
    until("the route", async || knows(&left, &["10.42.0.0/16"]).await).await;
    left.reset("p42").await.expect("it is there");
    until("a second flap and the session again", async || {
        peer(&left, "p42").await.status.flaps == 2 && established(&left, "p42").await
    })
    .await;
    left.stop(String::new(), Stop::ForGood).await;
    right.stop(String::new(), Stop::ForGood).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_change_under_a_session_that_stays() {
    let (a, b) = pair(51, &["10.51.0.0/16"], &["10.52.0.0/16"]);
    let (left, _) = a.start(vec![a.peer(&b)]).await;
    let (right, _) = b.start(vec![b.peer(&a)]).await;
    until("routes", async || {
        knows(&left, &["10.52.0.0/16"]).await && knows(&right, &["10.51.0.0/16"]).await
    })
    .await;
    let mut closed = a.peer(&b);
    closed.import = Some(RoutePolicy::reject().into());
    closed.export = Some(RoutePolicy::reject().into());
    left.apply(a.config(vec![closed]), ByHand::Undo).await;
    until("nothing in or out", async || knows(&left, &[]).await && knows(&right, &[]).await).await;
    left.apply(a.config(vec![a.peer(&b)]), ByHand::Undo).await;
    until("routes again", async || {
        knows(&left, &["10.52.0.0/16"]).await && knows(&right, &["10.51.0.0/16"]).await
    })
    .await;
    assert_eq!(peer(&left, "p52").await.status.flaps, 0);
    // What the session depends on ends it; the peer comes back under the new terms.
    let mut slower = a.peer(&b);
    slower.hold_time = Duration::from_secs(6);
    left.apply(a.config(vec![slower]), ByHand::Undo).await;
    until("the new hold time", async || {
        let negotiated = peer(&right, "p51").await.status.negotiated;
        negotiated.is_some_and(|negotiated| negotiated.hold_time == Duration::from_secs(6))
    })
    .await;
    // A peer that leaves the configuration is gone.
    left.apply(a.config(Vec::new()), ByHand::Undo).await;
    assert!(left.peer("p52").await.is_err());
    until("no route", async || knows(&right, &[]).await).await;
    left.stop(String::new(), Stop::ForGood).await;
    right.stop(String::new(), Stop::ForGood).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_of_a_new_configuration_reach_a_peer_that_is_left_alone() {
    let (mut a, b) = pair(55, &["10.55.0.0/16"], &[]);
    let (left, _) = a.start(vec![a.peer(&b)]).await;
    let (right, _) = b.start(vec![b.peer(&a)]).await;
    until("the first route", async || knows(&right, &["10.55.0.0/16"]).await).await;
    a.originate.push("10.55.64.0/26");
    left.apply(a.config(vec![a.peer(&b)]), ByHand::Keep).await;
    until("both", async || knows(&right, &["10.55.0.0/16", "10.55.64.0/26"]).await).await;
    // What comes later finds them, too.
    left.reset("p56").await.expect("it is there");
    until("both again", async || {
        peer(&right, "p55").await.status.flaps == 1
            && knows(&right, &["10.55.0.0/16", "10.55.64.0/26"]).await
    })
    .await;
    a.originate.remove(0);
    left.apply(a.config(vec![a.peer(&b)]), ByHand::Keep).await;
    until("the second", async || knows(&right, &["10.55.64.0/26"]).await).await;
    assert_eq!(peer(&left, "p56").await.status.flaps, 1);
    left.stop(String::new(), Stop::ForGood).await;
    right.stop(String::new(), Stop::ForGood).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_is_as_old_as_itself_however_long_its_shard_rested() {
    let (a, _) = pair(151, &[], &[]);
    let (left, _) = a.start(Vec::new()).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let prefix = net("10.98.0.0/16");
    let before = left.now();
    left.add_route(AddedRoute { prefix, next_hop: None, communities: Vec::new() }).await;
    let query = RouteQuery { select: Select::Exact(prefix), family: None, view: View::Table };
    let rows = left.routes(query).next().await.expect("the route");
    let since = rows[0].since;
    assert!(since >= before, "{since}, though it came after {before}");
    left.stop(String::new(), Stop::ForGood).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_of_ours_come_and_go_by_hand() {
    let (a, b) = pair(61, &["10.61.0.0/16"], &[]);
    let (left, _) = a.start(vec![a.peer(&b)]).await;
    let (right, _) = b.start(vec![b.peer(&a)]).await;
    until("the route", async || knows(&right, &["10.61.0.0/16"]).await).await;
    let prefix = net("2001:db8:61::/48");
    let (prefix_added, next_hop) = (net("10.99.0.0/16"), Some(a.next_hop()));
    left.add_route(AddedRoute { prefix: prefix_added, next_hop, communities: Vec::new() }).await;
    until("both", async || knows(&right, &["10.61.0.0/16", "10.99.0.0/16"]).await).await;
    assert!(left.withdraw_route(net("10.61.0.0/16")).await);
    assert!(!left.withdraw_route(prefix).await);
    until("the other", async || knows(&right, &["10.99.0.0/16"]).await).await;
    left.stop(String::new(), Stop::ForGood).await;
    right.stop(String::new(), Stop::ForGood).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_from_a_range_are_taken_up_to_the_limit() {
    let hub = End::new(71, &["10.71.0.0/16"]);
    let (one, two) = pair(72, &[], &[]);
    let mut template = hub.peer(&one);
    template.name = "range".to_owned();
    template.address = PeerAddress::Dynamic { prefix: net("127.0.0.72/31"), max_peers: 1 };
    template.asn = PeerAsn::External;
    template.local_address = None;
    let (center, _) = hub.start(vec![template]).await;
    assert!(center.peers().await.is_empty());
    let (first, _) = one.start(vec![one.peer(&hub)]).await;
    until("the first", async || knows(&first, &["10.71.0.0/16"]).await).await;
    assert_eq!(peer(&center, "127.0.0.72").await.status.template.as_deref(), Some("range"));
    let (second, _) = two.start(vec![two.peer(&hub)]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!established(&second, "p71").await);
    first.stop(String::new(), Stop::ForGood).await;
    until("the second in its place", async || established(&second, "p71").await).await;
    until("the first forgotten", async || center.peer("127.0.0.72").await.is_err()).await;
    second.stop(String::new(), Stop::ForGood).await;
    center.stop(String::new(), Stop::ForGood).await;
}

/// This end's view of another, with graceful restart.
fn graceful(end: &End, other: &End) -> PeerConfig {
    let graceful_restart = Some(GracefulRestart { restart_time: Duration::from_secs(120) });
    PeerConfig { graceful_restart, ..end.peer(other) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_who_kept_nothing_hears_at_once_what_is_known() {
    let (a, b) = pair(161, &["10.161.0.0/16"], &["10.162.0.0/16"]);
    // Others wait for a minute: not all that there is has been heard.
    let config =
        SpeakerConfig { restarted: true, known: Knowledge::Part, ..a.config(vec![a.peer(&b)]) };
    let (left, kernel) = a.start_with(config, 2).await;
    let (right, _) = b.start(vec![b.peer(&a)]).await;
    until("all routes and their end", async || {
        let status = peer(&right, "p161").await.status;
        knows(&right, &["10.161.0.0/16"]).await
            && status.end_of_rib.contains(Family::IPV4_UNICAST)
            && knows(&left, &["10.162.0.0/16"]).await
    })
    .await;
    assert!(kernel.wishes.lock().expect("unharmed").is_empty(), "the minute is over");
    left.stop(String::new(), Stop::ForGood).await;
    right.stop(String::new(), Stop::ForGood).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_peers_that_may_come_from_a_range_are_given_their_time() {
    let (a, b) = pair(171, &["10.171.0.0/16"], &["10.172.0.0/16"]);
    let mut range = graceful(&a, &b);
    range.name = "range".to_owned();
    range.address = PeerAddress::Dynamic { prefix: net("127.0.0.172/30"), max_peers: 4 };
    range.asn = PeerAsn::External;
    range.local_address = None;
    let since = Instant::now();
    let (left, kernel) = a.restart(vec![range]).await;
    let (right, _) = b.start(vec![graceful(&b, &a)]).await;
    until("the route", async || knows(&right, &["10.171.0.0/16"]).await).await;
    until("the other one in the kernel", async || {
        kernel.wishes.lock().expect("unharmed").contains_key(&net("10.172.0.0/16"))
    })
    .await;
    assert!(since.elapsed() >= Duration::from_secs(10), "others might have been on their way");
    left.stop(String::new(), Stop::ForGood).await;
    right.stop(String::new(), Stop::ForGood).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_prefixes_end_the_session_for_good_where_asked() {
    let (a, b) = pair(81, &[], &["10.81.0.0/16", "10.82.0.0/16", "10.83.0.0/16"]);
    let mut limited = a.peer(&b);
    let action = MaxPrefixAction::Shutdown;
    limited.max_prefixes = Some(MaxPrefixes { limit: 2, warn_at: 0.8, action });
    let (left, _) = a.start(vec![limited]).await;
    let (right, _) = b.start(vec![b.peer(&a)]).await;
    until("Cease/1", async || {
        let status = peer(&right, "p81").await.status;
        status.last_error.is_some_and(|(error, _)| (error.code, error.subcode) == (6, 1))
    })
    .await;
    assert_eq!(peer(&left, "p82").await.status.admin, AdminState::Down);
    left.stop(String::new(), Stop::ForGood).await;
    right.stop(String::new(), Stop::ForGood).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_reset() {
    let (a, b) = pair(91, &[], &[]);
    let (left, _) = a.start(vec![a.peer(&b)]).await;
    let stranger = End::new(99, &[]);
    let mut stream = call(&stranger, &a).await;
    let error = stream.read(&mut [0; 1]).await.expect_err("nobody he knows");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    left.stop(String::new(), Stop::ForGood).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_calls_again_and_again_without_a_word_is_refused_until_he_hangs_up() {
    let (a, b) = pair(141, &[], &[]);
    let mut range = a.peer(&b);
    range.address = PeerAddress::Dynamic { prefix: net("127.0.0.142/32"), max_peers: 8 };
    range.asn = PeerAsn::External;
    range.local_address = None;
    let (left, _) = a.start(vec![range]).await;
    // Whoever is let in hears an OPEN.
    let hears = async |stream: &mut TcpStream| {
        let read = timeout(PATIENCE, stream.read(&mut [0; 1])).await;
        read.expect("an answer in time").is_ok_and(|octets| octets == 1)
    };
    let mut first = call(&b, &a).await;
    assert!(hears(&mut first).await, "nobody is let in");
    let mut silent = vec![first];
    while let Ok(mut stream) = call_once(&b, &a).await
        && hears(&mut stream).await
    {
        silent.push(stream);
        assert!(silent.len() < 10, "all are let in");
    }
    drop(silent);
    until("room again", async || match call_once(&b, &a).await {
        Ok(mut stream) => hears(&mut stream).await,
        Err(_) => false,
    })
    .await;
    left.stop(String::new(), Stop::ForGood).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_answered_and_costs_its_own_connection_only() {
    let (a, b) = pair(101, &[], &[]);
    let mut passive = a.peer(&b);
    passive.passive = true;
    let (left, _) = a.start(vec![passive]).await;
    until("it listens for the peer", async || {
        peer(&left, "p102").await.status.state == State::Active
    })
    .await;
    let mut stream = call(&b, &a).await;
    stream.write_all(&[0x55; 64]).await.expect("sent");
    let mut said = Vec::new();
    // It ends in order, with all that was said before.
    stream.read_to_end(&mut said).await.expect("closed, not reset");
    let mut rest = said.as_slice();
    let mut kinds = Vec::new();
    while let Ok(Some(len)) = message::frame_len(rest, bgp_packet::MAX_LEN) {
        kinds.push(rest[HEADER_LEN - 1]);
        if kinds.last() == Some(&3) {
            assert_eq!(&rest[HEADER_LEN..HEADER_LEN + 2], [1, 1], "connection not synchronised");
        }
        rest = &rest[len..];
    }
    assert_eq!(kinds, [1, 3], "OPEN, NOTIFICATION");
    left.stop(String::new(), Stop::ForGood).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_that_fit_no_message_of_the_peer_are_counted() {
    let (a, b) = pair(131, &["10.131.0.0/16"], &[]);
    let mut short = a.peer(&b);
    short.extended_messages = false;
    let (left, _) = a.start(vec![short]).await;
    let (right, _) = b.start(vec![b.peer(&a)]).await;
    until("the other route", async || knows(&right, &["10.131.0.0/16"]).await).await;
    let too_long = async || peer(&left, "p132").await.status.counters.too_long();
    assert_eq!(too_long().await, 0);
    left.add_route(AddedRoute {
        prefix: net("10.133.0.0/16"),
        next_hop: Some(a.next_hop()),
        communities: (0..2000).map(|value| CommunityValue::Plain(Community(value))).collect(),
    })
    .await;
    until("the long one counted", async || too_long().await == 1).await;
    assert!(knows(&right, &["10.131.0.0/16"]).await);
    left.stop(String::new(), Stop::ForGood).await;
    right.stop(String::new(), Stop::ForGood).await;
}

/// A configured end, and a raw peer of it with enhanced route refresh.
async fn refreshing(first: u8, originate: &[&'static str]) -> (SpeakerHandle, End, RawPeer) {
    let (a, b) = pair(first, originate, &[]);
    let mut passive = a.peer(&b);
    passive.passive = true;
    let (left, _) = a.start_sharded(vec![passive], 4).await;
    let enhanced = vec![Capability::RouteRefresh, Capability::EnhancedRouteRefresh];
    let raw = RawPeer::establish(&b, &a, enhanced).await;
    (left, b, raw)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_pair_of_brackets_stands_around_what_all_shards_send_again() {
    let routes: Vec<String> = (0..64).map(|i| format!("10.111.{i}.0/24")).collect();
    let routes: Vec<&'static str> =
        routes.into_iter().map(|route| &*Box::leak(route.into_boxed_str())).collect();
    let (left, _, mut raw) = refreshing(111, &routes).await;
    while raw.next().await != *end_of_rib(Family::IPV4_UNICAST) {}
    for _ in 0..3 {
        raw.refresh(RefreshKind::Request).await;
        assert_eq!(bracket(&raw.next().await), Some(RefreshKind::Begin));
        let mut updates = 0;
        let closing = loop {
            let frame = raw.next().await;
            match bracket(&frame) {
                Some(kind) => break kind,
                None => updates += 1,
            }
            assert_ne!(frame, *end_of_rib(Family::IPV4_UNICAST), "once is enough");
        };
        assert_eq!(closing, RefreshKind::End);
        assert_eq!(updates, 4, "one of each shard");
    }
    // Shards merge requests as they come; yet every opening bracket is closed.
    for _ in 0..50 {
        raw.refresh(RefreshKind::Request).await;
    }
    left.soft_reset("p112", SoftReset::Out).await.expect("it is there");
    let mut open = false;
    let mut pairs = 0;
    // A busy machine may rest between two shards for longer than the quiet that ends the test.
    let patience = |owed| Duration::from_secs(if owed { 60 } else { 1 });
    while let Ok(frame) = timeout(patience(open || pairs == 0), raw.next()).await {
        let Some(kind) = bracket(&frame) else { continue };
        assert_eq!(kind == RefreshKind::End, open, "after {pairs} pairs");
        open = !open;
        pairs += u32::from(!open);
    }
    assert!(!open && pairs > 0, "{pairs} pairs");
    left.stop(String::new(), Stop::ForGood).await;
}

/// UPDATEs and ROUTE-REFRESHes received from a peer.
async fn received(speaker: &SpeakerHandle, name: &str) -> u64 {
    let counters = peer(speaker, name).await.status.counters;
    counters.messages(MessageKind::Update).0 + counters.messages(MessageKind::RouteRefresh).0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_refresh_leaves_out_goes_from_every_shard() {
    let (left, b, mut raw) = refreshing(121, &[]).await;
    let routes: Vec<String> = (0..64).map(|i| format!("10.122.{i:02}.0/24")).collect();
    let routes: Vec<&str> = routes.iter().map(String::as_str).collect();
    for route in &routes {
        raw.announce(&b, route).await;
    }
    until("all routes", async || common::learned(&left).await.len() == 64).await;
    raw.refresh(RefreshKind::Begin).await;
    for route in &routes[..10] {
        raw.announce(&b, route).await;
    }
    // Whoever asks is answered at once, whatever waits; so let it pass first.
    until("the brackets", async || received(&left, "p122").await >= 75).await;
    assert_eq!(common::learned(&left).await.len(), 64, "nothing goes before the end");
    raw.refresh(RefreshKind::End).await;
    until("the rest to go", async || knows(&left, &routes[..10]).await).await;
    left.stop(String::new(), Stop::ForGood).await;
}
