//! The daemon under measurement: its node's `margay-bgpd` is played for it, and it is watched at both
//! ends, where it reports and where the kernel announces its rulesets.

use std::{
    env, fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
        mpsc as threads,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use margay_model::Resource;
use margay_proto::v1::{
    AwaitReadyRequest, AwaitReadyResponse, InSync, ReportReadyRequest, ReportReadyResponse,
    SubscribeRequest, SubscribeResponse, SyncEvent,
    sync_event::Event,
    sync_server::{Sync, SyncServer},
};
use policy_bpf::Folder;
use policy_nft::netlink::{Session, Wait, Watch};
use tokio::{net::UnixListener, runtime::Builder, sync::mpsc};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

/// Between two changes.
const PAUSE: Duration = Duration::from_millis(30);
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);
/// Rigs of this process, for their names.
static RIGS: AtomicU32 = AtomicU32::new(0);

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
pub struct Rig {
    daemon: Child,
    tell: mpsc::Sender<Result<SubscribeResponse, Status>>,
    reported: threads::Receiver<(usize, Instant)>,
    kernel: threads::Receiver<Instant>,
    revision: u64,
    dir: PathBuf,
    guard: Folder,
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        // It would keep this network namespace alive.
        let _ = self.guard.remove();
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

    /// Tells everything there is, and waits until so many endpoints are in force. When all was told,
    /// and when all was in force.
    pub fn all(
        &mut self,
        resources: Vec<Resource>,
        endpoints: usize,
    ) -> Result<(Instant, Instant)> {
        for some in resources.chunks(128) {
            let events = some.iter().map(|resource| self.event(resource)).collect();
            self.send(events)?;
        }
        self.send(vec![self.in_sync()])?;
        drop(resources);
        let told = Instant::now();
        let mut known = 0;
        loop {
            let (count, at) =
                self.reported.recv_timeout(PATIENCE).context("nothing is reported")?;
            known += count;
            if known >= endpoints {
                return Ok((told, at));
            }
        }
    }

    /// Tells a change; how long until the kernel announces a new ruleset.
    pub fn in_kernel(&mut self, resource: &Resource) -> Result<Duration> {
        let begun = self.change(resource)?;
        let at = self.kernel.recv_timeout(PATIENCE).context("the kernel has nothing new")?;
        Ok(at.duration_since(begun))
    }

    /// Tells a change; how long until an endpoint is reported.
    pub fn in_force(&mut self, resource: &Resource) -> Result<Duration> {
        let begun = self.change(resource)?;
        let (_, at) = self.reported.recv_timeout(PATIENCE).context("it is not reported")?;
        Ok(at.duration_since(begun))
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
    pub fn memory(&self) -> Result<(u64, u64)> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.daemon.id()))?;
        let field = |name: &str| -> Option<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().trim_end_matches(" kB").parse().ok()
        };
        field("VmRSS:").zip(field("VmHWM:")).context("no memory in its status")
    }
}

/// Starts one in the network namespace of the calling thread.
pub fn start() -> Result<Rig> {
    let guard = Folder::own()?;
    let number = RIGS.fetch_add(1, Ordering::Relaxed);
    let dir = env::temp_dir().join(format!("margay-bench-{}-{number}", std::process::id()));
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
    let session = Session::open("margay-bench-watch".into())?;
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
    Ok(Rig { daemon, tell, reported, kernel, revision: 0, dir, guard })
}
