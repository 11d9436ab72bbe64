use super::*;
use crate::attachment::{Pod, Wish};
use crate::qos::Qos;

mod sim;

fn id(container: &str) -> AttachmentId {
    AttachmentId::new("net", container, "eth0").expect("it is one")
}

fn spec(pod: Option<&str>) -> Spec {
    Spec {
        mode: Mode::Link,
        netns: "/run/netns/a".into(),
        pod: pod.map(|name| Pod {
            namespace: "default".into(),
            name: name.into(),
            uid: String::new(),
        }),
        source: Source::Assign(Wish { v4: true, ..Wish::default() }),
        labels: BTreeMap::new(),
        routes: None,
        mtu: 1500,
        mac: None,
        forwarding: None,
        floating: Vec::new(),
        spoofed: Vec::new(),
        qos: Qos::default(),
        policy_wait: 0,
    }
}

/// A desk and what it said last.
#[derive(Default)]
struct Rig {
    desk: Desk,
    now: Now,
    /// How many addresses were assigned.
    assigned: u8,
}

impl Rig {
    fn tell(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.desk.handle(self.now, input, &mut out);
        out
    }

    fn add(&mut self, call: u64, container: &str, pod: Option<&str>) -> Vec<Output> {
        let spec = Box::new(spec(pod));
        let until = self.now.steady + PATIENCE;
        self.tell(Input::Add { call: CallId(call), id: id(container), spec, until })
    }

    fn delete(&mut self, call: u64, container: &str) -> Vec<Output> {
        self.tell(Input::Delete { call: Some(CallId(call)), id: id(container), asked: None })
    }

    /// Does every step of an attachment until `stop`, whose answer is left to the caller; what was
    /// said besides.
    fn until(&mut self, mut out: Vec<Output>, stop: &str) -> Vec<Output> {
        let mut told = Vec::new();
        loop {
            let mut doing = None;
            for output in out {
                match output {
                    Output::Do { id, step, .. } => doing = Some((id, step)),
                    other => told.push(other),
                }
            }
            let Some((id, step)) = doing else { return told };
            if step.name() == stop {
                return told;
            }
            let done = match step {
                Step::Assign { .. } => {
                    self.assigned += 1;
                    Done::Assigned(vec![IpAddr::from([10, 0, 0, self.assigned])])
                }
                _ => Done::Done,
            };
            out = self.tell(Input::Done(id, Ok(done)));
        }
    }

    fn fail(&mut self, container: &str, cause: Cause) -> Vec<Output> {
        self.tell(Input::Done(id(container), Err(Failure::new(cause, "it broke"))))
    }

    fn live(&mut self, call: u64, container: &str, pod: Option<&str>) -> Vec<Output> {
        let out = self.add(call, container, pod);
        self.until(out, "")
    }
}

fn steps(out: &[Output]) -> Vec<&'static str> {
    let name = |output: &Output| match output {
        Output::Do { step, .. } => Some(step.name()),
        _ => None,
    };
    out.iter().filter_map(name).collect()
}

fn answered(out: &[Output], call: u64) -> Option<&Result<Reply, Failure>> {
    out.iter().find_map(|output| match output {
        Output::Answer(CallId(of), reply) if *of == call => Some(reply),
        _ => None,
    })
}

#[test]
fn an_add_is_answered_once_it_is_live_on_disk() {
    let mut rig = Rig::default();
    let out = rig.add(1, "c", None);
    let told = rig.until(out, "publish");
    assert!(told.iter().any(|output| matches!(output, Output::Route(_, Some(_)))));
    assert!(answered(&told, 1).is_none());
    let out = rig.tell(Input::Done(id("c"), Ok(Done::Done)));
    assert!(
        matches!(&out[..], [Output::Do { step: Step::Record(entry), .. }] if entry.state == State::Live)
    );
    let out = rig.tell(Input::Done(id("c"), Ok(Done::Done)));
    let Some(Ok(Reply::Added(entry))) = answered(&out, 1) else { panic!("{out:?}") };
    assert_eq!(entry.addresses.len(), 1);
    assert_eq!(rig.desk.pending(), 0);
}

#[test]
fn connections_of_an_address_end_before_it_is_somebodys_and_before_it_is_nobodys() {
    let mut rig = Rig::default();
    let out = rig.add(1, "c", None);
    let told = rig.until(out, "disconnect");
    assert!(!told.iter().any(|output| matches!(output, Output::Route(..))), "not reached yet");
    let out = rig.tell(Input::Done(id("c"), Ok(Done::Done)));
    assert_eq!(steps(&out), ["attach"]);
    rig.until(out, "");
    // What runs keeps its connections.
    let out = rig.add(2, "c", None);
    let repeated = rig.until(out, "disconnect");
    assert!(answered(&repeated, 2).is_some_and(Result::is_ok));
    let out = rig.delete(3, "c");
    let told = rig.until(out, "disconnect");
    assert_eq!(answered(&told, 3), Some(&Ok(Reply::Deleted(true))), "nobody waits for it");
    let out = rig.tell(Input::Done(id("c"), Ok(Done::Done)));
    assert_eq!(steps(&out), ["retract"]);
}

#[test]
fn an_older_container_ends_no_connection_of_the_newer_that_has_its_address() {
    let mut rig = Rig::default();
    rig.live(1, "old", Some("web"));
    rig.assigned -= 1;
    let out = rig.add(2, "new", Some("web"));
    rig.until(out, "");
    let out = rig.delete(3, "old");
    assert_eq!(steps(&out), ["record"]);
    let out = rig.tell(Input::Done(id("old"), Ok(Done::Done)));
    assert_eq!(steps(&out), ["retract"]);
}

#[test]
fn an_add_that_is_repeated_is_answered_the_same_and_only_looks_at_the_link() {
    let mut rig = Rig::default();
    let first = rig.live(1, "c", None);
    let out = rig.add(2, "c", None);
    assert_eq!(steps(&out), ["record"]);
    let second = rig.until(out, "");
    assert_eq!(answered(&first, 1), answered(&second, 2));
    // Its endpoint may have been deleted by hand, the policy dataplane may have begun anew.
    let mut waits = spec(None);
    waits.policy_wait = 5;
    for step in ["publish", "policy"] {
        let mut rig = Rig::default();
        for call in [1, 2] {
            let (call, until) = (CallId(call), PATIENCE);
            let spec = Box::new(waits.clone());
            let out = rig.tell(Input::Add { call, id: id("c"), spec, until });
            if call == CallId(1) {
                rig.until(out, "");
            } else {
                assert_eq!(answered(&rig.until(out, step), 2), None, "{step} comes before");
            }
        }
    }
    // While the datastore is away it is there all the same.
    let out = rig.add(4, "c", None);
    rig.until(out, "publish");
    let out = rig.fail("c", Cause::Later);
    assert_eq!(answered(&first, 1), answered(&rig.until(out, ""), 4));
    let out = rig.add(3, "c", None);
    rig.until(out, "attach");
    let out = rig.fail("c", Cause::Kernel);
    assert!(matches!(answered(&out, 3), Some(Err(_))));
    assert_eq!(rig.desk.entry(&id("c")).map(|entry| entry.state), Some(State::Live));
    assert_eq!(rig.desk.pending(), 0);
}

#[test]
fn a_failed_add_is_answered_when_its_link_is_gone_and_the_rest_follows() {
    let mut rig = Rig::default();
    let out = rig.add(1, "c", None);
    rig.until(out, "publish");
    let out = rig.fail("c", Cause::Later);
    assert_eq!(steps(&out), ["record"]);
    let told = rig.until(out, "retract");
    let Some(Err(failure)) = answered(&told, 1) else { panic!("{told:?}") };
    assert_eq!(failure.text, "it broke");
    assert!(told.iter().any(|output| matches!(output, Output::Route(_, None))));
    // The datastore is away: tried again, and again.
    let out = rig.fail("c", Cause::Later);
    assert_eq!(steps(&out), [""; 0]);
    rig.now.steady = rig.desk.next_deadline().expect("it is tried again");
    let out = rig.tell(Input::Tick);
    assert_eq!(steps(&out), ["retract"]);
    rig.until(out, "");
    assert_eq!(rig.desk.entries().count(), 0);
}

#[test]
fn a_delete_is_answered_before_what_needs_the_datastore() {
    let mut rig = Rig::default();
    rig.live(1, "c", None);
    let out = rig.delete(2, "c");
    let told = rig.until(out, "retract");
    assert_eq!(answered(&told, 2), Some(&Ok(Reply::Deleted(true))));
    // Again, while the rest is under way: answered at once.
    let out = rig.delete(3, "c");
    assert_eq!(answered(&out, 3), Some(&Ok(Reply::Deleted(true))));
    let out = rig.tell(Input::Done(id("c"), Ok(Done::Done)));
    rig.until(out, "");
    let out = rig.delete(4, "c");
    assert_eq!(answered(&out, 4), Some(&Ok(Reply::Deleted(false))));
}

#[test]
fn a_delete_during_an_add_waits_for_it() {
    let mut rig = Rig::default();
    let out = rig.add(1, "c", None);
    rig.until(out, "attach");
    assert!(rig.delete(2, "c").is_empty());
    let out = rig.tell(Input::Done(id("c"), Ok(Done::Done)));
    let told = rig.until(out, "");
    assert!(matches!(answered(&told, 1), Some(Ok(Reply::Added(_)))));
    assert_eq!(answered(&told, 2), Some(&Ok(Reply::Deleted(true))));
    assert_eq!(rig.desk.entries().count(), 0);
}

#[test]
fn a_journal_that_cannot_be_written_keeps_no_link_up_and_lets_no_address_go() {
    let mut rig = Rig::default();
    rig.live(1, "c", None);
    assert_eq!(steps(&rig.delete(2, "c")), ["record"]);
    assert_eq!(steps(&rig.fail("c", Cause::Later)), ["detach"]);
    let out = rig.tell(Input::Done(id("c"), Ok(Done::Done)));
    assert_eq!(answered(&out, 2), Some(&Ok(Reply::Deleted(true))));
    assert_eq!(steps(&out), ["record"]);
    assert_eq!(steps(&rig.fail("c", Cause::Later)), [""; 0]);
    rig.now.steady = rig.desk.next_deadline().expect("it is tried again");
    let out = rig.tell(Input::Tick);
    assert_eq!(steps(&out), ["record"]);
    rig.until(out, "");
    assert_eq!(rig.desk.entries().count(), 0);
}

#[test]
fn a_link_that_cannot_be_removed_is_said_and_tried_again() {
    let mut rig = Rig::default();
    rig.live(1, "c", None);
    let out = rig.delete(2, "c");
    rig.until(out, "detach");
    let out = rig.fail("c", Cause::Kernel);
    assert!(
        matches!(answered(&out, 2), Some(Err(failure)) if failure.text.contains("tried again"))
    );
    assert_eq!(rig.desk.problem(&id("c")), Some("it broke"));
    rig.now.steady = rig.desk.next_deadline().expect("it is tried again");
    let out = rig.tell(Input::Tick);
    assert_eq!(steps(&out), ["detach"]);
    rig.until(out, "");
    assert_eq!(rig.desk.entries().count(), 0);
}

#[test]
fn a_newer_container_of_a_pod_takes_the_place_of_the_older() {
    let mut rig = Rig::default();
    rig.live(1, "old", Some("web"));
    let name = rig.desk.entry(&id("old")).expect("it is there").host_interface.clone();
    let out = rig.add(2, "new", Some("web"));
    assert_eq!(steps(&out), ["record"]);
    // A name is never in two entries.
    let [Output::Do { step: Step::Record(entry), .. }] = &out[..] else { panic!("{out:?}") };
    assert_eq!(entry.host_interface, "");
    rig.until(out, "assign");
    let assigned = Done::Assigned(vec![IpAddr::from([10, 0, 0, 9])]);
    let out = rig.tell(Input::Done(id("new"), Ok(assigned)));
    assert_eq!(steps(&out), ["detach"]);
    let told = rig.until(out, "");
    let Some(Ok(Reply::Added(new))) = answered(&told, 2) else { panic!("{told:?}") };
    assert_eq!(new.host_interface, name);
    let old = rig.desk.entry(&id("old")).expect("it waits for its DEL");
    assert_eq!(old.host_interface, "");
    // Its DEL leaves the new one's link and route alone.
    let out = rig.delete(3, "old");
    assert_eq!(steps(&out), ["record"]);
    let out = rig.tell(Input::Done(id("old"), Ok(Done::Done)));
    assert_eq!(steps(&out), ["disconnect"]);
    assert!(!out.iter().any(|output| matches!(output, Output::Route(..))));
}

#[test]
fn further_interfaces_of_a_container_have_names_of_their_own() {
    let mut rig = Rig::default();
    rig.live(1, "c", Some("web"));
    let second = AttachmentId::new("net", "c", "net1").expect("it is one");
    let spec = Box::new(spec(Some("web")));
    let (call, until) = (CallId(2), PATIENCE);
    let out = rig.tell(Input::Add { call, id: second.clone(), spec, until });
    rig.until(out, "");
    let names: BTreeSet<_> = rig.desk.entries().map(|entry| &entry.host_interface).collect();
    assert_eq!(names.len(), 2);
    let name = |entry: &Entry| entry.host_interface.clone();
    let first = rig.desk.entry(&id("c")).map(name).expect("it is there");
    assert_eq!(first, margay_model::endpoint_name::host_interface("cali", "default", "web"));
}

#[test]
fn a_waiting_add_fails_in_time_and_says_what_it_waited_for() {
    let mut rig = Rig::default();
    let out = rig.add(1, "c", None);
    rig.until(out, "assign");
    let out = rig.fail("c", Cause::Later);
    rig.until(out, "release");
    rig.fail("c", Cause::Later);
    assert!(rig.add(2, "c", None).is_empty());
    const { assert!(PATIENCE.as_secs() < 5, "the mark is five seconds") };
    rig.now.steady = PATIENCE;
    let out = rig.tell(Input::Tick);
    let Some(Err(failure)) = answered(&out, 2) else { panic!("{out:?}") };
    assert_eq!(failure.cause, Cause::Later);
    assert!(failure.text.contains("it broke"), "{failure}");
}

#[test]
fn an_add_that_was_long_on_its_way_has_only_what_is_left_of_its_time() {
    let mut rig = Rig::default();
    rig.now.steady = Duration::from_secs(4);
    let until = PATIENCE;
    let add = |call, container| {
        let spec = Box::new(spec(Some("web")));
        Input::Add { call: CallId(call), id: id(container), spec, until }
    };
    let out = rig.tell(add(1, "a"));
    assert!(matches!(&out[..], [Output::Do { until: Some(of), .. }] if *of == until), "{out:?}");
    // Also for its turn.
    assert!(rig.tell(add(2, "b")).is_empty());
    assert_eq!(rig.desk.next_deadline(), Some(until));
    rig.now.steady = until;
    let out = rig.tell(Input::Tick);
    assert!(matches!(answered(&out, 2), Some(Err(failure)) if failure.cause == Cause::Later));
}

#[test]
fn a_delete_ends_an_add_that_has_not_begun() {
    let mut rig = Rig::default();
    let out = rig.add(1, "a", Some("web"));
    rig.until(out, "attach");
    assert!(rig.add(2, "b", Some("web")).is_empty());
    let out = rig.delete(3, "b");
    assert!(matches!(answered(&out, 2), Some(Err(_))));
    assert_eq!(answered(&out, 3), Some(&Ok(Reply::Deleted(true))));
}

#[test]
fn what_the_runtime_does_not_know_is_collected_unless_it_is_young() {
    let mut rig = Rig::default();
    rig.live(1, "known", None);
    rig.live(2, "unknown", None);
    rig.now.wall = 60_000;
    rig.live(3, "young", None);
    let scene = Scene {
        links: BTreeMap::from([
            ("califoreign".to_owned(), "something".to_owned()),
            ("caliorphan".to_owned(), "margay:net.gone".to_owned()),
        ]),
        whole: true,
        ..Scene::default()
    };
    let valid = BTreeSet::from([("known".to_owned(), "eth0".to_owned())]);
    let (call, network) = (CallId(4), "net".to_owned());
    let out = rig.tell(Input::Collect { call, network, valid, scene });
    let swept: Vec<_> = out.iter().filter(|o| matches!(o, Output::Sweep { .. })).cloned().collect();
    let (name, alias) = ("caliorphan".to_owned(), "margay:net.gone".to_owned());
    assert_eq!(swept, [Output::Sweep { name, alias }]);
    let told = rig.until(out, "");
    assert_eq!(answered(&told, 4), Some(&Ok(Reply::Collected(vec![id("unknown")]))));
    assert_eq!(rig.desk.entries().count(), 2);
}

#[test]
fn a_spooled_delete_does_not_concern_what_came_later() {
    let mut rig = Rig::default();
    rig.now.wall = 1000;
    rig.live(1, "c", None);
    for (asked, found) in [(999, false), (1000, true)] {
        // What an earlier version left says no more.
        let asked = Some(Moment { wall: asked, ..Moment::default() });
        let out = rig.tell(Input::Delete { call: Some(CallId(2)), id: id("c"), asked });
        let told = rig.until(out, "");
        assert_eq!(answered(&told, 2), Some(&Ok(Reply::Deleted(found))));
    }
}

/// The kernel's names of three starts of a host.
const BOOTS: [&str; 3] = [
    "0f0e0d0c-0000-4000-8000-000000000001",
    "10000000-0000-4000-8000-000000000002",
    "20000000-0000-4000-8000-000000000003",
];

#[test]
fn a_clock_that_was_set_does_not_change_whom_a_spooled_delete_concerns() {
    let [former, this, other] = BOOTS.map(|boot| move |nanos| Uptime::new(boot, nanos));
    let early = Moment { wall: 1, up: this(100) };
    let late = Moment { wall: u64::MAX, up: this(99) };
    for (begun, asked, found) in [
        (this(100), early, true),
        (this(100), late, false),
        // Left before this start of the host, of what began after it; the other way round.
        (this(100), Moment { up: former(900), ..late }, false),
        (former(900), early, true),
        // Of two earlier starts: neither runs.
        (former(900), Moment { wall: 1, up: other(100) }, true),
    ] {
        let mut rig = Rig::default();
        (rig.now.wall, rig.now.up) = (1000, begun);
        rig.live(1, "c", None);
        (rig.now.wall, rig.now.up) = (0, this(5000));
        let asked = Some(asked);
        let out = rig.tell(Input::Delete { call: Some(CallId(2)), id: id("c"), asked });
        let told = rig.until(out, "");
        let reply = Some(&Ok(Reply::Deleted(found)));
        assert_eq!(answered(&told, 2), reply, "{begun:?} {asked:?}");
        assert_eq!(rig.desk.entry(&id("c")).is_none(), found, "{begun:?} {asked:?}");
    }
}

#[test]
fn what_is_asked_for_again_is_not_what_was_deleted_before() {
    let [_, this, _] = BOOTS.map(|boot| move |nanos| Uptime::new(boot, nanos));
    let mut rig = Rig::default();
    rig.now.up = this(100);
    rig.live(1, "c", None);
    rig.now.up = this(300);
    let out = rig.add(2, "c", None);
    let told = rig.until(out, "");
    assert!(matches!(answered(&told, 2), Some(Ok(Reply::Added(_)))));
    let asked = Some(Moment { wall: u64::MAX, up: this(200) });
    let out = rig.tell(Input::Delete { call: Some(CallId(3)), id: id("c"), asked });
    let told = rig.until(out, "");
    assert_eq!(answered(&told, 3), Some(&Ok(Reply::Deleted(false))));
}

#[test]
fn a_restart_keeps_what_was_live_and_takes_down_the_rest() {
    let mut rig = Rig::default();
    rig.live(1, "c", None);
    let live = rig.desk.entry(&id("c")).expect("it is there").clone();
    for (state, linked, netns, kept) in [
        (State::Live, true, true, true),
        (State::Live, false, true, true),
        (State::Live, false, false, false),
        (State::Allocating, false, true, false),
        (State::Configured, true, true, false),
        (State::Deleting, true, true, false),
    ] {
        let mut rig = Rig::default();
        let entry = Entry { state, ..live.clone() };
        let scene = Scene {
            links: linked
                .then(|| (entry.host_interface.clone(), name::alias(&entry.id)))
                .into_iter()
                .collect(),
            without_netns: (!netns).then(|| entry.id.clone()).into_iter().collect(),
            whole: true,
        };
        let out = rig.tell(Input::Load(vec![entry], scene));
        let told = rig.until(out, "");
        assert_eq!(rig.desk.entries().count() == 1, kept, "{state:?} {linked} {netns}");
        let routed = told.iter().any(|output| matches!(output, Output::Route(_, Some(_))));
        assert_eq!(routed, kept && linked);
        assert_eq!(rig.desk.problem(&live.id).is_some(), kept && !linked);
    }
}

#[test]
fn nothing_is_swept_by_a_journal_that_has_holes() {
    let mut rig = Rig::default();
    let links = BTreeMap::from([("cali1".to_owned(), "margay:net.c".to_owned())]);
    let scene = Scene { links, whole: false, ..Scene::default() };
    assert!(rig.tell(Input::Load(Vec::new(), scene)).is_empty());
}

fn given(address: &str) -> Spec {
    Spec { source: Source::Given(vec![address.parse().expect("an address")]), ..spec(None) }
}

fn is_taken(out: &[Output], call: u64) -> bool {
    matches!(answered(out, call), Some(Err(failure)) if failure.cause == Cause::AddressTaken)
}

#[test]
fn an_address_that_another_attachment_has_is_not_taken_from_it() {
    let mut rig = Rig::default();
    let add = |call, container, spec: Spec| Input::Add {
        call: CallId(call),
        id: id(container),
        spec: Box::new(spec),
        until: PATIENCE,
    };
    // Before its link is made already.
    let out = rig.tell(add(1, "a", given("10.0.0.1")));
    let refused = rig.tell(add(2, "b", given("10.0.0.1")));
    assert!(is_taken(&refused, 2), "{refused:?}");
    rig.until(out, "");
    // One that is assigned what somebody else was given gives it back.
    let out = rig.tell(add(3, "c", spec(None)));
    rig.until(out, "assign");
    let shared = "10.0.0.1".parse().expect("an address");
    let out = rig.tell(Input::Done(id("c"), Ok(Done::Assigned(vec![shared]))));
    let told = rig.until(out, "release");
    assert!(is_taken(&told, 3), "{told:?}");
    assert!(!told.iter().any(|output| matches!(output, Output::Route(..))));
    let out = rig.tell(Input::Done(id("c"), Ok(Done::Done)));
    rig.until(out, "");
    assert_eq!(rig.desk.entries().count(), 1);
    // Whoever lets it go hands it on, though its removal is not at its end.
    let out = rig.delete(4, "a");
    rig.until(out, "retract");
    let out = rig.tell(add(5, "b", given("10.0.0.1")));
    let told = rig.until(out, "");
    assert!(matches!(answered(&told, 5), Some(Ok(Reply::Added(_)))), "{told:?}");
}

#[test]
fn a_newer_container_that_failed_half_way_can_still_take_the_address_of_the_older() {
    let mut rig = Rig::default();
    rig.live(1, "old", Some("web"));
    let out = rig.add(2, "new", Some("web"));
    rig.until(out, "attach");
    let out = rig.fail("new", Cause::Kernel);
    rig.until(out, "");
    let said = rig.desk.problem(&id("old")).expect("it has no link any more");
    assert!(said.starts_with("its link went for net/new/eth0, whose ADD failed: "), "{said}");
    let mut out = rig.add(3, "newer", Some("web"));
    // There is no link any more that would have to go.
    assert_eq!(steps(&out), ["record"]);
    out = rig.tell(Input::Done(id("newer"), Ok(Done::Done)));
    let [Output::Do { step: Step::Assign { replaces, .. }, .. }] = &out[..] else {
        panic!("{out:?}")
    };
    assert_eq!(*replaces, Some(id("old").handle()));
}

#[test]
fn an_older_container_keeps_its_link_where_there_is_no_address_for_the_newer() {
    let mut rig = Rig::default();
    rig.live(1, "old", Some("web"));
    let before = rig.desk.entry(&id("old")).cloned();
    let out = rig.add(2, "new", Some("web"));
    let mut told = rig.until(out, "assign");
    let out = rig.fail("new", Cause::Later);
    told.extend(rig.until(out, ""));
    assert!(matches!(answered(&told, 2), Some(Err(_))), "{told:?}");
    assert!(!told.iter().any(|output| matches!(output, Output::Route(..))), "{told:?}");
    assert_eq!(rig.desk.entry(&id("old")).cloned(), before);
    assert_eq!((rig.desk.problem(&id("old")), rig.desk.entry(&id("new"))), (None, None));
    // One that may have to take its address from it has to wait for that.
    let mut exact = spec(Some("web"));
    exact.source =
        Source::Assign(Wish { exactly: vec![IpAddr::from([10, 0, 0, 1])], ..Wish::default() });
    let (call, until) = (CallId(3), PATIENCE);
    let out = rig.tell(Input::Add { call, id: id("exact"), spec: Box::new(exact), until });
    assert_eq!(steps(&out), ["detach"]);
}

#[test]
fn an_older_container_whose_link_cannot_be_removed_is_reached_again() {
    let mut rig = Rig::default();
    rig.live(1, "old", Some("web"));
    let link = rig.desk.entry(&id("old")).expect("it is there").host_interface.clone();
    let out = rig.add(2, "new", Some("web"));
    let out = rig.until(out, "detach");
    assert!(out.iter().any(|output| matches!(output, Output::Route(_, None))));
    let out = rig.fail("new", Cause::Kernel);
    let again = |output: &Output| matches!(output, Output::Route(_, Some(to)) if *to == link);
    assert!(out.iter().any(again), "{out:?}");
    assert_eq!(rig.desk.problem(&id("old")), Some("it broke"));
}

/// The first ADD of an address that is asked for over the link, and the second.
impl Rig {
    fn leased(&mut self, call: u64, container: &str, addresses: &[[u8; 4]]) -> Vec<Output> {
        let addresses = addresses.iter().map(|octets| IpAddr::from(*octets)).collect();
        let spec = Box::new(Spec { source: Source::Leased(addresses), ..spec(None) });
        let until = self.now.steady + PATIENCE;
        self.tell(Input::Add { call: CallId(call), id: id(container), spec, until })
    }

    fn bare(&mut self, call: u64, container: &str) {
        let out = self.leased(call, container, &[]);
        let told = self.until(out, "");
        let Some(Ok(Reply::Added(entry))) = answered(&told, call) else { panic!("{told:?}") };
        assert!(entry.is_bare(), "{entry:?}");
    }
}

#[test]
fn an_address_asked_for_over_the_link_comes_after_it() {
    let mut rig = Rig::default();
    let out = rig.leased(1, "c", &[]);
    let Some(Output::Do { step: Step::Record(entry), .. }) = out.first() else { panic!("{out:?}") };
    assert_eq!(entry.state, State::Configured, "a restart takes its link away");
    let told = rig.until(out, "attach");
    assert!(answered(&told, 1).is_none(), "not before the link is there");
    let out = rig.tell(Input::Done(id("c"), Ok(Done::Done)));
    assert!(matches!(answered(&out, 1), Some(Ok(Reply::Added(entry))) if entry.is_bare()));
    assert!(rig.desk.problem(&id("c")).is_some_and(|text| text.contains("waits")));
    // Asked again it is there still.
    rig.bare(2, "c");
    let out = rig.leased(3, "c", &[[10, 9, 0, 1]]);
    let told = rig.until(out, "fulfil");
    assert!(answered(&told, 3).is_none());
    let out = rig.tell(Input::Done(id("c"), Ok(Done::Done)));
    assert!(out.iter().any(|output| matches!(output, Output::Route(_, Some(_)))));
    let told = rig.until(out, "");
    let Some(Ok(Reply::Added(entry))) = answered(&told, 3) else { panic!("{told:?}") };
    assert_eq!((entry.state, &entry.addresses[..]), (State::Live, &[[10, 9, 0, 1].into()][..]));
    assert_eq!(rig.desk.problem(&id("c")), None);
    assert_eq!((rig.desk.next_deadline(), rig.desk.pending()), (None, 0));
    // A repetition keeps it, whether it knows the address or not.
    for (call, addresses) in [(4, &[][..]), (5, &[[10, 9, 0, 1]][..])] {
        let out = rig.leased(call, "c", addresses);
        let told = rig.until(out, "fulfil");
        let Some(Ok(Reply::Added(again))) = answered(&told, call) else { panic!("{told:?}") };
        assert_eq!(again, entry);
    }
}

#[test]
fn an_older_container_keeps_its_link_until_the_newer_has_all_that_came_over_its_own() {
    let mut rig = Rig::default();
    let boot = "00000001";
    let told = rig.live(1, "older", Some("web"));
    let Some(Ok(Reply::Added(older))) = answered(&told, 1).cloned() else { panic!("{told:?}") };
    let lease = |rig: &mut Rig, call, container: &str, addresses: &[[u8; 4]]| {
        rig.now.up = Uptime::new(boot, call);
        let addresses = addresses.iter().map(|octets| IpAddr::from(*octets)).collect();
        let spec = Box::new(Spec { source: Source::Leased(addresses), ..spec(Some("web")) });
        let until = rig.now.steady + PATIENCE;
        rig.tell(Input::Add { call: CallId(call), id: id(container), spec, until })
    };
    let out = lease(&mut rig, 2, "newer", &[]);
    let told = rig.until(out, "");
    let Some(Ok(Reply::Added(bare))) = answered(&told, 2) else { panic!("{told:?}") };
    assert!(!bare.host_interface.is_empty() && bare.host_interface != older.host_interface);
    assert_eq!(rig.desk.entry(&id("older")), Some(&*older));
    // What fails takes nothing from it.
    let out = lease(&mut rig, 3, "newer", &[[10, 9, 0, 1]]);
    rig.until(out, "publish");
    let out = rig.fail("newer", Cause::Later);
    assert!(matches!(answered(&out, 3), Some(Err(_))));
    assert_eq!(rig.desk.entry(&id("older")), Some(&*older));
    let out = rig.delete(4, "newer");
    rig.until(out, "");
    assert_eq!(rig.desk.entry(&id("older")), Some(&*older));
    let out = lease(&mut rig, 5, "newer", &[]);
    rig.until(out, "");
    let out = lease(&mut rig, 6, "newer", &[[10, 9, 0, 1]]);
    rig.until(out, "publish");
    assert_eq!(rig.desk.entry(&id("older")), Some(&*older));
    let out = rig.tell(Input::Done(id("newer"), Ok(Done::Done)));
    assert_eq!(steps(&out), ["detach"]);
    let told = rig.until(out, "");
    let Some(Ok(Reply::Added(newer))) = answered(&told, 6) else { panic!("{told:?}") };
    assert_eq!(newer.state, State::Live);
    assert!(rig.desk.entry(&id("older")).is_some_and(|older| older.host_interface.is_empty()));
    // Who comes back when another one was asked for since is not the pod's container.
    let out = lease(&mut rig, 7, "third", &[]);
    rig.until(out, "");
    rig.now.up = Uptime::new(boot, 8);
    let out = rig.add(8, "fourth", Some("web"));
    rig.until(out, "");
    let out = lease(&mut rig, 9, "third", &[[10, 9, 0, 3]]);
    let Some(Err(failure)) = answered(&out, 9) else { panic!("{out:?}") };
    assert!(failure.text.contains("fourth"), "{failure}");
}

#[test]
fn a_link_that_nobody_comes_back_for_goes() {
    let mut rig = Rig::default();
    rig.bare(1, "c");
    rig.now.steady = rig.desk.next_deadline().expect("it has an end");
    assert_eq!(rig.now.steady, PATIENCE + LEASE);
    let out = rig.tell(Input::Tick);
    let told = rig.until(out, "detach");
    assert_eq!(told, []);
    let out = rig.tell(Input::Done(id("c"), Ok(Done::Done)));
    rig.until(out, "");
    assert_eq!((rig.desk.entries().count(), rig.desk.next_deadline()), (0, None));
    // Who comes too late is told, and nothing is made for an address of a link that is gone.
    let out = rig.leased(2, "c", &[[10, 9, 0, 1]]);
    let Some(Err(failure)) = answered(&out, 2) else { panic!("{out:?}") };
    assert_eq!(failure.cause, Cause::Later);
    assert_eq!(steps(&out), [""; 0]);
}

#[test]
fn what_fails_with_its_address_keeps_the_link_until_that_is_given_back() {
    for step in ["record", "disconnect", "fulfil", "reach", "publish"] {
        let mut rig = Rig::default();
        rig.bare(1, "c");
        let out = rig.leased(2, "c", &[[10, 9, 0, 1]]);
        rig.until(out, step);
        let out = rig.fail("c", Cause::Kernel);
        assert!(answered(&out, 2).is_some_and(Result::is_err), "{step}");
        assert_eq!(steps(&out), [""; 0], "{step}");
        assert_eq!(rig.desk.next_deadline(), Some(GIVE_BACK), "{step}");
        let out = rig.delete(3, "c");
        let told = rig.until(out, "");
        assert_eq!(answered(&told, 3), Some(&Ok(Reply::Deleted(true))), "{step}");
        assert_eq!((rig.desk.entries().count(), rig.desk.next_deadline()), (0, None), "{step}");
    }
    // Nobody gives it back.
    let mut rig = Rig::default();
    rig.bare(1, "c");
    let out = rig.leased(2, "c", &[[10, 9, 0, 1]]);
    rig.until(out, "publish");
    let out = rig.fail("c", Cause::Kernel);
    assert!(out.iter().any(|output| matches!(output, Output::Route(_, None))), "not sent there");
    rig.now.steady = GIVE_BACK;
    let out = rig.tell(Input::Tick);
    rig.until(out, "");
    assert_eq!(rig.desk.entries().count(), 0);
}

#[test]
fn an_address_of_another_is_refused_and_its_link_stays_to_give_it_back() {
    let mut rig = Rig::default();
    rig.live(1, "a", None);
    rig.bare(2, "b");
    let out = rig.leased(3, "b", &[[10, 0, 0, 1]]);
    let Some(Err(failure)) = answered(&out, 3) else { panic!("{out:?}") };
    assert_eq!((failure.cause, steps(&out)), (Cause::AddressTaken, Vec::new()));
    assert_eq!(rig.desk.next_deadline(), Some(GIVE_BACK));
}
