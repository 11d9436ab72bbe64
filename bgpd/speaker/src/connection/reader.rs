//! Frames and decodes what arrives, and hands routes to the shards in batches.
//!
//! Runs on threads apart from the sessions' tasks and their timers. One batch for each read, not for
//! each UPDATE. A shard that is behind makes this task wait, so that the socket fills and TCP slows
//! the peer down; the hold timer is fed from here and from what waits in the kernel, so being slow
//! never costs a session.

use std::{cell::RefCell, io, net::Shutdown, sync::Arc, time::Duration};

use bgp_core::{
    fsm::ConnectionId,
    rib::{AttrKey, Attrs, Event},
};
use bgp_packet::{
    Family, Fault, Handling, MAX_LEN, Message, Notification, Open, RouteRefresh, Update,
    UpdateContext, message,
};
use bytes::{Buf, BytesMut};
use socket2::SockRef;
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot, watch},
    task::yield_now,
    time::timeout,
};
use tracing::{debug, warn};

use super::{Link, Receiving, batch::Batches};
use crate::metrics::MessageKind;

/// Most octets read at once.
const READ: usize = 256 << 10;
/// How long the peer is given to close after us.
const LINGER: Duration = Duration::from_secs(2);

/// What the reader tells the peer's task.
#[derive(Debug)]
pub(crate) enum Received {
    /// An OPEN.
    Open(Open),
    /// A KEEPALIVE before Established.
    KeepAlive,
    /// An UPDATE before Established.
    Update,
    /// The first End-of-RIB of a family.
    EndOfRib(Family),
    /// A NOTIFICATION.
    Notification(Notification),
    /// A ROUTE-REFRESH.
    RouteRefresh(RouteRefresh),
    /// Something that ends the session with this answer.
    Malformed(Notification),
}

/// A message of the reader; it goes on once answered.
#[derive(Debug)]
pub(crate) struct Report {
    /// Where it came from.
    pub(crate) connection: ConnectionId,
    /// What.
    pub(crate) received: Received,
    /// A ROUTE-REFRESH to pass on to the shards in its place among the routes.
    pub(crate) answer: oneshot::Sender<Option<RouteRefresh>>,
}

/// Why a connection was read no further.
#[derive(Debug)]
enum Stop {
    /// The session closed it.
    Closing,
    /// The transport did.
    Transport(String),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Transport(error.to_string())
    }
}

/// Reads until the connection ends; the answer is why, where it was not the session that closed it.
pub(crate) async fn run(
    link: Arc<Link>,
    socket: Arc<TcpStream>,
    receiving: watch::Receiver<Option<Arc<Receiving>>>,
    reports: mpsc::Sender<Report>,
) -> Option<String> {
    let mut reader = Reader {
        batches: Batches::new(link.shards.count()),
        link,
        receiving,
        reports,
        current: None,
        buffer: BytesMut::new(),
        key: AttrKey::default(),
    };
    match reader.read(&socket).await {
        Stop::Transport(why) => Some(why),
        Stop::Closing => {
            // Reading to the end lets our NOTIFICATION arrive: closing with unread octets would
            // send RST and destroy it.
            let _ = timeout(LINGER, discard(&socket)).await;
            let _ = SockRef::from(&*socket).shutdown(Shutdown::Both);
            None
        }
    }
}

async fn discard(socket: &TcpStream) -> io::Result<()> {
    loop {
        socket.readable().await?;
        match read_into(socket, &mut BytesMut::new()) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

thread_local! {
    /// Where sockets are read to first: so a connection holds what it has received, not room for
    /// what it might.
    static LANDING: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// Appends what waits in the socket.
fn read_into(socket: &TcpStream, buffer: &mut BytesMut) -> io::Result<usize> {
    LANDING.with_borrow_mut(|landing| {
        let count = socket.try_read(landing)?;
        buffer.extend_from_slice(landing.get(..count).unwrap_or_default());
        Ok(count)
    })
}

struct Reader {
    link: Arc<Link>,
    receiving: watch::Receiver<Option<Arc<Receiving>>>,
    reports: mpsc::Sender<Report>,
    current: Option<Arc<Receiving>>,
    buffer: BytesMut,
    /// Scratch.
    key: AttrKey,
    batches: Batches,
}

impl Reader {
    async fn read(&mut self, socket: &TcpStream) -> Stop {
        loop {
            let link = Arc::clone(&self.link);
            let ready = tokio::select! {
                biased;
                () = link.closing.cancelled() => return Stop::Closing,
                ready = socket.readable() => ready,
            };
            if let Err(error) = ready {
                return error.into();
            }
            match read_into(socket, &mut self.buffer) {
                Ok(0) => return Stop::Transport("the peer closed the connection".to_owned()),
                Ok(count) => {
                    let octets = u64::try_from(count).unwrap_or(u64::MAX);
                    let total = &self.link.counters.octets_received;
                    total.fetch_add(octets, std::sync::atomic::Ordering::Relaxed);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return error.into(),
            }
            if let Err(stop) = self.take_messages().await {
                return stop;
            }
            // What is left is less than a message.
            self.buffer = BytesMut::from(&*self.buffer);
            // Others read, too, and a socket with more to read would not let them.
            yield_now().await;
        }
    }

    /// Works off every whole message in the buffer, then hands over what they held.
    async fn take_messages(&mut self) -> Result<(), Stop> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = self.take_from(&mut buffer).await;
        self.buffer = buffer;
        result?;
        self.flush().await
    }

    async fn take_from(&mut self, buffer: &mut BytesMut) -> Result<(), Stop> {
        loop {
            if self.receiving.has_changed().unwrap_or(false) {
                self.current.clone_from(&self.receiving.borrow_and_update());
            }
            let max_len = self.current.as_ref().map_or(MAX_LEN, |r| r.max_len);
            let len = match message::frame_len(buffer, max_len) {
                Ok(Some(len)) if len <= buffer.len() => len,
                Ok(_) => return Ok(()),
                Err(answer) => return self.malformed(answer).await,
            };
            let Some(frame) = buffer.get(..len) else { return Ok(()) };
            self.take(frame).await?;
            buffer.advance(len);
        }
    }

    async fn take(&mut self, frame: &[u8]) -> Result<(), Stop> {
        let kind = frame.get(bgp_packet::HEADER_LEN - 1).map_or(0, |kind| *kind);
        self.link.counters.received(MessageKind::from_type(kind));
        let received = match message::decode(frame) {
            Ok(Message::Update(body)) => match self.current.clone() {
                Some(receiving) => {
                    self.link.pulse.updated();
                    return self.update(body, &receiving).await;
                }
                None => Received::Update,
            },
            Ok(Message::KeepAlive) if self.current.is_some() => {
                self.link.pulse.received();
                return Ok(());
            }
            Ok(Message::KeepAlive) => Received::KeepAlive,
            Ok(Message::Open(open)) => Received::Open(open),
            Ok(Message::Notification(notification)) => Received::Notification(notification),
            Ok(Message::RouteRefresh(refresh)) => Received::RouteRefresh(refresh),
            Err(answer) => Received::Malformed(answer),
        };
        self.report(received).await
    }

    async fn malformed(&mut self, answer: Notification) -> Result<(), Stop> {
        self.report(Received::Malformed(answer)).await
    }

    /// Tells the peer's task and waits for what the session makes of it.
    async fn report(&mut self, received: Received) -> Result<(), Stop> {
        let (answer, answered) = oneshot::channel();
        let report = Report { connection: self.link.connection, received, answer };
        let told = self.reports.send(report).await.is_ok();
        match answered.await {
            Ok(_) if self.link.closing.is_cancelled() => Err(Stop::Closing),
            Ok(Some(refresh)) => {
                let Some(receiving) = self.current.clone() else { return Ok(()) };
                self.flush().await?;
                let (peer, epoch) = (self.link.peer, receiving.epoch);
                self.broadcast(|| Event::Refresh { peer, epoch, refresh }).await
            }
            Ok(None) if told => Ok(()),
            _ => Err(Stop::Closing),
        }
    }

    async fn update(&mut self, body: &[u8], receiving: &Receiving) -> Result<(), Stop> {
        let (peer, epoch) = (self.link.peer, receiving.epoch);
        match self.take_routes(body, &receiving.context) {
            Ok(None) if self.batches.is_full() => self.flush().await,
            Ok(None) => Ok(()),
            Ok(Some(family)) => {
                let first = self.link.pulse.ended(family);
                self.flush().await?;
                self.broadcast(|| Event::EndOfRib { peer, epoch, family }).await?;
                if first { self.report(Received::EndOfRib(family)).await } else { Ok(()) }
            }
            Err(answer) => {
                let peer = &self.link.name;
                debug!(%peer, ?answer, octets = ?body.get(..256).unwrap_or(body), "malformed UPDATE");
                self.malformed(answer).await
            }
        }
    }

    /// Puts the routes of an UPDATE into the batches; the answer is the family of an End-of-RIB.
    fn take_routes(
        &mut self,
        body: &[u8],
        context: &UpdateContext,
    ) -> Result<Option<Family>, Notification> {
        let update = Update::parse(body, context)?;
        for note in &update.notes {
            self.fault(note);
        }
        if update.end_of_rib.is_some() {
            return Ok(update.end_of_rib);
        }
        for nlri in update.withdrawn.iter().chain(&update.announced).flatten() {
            self.link.counters.update(nlri.family);
        }
        for nlri in update.withdrawn.iter().flatten() {
            self.batches.withdraw(nlri);
        }
        let announces = update.announced.iter().any(Option::is_some);
        if !announces && update.attributes.is_empty() {
            return Ok(None);
        }
        if announces && self.key.read(&update, context) {
            let attrs = self.intern();
            self.announce(&update, &attrs);
            return Ok(None);
        }
        let decoded = update.decode_attributes(context)?;
        for fault in &decoded.faults {
            self.fault(fault);
        }
        match decoded.attributes {
            Some(attributes) if announces => {
                self.key.set(&attributes);
                let attrs = self.intern();
                self.announce(&update, &attrs);
            }
            Some(_) => {}
            None => update.announced.iter().flatten().for_each(|nlri| self.batches.withdraw(nlri)),
        }
        Ok(None)
    }

    /// The shared set of the key.
    fn intern(&self) -> Arc<Attrs> {
        let (attrs, known) = self.link.shards.intern(&self.key);
        self.link.counters.interned(known);
        attrs
    }

    fn fault(&self, fault: &Fault) {
        let peer = &self.link.name;
        let before = self.link.counters.fault(fault.code, fault.handling);
        let (code, text, octets) = (fault.code, &fault.text, &fault.octets);
        let treatment = match fault.handling {
            Handling::Ignore => "left out",
            Handling::Discard => "attribute discarded",
            Handling::TreatAsWithdraw => "routes treated as withdrawn",
        };
        if before == 0 {
            warn!(%peer, code, err = text, ?octets, treatment, "faulty UPDATE; others with this attribute are only counted");
        } else {
            debug!(%peer, code, err = text, ?octets, treatment, "faulty UPDATE");
        }
    }

    /// Classic and MP prefixes of one message have the same attributes but for the next hop.
    fn announce(&mut self, update: &Update<'_>, attrs: &Arc<Attrs>) {
        let [classic, mp] = &update.announced;
        if let Some(nlri) = classic {
            self.batches.announce(nlri, attrs);
        }
        let Some(nlri) = mp else { return };
        match update.mp_next_hop {
            Some(next_hop) if next_hop != attrs.next_hop() => {
                let mut attributes = attrs.decode();
                attributes.next_hop = next_hop;
                self.key.set(&attributes);
                let attrs = self.intern();
                self.batches.announce(nlri, &attrs);
            }
            _ => self.batches.announce(nlri, attrs),
        }
    }

    /// Hands the batches over; waits where a shard is behind.
    async fn flush(&mut self) -> Result<(), Stop> {
        let Some(receiving) = &self.current else { return Ok(()) };
        let (peer, epoch) = (self.link.peer, receiving.epoch);
        let Self { batches, link, .. } = self;
        for (shard, family, batch) in batches.take() {
            link.counters.batch(batch.len());
            deliver(link, shard, Event::Routes { peer, epoch, family, batch }).await?;
        }
        Ok(())
    }

    /// Tells every shard, behind the routes before it.
    async fn broadcast(&self, event: impl Fn() -> Event) -> Result<(), Stop> {
        for shard in 0..self.link.shards.count() {
            deliver(&self.link, shard, event()).await?;
        }
        Ok(())
    }
}

async fn deliver(link: &Link, shard: usize, event: Event) -> Result<(), Stop> {
    let Err(event) = link.shards.try_route(shard, event) else { return Ok(()) };
    link.counters.stall();
    link.pulse.stalled(true);
    let sent = tokio::select! {
        biased;
        () = link.closing.cancelled() => false,
        sent = link.shards.route(shard, event) => sent,
    };
    link.pulse.stalled(false);
    if sent { Ok(()) } else { Err(Stop::Closing) }
}
