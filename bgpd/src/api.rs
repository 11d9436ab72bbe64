//! The gRPC services: all of them on the Unix socket, for other nodes' daemons over TCP what they
//! need: [`sync`].

mod affinities;
mod config;
mod convert;
mod datastore;
mod explain;
mod fib;
mod ipam;
mod monitor;
mod peers;
mod resources;
mod routes;
mod routing;
mod sync;
mod workloads;

use std::{net::Ipv4Addr, sync::Arc, time::Instant};

use bgp_desired::Desired;
use bgp_speaker::SpeakerHandle;
use margay_fib::FibHandle;
use margay_model::Actor;
use margay_proto::{
    FILE_DESCRIPTOR_SET,
    v1::{
        config_server::ConfigServer, datastore_server::DatastoreServer, ipam_server::IpamServer,
        resources_server::ResourcesServer, routing_server::RoutingServer, sync_server::SyncServer,
        workloads_server::WorkloadsServer,
    },
};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::{mpsc, watch},
};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{
    Request as Call, Status,
    transport::{
        Server,
        server::{TcpIncoming, UdsConnectInfo},
    },
};
use tracing::error;

use crate::{
    datastore::Datastore, ipam::Ipam, mirror::Mirror, node::Standing, origin::Origin, ready::Ready,
    reload::Request, resources::Resources as Cluster, workload::Workloads,
};

/// Largest request and answer about resources: manifests of a whole cluster.
const MAX_MESSAGE: usize = 64 << 20;

/// What the services, health and metrics look at.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// BGP identifier at the start, for a configuration without one.
    pub(crate) router_id: Ipv4Addr,
    /// When the daemon started.
    pub(crate) started: Instant,
    /// The configuration in force.
    pub(crate) desired: watch::Receiver<Arc<Desired>>,
    /// BGP.
    pub(crate) speaker: SpeakerHandle,
    /// The kernel.
    pub(crate) fib: FibHandle,
    /// The daemon's own file.
    pub(crate) config_file: Option<Arc<str>>,
    /// Where resources are kept; `None` where the configuration file is all there is.
    pub(crate) datastore: Option<Datastore>,
    /// What is written to it.
    pub(crate) resources: Option<Cluster>,
    /// A copy of the resources; empty without a datastore.
    pub(crate) mirror: Mirror,
    /// A copy of blocks and leases, where other nodes may ask.
    pub(crate) blocks: Option<Mirror>,
    /// Where both come from.
    pub(crate) origin: Origin,
    /// What policy is in force.
    pub(crate) ready: Ready,
    /// How it stands with our own Node.
    pub(crate) standing: watch::Receiver<Standing>,
    /// Addresses; `None` without a datastore.
    pub(crate) ipam: Option<Ipam>,
    /// Workloads; `None` without a datastore.
    pub(crate) workloads: Option<Workloads>,
    /// The owner of the configuration.
    pub(crate) requests: mpsc::Sender<Request>,
}

impl Node {
    /// The BGP identifier in force.
    pub(crate) fn router_id(&self) -> Ipv4Addr {
        let configured = self.desired.borrow().bgp.as_ref().and_then(|bgp| bgp.router_id);
        configured.unwrap_or(self.router_id)
    }
}

/// Answers until `stopped` says so.
pub(crate) async fn serve(listener: UnixListener, node: Node, mut stopped: watch::Receiver<bool>) {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the descriptor set was made by our own build");
    let store = node.datastore.as_ref().map(|datastore| Arc::clone(&datastore.store));
    let backups = datastore::Datastore::new(store, Arc::clone(&node.name));
    let resources = resources::Resources::new(&node);
    let resources = ResourcesServer::new(resources)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    let ipam = ipam::Ipam::new(&node);
    let sync = sync(&node, Some(node.ready.clone()));
    let result = Server::builder()
        .add_service(reflection)
        .add_service(RoutingServer::new(routing::Routing(node.clone())))
        .add_service(resources)
        .add_service(DatastoreServer::new(backups))
        .add_service(SyncServer::new(sync))
        .add_service(IpamServer::new(ipam))
        .add_service(WorkloadsServer::new(workloads::Workloads(node.clone())))
        .add_service(ConfigServer::new(config::Config(node)))
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), async move {
            // A sender that is gone means the same.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        })
        .await;
    if let Err(error) = result {
        error!(err = %error, "the gRPC services ended");
    }
}

/// Answers the daemons of other nodes until `stopped` says so. Whoever has a certificate that `server`
/// takes may hear everything: it is what a node of the cluster may read. Nobody changes anything here.
pub(crate) async fn serve_nodes(
    listener: TcpListener,
    mut server: Server,
    node: Node,
    mut stopped: watch::Receiver<bool>,
) {
    let sync = sync(&node, None);
    let result = server
        .add_service(SyncServer::new(sync))
        .serve_with_incoming_shutdown(TcpIncoming::from(listener), async move {
            // A sender that is gone means the same.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        })
        .await;
    if let Err(error) = result {
        error!(err = %error, "the service for other nodes ended");
    }
}

fn sync(node: &Node, ready: Option<Ready>) -> sync::Sync {
    sync::Sync {
        mirror: node.mirror.clone(),
        blocks: node.blocks.clone(),
        there: node.datastore.is_some(),
        origin: node.origin.clone(),
        ready,
    }
}

/// Who calls, for the audit log.
fn actor<T>(service: &str, node: &str, call: &Call<T>) -> Actor {
    let peer = call.extensions().get::<UdsConnectInfo>();
    let user = peer.and_then(|info| info.peer_cred).map(|cred| format!("uid {}", cred.uid()));
    Actor { component: format!("margay-bgpd/{service}"), node: node.to_owned(), user }
}

/// The answer of everything that needs a datastore where there is none.
fn no_datastore() -> Status {
    Status::failed_precondition("there is no datastore: [datastore] type is \"none\"")
}

/// The answer while starting or stopping.
fn unavailable() -> Status {
    Status::unavailable("the daemon is stopping")
}
