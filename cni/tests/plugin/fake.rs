//! A daemon that says what a test wants and remembers what it was asked; and the call of a runtime.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use margay_proto::v1::{
    self, AddWorkloadRequest, AddWorkloadResponse, CheckWorkloadRequest, CheckWorkloadResponse,
    CollectWorkloadsRequest, CollectWorkloadsResponse, DeleteWorkloadRequest,
    DeleteWorkloadResponse, ListWorkloadsRequest, ListWorkloadsResponse, TraceWorkloadRequest,
    TraceWorkloadResponse, Workload, WorkloadInterface, WorkloadIp, WorkloadRoute,
    WorkloadStatusRequest, WorkloadStatusResponse,
    workloads_server::{Workloads, WorkloadsServer},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::UnixListener, sync::oneshot};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

/// What the daemon was asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    Add(Box<AddWorkloadRequest>),
    Delete(DeleteWorkloadRequest),
    Check(CheckWorkloadRequest),
    Collect(CollectWorkloadsRequest),
    Status(WorkloadStatusRequest),
}

/// How the daemon is.
#[derive(Clone)]
pub enum Mood {
    /// It does what it is asked.
    Good,
    /// It answers this.
    Says(Status),
    /// It makes links, and answers this to who brings addresses for them.
    Links(Status),
    /// It takes its time, and never ends.
    Hangs,
}

#[derive(Clone)]
struct Fake {
    mood: Mood,
    asked: Arc<Mutex<Vec<Asked>>>,
    there: Arc<Mutex<Vec<Workload>>>,
}

impl Fake {
    async fn answer<T>(&self, asked: Asked, answer: T) -> Result<Response<T>, Status> {
        self.asked.lock().expect("not poisoned").push(asked);
        match &self.mood {
            Mood::Good | Mood::Links(_) => Ok(Response::new(answer)),
            Mood::Says(status) => Err(status.clone()),
            Mood::Hangs => std::future::pending().await,
        }
    }
}

#[tonic::async_trait]
impl Workloads for Fake {
    async fn add(
        &self,
        request: Request<AddWorkloadRequest>,
    ) -> Result<Response<AddWorkloadResponse>, Status> {
        let request = request.into_inner();
        let answer = attached(&request);
        if let (Mood::Links(status), false) = (&self.mood, answer.ips.is_empty()) {
            self.asked.lock().expect("not poisoned").push(Asked::Add(Box::new(request)));
            return Err(status.clone());
        }
        self.answer(Asked::Add(Box::new(request)), answer).await
    }

    async fn delete(
        &self,
        request: Request<DeleteWorkloadRequest>,
    ) -> Result<Response<DeleteWorkloadResponse>, Status> {
        let answer = DeleteWorkloadResponse { found: true };
        self.answer(Asked::Delete(request.into_inner()), answer).await
    }

    async fn check(
        &self,
        request: Request<CheckWorkloadRequest>,
    ) -> Result<Response<CheckWorkloadResponse>, Status> {
        self.answer(Asked::Check(request.into_inner()), CheckWorkloadResponse {}).await
    }

    async fn collect_garbage(
        &self,
        request: Request<CollectWorkloadsRequest>,
    ) -> Result<Response<CollectWorkloadsResponse>, Status> {
        let answer = CollectWorkloadsResponse::default();
        self.answer(Asked::Collect(request.into_inner()), answer).await
    }

    async fn status(
        &self,
        request: Request<WorkloadStatusRequest>,
    ) -> Result<Response<WorkloadStatusResponse>, Status> {
        self.answer(Asked::Status(request.into_inner()), WorkloadStatusResponse {}).await
    }

    async fn list(
        &self,
        _: Request<ListWorkloadsRequest>,
    ) -> Result<Response<ListWorkloadsResponse>, Status> {
        match &self.mood {
            Mood::Hangs => std::future::pending().await,
            Mood::Good | Mood::Says(_) | Mood::Links(_) => {
                let workloads = self.there.lock().expect("not poisoned").clone();
                Ok(Response::new(ListWorkloadsResponse { workloads }))
            }
        }
    }

    async fn trace(
        &self,
        _: Request<TraceWorkloadRequest>,
    ) -> Result<Response<TraceWorkloadResponse>, Status> {
        Err(Status::unimplemented("not what a runtime asks"))
    }
}

/// What an ADD of the fake comes to: as a real one's, with the addresses that were given.
fn attached(request: &AddWorkloadRequest) -> AddWorkloadResponse {
    use v1::add_workload_request::Ipam;
    let link = request.mode() == v1::AttachmentMode::Link;
    let interface = link.then_some(1);
    let ip =
        |address: &str| WorkloadIp { address: address.into(), gateway: String::new(), interface };
    let ips = match &request.ipam {
        Some(
            Ipam::Given(v1::GivenAddresses { ips }) | Ipam::Leased(v1::LeasedAddresses { ips }),
        ) => ips.iter().map(|given| WorkloadIp { interface, ..given.clone() }).collect(),
        _ => vec![ip("10.10.0.7/32"), ip("2001:db8::7/128")],
    };
    let route = |destination: &str, gateway: &str| WorkloadRoute {
        destination: destination.into(),
        gateway: gateway.into(),
    };
    if !link {
        return AddWorkloadResponse { ips, ..AddWorkloadResponse::default() };
    }
    AddWorkloadResponse {
        interfaces: vec![
            WorkloadInterface {
                name: "cali0123456789a".into(),
                mac: "ee:ee:ee:ee:ee:ee".into(),
                mtu: 1450,
                sandbox: String::new(),
            },
            WorkloadInterface {
                name: request.attachment.clone().unwrap_or_default().ifname,
                mac: "02:00:00:00:00:07".into(),
                mtu: 1450,
                sandbox: request.netns.clone(),
            },
        ],
        ips,
        routes: vec![route("0.0.0.0/0", "169.254.1.1"), route("::/0", "fe80::ecee:eeff:feee:eeee")],
        ..AddWorkloadResponse::default()
    }
}

/// A folder with everything of a test: the socket, the spool, plugins.
pub struct Scene {
    folder: TempDir,
    daemon: Option<Daemon>,
    asked: Arc<Mutex<Vec<Asked>>>,
    there: Arc<Mutex<Vec<Workload>>>,
}

struct Daemon {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Scene {
    /// With nobody on the socket.
    pub fn alone() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder, daemon: None, asked: Arc::default(), there: Arc::default() }
    }

    /// With a daemon.
    pub fn with(mood: Mood) -> Self {
        let mut scene = Self::alone();
        let fake = Fake { mood, asked: scene.asked.clone(), there: scene.there.clone() };
        let socket = scene.path("bgpd.sock");
        let (stop, stopped) = oneshot::channel();
        let (ready, waiting) = mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async {
                let listener = UnixListener::bind(socket).expect("a socket");
                ready.send(()).expect("somebody waits");
                let serving = tonic::transport::Server::builder()
                    .add_service(WorkloadsServer::new(fake))
                    .serve_with_incoming(UnixListenerStream::new(listener));
                tokio::select! {
                    served = serving => served.expect("serves"),
                    _ = stopped => {}
                }
            });
            runtime.shutdown_timeout(Duration::from_secs(1));
        });
        waiting.recv_timeout(Duration::from_secs(10)).expect("the fake daemon listens");
        scene.daemon = Some(Daemon { stop, thread });
        scene
    }

    /// With a daemon that does what it is asked.
    pub fn good() -> Self {
        Self::with(Mood::Good)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the daemon was asked, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("not poisoned").clone()
    }

    /// The daemon has this attachment.
    pub fn has(&self, workload: Workload) {
        self.there.lock().expect("not poisoned").push(workload);
    }

    /// A configuration of ours, of this version, for this scene.
    pub fn config(&self, version: &str, more: Value) -> Value {
        let mut config = json!({
            "cniVersion": version,
            "name": "pods",
            "type": "margay",
            "socket": self.path("bgpd.sock"),
            "spool_dir": self.path("spool"),
        });
        if let (Value::Object(config), Value::Object(more)) = (&mut config, more) {
            config.extend(more);
        }
        config
    }

    /// A program in the scene's CNI_PATH.
    pub fn plugin(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("executable");
    }

    /// What is spooled.
    pub fn spooled(&self) -> Vec<DeleteWorkloadRequest> {
        let Ok(entries) = std::fs::read_dir(self.path("spool")) else { return Vec::new() };
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let read = |path: PathBuf| std::fs::read(path).expect("readable");
        paths
            .map(|path| prost::Message::decode(read(path).as_slice()).expect("a request"))
            .collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            // A fake that ended already has panicked, which its thread tells.
            let _ = daemon.stop.send(());
            let ended = daemon.thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the fake daemon panicked");
        }
    }
}

/// What a call came to.
#[derive(Debug)]
pub struct Said {
    pub stdout: String,
    pub stderr: String,
    pub done: bool,
}

impl Said {
    /// The object on stdout.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of the error on stdout.
    pub fn code(&self) -> u64 {
        assert!(!self.done, "{self:?}");
        self.json()["code"].as_u64().expect("a code")
    }
}

/// A call with the environment that runtimes make.
pub struct Runtime {
    program: PathBuf,
    variables: BTreeMap<String, String>,
}

impl Runtime {
    pub fn new(verb: &str, scene: &Scene) -> Self {
        let mut runtime =
            Self { program: env!("CARGO_BIN_EXE_margay-cni").into(), variables: BTreeMap::new() };
        // Any file will do where nothing enters it.
        let netns = scene.path("netns");
        std::fs::write(&netns, "").expect("written");
        runtime.set("CNI_COMMAND", verb);
        runtime.set("CNI_PATH", &scene.folder.path().display().to_string());
        if matches!(verb, "ADD" | "DEL" | "CHECK") {
            runtime.set("CNI_CONTAINERID", "c0ffee");
            runtime.set("CNI_NETNS", &netns.display().to_string());
            runtime.set("CNI_IFNAME", "eth0");
            runtime.set(
                "CNI_ARGS",
                "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_UID=5e",
            );
        }
        runtime
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.into(), value.into());
    }

    /// Under another name.
    pub fn named(mut self, name: &str, scene: &Scene) -> Self {
        let link = scene.path(name);
        if !link.exists() {
            std::os::unix::fs::symlink(&self.program, &link).expect("a link");
        }
        self.program = link;
        self
    }

    pub fn call(&self, stdin: impl AsRef<[u8]>) -> Said {
        let mut child = Command::new(&self.program)
            .env_clear()
            .envs(&self.variables)
            .env("PATH", "/usr/bin:/bin")
            .current_dir(Path::new("/"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        // One that refuses its environment does not read.
        let _ = child.stdin.take().expect("a pipe").write_all(stdin.as_ref());
        let output = child.wait_with_output().expect("ends");
        Said {
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
            done: output.status.success(),
        }
    }

    pub fn ask(&self, config: &Value) -> Said {
        self.call(config.to_string())
    }
}

/// Every version of the specification that is spoken.
pub const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
