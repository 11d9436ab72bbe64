//! Policies that change hundreds of times, and a dataplane that is killed in the middle of it and started
//! again, under traffic: what the old and the new both deny never passes, what both allow never fails.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use interop_tests::{
    dataplane::Dataplane,
    pair::SOON,
    runtime::Container,
    shop::{DENY, PORT, Rig, add, allow, connect, echoes, labelled, reaches, serve, stays_denied},
};
use serde_json::Value;
use testkit::{Host, Margay, have_root, until};

/// Changes while the dataplane runs, and each time it is killed.
const CHANGES: u32 = 250;
const CHANGES_WHILE_KILLED: u32 = 15;
/// How often it is killed.
const KILLS: u32 = 6;
const KNOCKING: &str = "what every policy denies";
/// Where datagrams are answered.
const ECHO: u16 = 8081;

/// Something that is done again and again until it is told to end, and how often that was.
struct Traffic {
    what: &'static str,
    ended: Arc<AtomicBool>,
    times: Arc<AtomicU64>,
    thread: JoinHandle<Result<()>>,
}

impl Traffic {
    fn start(what: &'static str, mut once: impl FnMut() -> Result<()> + Send + 'static) -> Self {
        let (ended, times) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (end, count) = (Arc::clone(&ended), Arc::clone(&times));
        let thread = thread::spawn(move || {
            while !end.load(Relaxed) {
                once().with_context(|| format!("after {} times", count.load(Relaxed)))?;
                count.fetch_add(1, Relaxed);
                thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        });
        Self { what, ended, times, thread }
    }

    /// Waits until it was done so often again.
    fn goes_on(&self, times: u64) -> Result<()> {
        let before = self.times.load(Relaxed);
        until(self.what, SOON, || {
            Ok(self.thread.is_finished() || self.times.load(Relaxed) >= before + times)
        })?;
        ensure!(!self.thread.is_finished(), "{}: it failed after {before} times", self.what);
        Ok(())
    }

    fn end(self) -> Result<u64> {
        self.ended.store(true, Relaxed);
        let ended = self.thread.join().map_err(|_| anyhow!("{}: panicked", self.what))?;
        ended.with_context(|| self.what)?;
        Ok(self.times.load(Relaxed))
    }
}

#[test]
fn what_old_and_new_deny_never_passes_and_what_flows_goes_on_through_changes_and_kills()
-> Result<()> {
    let name =
        "what_old_and_new_deny_never_passes_and_what_flows_goes_on_through_changes_and_kills";
    if !have_root(name) {
        return Ok(());
    }
    let mut rig = Rig::start("policychurn")?;
    let result = churn(&mut rig);
    rig.told(result)
}

fn churn(rig: &mut Rig) -> Result<()> {
    let Rig { margay, dataplane, runtime, pods, .. } = rig;
    margay.apply(DENY)?;
    margay.apply(&friends(0))?;
    dataplane.start()?;
    let [web, friend, stranger, late] = pods.as_slice() else { anyhow::bail!("four pods") };
    let to_web = add(runtime, &Container::new("web", web), &labelled("app", "web"))?;
    serve(web)?;
    let strangers = datagrams(web, stranger_port())?;
    answer_datagrams(web)?;
    let to_friend = add(runtime, &Container::new("friend", friend), &labelled("role", "friend"))?;
    let to_stranger = add(runtime, &Container::new("stranger", stranger), &Value::Null)?;
    serve(stranger)?;
    let to_late = add(runtime, &Container::new("late", late), &labelled("app", "late"))?;
    serve(late)?;
    drop(reaches(friend, to_web)?);
    stays_denied(stranger, to_web, (friend, to_late))?;

    let traffic = vec![
        flow("a connection that policy lets in", friend, to_web)?,
        flow("a connection that no policy is about", late, to_stranger)?,
        asking("new connections that every policy lets in", friend, to_web)?,
        knocking(KNOCKING, stranger, to_web)?,
    ];
    let all_go_on = |dataplane: &Dataplane| {
        traffic.iter().try_for_each(|one| one.goes_on(20)).with_context(|| {
            let flows = dataplane.said(margay, &["flows"]).unwrap_or_default();
            let of_friend = |flow: &&Value| {
                flow["verdict"] == "deny"
                    && flow["source"]["address"] == to_friend.to_string().as_str()
            };
            let denied = flows.as_array().into_iter().flatten().filter(of_friend);
            format!("denied of what may: {:?}", denied.collect::<Vec<_>>())
        })
    };
    all_go_on(dataplane)?;
    // While it runs.
    let applied = |dataplane: &Dataplane| dataplane.metric("margay_policy_steps_applied_total");
    let before = applied(dataplane)?;
    for time in 0..CHANGES {
        change(margay, time)?;
        let over = traffic.iter().find(|one| one.thread.is_finished());
        ensure!(over.is_none(), "{:?} failed by change {time}", over.map(|one| one.what));
    }
    until("changes are in the kernel", SOON, || {
        Ok(applied(dataplane)? >= before + u64::from(CHANGES))
    })?;
    all_go_on(dataplane)?;
    // Killed while changes come, and wherever it is.
    for time in 0..KILLS {
        thread::scope(|scope| -> Result<()> {
            let changes = scope.spawn(|| {
                let first = CHANGES + time * CHANGES_WHILE_KILLED;
                (first..first + CHANGES_WHILE_KILLED).try_for_each(|time| change(margay, time))
            });
            thread::sleep(Duration::from_millis(u64::from(37 * (time + 1))));
            dataplane.daemon()?.kill()?;
            all_go_on(dataplane)?;
            dataplane.start()?;
            changes.join().map_err(|_| anyhow!("a change panicked"))?
        })?;
        all_go_on(dataplane)?;
    }
    let mut knocking = None;
    for one in traffic {
        if one.what == KNOCKING {
            knocking = Some(one);
            continue;
        }
        let what = one.what;
        let times = one.end()?;
        println!("{what}: {times} times");
        ensure!(times > 500, "{what}: {times} times only");
    }
    ensure!(strangers.load(Relaxed) == 0, "{} packets passed", strangers.load(Relaxed));
    // It was not their own fault.
    let may = allow("all()").replace("TCP", "UDP");
    margay.apply(&may.replace(&PORT.to_string(), &stranger_port().to_string()))?;
    until("what knocked all the time comes in once it may", SOON, || {
        Ok(strangers.load(Relaxed) > 0)
    })?;
    knocking.context("somebody knocked")?.end().map(drop)
}

/// Where strangers knock.
fn stranger_port() -> u16 {
    PORT + 2
}

/// What lets friends in, in another way each time.
fn friends(time: u32) -> String {
    let head = "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata:\n  name: friends\n  \
                namespace: shop\nspec:\n  selector: app == 'web'\n  types: [Ingress]\n";
    let order = 10 + time % 3;
    let source = [
        "selector: role == 'friend'",
        "selector: has(role)",
        "nets: [10.10.0.0/16], selector: \"role in {'friend', 'pal'}\"",
        "notSelector: '!has(role)'",
    ];
    let source = source.into_iter().cycle().nth(time as usize).unwrap_or_default();
    let rule = |protocol: &str, ports: &str| {
        format!(
            "  - {{action: Allow, protocol: {protocol}, source: {{{source}}}, destination: {{ports: \
             [{ports}]}}}}\n"
        )
    };
    // The same in one rule, or in several, behind one that denies others.
    let ports = if time.is_multiple_of(2) { "'8000:8100'" } else { "8080, 8081" };
    let mut rules = vec![rule("TCP", ports), rule("UDP", ports)];
    if time.is_multiple_of(5) {
        rules.insert(
            0,
            "  - {action: Deny, protocol: TCP, source: {nets: [192.0.2.77/32]}}\n".into(),
        );
    }
    if time.is_multiple_of(7) {
        rules.reverse();
    }
    format!("{head}  order: {order}\n  ingress:\n{}", rules.concat())
}

/// One change of many kinds; none lets strangers in, none keeps friends out.
fn change(margay: &Margay, time: u32) -> Result<()> {
    let document = |kind: &str, name: &str, spec: &str| {
        let (space, name) = name.split_once('/').unwrap_or(("", name));
        let space = if space.is_empty() { String::new() } else { format!(", namespace: {space}") };
        format!(
            "apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{name: {name}{space}}}\nspec: \
             {spec}\n"
        )
    };
    let number = time / 8;
    match time % 8 {
        0 | 4 => margay.apply(&friends(time / 4)),
        // Others under the same policies, before and behind.
        1 => margay.apply(&document(
            "NetworkPolicy",
            &format!("shop/more{}", number % 5),
            &format!(
                "{{order: {}, selector: app == 'web', types: [Ingress], ingress: [{{action: Allow, \
                 protocol: TCP, source: {{selector: role == 'pal{number}'}}}}]}}",
                number % 30
            ),
        )),
        // Who is selected changes: the members of a set, and ranges.
        2 => margay.apply(
            &document(
                "GlobalNetworkSet",
                "friends-abroad",
                &format!(
                    "{{nets: [198.51.100.{}/32, 203.0.113.0/2{}]}}",
                    number % 200,
                    4 + number % 5
                ),
            )
            .replace("name: friends-abroad", "name: friends-abroad, labels: {role: friend}"),
        ),
        // A tier that passes on, and is there or not.
        3 if number.is_multiple_of(2) => margay.apply(&format!(
            "{}---\n{}",
            document("Tier", "first", "{order: 1, defaultAction: Pass}"),
            document(
                "GlobalNetworkPolicy",
                "first.pass",
                "{tier: first, selector: app == 'web', types: [Ingress], ingress: [{action: Pass, \
                 source: {selector: has(role)}}]}"
            )
        )),
        3 => {
            margay.text(&["delete", "globalnetworkpolicy", "first.pass"])?;
            margay.text(&["delete", "tier", "first"]).map(drop)
        }
        // The end of it all is closed by another.
        5 => margay.apply(&DENY.replace("1000", &(1000 + number).to_string())),
        6 => margay.apply(&document(
            "GlobalNetworkPolicy",
            "strangers",
            &format!(
                "{{order: {}, selector: app == 'web', types: [Ingress], ingress: [{{action: Deny, \
                 source: {{selector: '!has(role)'}}}}]}}",
                1 + number % 40
            ),
        )),
        _ => margay.text(&["delete", "globalnetworkpolicy", "strangers"]).map(drop),
    }
}

/// A connection over which something is said all the time, and must come back.
fn flow(what: &'static str, from: &Host, to: IpAddr) -> Result<Traffic> {
    let mut stream = reaches(from, to)?;
    Ok(Traffic::start(what, move || echoes(&mut stream)))
}

/// A datagram from another port each time, which must be answered.
fn asking(what: &'static str, from: &Host, to: IpAddr) -> Result<Traffic> {
    let host = from.clone();
    Ok(Traffic::start(what, move || {
        let socket = host.enter(|| Ok(UdpSocket::bind(("0.0.0.0", 0))?))?;
        socket.set_read_timeout(Some(SOON / 5))?;
        socket.send_to(b"?", SocketAddr::new(to, ECHO))?;
        socket.recv(&mut [0; 8]).context("no answer")?;
        Ok(())
    }))
}

/// Datagrams from many ports and now and then a connection, none of which may come.
fn knocking(what: &'static str, from: &Host, to: IpAddr) -> Result<Traffic> {
    let host = from.clone();
    let sockets = (0..32).map(|_| host.enter(|| Ok(UdpSocket::bind(("0.0.0.0", 0))?)));
    let sockets = sockets.collect::<Result<Vec<_>>>()?;
    let mut next = Instant::now();
    Ok(Traffic::start(what, move || {
        for socket in &sockets {
            socket.send_to(b"!", SocketAddr::new(to, stranger_port()))?;
        }
        if next <= Instant::now() {
            next = Instant::now() + Duration::from_millis(500);
            let came = connect(&host, to, Duration::from_millis(20)).is_ok();
            ensure!(!came, "a connection was let in");
        }
        Ok(())
    }))
}

/// Counts the datagrams that come to a port of a pod.
fn datagrams(pod: &Host, port: u16) -> Result<Arc<AtomicU64>> {
    let socket = pod.enter(|| Ok(UdpSocket::bind(("0.0.0.0", port))?))?;
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    thread::spawn(move || {
        // It ends with the test.
        while socket.recv(&mut [0; 8]).is_ok() {
            counted.fetch_add(1, Relaxed);
        }
    });
    Ok(count)
}

/// Sends datagrams back where they came from.
fn answer_datagrams(pod: &Host) -> Result<()> {
    let socket = pod.enter(|| Ok(UdpSocket::bind(("0.0.0.0", ECHO))?))?;
    thread::spawn(move || {
        let mut buf = [0; 8];
        while let Ok((count, from)) = socket.recv_from(&mut buf) {
            // Whoever waits for it says that it is missing.
            let _ = socket.send_to(buf.get(..count).unwrap_or_default(), from);
        }
    });
    Ok(())
}
