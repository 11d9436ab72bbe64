//! Any input in any state: no panic, and what must hold always holds.

use std::collections::{BTreeMap, BTreeSet};

use bgp_packet::{Family, RefreshKind, RouteRefresh};
use proptest::{collection::vec, prelude::*};

use super::*;

/// An input as the shell could give it; `which` picks one of the connections it knows.
#[derive(Debug, Clone)]
enum Step {
    Start,
    Stop(u8),
    Connected(usize),
    ConnectFailed(usize),
    Accept,
    Closed(usize),
    Cut(usize),
    Restarting(bool),
    Open(usize, u8),
    KeepAlive(usize),
    Notification(usize, u8, u8),
    Refresh(usize),
    Update(usize),
    EndOfRib(usize),
    Malformed(usize),
    Progress(usize),
    Wait(u64),
    Reconfigure(bool, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0..6_usize;
    prop_oneof![
        2 => Just(Step::Start),
        1 => (0..7_u8).prop_map(Step::Stop),
        6 => which.clone().prop_map(Step::Connected),
        2 => which.clone().prop_map(Step::ConnectFailed),
        4 => Just(Step::Accept),
        2 => which.clone().prop_map(Step::Closed),
        1 => which.clone().prop_map(Step::Cut),
        1 => any::<bool>().prop_map(Step::Restarting),
        8 => (which.clone(), 0..8_u8).prop_map(|(w, k)| Step::Open(w, k)),
        8 => which.clone().prop_map(Step::KeepAlive),
        2 => (which.clone(), 0..10_u8, 0..12_u8).prop_map(|(w, c, s)| Step::Notification(w, c, s)),
        1 => which.clone().prop_map(Step::Refresh),
        2 => which.clone().prop_map(Step::Update),
        1 => which.clone().prop_map(Step::EndOfRib),
        1 => which.clone().prop_map(Step::Malformed),
        2 => which.prop_map(Step::Progress),
        6 => (0..200_u64).prop_map(Step::Wait),
        1 => (any::<bool>(), 1..30_u64).prop_map(|(p, r)| Step::Reconfigure(p, r)),
    ]
}

fn open(kind: u8) -> Open {
    match kind {
        0 => Open { hold_time: 1, ..their_open() },
        1 => Open { router_id: Ipv4Addr::UNSPECIFIED, ..their_open() },
        2 => Open { hold_time: 0, ..their_open() },
        3 => Open { router_id: Ipv4Addr::new(9, 0, 0, 1), ..their_open() },
        4 | 5 => {
            let mut open = their_open();
            open.capabilities.push(Capability::GracefulRestart {
                restarting: kind == 5,
                notification: false,
                restart_time: 60,
                families: vec![(Family::IPV4_UNICAST, true)],
            });
            open
        }
        _ => their_open(),
    }
}

fn stop(kind: u8) -> StopReason {
    let family = Family::IPV4_UNICAST;
    match kind {
        0 => StopReason::AdminShutdown("bye".to_owned()),
        1 => StopReason::AdminReset(String::new()),
        2 => StopReason::Deconfigured,
        3 => StopReason::ConfigChange,
        6 => StopReason::Restart(String::new()),
        4 => StopReason::MaxPrefixes { family, limit: 5, restart: Some(secs(30)) },
        _ => StopReason::MaxPrefixes { family, limit: 5, restart: None },
    }
}

/// What a shell believes, from outputs alone.
#[derive(Default)]
struct Shell {
    /// Every id ever seen, to send things on connections long gone, too.
    ids: BTreeSet<ConnectionId>,
    /// Attempts under way and connections up; true = up.
    open: BTreeMap<ConnectionId, bool>,
    established: Option<ConnectionId>,
    /// Routes of a session that is down are kept.
    keeps: bool,
    state: Option<State>,
}

impl Shell {
    fn take(&mut self, outputs: &[Output]) {
        for output in outputs {
            match output {
                Output::Connect(id) => {
                    assert!(self.ids.insert(*id), "an id is used once");
                    assert!(!self.open.values().any(|up| !up), "one attempt at a time");
                    self.open.insert(*id, false);
                }
                Output::Send(id, message) => {
                    assert_eq!(self.open.get(id), Some(&true), "{message:?} without TCP");
                }
                Output::Close(id) => {
                    self.open.remove(id);
                }
                Output::Established(id, _) => {
                    assert_eq!(self.open.get(id), Some(&true));
                    assert_eq!(self.established.replace(*id), None, "two are Established");
                }
                Output::Down(id, kept) => {
                    assert_eq!(self.established.take(), Some(*id));
                    self.keeps = !kept.is_empty();
                }
                Output::Forget => assert!(std::mem::take(&mut self.keeps), "nothing is kept"),
                Output::Refresh(_) => assert!(self.established.is_some()),
                Output::StateChanged { from, to, why } => {
                    assert!(from != to && !why.is_empty());
                    assert_eq!(self.state.replace(*to).unwrap_or(State::Idle), *from);
                }
            }
        }
    }

    fn pick(&self, which: usize) -> ConnectionId {
        // The newest ones are the interesting ones.
        self.ids.iter().rev().nth(which).copied().unwrap_or(ConnectionId(u64::MAX))
    }
}

fn run(steps: &[Step], peer: &PeerConfig) {
    let mut bench = Bench::new(global(), peer.clone());
    let mut shell = Shell::default();
    for step in steps {
        let end = SocketAddr::new(REMOTE, 179);
        let why = String::from("why");
        let input = match step.clone() {
            Step::Start => Input::Start,
            Step::Stop(kind) => Input::Stop(stop(kind)),
            Step::Connected(which) => {
                let connection = shell.pick(which);
                if let Some(up) = shell.open.get_mut(&connection) {
                    *up = true;
                }
                Input::Connected { connection, local: end, remote: end }
            }
            Step::ConnectFailed(which) => {
                let connection = shell.pick(which);
                if shell.open.get(&connection) == Some(&false) {
                    shell.open.remove(&connection);
                }
                Input::ConnectFailed { connection, why }
            }
            Step::Accept => {
                let Some(connection) = bench.session.accept(bench.now) else { continue };
                assert!(shell.ids.insert(connection), "an id is used once");
                shell.open.insert(connection, true);
                Input::Accepted { connection, local: end, remote: end }
            }
            Step::Closed(which) => Input::Closed { connection: shell.pick(which), why },
            Step::Cut(which) => Input::Cut { connection: shell.pick(which), why },
            Step::Restarting(restarting) => Input::Restarting(restarting),
            Step::Open(which, kind) => Input::Open(shell.pick(which), open(kind)),
            Step::KeepAlive(which) => Input::KeepAlive(shell.pick(which)),
            Step::Notification(which, code, subcode) => {
                Input::Notification(shell.pick(which), Notification::new(code, subcode))
            }
            Step::Refresh(which) => {
                let family = Family::IPV4_UNICAST;
                let refresh = RouteRefresh { family, kind: RefreshKind::Request };
                Input::RouteRefresh(shell.pick(which), refresh)
            }
            Step::Update(which) => Input::Update(shell.pick(which)),
            Step::EndOfRib(which) => Input::EndOfRib(shell.pick(which), Family::IPV4_UNICAST),
            Step::Malformed(which) => Input::Malformed(shell.pick(which), Notification::new(3, 1)),
            Step::Progress(which) => Input::Progress(shell.pick(which)),
            Step::Wait(seconds) => {
                bench.advance(secs(seconds));
                shell.take(&bench.out);
                Input::Tick
            }
            Step::Reconfigure(passive, retry) => {
                let new = PeerConfig { passive, connect_retry: secs(retry), ..peer.clone() };
                Input::Reconfigure(Box::new((global(), new)))
            }
        };
        bench.give(input);
        shell.take(&bench.out);

        let session = &bench.session;
        assert_eq!(shell.state.unwrap_or(State::Idle), session.state(), "every change is told");
        assert_eq!(shell.established, session.established_connection());
        assert_eq!(session.negotiated().is_some(), session.state() == State::Established);
        assert_eq!(session.established_at().is_some(), session.state() == State::Established);
        assert!(shell.open.len() <= 2, "{:?} are open", shell.open);
        let deadline = session.next_deadline();
        assert!(deadline.is_none_or(|at| at > bench.now), "a timer that is due has run");
        assert!(shell.keeps || session.timers().restart.is_none());
        if session.state() == State::Idle {
            assert!(shell.open.is_empty(), "{:?} are open in Idle", shell.open);
            assert_eq!(deadline.is_none(), session.is_down());
        }
        if session.state() == State::Active && !session.config().passive {
            assert!(deadline.is_some(), "nothing would ever happen again");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None,
        ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_inputs_keeps_the_promises(steps in vec(step(), 1..60)) {
        run(&steps, &peer());
    }

    #[test]
    fn any_sequence_keeps_them_where_routes_outlive_sessions(steps in vec(step(), 1..60)) {
        let graceful_restart = Some(crate::config::GracefulRestart { restart_time: secs(90) });
        run(&steps, &PeerConfig { graceful_restart, ..peer() });
    }

    #[test]
    fn any_sequence_keeps_them_for_a_passive_session_too(steps in vec(step(), 1..60)) {
        run(&steps, &PeerConfig { passive: true, ..peer() });
    }
}
