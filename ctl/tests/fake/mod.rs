//! A daemon that knows its answers by heart, on a socket of its own.

pub mod answers;
mod policy;
pub mod resources;
mod workloads;

use std::{
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    pin::Pin,
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
};

use margay_proto::{
    error::invalid_argument,
    v1::{
        self,
        config_server::{Config, ConfigServer},
        list_routes_request::Destination,
        policy_server::PolicyServer,
        resources_server::ResourcesServer,
        routing_server::{Routing, RoutingServer},
        workloads_server::WorkloadsServer,
    },
};
use tokio_stream::{Stream, StreamExt, wrappers::UnixListenerStream};
use tonic::{Request, Response, Status, transport::Server};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Runs until the test process ends.
pub struct Daemon {
    socket: PathBuf,
}

impl Daemon {
    /// Listens before it returns.
    pub fn start() -> Self {
        let socket = scratch("sock");
        let listener = UnixListener::bind(&socket).expect("a fresh path can be bound");
        listener.set_nonblocking(true).expect("a socket can be made non-blocking");
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let listener = tokio::net::UnixListener::from_std(listener).expect("a listener");
                Server::builder()
                    .add_service(RoutingServer::new(Fake))
                    .add_service(ConfigServer::new(Fake))
                    .add_service(WorkloadsServer::new(workloads::Fake))
                    .add_service(PolicyServer::new(policy::Fake))
                    .add_service(ResourcesServer::new(resources::Store::default()))
                    .serve_with_incoming(UnixListenerStream::new(listener))
                    .await
                    .expect("the server runs until the process ends");
            });
        });
        Self { socket }
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// `margay ARGUMENTS…` against this daemon.
    pub fn margay(&self, arguments: &[&str]) -> Output {
        let mut command = margay();
        command.env("MARGAY_SOCKET", &self.socket).env("MARGAY_POLICY_SOCKET", &self.socket);
        command.args(arguments);
        command.output().expect("margay runs")
    }

    /// Its standard output, when it went well.
    #[track_caller]
    pub fn text(&self, arguments: &[&str]) -> String {
        let output = self.margay(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "margay {arguments:?}: {errors}");
        assert_eq!(errors, "", "margay {arguments:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let all = [&["-o", "json"], arguments].concat();
        serde_json::from_str(&self.text(&all)).expect("JSON")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// The program, untouched by the environment of whoever runs the test.
pub fn margay() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_margay"));
    command.env_remove("MARGAY_SOCKET").env_remove("MARGAY_POLICY_SOCKET").env_remove("NO_COLOR");
    command
}

/// A path nobody else has; short, for sockets have to be.
pub fn scratch(kind: &str) -> PathBuf {
    scratch_in(&std::env::temp_dir(), kind)
}

/// The same, in this directory.
pub fn scratch_in(dir: &Path, kind: &str) -> PathBuf {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = dir.join(format!("margay-{}-{number}.{kind}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

struct Fake;

type Batches<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn known(peer: &str) -> Result<(), Status> {
    match peer {
        "nobody" => Err(Status::not_found("no peer is named \"nobody\" or has this address")),
        _ => Ok(()),
    }
}

#[tonic::async_trait]
impl Routing for Fake {
    type ListRoutesStream = Batches<v1::ListRoutesResponse>;
    type ListFibStream = Batches<v1::ListFibResponse>;
    type MonitorStream = Batches<v1::MonitorResponse>;

    async fn get_status(
        &self,
        _: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        Ok(Response::new(answers::status()))
    }

    async fn list_peers(
        &self,
        _: Request<v1::ListPeersRequest>,
    ) -> Result<Response<v1::ListPeersResponse>, Status> {
        Ok(Response::new(v1::ListPeersResponse { peers: answers::peers() }))
    }

    async fn get_peer(
        &self,
        request: Request<v1::GetPeerRequest>,
    ) -> Result<Response<v1::GetPeerResponse>, Status> {
        let asked = request.into_inner().peer;
        known(&asked)?;
        let peer = answers::peers().into_iter().find(|peer| peer.name == asked);
        Ok(Response::new(answers::peer_detail(peer.unwrap_or_default())))
    }

    async fn reset_peer(
        &self,
        request: Request<v1::ResetPeerRequest>,
    ) -> Result<Response<v1::ResetPeerResponse>, Status> {
        let request = request.into_inner();
        known(&request.peer)?;
        match (request.peer.as_str(), request.kind()) {
            ("hard", v1::ResetKind::Hard)
            | ("in", v1::ResetKind::SoftIn)
            | ("out", v1::ResetKind::SoftOut)
            | ("both", v1::ResetKind::SoftBoth) => Ok(Response::new(v1::ResetPeerResponse {})),
            (_, kind) => Err(Status::internal(format!("unexpected {kind:?}"))),
        }
    }

    async fn disable_peer(
        &self,
        request: Request<v1::DisablePeerRequest>,
    ) -> Result<Response<v1::DisablePeerResponse>, Status> {
        known(&request.get_ref().peer)?;
        Ok(Response::new(v1::DisablePeerResponse {}))
    }

    async fn enable_peer(
        &self,
        request: Request<v1::EnablePeerRequest>,
    ) -> Result<Response<v1::EnablePeerResponse>, Status> {
        known(&request.get_ref().peer)?;
        Ok(Response::new(v1::EnablePeerResponse {}))
    }

    async fn list_routes(
        &self,
        request: Request<v1::ListRoutesRequest>,
    ) -> Result<Response<Self::ListRoutesStream>, Status> {
        let request = request.into_inner();
        let peers = [&request.received_from, &request.advertised_to];
        peers.into_iter().flatten().try_for_each(|peer| known(peer))?;
        if request.limit > 0 {
            // As many as asked for, in batches as a daemon would send them.
            let batches = request.limit.div_ceil(1000);
            let stream = tokio_stream::iter(0..batches).map(move |batch| {
                let rows = (batch * 1000)..request.limit.min((batch + 1) * 1000);
                Ok(v1::ListRoutesResponse { routes: rows.map(answers::numbered_route).collect() })
            });
            return Ok(Response::new(Box::pin(stream)));
        }
        let batch = match request.destination {
            Some(Destination::Address(_)) => Vec::new(),
            _ => answers::routes(),
        };
        let stream = tokio_stream::iter([Ok(v1::ListRoutesResponse { routes: batch })]);
        Ok(Response::new(Box::pin(stream)))
    }

    async fn add_route(
        &self,
        request: Request<v1::AddRouteRequest>,
    ) -> Result<Response<v1::AddRouteResponse>, Status> {
        for community in request.into_inner().communities {
            if !community.contains(':') {
                let text = format!("{community:?} is not a community (A:B, large:A:B:C)");
                return Err(invalid_argument("communities", text));
            }
        }
        Ok(Response::new(v1::AddRouteResponse {}))
    }

    async fn withdraw_route(
        &self,
        request: Request<v1::WithdrawRouteRequest>,
    ) -> Result<Response<v1::WithdrawRouteResponse>, Status> {
        match request.into_inner().prefix.as_str() {
            "10.1.0.0/16" => Ok(Response::new(v1::WithdrawRouteResponse {})),
            other => Err(Status::not_found(format!("{other} is not a route of our own"))),
        }
    }

    async fn explain_route(
        &self,
        request: Request<v1::ExplainRouteRequest>,
    ) -> Result<Response<v1::ExplainRouteResponse>, Status> {
        use v1::explain_route_request::Destination;
        let request = request.into_inner();
        request.to.iter().try_for_each(|peer| known(peer))?;
        Ok(Response::new(match request.destination {
            Some(Destination::Prefix(prefix)) if prefix == "10.20.0.0/16" => answers::explanation(),
            Some(Destination::Prefix(prefix) | Destination::Address(prefix)) => {
                return Err(Status::not_found(format!("there is no path for {prefix}")));
            }
            None => return Err(invalid_argument("destination", "missing")),
        }))
    }

    async fn list_fib(
        &self,
        _: Request<v1::ListFibRequest>,
    ) -> Result<Response<Self::ListFibStream>, Status> {
        let stream = tokio_stream::iter([Ok(v1::ListFibResponse { routes: answers::fib() })]);
        Ok(Response::new(Box::pin(stream)))
    }

    async fn monitor(
        &self,
        request: Request<v1::MonitorRequest>,
    ) -> Result<Response<Self::MonitorStream>, Status> {
        let request = request.into_inner();
        let mut events = answers::events();
        events.retain(|event| match event.event {
            Some(v1::monitor_event::Event::Peer(_)) => request.peers,
            Some(v1::monitor_event::Event::Route(_)) => request.routes,
            _ => true,
        });
        let stream = tokio_stream::iter([Ok(v1::MonitorResponse { events })]);
        Ok(Response::new(Box::pin(stream)))
    }
}

#[tonic::async_trait]
impl Config for Fake {
    async fn show(
        &self,
        _: Request<v1::ShowRequest>,
    ) -> Result<Response<v1::ShowResponse>, Status> {
        Ok(Response::new(v1::ShowResponse {
            text: "[bgp]\nasn = 65001\nlisten = [\"0.0.0.0:179\"]\n".to_owned(),
            file_name: None,
        }))
    }

    async fn diff(
        &self,
        request: Request<v1::DiffRequest>,
    ) -> Result<Response<v1::DiffResponse>, Status> {
        let changes = match request.into_inner().source {
            None => Vec::new(),
            Some(source) if source.text.contains("hold-tme") => {
                let name = source.file_name;
                return Err(invalid_argument(
                    "source",
                    format!(
                        "{name}:1: bgp.hold-tme: unknown key, did you mean hold-time?\n\
                         {name}:2: bgp.asn: must be at least 1"
                    ),
                ));
            }
            Some(_) => answers::changes(),
        };
        Ok(Response::new(v1::DiffResponse { changes }))
    }

    async fn reload(
        &self,
        _: Request<v1::ReloadRequest>,
    ) -> Result<Response<v1::ReloadResponse>, Status> {
        Ok(Response::new(v1::ReloadResponse { changes: answers::changes() }))
    }
}
