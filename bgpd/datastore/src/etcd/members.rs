//! The members of the cluster: connections, who is asked, and what their errors mean.
//!
//! One member is asked until it fails; then the next one. A member that is cut off from the others
//! says so itself (every request asks for a leader) or does not answer in its share of the time.

use std::{
    future::Future,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use margay_model::Revision;
use tonic::{
    Request, Response, Status as GrpcStatus,
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use super::{
    EtcdConfig, failure,
    failure::{Failure, Meaning},
    layout,
    pace::Pace,
    pb::{
        AuthenticateRequest, RangeRequest, RangeResponse, TxnRequest, TxnResponse,
        auth_client::AuthClient, kv_client::KvClient, lease_client::LeaseClient,
        watch_client::WatchClient,
    },
};
use crate::{error::StoreError, store::Status};

/// A member's share of the time of a request: the rest is for the others.
const SHARE: Duration = Duration::from_millis(1500);
/// How long after everybody failed before they are asked again.
const PAUSE: Duration = Duration::from_millis(50);
/// Silence after which a connection is probed, and how long the probe may take. Members do not
/// bear more than one in five seconds.
const PROBE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(3));
/// A page is bounded by rows, not by octets; rows are bounded by [`Pace`].
const MAX_RESPONSE: usize = 512 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Members {
    members: Vec<Member>,
    user: Option<(String, String)>,
    patience: Duration,
    /// Who is asked.
    current: AtomicUsize,
    pace: Pace,
    health: Mutex<Health>,
}

#[derive(Debug)]
struct Member {
    url: String,
    channel: Channel,
    /// What etcd gave us for our password.
    token: Mutex<Token>,
}

/// Whether a member wants to see a token.
#[derive(Clone, Debug, Default)]
enum Token {
    /// Not asked yet, or no longer good.
    #[default]
    Missing,
    /// It knows no users.
    Needless,
    /// This one.
    Known(MetadataValue<Ascii>),
}

#[derive(Debug, Default)]
struct Health {
    last_error: Option<String>,
    revision: Revision,
}

/// Whether asking twice can do harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// It cannot: a read, or a transaction that cannot be made twice.
    Harmless,
    /// It can: only what was certainly not done is asked again.
    Harmful,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer<T> {
    pub(super) value: T,
    /// The request was asked before, and may have been done then.
    pub(super) doubtful: bool,
}

/// A way to ask one member.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    channel: Channel,
    token: Option<MetadataValue<Ascii>>,
}

impl Connection {
    pub(super) fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel.clone()).max_decoding_message_size(MAX_RESPONSE)
    }

    pub(super) fn watch(&self) -> WatchClient<Channel> {
        WatchClient::new(self.channel.clone()).max_decoding_message_size(MAX_RESPONSE)
    }

    pub(super) fn lease(&self) -> LeaseClient<Channel> {
        LeaseClient::new(self.channel.clone())
    }

    /// A request that a member without a leader refuses.
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }
}

impl Members {
    pub(super) fn new(config: EtcdConfig) -> Result<Self, StoreError> {
        if config.endpoints.is_empty() {
            return Err(StoreError::invalid("etcd needs at least one endpoint"));
        }
        let members: Result<Vec<Member>, StoreError> =
            config.endpoints.iter().map(|url| Member::new(url, &config)).collect();
        Ok(Self {
            members: members?,
            user: config.user,
            patience: config.patience,
            current: AtomicUsize::new(0),
            pace: Pace::default(),
            health: Mutex::default(),
        })
    }

    pub(super) async fn range(&self, request: RangeRequest) -> Result<RangeResponse, StoreError> {
        let asked = layout::revision(request.revision);
        let answer = self
            .call(Again::Harmless, |to| {
                let request = to.request(request.clone());
                async move { to.kv().range(request).await }
            })
            .await
            .map_err(|failure| failure.of_read(asked))?;
        self.note_revision(answer.value.header.map_or(0, |header| header.revision));
        Ok(answer.value)
    }

    /// Reads a range as far as a member sends it in its share of the time: fewer rows each time nobody
    /// answers, in this request and the next ones.
    pub(super) async fn page(&self, request: RangeRequest) -> Result<RangeResponse, StoreError> {
        let wanted = usize::try_from(request.limit).unwrap_or(0);
        let rows = self.pace.rows(wanted);
        let asked = AtomicUsize::new(0);
        let start = Instant::now();
        let answer = self
            .call(Again::Harmless, |to| {
                let before = asked.fetch_add(1, Ordering::Relaxed);
                let limit = i64::try_from(Pace::after(rows, before)).unwrap_or(i64::MAX);
                let request = to.request(RangeRequest { limit, ..request.clone() });
                async move { to.kv().range(request).await }
            })
            .await;
        let asked = asked.into_inner();
        match answer {
            Ok(answer) => {
                let last = Pace::after(rows, asked.saturating_sub(1));
                let took = if asked > 1 { SHARE } else { start.elapsed() };
                self.pace.answered(last, took);
                self.note_revision(answer.value.header.map_or(0, |header| header.revision));
                Ok(answer.value)
            }
            Err(failure) => {
                if asked > 0 {
                    self.pace.unanswered(Pace::after(rows, asked));
                }
                Err(failure.of_read(layout::revision(request.revision)))
            }
        }
    }

    pub(super) async fn txn(
        &self,
        again: Again,
        request: TxnRequest,
    ) -> Result<Answer<TxnResponse>, Failure> {
        let answer = self
            .call(again, |to| {
                let request = to.request(request.clone());
                async move { to.kv().txn(request).await }
            })
            .await?;
        self.note_revision(answer.value.header.map_or(0, |header| header.revision));
        Ok(answer)
    }

    /// The last revision of the cluster.
    pub(super) async fn revision_now(&self) -> Result<Revision, StoreError> {
        let request = RangeRequest {
            key: b"/margay/none".to_vec(),
            keys_only: true,
            ..RangeRequest::default()
        };
        let response = self.range(request).await?;
        Ok(layout::revision(response.header.map_or(0, |header| header.revision)))
    }

    /// Asks one member after the other until one answers or time is up.
    pub(super) async fn call<T, F>(
        &self,
        again: Again,
        ask: impl Fn(Connection) -> F,
    ) -> Result<Answer<T>, Failure>
    where
        F: Future<Output = Result<Response<T>, GrpcStatus>>,
    {
        let deadline = Instant::now() + self.patience;
        let was_failing = self.health().last_error.is_some();
        let mut failed = 0;
        let mut doubtful = false;
        let mut before: Option<GrpcStatus> = None;
        loop {
            let at = self.current.load(Ordering::Relaxed) % self.members.len();
            let member = self.member(at);
            let share = SHARE.min(deadline.saturating_duration_since(Instant::now()));
            let status = match tokio::time::timeout(share, self.ask(member, &ask)).await {
                Ok(Ok(value)) => {
                    self.health().last_error = None;
                    return Ok(Answer { value, doubtful });
                }
                Ok(Err(status)) => status,
                Err(_) => GrpcStatus::deadline_exceeded(failure::SILENCE),
            };
            let meaning = failure::meaning(&status);
            doubtful |= meaning == Meaning::Unknown;
            // When time runs out, what was said before tells more than silence.
            let status = match before.take() {
                Some(before) if status.message() == failure::SILENCE => before,
                _ => status,
            };
            before = Some(status.clone());
            let result = Failure { endpoint: member.url.clone(), status, doubtful, meaning };
            if meaning == Meaning::Final {
                return Err(result);
            }
            failed += 1;
            if meaning == Meaning::TokenExpired {
                *member.token() = Token::Missing;
            } else {
                self.leave(at, &result);
            }
            // Once it is known to be away, one round is enough to know that it still is.
            let everybody = failed >= self.members.len();
            if (doubtful && again == Again::Harmful)
                || Instant::now() + PAUSE >= deadline
                || (everybody && was_failing)
            {
                return Err(result);
            }
            if everybody {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// A connection to the member that is asked now, with what names it for [`Members::leave_url`].
    pub(super) async fn connection(&self) -> Result<(usize, Connection), Failure> {
        let at = self.current.load(Ordering::Relaxed) % self.members.len();
        let member = self.member(at);
        match tokio::time::timeout(SHARE, self.connect(member)).await {
            Ok(Ok(connection)) => Ok((at, connection)),
            Ok(Err(status)) => Err(self.lost(at, status)),
            Err(_) => Err(self.lost(at, GrpcStatus::deadline_exceeded(failure::SILENCE))),
        }
    }

    /// Says that the member of a connection failed; the next one is asked from now on.
    pub(super) fn lost(&self, at: usize, status: GrpcStatus) -> Failure {
        let member = self.member(at);
        let meaning = failure::meaning(&status);
        if meaning == Meaning::TokenExpired {
            *member.token() = Token::Missing;
        }
        let failure = Failure { endpoint: member.url.clone(), status, doubtful: false, meaning };
        self.leave(at, &failure);
        failure
    }

    pub(super) fn note_revision(&self, revision: i64) {
        let mut health = self.health();
        health.revision = health.revision.max(layout::revision(revision));
    }

    pub(super) fn status(&self) -> Status {
        let at = self.current.load(Ordering::Relaxed) % self.members.len();
        let health = self.health();
        Status {
            kind: "etcd",
            connected: health.last_error.is_none() && health.revision > Revision(0),
            endpoint: self.member(at).url.clone(),
            last_error: health.last_error.clone(),
            revision: health.revision,
        }
    }

    async fn ask<T, F>(
        &self,
        member: &Member,
        ask: impl Fn(Connection) -> F,
    ) -> Result<T, GrpcStatus>
    where
        F: Future<Output = Result<Response<T>, GrpcStatus>>,
    {
        let connection = self.connect(member).await?;
        Ok(ask(connection).await?.into_inner())
    }

    async fn connect(&self, member: &Member) -> Result<Connection, GrpcStatus> {
        let channel = member.channel.clone();
        let Some((name, password)) = &self.user else {
            return Ok(Connection { channel, token: None });
        };
        let known = member.token().clone();
        let token = match known {
            Token::Known(token) => Some(token),
            Token::Needless => None,
            Token::Missing => {
                let request =
                    AuthenticateRequest { name: name.clone(), password: password.clone() };
                let answer = AuthClient::new(channel.clone()).authenticate(request).await;
                let token = match answer {
                    Ok(answer) => {
                        Token::Known(answer.into_inner().token.parse().map_err(|_| {
                            GrpcStatus::unauthenticated("the token of etcd is no header")
                        })?)
                    }
                    Err(status) if failure::knows_no_users(&status) => Token::Needless,
                    Err(status) => return Err(failure::of_authentication(status)),
                };
                *member.token() = token.clone();
                match token {
                    Token::Known(token) => Some(token),
                    Token::Needless | Token::Missing => None,
                }
            }
        };
        Ok(Connection { channel, token })
    }

    /// Turns to the next member, unless somebody did already.
    fn leave(&self, at: usize, failure: &Failure) {
        let cause = failure.cause();
        let next = (at + 1) % self.members.len();
        if self.current.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tracing::debug!(endpoint = %failure.endpoint, err = %cause, "leaving an etcd member");
        }
        self.health().last_error = Some(format!("{}: {cause}", failure.endpoint));
    }

    fn member(&self, at: usize) -> &Member {
        self.members.get(at).expect("an index modulo their number, of which there is one at least")
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    fn new(url: &str, config: &EtcdConfig) -> Result<Self, StoreError> {
        let invalid =
            |cause: String| StoreError::invalid(format!("etcd endpoint {url:?}: {cause}"));
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(invalid("begins with neither http:// nor https://".into()));
        }
        let mut endpoint = Endpoint::from_shared(url.to_owned())
            .map_err(|e| invalid(e.to_string()))?
            .connect_timeout(SHARE)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PROBE.0)
            .keep_alive_timeout(PROBE.1);
        if url.starts_with("https://") {
            let mut tls = ClientTlsConfig::new();
            if let Some(given) = &config.tls {
                if let Some(ca) = &given.ca {
                    tls = tls.ca_certificate(Certificate::from_pem(ca));
                }
                if let Some((certificate, key)) = &given.identity {
                    tls = tls.identity(Identity::from_pem(certificate, key));
                }
            }
            endpoint = endpoint.tls_config(tls).map_err(|e| invalid(failure::chain(&e)))?;
        } else if config.tls.is_some() {
            return Err(invalid("has no TLS, but certificates are configured".into()));
        }
        let channel = endpoint.connect_lazy();
        Ok(Self { url: url.to_owned(), channel, token: Mutex::default() })
    }

    fn token(&self) -> MutexGuard<'_, Token> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
