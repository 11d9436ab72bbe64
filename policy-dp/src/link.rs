//! The stream of the node's `margay-bgpd`: what there is comes in, what is in force goes back.
//!
//! Promises: a stream that breaks off is gone on with where it was whole; while there is none, what
//! is enforced stays as it is.

use std::{collections::BTreeMap, future::Future, path::PathBuf, pin::pin, time::Duration};

use margay_model::ResourceKey;
use margay_proto::v1::{
    EndpointReady, ReportReadyRequest, ResourceName, SubscribeRequest, SyncArea,
    sync_client::SyncClient, sync_event::Event,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, transport::Endpoint};
use tracing::{info, warn};

use crate::{
    enforcer::{KINDS, Revisions},
    kernel::Told,
    status::Standing,
};

/// Who we say we are.
const SUBSCRIBER: &str = "margay-policy-dp";
/// From a failure to the next try: the first, and the longest.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));
/// How long the daemon may take to answer a call.
const ANSWER: Duration = Duration::from_secs(5);
/// How often it is to say that it lives, in seconds.
const ALIVE: u32 = 5;
/// Silence after which it does not.
const SILENCE: Duration = Duration::from_secs(30);
/// Largest message: what the daemon puts together is far below.
const MAX_MESSAGE: usize = 64 << 20;

/// The client.
#[derive(Debug)]
pub(crate) struct Link {
    socket: PathBuf,
    /// The node's name as configured.
    name: Option<String>,
    /// The name that was used last.
    node: Option<String>,
    /// Where the stream was whole last.
    after: Option<u64>,
    told: mpsc::Sender<Told>,
    in_force: watch::Receiver<Revisions>,
    standing: watch::Sender<Standing>,
}

/// Why a stream is heard no longer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Lost {
    #[error("cannot connect to {0}: {1}")]
    Connect(String, String),
    #[error("{0}")]
    Failed(String),
    #[error("it ended the stream")]
    Ended,
    #[error("it is silent")]
    Silent,
    #[error("it is called {0} now")]
    Renamed(String),
    #[error("nobody is left to be told")]
    Deaf,
}

impl Link {
    /// To the daemon behind this socket.
    pub(crate) fn new(
        socket: PathBuf,
        name: Option<String>,
        told: mpsc::Sender<Told>,
        in_force: watch::Receiver<Revisions>,
        standing: watch::Sender<Standing>,
    ) -> Self {
        Self { socket, name, node: None, after: None, told, in_force, standing }
    }

    /// Runs until nobody is left to be told.
    pub(crate) async fn run(mut self) {
        let (mut pause, mut logged) = (AGAIN.0, None);
        loop {
            let Err(lost) = self.session().await;
            if lost == Lost::Deaf {
                return;
            }
            let connected = self.standing.borrow().connected;
            self.standing.send_modify(|standing| {
                (standing.connected, standing.cause) = (false, lost.to_string());
                standing.losses += 1;
            });
            if connected {
                (pause, logged) = (AGAIN.0, None);
            }
            if logged.as_ref() != Some(&lost) {
                warn!(err = %lost, "margay-bgpd is not heard; what is enforced stays as it is");
                logged = Some(lost);
            }
            sleep(pause).await;
            pause = (pause * 2).min(AGAIN.1);
        }
    }

    /// Hears one stream until it fails; why.
    async fn session(&mut self) -> Result<std::convert::Infallible, Lost> {
        let socket = self.socket.display().to_string();
        let connect = |err: String| Lost::Connect(socket.clone(), err);
        let endpoint = Endpoint::from_shared(format!("unix://{socket}"))
            .map_err(|error| connect(error.to_string()))?;
        let channel = answered(endpoint.connect()).await?.map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            connect(cause.unwrap_or_else(|| error.to_string()))
        })?;
        let mut client = SyncClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
        let request = SubscribeRequest {
            kinds: KINDS.map(|kind| kind.name().to_owned()).into(),
            after_revision: self.after,
            subscriber: SUBSCRIBER.to_owned(),
            area: SyncArea::Resources.into(),
            alive_seconds: ALIVE,
        };
        let mut stream = answered(client.subscribe(request)).await?.map_err(failed)?.into_inner();
        // The first words say who answers.
        let first = answered(stream.message()).await?.map_err(failed)?.ok_or(Lost::Ended)?;
        let answering = first.events.iter().find_map(|event| match &event.event {
            Some(Event::Alive(alive)) => alive.path.last().cloned(),
            _ => None,
        });
        self.begin(answering).await?;
        self.tell(Told::Events(first.events)).await?;
        self.standing.send_modify(|standing| {
            (standing.connected, standing.cause) = (true, String::new());
        });
        info!(socket, "margay-bgpd is heard");

        let (sender, reports) = mpsc::channel(1);
        let mut report = pin!(client.report_ready(ReceiverStream::new(reports)));
        // The first report says who reports, though nothing is in force yet.
        let (mut due, mut reported) = (true, Revisions::default());
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                message = stream.message() => {
                    let message = message.map_err(failed)?.ok_or(Lost::Ended)?;
                    heard = Instant::now();
                    for event in &message.events {
                        match &event.event {
                            // Should this break off, only a whole snapshot will do.
                            Some(Event::Reset(_)) => self.after = None,
                            Some(Event::InSync(_)) => self.after = Some(event.revision),
                            _ => {}
                        }
                    }
                    self.tell(Told::Events(message.events)).await?;
                }
                answer = &mut report => {
                    return Err(answer.err().map_or(Lost::Ended, failed));
                }
                permit = sender.reserve(), if due => {
                    let permit = permit.map_err(|_| Lost::Ended)?;
                    let now = self.in_force.borrow_and_update().clone();
                    let endpoints = news(&reported, &now);
                    permit.send(ReportReadyRequest { subscriber: SUBSCRIBER.to_owned(), endpoints });
                    (reported, due) = (now, false);
                }
                changed = self.in_force.changed(), if !due => {
                    changed.map_err(|_| Lost::Deaf)?;
                    due = true;
                }
                () = sleep_until(heard + SILENCE) => return Err(Lost::Silent),
            }
        }
    }

    /// A stream begins with who answers.
    async fn begin(&mut self, answering: Option<String>) -> Result<(), Lost> {
        if let (Some(name), Some(answering)) = (&self.name, &answering)
            && name != answering
        {
            warn!(node = name, answering, "margay-bgpd is called otherwise than [node] name says");
        }
        let node = self.name.clone().or(answering).or_else(|| self.node.clone());
        let Some(node) = node else {
            return Err(Lost::Failed("it does not say what this node is called".to_owned()));
        };
        if self.after.is_some() && self.node.as_ref().is_some_and(|before| *before != node) {
            // Another node's endpoints are others: everything has to be told.
            self.after = None;
            return Err(Lost::Renamed(node));
        }
        self.node = Some(node.clone());
        self.tell(Told::Begun { node, anew: self.after.is_none() }).await
    }

    async fn tell(&self, told: Told) -> Result<(), Lost> {
        self.told.send(told).await.map_err(|_| Lost::Deaf)
    }
}

/// What is to be reported of what is in force now, after what was reported before.
fn news(
    before: &BTreeMap<ResourceKey, u64>,
    now: &BTreeMap<ResourceKey, u64>,
) -> Vec<EndpointReady> {
    let ready = |key: &ResourceKey, generation| EndpointReady {
        endpoint: Some(ResourceName {
            kind: key.kind.name().to_owned(),
            namespace: key.namespace.clone(),
            name: key.name.clone(),
        }),
        generation,
    };
    let gone = before.keys().filter(|key| !now.contains_key(*key)).map(|key| ready(key, None));
    let new = now.iter().filter(|(key, generation)| before.get(*key) != Some(*generation));
    gone.chain(new.map(|(key, generation)| ready(key, Some(*generation)))).collect()
}

async fn answered<T>(call: impl Future<Output = T>) -> Result<T, Lost> {
    timeout(ANSWER, call).await.map_err(|_| Lost::Silent)
}

fn failed(status: Status) -> Lost {
    Lost::Failed(format!("{}: {}", status.code().description(), status.message()))
}

#[cfg(test)]
mod tests;
