//! The wire to one upstream: who it must be, who we are, and the streams on one connection.

use std::{error::Error, future::poll_fn, task::Poll, time::Duration};

use anyhow::{Context, Result};
use bgp_desired::Tls;
use bytes::Bytes;
use futures::StreamExt;
use margay_model::{Key, Kind, Revision};
use margay_proto::v1::{
    SubscribeRequest, SubscribeResponse, SyncArea, sync_client::SyncClient, sync_event::Event,
};
use serde::Deserialize;
use tokio::time::timeout;
use tonic::{
    Status, Streaming,
    transport::{
        Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig,
    },
};

/// How long an upstream may take to answer a call.
const ANSWER: Duration = Duration::from_secs(4);
/// Silence after which a connection is probed, and how long the probe may take.
const PROBE: (Duration, Duration) = (Duration::from_secs(4), Duration::from_secs(4));
/// How often an upstream is to say that it lives, in seconds.
const ALIVE: u32 = 2;
/// Largest message: what an upstream puts together is far below.
const MAX_MESSAGE: usize = 64 << 20;
/// As [`super::AREAS`].
const AREAS: [SyncArea; 2] = [SyncArea::Resources, SyncArea::Ipam];

/// The way to one upstream.
#[derive(Debug)]
pub(super) struct Link {
    endpoint: Endpoint,
}

/// Why an upstream is heard no longer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// It says so, or the connection does.
    #[error("{0}")]
    Failed(String),
    /// It has ended a stream.
    #[error("it ended the stream")]
    Ended,
    /// Nothing came.
    #[error("it is silent")]
    Silent,
    /// It has not told everything.
    #[error("it has not heard everything itself")]
    NotInSync,
    /// It told less than is known.
    #[error("it has heard less than this node")]
    Behind,
    /// It hears nothing itself.
    #[error("what it tells is old: it does not hear the datastore itself")]
    Stale,
    /// It hears what it tells from us.
    #[error("it hears what it tells from this node: {}", .0.join(" -> "))]
    Loop(Vec<String>),
    /// It told what makes no sense.
    #[error("it told what cannot be read: {0}")]
    Nonsense(String),
}

impl Link {
    /// To this address, as this node.
    ///
    /// # Errors
    /// Certificates and keys that cannot be used.
    pub(super) fn new(upstream: &str, tls: &Tls) -> Result<Self> {
        let identity = Identity::from_pem(&tls.cert.octets.0, &tls.key.octets.0);
        let ca = Certificate::from_pem(&tls.ca.octets.0);
        // The certificate must be of the host that is named here, be it a name or an address.
        let config = ClientTlsConfig::new().identity(identity).ca_certificate(ca).timeout(ANSWER);
        let endpoint = Endpoint::from_shared(format!("https://{upstream}"))
            .and_then(|endpoint| endpoint.tls_config(config))
            .map_err(|error| anyhow::anyhow!(chain(&error)))
            .with_context(|| format!("cannot use the certificates for sync.upstream {upstream}"))?;
        Ok(Self::on(endpoint))
    }

    pub(super) fn on(endpoint: Endpoint) -> Self {
        let endpoint = endpoint
            .connect_timeout(ANSWER)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PROBE.0)
            .keep_alive_timeout(PROBE.1)
            .keep_alive_while_idle(true);
        Self { endpoint }
    }

    /// Begins a stream for each area, after the commits that are known.
    pub(super) async fn subscribe(
        &self,
        node: &str,
        after: [Option<Revision>; AREAS.len()],
    ) -> Result<Streams, Lost> {
        let late = |_| Lost::Connect("no answer".to_owned());
        let channel: Channel = timeout(ANSWER, self.endpoint.connect())
            .await
            .map_err(late)?
            .map_err(|error| Lost::Connect(chain(&error)))?;
        let client = SyncClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
        let mut streams = Vec::with_capacity(AREAS.len());
        for (area, after) in AREAS.into_iter().zip(after) {
            let request = SubscribeRequest {
                kinds: Vec::new(),
                after_revision: after.map(|after| after.0),
                subscriber: format!("margay-bgpd of {node}"),
                area: area.into(),
                alive_seconds: ALIVE,
            };
            let mut client = client.clone();
            let answer = timeout(ANSWER, client.subscribe(request)).await;
            streams.push(Some(answer.map_err(|_| Lost::Silent)?.map_err(failed)?.into_inner()));
        }
        Ok(Streams { streams })
    }
}

/// The streams of one connection, by area.
#[derive(Debug)]
pub(super) struct Streams {
    streams: Vec<Option<Streaming<SubscribeResponse>>>,
}

impl Streams {
    /// The next message, and of which area. May be given up without losing any.
    pub(super) async fn next(&mut self) -> Result<(usize, SubscribeResponse), Lost> {
        let streams = &mut self.streams;
        let message = poll_fn(|context| {
            for (area, stream) in streams.iter_mut().enumerate() {
                let Some(stream) = stream else { return Poll::Ready((area, None)) };
                if let Poll::Ready(message) = stream.poll_next_unpin(context) {
                    return Poll::Ready((area, message));
                }
            }
            Poll::Pending
        });
        match message.await {
            (area, Some(Ok(message))) => Ok((area, message)),
            (_, None) => Err(Lost::Ended),
            (_, Some(Err(status))) => Err(failed(status)),
        }
    }

    /// Ends the stream of an area, and with it all of them.
    pub(super) fn end(&mut self, area: usize) {
        if let Some(stream) = self.streams.get_mut(area) {
            *stream = None;
        }
    }
}

fn failed(status: Status) -> Lost {
    Lost::Failed(format!("{}: {}", status.code().description(), status.message()))
}

/// A value, or that it is gone, under its key; nothing for what is of no kind that is known here. As
/// from a store: what it says is looked at later.
///
/// # Errors
/// It has no name.
pub(super) fn value(event: Event) -> Result<Option<(Key, Option<Bytes>)>, Lost> {
    let key = |kind: &str, namespace: String, name: String| {
        Some(Key::namespaced(Kind::from_name(kind)?, namespace, name))
    };
    Ok(match event {
        Event::Object(text) => {
            let head: Head =
                serde_json::from_str(&text).map_err(|error| Lost::Nonsense(error.to_string()))?;
            let Name { namespace, name } = head.metadata;
            key(&head.kind, namespace, name).map(|key| (key, Some(text.into())))
        }
        Event::Deleted(name) => key(&name.kind, name.namespace, name.name).map(|key| (key, None)),
        Event::Stored(stored) => {
            Key::from_path(&stored.key).ok().map(|key| (key, stored.value.map(Bytes::from)))
        }
        Event::InSync(_) | Event::Reset(_) | Event::Alive(_) => None,
    })
}

/// What an object is called.
#[derive(Deserialize)]
struct Head {
    kind: String,
    metadata: Name,
}

#[derive(Deserialize)]
struct Name {
    #[serde(default)]
    namespace: String,
    name: String,
}

/// How others are met that come over TCP: only those whose certificate was signed as configured.
///
/// # Errors
/// Certificates and keys that cannot be used.
pub(crate) fn server_tls(tls: &Tls) -> Result<Server> {
    let config = ServerTlsConfig::new()
        .identity(Identity::from_pem(&tls.cert.octets.0, &tls.key.octets.0))
        .client_ca_root(Certificate::from_pem(&tls.ca.octets.0))
        .timeout(ANSWER);
    Server::builder()
        .tls_config(config)
        .map_err(|error| anyhow::anyhow!(chain(&error)))
        .context("cannot use the certificates of [api.tls]")
        .map(|server| {
            server
                .http2_keepalive_interval(Some(PROBE.0))
                .http2_keepalive_timeout(Some(PROBE.1))
                .tcp_nodelay(true)
        })
}

/// An error with its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    text
}
