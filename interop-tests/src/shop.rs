//! A node with both daemons and pods to try policies on, and whether connections between pods come to be.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testkit::{Host, Lab, Margay, resources, until, until_some};

use crate::{
    dataplane::Dataplane,
    pair::SOON,
    runtime::{Answer, Container, Runtime},
};

/// Where servers listen.
pub const PORT: u16 = 8080;
/// How long is waited for a connection that may not come.
const VAIN: Duration = Duration::from_secs(1);

/// A node with both daemons, and hosts to be its pods.
pub struct Rig {
    /// What keeps the resources.
    pub margay: Margay,
    /// What enforces them, once it is started.
    pub dataplane: Dataplane,
    /// What adds pods.
    pub runtime: Runtime,
    /// Hosts that are no pods yet; of [`Rig::start`] `web`, `friend`, `stranger` and `late`.
    pub pods: Vec<Host>,
    /// Where all of it is.
    pub lab: Lab,
}

impl Rig {
    /// Both daemons are there, only `margay-bgpd` runs.
    ///
    /// # Errors
    /// When something of it cannot be made.
    pub fn start(name: &str) -> Result<Self> {
        Self::of(name, "a", &["web", "friend", "stranger", "late"])
    }

    /// The same with names for the node and who become pods.
    ///
    /// # Errors
    /// When something of it cannot be made.
    pub fn of(name: &str, node: &str, pods: &[&str]) -> Result<Self> {
        let mut lab = Lab::new(name)?;
        let host = lab.host(node)?;
        host.configure("lo", &["192.0.2.1/32", "2001:db8::1/128"])?;
        let mut margay = Margay::new(&host, "[datastore]\ntype = \"embedded\"\n");
        margay.set_node_keys("register = false\n");
        margay.start()?;
        // What a pod's namespace allows where no policy says anything: everything.
        let open = "{ingress: [{action: Allow}], egress: [{action: Allow}]}";
        margay.apply(&resources::all(&[
            resources::pool("four", "10.10.0.0/16"),
            resources::pool("six", "fd10::/48"),
            resources::document("Profile", "kns.shop", open),
        ]))?;
        let pods = pods.iter().map(|name| lab.host(name)).collect::<Result<_>>()?;
        let dataplane = Dataplane::new(&margay)?;
        let runtime = Runtime::of(&margay)?;
        Ok(Self { margay, dataplane, runtime, pods, lab })
    }

    /// Of a failure, what the daemons logged.
    ///
    /// # Errors
    /// The failure.
    pub fn told(&mut self, result: Result<()>) -> Result<()> {
        let logs = || vec![self.margay.log(), self.dataplane.log()];
        self.lab.told(result, logs)
    }
}

/// The configuration of a pod with this label.
pub fn labelled(key: &str, value: &str) -> Value {
    json!({"args": {"cni": {"labels": [{"key": key, "value": value}]}}})
}

/// ADD that must succeed, at once or when it is asked again; the pod's IPv4 address.
///
/// # Errors
/// It does not.
pub fn add(runtime: &Runtime, container: &Container, more: &Value) -> Result<IpAddr> {
    address(&runtime.settled("ADD", container, more)?.done("ADD")?)
}

fn address(answer: &Answer) -> Result<IpAddr> {
    let all = answer.addresses();
    all.first().context("an address")?.parse().context("an address")
}

/// A server in a pod: what it is sent it sends back.
///
/// # Errors
/// The port is taken.
pub fn serve(pod: &Host) -> Result<()> {
    let listener = pod.enter(|| Ok(TcpListener::bind(("0.0.0.0", PORT))?))?;
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            thread::spawn(move || {
                let Ok(mut back) = stream.try_clone() else { return };
                // It ends with the test.
                let _ = std::io::copy(&mut &stream, &mut back);
            });
        }
    });
    Ok(())
}

/// A connection, once.
///
/// # Errors
/// None comes to be in that time.
pub fn connect(pod: &Host, to: IpAddr, patience: Duration) -> Result<TcpStream> {
    pod.enter(|| Ok(TcpStream::connect_timeout(&SocketAddr::new(to, PORT), patience)?))
}

/// Whether what is said over a connection comes back.
///
/// # Errors
/// It does not, or not in time.
pub fn echoes(stream: &mut TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(SOON))?;
    stream.write_all(b"hello")?;
    let mut back = [0; 5];
    stream.read_exact(&mut back)?;
    ensure!(&back == b"hello", "{back:?}");
    Ok(())
}

/// Waits until a connection can be made; it.
///
/// # Errors
/// None can, for long.
pub fn reaches(pod: &Host, to: IpAddr) -> Result<TcpStream> {
    let what = format!("{} reaches {to}", pod.name());
    until_some(&what, SOON, || Ok(connect(pod, to, VAIN).ok()))
}

/// Two who may talk to each other, so that a machine that is slow does not look like policy.
pub type Control<'a> = (&'a Host, IpAddr);

/// Whether a connection comes to be, though one that is tried after it and may come to be does not
/// before its end; `None` if nothing was told, as that one did not come in time either.
fn tried(pod: &Host, to: IpAddr, control: Control<'_>) -> Result<Option<bool>> {
    thread::scope(|scope| {
        let vain = scope.spawn(|| connect(pod, to, VAIN).is_ok());
        // Its first packet is sent within a moment.
        thread::sleep(VAIN / 10);
        let begun = Instant::now();
        let came = connect(control.0, control.1, VAIN).and_then(|mut stream| echoes(&mut stream));
        let told = came.is_ok() && begun.elapsed() < VAIN / 2;
        match vain.join() {
            Ok(true) => Ok(Some(true)),
            Ok(false) => Ok(told.then_some(false)),
            Err(_) => anyhow::bail!("a try panicked"),
        }
    })
}

/// Waits until no connection can be made any more.
///
/// # Errors
/// One can, for long.
pub fn is_denied(pod: &Host, to: IpAddr, control: Control<'_>) -> Result<()> {
    let what = format!("{} does not reach {to}", pod.name());
    until(&what, SOON, || Ok(tried(pod, to, control)? == Some(false)))
}

/// Fails if a connection can be made now.
///
/// # Errors
/// It can.
pub fn stays_denied(pod: &Host, to: IpAddr, control: Control<'_>) -> Result<()> {
    let what = format!("a try of {} that tells whether it reaches {to}", pod.name());
    let reached = until_some(&what, SOON, || tried(pod, to, control))?;
    ensure!(!reached, "{} reaches {to}", pod.name());
    Ok(())
}

/// What selects servers, and lets nobody in.
pub const DENY: &str = "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata:\n  \
                    name: closed\nspec: {order: 1000, selector: app == 'web', types: [Ingress]}\n";

/// What lets in who has this label.
pub fn allow(from: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata:\n  name: friends\n  \
         namespace: shop\nspec:\n  order: 10\n  selector: app == 'web'\n  types: [Ingress]\n  \
         ingress:\n  - {{action: Allow, protocol: TCP, source: {{selector: {from}}}, \
         destination: {{ports: [{PORT}]}}}}\n"
    )
}
