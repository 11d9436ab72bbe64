//! `margay.v1.Policy`: what is in force on this node, and what it says to a packet.
//!
//! Owns the calls and how endpoints are named in them. The state belongs to the kernel's thread: a
//! question goes there and is answered between two of its works, so nothing is copied and no lock is
//! held. Leaves to [`show`], [`trace`], [`status`] and [`flows`] what is answered.

mod find;
mod flows;
mod show;
mod status;
mod trace;

use std::time::Duration;

use margay_proto::{
    error::invalid_argument,
    v1::{self, policy_server},
};
use policy_calc::EndpointId;
use tokio::{
    net::UnixListener,
    sync::{mpsc, oneshot},
};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status, transport::Server};
use tracing::error;

pub(crate) use show::show;
pub(crate) use status::Stands;

use crate::{enforcer::Enforcer, witness::Witness};

/// A look at what is enforced; there is nothing to see before the node's name is known.
pub(crate) type Look = Box<dyn FnOnce(Option<&Enforcer>) + Send>;

/// What the thread that has the state is asked.
pub(crate) enum Question {
    /// To look.
    Look(Look),
    /// To count.
    Count(CountQuestion),
}

/// To count the packets of an endpoint, as people name it, for so long from now on.
pub(crate) struct CountQuestion {
    pub(crate) endpoint: String,
    pub(crate) time: Duration,
    pub(crate) answer: oneshot::Sender<Result<v1::ShowPolicyResponse, Status>>,
}

/// Longest time of counting that can be asked for at once.
const LONGEST: Duration = Duration::from_secs(3600);

/// Messages about flows that wait for a slow reader; then its stream waits, and what is forgotten before
/// it has taken it, it misses.
const WAITING: usize = 4;

/// Answers until it is dropped.
pub(crate) async fn serve(
    listener: UnixListener,
    looks: mpsc::Sender<Question>,
    witness: Witness,
    stands: Stands,
) {
    let policy = policy_server::PolicyServer::new(Policy { looks, witness, stands });
    let server = Server::builder().add_service(policy);
    if let Err(err) = server.serve_with_incoming(UnixListenerStream::new(listener)).await {
        error!(%err, "the gRPC services ended");
    }
}

/// The service.
#[derive(Debug)]
struct Policy {
    looks: mpsc::Sender<Question>,
    witness: Witness,
    stands: Stands,
}

impl Policy {
    /// Asks the thread that has the state, once all has been heard.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Enforcer) -> Result<T, Status> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        self.ask_at_once(move |enforcer| whole(enforcer).and_then(question)).await
    }

    /// Likewise before that.
    async fn ask_at_once<T: Send + 'static>(
        &self,
        question: impl FnOnce(Option<&Enforcer>) -> Result<T, Status> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let (answer, answered) = oneshot::channel();
        let look = move |enforcer: Option<&Enforcer>| {
            // Who asked may be gone.
            let _ = answer.send(question(enforcer));
        };
        self.put(Question::Look(Box::new(look)), answered).await
    }

    async fn put<T>(
        &self,
        question: Question,
        answered: oneshot::Receiver<Result<T, Status>>,
    ) -> Result<Response<T>, Status> {
        let stopping = || Status::unavailable("the daemon is stopping");
        self.looks.send(question).await.map_err(|_| stopping())?;
        answered.await.map_err(|_| stopping())?.map(Response::new)
    }
}

#[tonic::async_trait]
impl policy_server::Policy for Policy {
    async fn show(
        &self,
        call: Request<v1::ShowPolicyRequest>,
    ) -> Result<Response<v1::ShowPolicyResponse>, Status> {
        let v1::ShowPolicyRequest { endpoint, count_seconds } = call.into_inner();
        if count_seconds == 0 {
            return self.ask(move |enforcer| show(enforcer, &endpoint, None)).await;
        }
        let time = Duration::from_secs(count_seconds.into());
        if time > LONGEST {
            let text = format!("{count_seconds}: expected 1 to {} seconds", LONGEST.as_secs());
            return Err(invalid_argument("count_seconds", text));
        }
        let (answer, answered) = oneshot::channel();
        self.put(Question::Count(CountQuestion { endpoint, time, answer }), answered).await
    }

    async fn trace(
        &self,
        call: Request<v1::TracePolicyRequest>,
    ) -> Result<Response<v1::TracePolicyResponse>, Status> {
        let request = call.into_inner();
        self.ask(move |enforcer| trace::trace(enforcer, &request)).await
    }

    async fn status(
        &self,
        _call: Request<v1::PolicyStatusRequest>,
    ) -> Result<Response<v1::PolicyStatusResponse>, Status> {
        let stands = self.stands.clone();
        self.ask_at_once(move |enforcer| Ok(status::status(enforcer, &stands))).await
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

/// The state, once all has been heard.
pub(crate) fn whole<E: std::ops::Deref<Target = Enforcer>>(
    enforcer: Option<E>,
) -> Result<E, Status> {
    let heard = enforcer.filter(|enforcer| enforcer.in_sync());
    heard.ok_or_else(|| Status::unavailable("not everything has been heard from margay-bgpd"))
}

/// The endpoint that a request for [`show()`] names.
pub(crate) fn endpoint(enforcer: &Enforcer, name: &str) -> Result<EndpointId, Status> {
    find::endpoint(enforcer.state(), "endpoint", name)
}

/// An action as answers have it.
fn action(word: &str) -> String {
    word.to_ascii_lowercase()
}

#[cfg(test)]
mod tests;
