//! `margay.v1.Policy`: what is in force on this node, and what it says to a packet.
//!
//! Owns the calls and how endpoints are named in them. The state belongs to the kernel's thread: a
//! question goes there and is answered between two of its works, so nothing is copied and no lock is
//! held. Leaves to [`show`], [`trace`] and [`flows`] what is answered.

mod find;
mod flows;
mod show;
mod trace;

use margay_proto::v1::{self, policy_server};
use tokio::{
    net::UnixListener,
    sync::{mpsc, oneshot},
};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status, transport::Server};
use tracing::error;

use crate::{enforcer::Enforcer, witness::Witness};

/// A look at what is enforced; there is nothing to see before the node's name is known.
pub(crate) type Look = Box<dyn FnOnce(Option<&Enforcer>) + Send>;

/// Messages about flows that wait for a slow reader; then its stream waits, and what is forgotten before
/// it has taken it, it misses.
const WAITING: usize = 4;

/// Answers until it is dropped.
pub(crate) async fn serve(listener: UnixListener, looks: mpsc::Sender<Look>, witness: Witness) {
    let policy = policy_server::PolicyServer::new(Policy { looks, witness });
    let server = Server::builder().add_service(policy);
    if let Err(err) = server.serve_with_incoming(UnixListenerStream::new(listener)).await {
        error!(%err, "the gRPC services ended");
    }
}

/// The service.
#[derive(Debug)]
struct Policy {
    looks: mpsc::Sender<Look>,
    witness: Witness,
}

impl Policy {
    /// Asks the thread that has the state, once all has been heard.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Enforcer) -> Result<T, Status> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let (answer, answered) = oneshot::channel();
        let look = move |enforcer: Option<&Enforcer>| {
            let said = match enforcer.filter(|enforcer| enforcer.in_sync()) {
                Some(enforcer) => question(enforcer),
                None => Err(Status::unavailable("not everything has been heard from margay-bgpd")),
            };
            // Who asked may be gone.
            let _ = answer.send(said);
        };
        let stopping = || Status::unavailable("the daemon is stopping");
        self.looks.send(Box::new(look)).await.map_err(|_| stopping())?;
        answered.await.map_err(|_| stopping())?.map(Response::new)
    }
}

#[tonic::async_trait]
impl policy_server::Policy for Policy {
    async fn show(
        &self,
        call: Request<v1::ShowPolicyRequest>,
    ) -> Result<Response<v1::ShowPolicyResponse>, Status> {
        let request = call.into_inner();
        self.ask(move |enforcer| show::show(enforcer, &request.endpoint)).await
    }

    async fn trace(
        &self,
        call: Request<v1::TracePolicyRequest>,
    ) -> Result<Response<v1::TracePolicyResponse>, Status> {
        let request = call.into_inner();
        self.ask(move |enforcer| trace::trace(enforcer, &request)).await
    }

    type FlowsStream = ReceiverStream<Result<v1::FlowsResponse, Status>>;

    async fn flows(
        &self,
        call: Request<v1::FlowsRequest>,
    ) -> Result<Response<Self::FlowsStream>, Status> {
        let v1::FlowsRequest { follow, only_new } = call.into_inner();
        let (sender, messages) = mpsc::channel(WAITING);
        tokio::spawn(flows::tell(self.witness.clone(), follow, only_new, sender));
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

/// An action as answers have it.
fn action(word: &str) -> String {
    word.to_ascii_lowercase()
}

#[cfg(test)]
mod tests;
