//! What a change costs in a large cluster, from the event of the stream to the kernel's word:
//! `cargo build --profile lab -p margay-policy-dp && cargo run --profile lab -p margay-policy-dp
//! --example scale [-- POLICIES ENDPOINTS LOCAL]`, as root.
//!
//! Plays the node's `margay-bgpd` for the daemon itself, in a network namespace of its own. A change
//! ends when the kernel announces its new ruleset, a pod when the daemon reports it.

#[path = "../calc/examples/world/mod.rs"]
mod world;

use std::{
    env, fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Mutex, mpsc as threads},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use margay_model::{Resource, kinds::PolicyType};
use margay_proto::v1::{
    AwaitReadyRequest, AwaitReadyResponse, InSync, ReportReadyRequest, ReportReadyResponse,
    SubscribeRequest, SubscribeResponse, SyncEvent,
    sync_event::Event,
    sync_server::{Sync, SyncServer},
};
use nix::sched::{CloneFlags, unshare};
use policy_nft::netlink::{Session, Wait, Watch};
use tokio::{net::UnixListener, runtime::Builder, sync::mpsc};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

use world::{World, endpoint, policy};

/// How often each change is made.
const TIMES: u32 = 30;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(30);
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

type Stream = ReceiverStream<Result<SubscribeResponse, Status>>;

/// A `margay-bgpd` that tells one subscriber what it is given.
struct Bgpd {
    events: Mutex<Option<mpsc::Receiver<Result<SubscribeResponse, Status>>>>,
    /// Endpoints reported, and when.
    reported: threads::Sender<(usize, Instant)>,
}

#[tonic::async_trait]
impl Sync for Bgpd {
    type SubscribeStream = Stream;

    async fn subscribe(
        &self,
        _: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let events = self.events.lock().ok().and_then(|mut events| events.take());
        let events = events.ok_or_else(|| Status::unavailable("one subscriber only"))?;
        Ok(Response::new(ReceiverStream::new(events)))
    }

    async fn report_ready(
        &self,
        request: Request<Streaming<ReportReadyRequest>>,
    ) -> Result<Response<ReportReadyResponse>, Status> {
        let mut reports = request.into_inner();
        while let Some(report) = reports.message().await? {
            // Who ends does not listen any more.
            let _ = self.reported.send((report.endpoints.len(), Instant::now()));
        }
        Ok(Response::new(ReportReadyResponse {}))
    }

    async fn await_ready(
        &self,
        _: Request<AwaitReadyRequest>,
    ) -> Result<Response<AwaitReadyResponse>, Status> {
        Err(Status::unimplemented("nobody waits here"))
    }
}

/// The daemon, and both ends it is watched at.
struct Rig {
    daemon: Child,
    tell: mpsc::Sender<Result<SubscribeResponse, Status>>,
    reported: threads::Receiver<(usize, Instant)>,
    kernel: threads::Receiver<Instant>,
    revision: u64,
    dir: PathBuf,
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Rig {
    fn event(&mut self, resource: &Resource) -> SyncEvent {
        self.revision += 1;
        SyncEvent {
            event: Some(Event::Object(resource.to_json().to_string())),
            revision: self.revision,
        }
    }

    fn in_sync(&self) -> SyncEvent {
        let revision = self.revision;
        SyncEvent { event: Some(Event::InSync(InSync { revision })), revision }
    }

    fn send(&self, events: Vec<SyncEvent>) -> Result<()> {
        Ok(self.tell.blocking_send(Ok(SubscribeResponse { events }))?)
    }

    /// Tells a change; when.
    fn change(&mut self, resource: &Resource) -> Result<Instant> {
        thread::sleep(PAUSE);
        while self.kernel.try_recv().is_ok() || self.reported.try_recv().is_ok() {}
        let events = vec![self.event(resource), self.in_sync()];
        let begun = Instant::now();
        self.send(events)?;
        Ok(begun)
    }

    /// The daemon's memory in kB: now, and at most.
    fn memory(&self) -> Result<(u64, u64)> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.daemon.id()))?;
        let field = |name: &str| -> Option<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().trim_end_matches(" kB").parse().ok()
        };
        field("VmRSS:").zip(field("VmHWM:")).context("no memory in its status")
    }
}

fn start() -> Result<Rig> {
    let dir = env::temp_dir().join(format!("margay-scale-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let (tell, events) = mpsc::channel(1024);
    let (report, reported) = threads::channel();
    let socket = dir.join("bgpd.sock");
    let path = socket.clone();
    thread::spawn(move || -> Result<()> {
        Builder::new_current_thread().enable_all().build()?.block_on(async {
            let bgpd = Bgpd { events: Mutex::new(Some(events)), reported: report };
            let incoming = UnixListenerStream::new(UnixListener::bind(path)?);
            let server = Server::builder().add_service(SyncServer::new(bgpd));
            Ok(server.serve_with_incoming(incoming).await?)
        })
    });
    let session = Session::open("margay-scale-watch".into())?;
    let mut watch = Watch::open(&session)?;
    let (announced, kernel) = threads::channel();
    thread::spawn(move || {
        while watch.next(Wait::Block).is_ok() && announced.send(Instant::now()).is_ok() {}
    });
    let config = dir.join("policy-dp.toml");
    let text = format!(
        "[node]\nname = \"here\"\nlog-level = \"warn\"\n[bgpd]\nsocket = \"{}\"\n[api]\nsocket = \"{}\"\n\
         [http]\nlisten = \"\"\n",
        socket.display(),
        dir.join("policy-dp.sock").display()
    );
    fs::write(&config, text)?;
    let examples = env::current_exe()?;
    let built = examples.ancestors().nth(2).context("no folder of what was built")?;
    let daemon = Command::new(built.join("margay-policy-dp"))
        .arg("--config")
        .arg(&config)
        .stdin(Stdio::null())
        .spawn()
        .context("cannot start margay-policy-dp: build it first")?;
    Ok(Rig { daemon, tell, reported, kernel, revision: 0, dir })
}

/// Makes a change several times; the median and the longest.
fn several(what: &str, mut once: impl FnMut(u32) -> Result<Duration>) -> Result<()> {
    let mut all = (0..TIMES).map(&mut once).collect::<Result<Vec<_>>>()?;
    all.sort();
    let ms = |took: Option<&Duration>| took.map_or(0.0, |took| took.as_secs_f64() * 1000.0);
    println!(
        "{what:<42} median {:>9.3} ms, longest {:>9.3} ms",
        ms(all.get(all.len() / 2)),
        ms(all.last())
    );
    Ok(())
}

fn main() -> Result<()> {
    let mut numbers = env::args().skip(1).filter_map(|text| text.parse::<u32>().ok());
    let policies = numbers.next().unwrap_or(10_000);
    let endpoints = numbers.next().unwrap_or(10_000);
    let local = numbers.next().unwrap_or(250);
    let world = World { policies, endpoints, local };
    println!("{policies} policies of 5 rules, {endpoints} endpoints, {local} of them here");
    unshare(CloneFlags::CLONE_NEWNET)
        .context("cannot make a network namespace (this needs root)")?;

    let begun = Instant::now();
    let mut rig = start()?;
    let all: Vec<Resource> = world.resources().collect();
    for some in all.chunks(128) {
        let events = some.iter().map(|resource| rig.event(resource)).collect();
        rig.send(events)?;
    }
    rig.send(vec![rig.in_sync()])?;
    drop(all);
    let told = Instant::now();
    let mut known = 0;
    while known < usize::try_from(local)? {
        let (count, at) = rig.reported.recv_timeout(PATIENCE).context("nothing is reported")?;
        known += count;
        if known == usize::try_from(local)? {
            println!(
                "cold start: all in force {:.3} s after its start, all told after {:.3} s",
                at.duration_since(begun).as_secs_f64(),
                told.duration_since(begun).as_secs_f64()
            );
        }
    }
    let (now, most) = rig.memory()?;
    println!("memory: {} MB, at most {} MB", now / 1024, most / 1024);

    let kernel = |rig: &mut Rig, resource: &Resource| -> Result<Duration> {
        let begun = rig.change(resource)?;
        let at = rig.kernel.recv_timeout(PATIENCE).context("the kernel has nothing new")?;
        Ok(at.duration_since(begun))
    };
    // A local endpoint with policies of its namespace, and remote ones that those of all let in.
    let in_use = (0..endpoints).find(|index| {
        let namespace = index / 100;
        world.is_here(*index) && index % 10 == namespace % 10 && namespace > 0
    });
    let in_use = in_use.context("no local endpoint has policies")?;
    let namespace = in_use / 100;
    let let_in = |index: &u32| index % 10 < 5 && index % 3 == index % 10 % 3;
    let remote = (0..endpoints).filter(|index| !world.is_here(*index)).filter(let_in);
    let remote: Vec<u32> = remote.collect();
    ensure!(remote.len() > usize::try_from(TIMES)?, "few endpoints are remote");
    several("a remote endpoint gets an address more", |time| {
        let index = remote.get(usize::try_from(time)?).context("enough of them")?;
        let mut resource = endpoint(*index, "there");
        if let Resource::WorkloadEndpoint(object) = &mut resource {
            object.spec.ip_networks.push(format!("10.200.{time}.1/32").parse()?);
        }
        kernel(&mut rig, &resource)
    })?;
    several("a policy of a namespace is edited", |time| {
        let mut resource = policy(namespace + world.namespaces(), world.namespaces());
        if let Resource::NetworkPolicy(object) = &mut resource {
            object.spec.ingress.truncate(if time % 2 == 0 { 3 } else { 4 });
        }
        kernel(&mut rig, &resource)
    })?;
    several("a policy of all is edited", |time| {
        let mut resource = policy(0, world.namespaces());
        if let Resource::GlobalNetworkPolicy(object) = &mut resource {
            object.spec.ingress.truncate(if time % 2 == 0 { 3 } else { 4 });
        }
        kernel(&mut rig, &resource)
    })?;
    several("a policy comes, of another order", |time| {
        let mut resource = policy(namespace + world.namespaces(), world.namespaces());
        if let Resource::NetworkPolicy(object) = &mut resource {
            object.metadata.name = Some(format!("new{time}"));
            object.spec.types = vec![PolicyType::Ingress];
        }
        kernel(&mut rig, &resource)
    })?;
    several("a pod comes, until it is reported", |time| {
        let begun = rig.change(&endpoint(endpoints + 1 + time, "here"))?;
        let (_, at) = rig.reported.recv_timeout(PATIENCE).context("it is not reported")?;
        Ok(at.duration_since(begun))
    })?;
    several("a pod with policies comes", |time| {
        let mut resource = endpoint(in_use, "here");
        if let Resource::WorkloadEndpoint(object) = &mut resource {
            object.metadata.name = Some(format!("here-k8s-more{time}-eth0"));
            object.spec.pod = Some(format!("more{time}"));
            object.spec.interface_name = Some(format!("calimore{time}"));
            object.spec.ip_networks = vec![format!("10.201.{time}.1/32").parse()?];
        }
        let begun = rig.change(&resource)?;
        let (_, at) = rig.reported.recv_timeout(PATIENCE).context("it is not reported")?;
        Ok(at.duration_since(begun))
    })?;
    let (now, most) = rig.memory()?;
    println!("memory: {} MB, at most {} MB", now / 1024, most / 1024);
    Ok(())
}
