//! The connection to a daemon.

use std::{error::Error, io, path::Path, time::Duration};

use margay_proto::v1::{
    config_client::ConfigClient, datastore_client::DatastoreClient, ipam_client::IpamClient,
    policy_client::PolicyClient, resources_client::ResourcesClient, routing_client::RoutingClient,
    workloads_client::WorkloadsClient,
};
use tonic::transport::{Channel, Endpoint};

use crate::error::{Failure, plain};

/// A daemon that does not even accept within this time is not going to.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Until the first word of an answer, whatever the daemon has to do for it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Octets on their way before the reader has seen them: enough to keep both ends busy, little
/// enough that a million routes never pile up.
const WINDOW: u32 = 1 << 20;
/// Largest single answer; lists without bound come as streams of smaller ones.
const MAX_ANSWER: usize = 256 << 20;

/// Whom a socket belongs to, and what to do where nobody answers.
struct Daemon {
    name: &'static str,
    start: &'static str,
    other: &'static str,
}

/// Who answers for the node.
pub const NODE_DAEMON: &str = "margay-bgpd";
/// Who answers for its policies.
pub const POLICY_DATAPLANE: &str = "margay-policy-dp";

const BGPD: Daemon = Daemon {
    name: NODE_DAEMON,
    start: "start it: margay-bgpd --config /etc/margay/bgpd.toml",
    other: "a daemon with another socket is named by --socket or MARGAY_SOCKET",
};
const POLICY: Daemon = Daemon {
    name: POLICY_DATAPLANE,
    start: "start it: margay-policy-dp --config /etc/margay/policy-dp.toml",
    other: "a daemon with another socket is named by --policy-socket or MARGAY_POLICY_SOCKET",
};

/// The services of a daemon.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
}

impl Client {
    /// Connects to the node daemon's socket, or says what is wrong with it.
    pub async fn connect(socket: &Path) -> Result<Self, Failure> {
        Self::to(&BGPD, socket).await
    }

    /// Likewise to the policy dataplane's, which has the service `Policy` alone.
    pub async fn connect_policy(socket: &Path) -> Result<Self, Failure> {
        Self::to(&POLICY, socket).await
    }

    async fn to(daemon: &Daemon, socket: &Path) -> Result<Self, Failure> {
        let Some(path) = socket.to_str() else {
            return Err(Failure::usage(format!("{} is not valid UTF-8", socket.display())));
        };
        let endpoint = Endpoint::from_shared(format!("unix://{path}"))
            .map_err(|error| Failure::usage(format!("{path} is not a socket path: {error}")))?
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW);
        match endpoint.connect().await {
            Ok(channel) => Ok(Self { channel }),
            Err(error) => Err(refused(daemon, socket, &error)),
        }
    }

    /// The service `Routing`.
    pub fn routing(&self) -> RoutingClient<Channel> {
        RoutingClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    /// The service `Resources`.
    pub fn resources(&self) -> ResourcesClient<Channel> {
        ResourcesClient::new(self.channel.clone())
            .max_decoding_message_size(MAX_ANSWER)
            .max_encoding_message_size(MAX_ANSWER)
    }

    /// The service `Datastore`.
    pub fn datastore(&self) -> DatastoreClient<Channel> {
        DatastoreClient::new(self.channel.clone())
    }

    /// The service `Ipam`.
    pub fn ipam(&self) -> IpamClient<Channel> {
        IpamClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    /// The service `Workloads`.
    pub fn workloads(&self) -> WorkloadsClient<Channel> {
        WorkloadsClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    /// The service `Policy`.
    pub fn policy(&self) -> PolicyClient<Channel> {
        PolicyClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    /// The service `Config`.
    pub fn config(&self) -> ConfigClient<Channel> {
        ConfigClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }
}

/// Why there is no connection, in words that lead to a remedy.
fn refused(daemon: &Daemon, socket: &Path, error: &(dyn Error + 'static)) -> Failure {
    let socket = socket.display();
    let cause = std::iter::successors(Some(error), |&error| error.source())
        .find_map(|error| error.downcast_ref::<io::Error>());
    let Daemon { name, start, other } = *daemon;
    match cause.map(io::Error::kind) {
        Some(io::ErrorKind::NotFound) => {
            Failure::failed(format!("{name} is not running: there is no socket {socket}"))
                .with_help(start)
                .with_help(other)
        }
        Some(io::ErrorKind::ConnectionRefused) => {
            Failure::failed(format!("{name} is not running: nobody listens on {socket}"))
                .with_help(start)
                .with_help(other)
        }
        Some(io::ErrorKind::PermissionDenied) => {
            Failure::failed(format!("no permission to open {socket}"))
                .with_help("run as root or as a member of the group `margay`")
        }
        Some(io::ErrorKind::TimedOut) => {
            Failure::failed(format!("{name} does not answer on {socket}"))
        }
        _ => {
            let cause = cause.map_or_else(|| error.to_string(), plain);
            Failure::failed(format!("cannot connect to {socket}: {cause}")).with_help(other)
        }
    }
}
