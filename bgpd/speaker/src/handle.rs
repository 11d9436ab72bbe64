//! The speaker from outside: status, queries, orders.

use std::sync::Arc;

use bgp_core::rib::{
    Explanation, PeerCounts, PeerId, RouteCursor, RouteQuery, RouteRow, Select, SoftReset,
    TableCounts,
};
use ipnet::IpNet;
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    events::PeerEvent,
    originate::AddedRoute,
    peer::{Order, PeerHandle, PeerStatus},
    shard::{RouteChange, ShardGauge, Shards},
    speaker::{ByHand, SpeakerConfig, SpeakerOrders, Stop},
};

/// Prefixes looked at in one go when routes are listed: a few milliseconds of a shard's time.
const SLICE: usize = 2000;

/// No peer has this name or address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no peer is named {0:?} or has that address")]
pub struct NoSuchPeer(pub String);

/// A peer with its routes counted.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its session.
    pub status: PeerStatus,
    /// Its routes per family in the order of `Family::SUPPORTED`; zero while it is down.
    pub routes: [PeerCounts; 2],
}

/// A running speaker. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SpeakerHandle {
    orders: mpsc::Sender<SpeakerOrders>,
    shards: Shards,
    events: broadcast::Sender<PeerEvent>,
    changes: broadcast::Sender<RouteChange>,
    task: Arc<tokio::sync::Mutex<Option<JoinHandle<()>>>>,
}

impl SpeakerHandle {
    pub(crate) fn new(
        orders: mpsc::Sender<SpeakerOrders>,
        shards: Shards,
        events: broadcast::Sender<PeerEvent>,
        changes: broadcast::Sender<RouteChange>,
        task: JoinHandle<()>,
    ) -> Self {
        let task = Arc::new(tokio::sync::Mutex::new(Some(task)));
        Self { orders, shards, events, changes, task }
    }

    /// Every peer, sorted by name.
    pub async fn peers(&self) -> Vec<Peer> {
        let handles = self.ask(SpeakerOrders::Peers).await.unwrap_or_default();
        let mut peers = Vec::with_capacity(handles.len());
        for handle in &handles {
            if let Some(status) = status(handle).await {
                peers.push(Peer { status, routes: Default::default() });
            }
        }
        self.count(&mut peers).await;
        peers
    }

    /// One peer, by name, else by address.
    ///
    /// # Errors
    /// There is none.
    pub async fn peer(&self, name: &str) -> Result<Peer, NoSuchPeer> {
        let handle = self.find(name).await?;
        let status = status(&handle).await.ok_or_else(|| NoSuchPeer(name.to_owned()))?;
        let mut peers = [Peer { status, routes: Default::default() }];
        self.count(&mut peers).await;
        let [peer] = peers;
        Ok(peer)
    }

    async fn count(&self, peers: &mut [Peer]) {
        let ids: Vec<PeerId> = peers.iter().map(|peer| peer.status.id).collect();
        for shard in 0..self.shards.count() {
            let ids = ids.clone();
            let counted = self
                .shards
                .ask(shard, move |shard| {
                    ids.into_iter().map(|id| shard.peer_counts(id)).collect::<Vec<_>>()
                })
                .await
                .unwrap_or_default();
            for (peer, counts) in peers.iter_mut().zip(counted) {
                for (sum, counts) in peer.routes.iter_mut().zip(counts.into_iter().flatten()) {
                    sum.received += counts.received;
                    sum.accepted += counts.accepted;
                    sum.advertised += counts.advertised;
                }
            }
        }
    }

    /// Totals per family in the order of `Family::SUPPORTED`.
    pub async fn counts(&self) -> [TableCounts; 2] {
        let mut sums = [TableCounts::default(); 2];
        for shard in 0..self.shards.count() {
            let counts = self.shards.ask(shard, |shard| shard.counts()).await;
            for (sum, counts) in sums.iter_mut().zip(counts.into_iter().flatten()) {
                sum.prefixes += counts.prefixes;
                sum.paths += counts.paths;
                sum.best += counts.best;
                sum.installed += counts.installed;
                sum.attributes += counts.attributes;
                sum.groups += counts.groups;
            }
        }
        sums
    }

    /// Ends a session; it starts again at once.
    ///
    /// # Errors
    /// There is no such peer.
    pub async fn reset(&self, name: &str) -> Result<(), NoSuchPeer> {
        self.order(name, Order::Reset(String::new())).await
    }

    /// Works the policies of a peer again.
    ///
    /// # Errors
    /// There is no such peer.
    pub async fn soft_reset(&self, name: &str, direction: SoftReset) -> Result<(), NoSuchPeer> {
        self.order(name, Order::SoftReset(direction)).await
    }

    /// Ends a session and keeps it down; the text goes to the peer (RFC 9003).
    ///
    /// # Errors
    /// There is no such peer.
    pub async fn disable(&self, name: &str, text: String) -> Result<(), NoSuchPeer> {
        self.order(name, Order::Disable(text)).await
    }

    /// Lets a session start again.
    ///
    /// # Errors
    /// There is no such peer.
    pub async fn enable(&self, name: &str) -> Result<(), NoSuchPeer> {
        self.order(name, Order::Enable).await
    }

    /// Takes a new configuration into force, already checked.
    pub async fn apply(&self, config: SpeakerConfig, by_hand: ByHand) {
        self.ask(|reply| SpeakerOrders::Apply(Box::new(config), by_hand, reply)).await;
    }

    /// Originates a route until it is withdrawn or the speaker stops.
    pub async fn add_route(&self, route: AddedRoute) {
        self.ask(|reply| SpeakerOrders::Add(route, reply)).await;
    }

    /// Takes back a route added by hand, or one of the configuration until the next reload;
    /// whether there was one.
    pub async fn withdraw_route(&self, prefix: IpNet) -> bool {
        self.ask(|reply| SpeakerOrders::Withdraw(prefix, reply)).await.unwrap_or(false)
    }

    /// Rows that answer a query, a slice at a time as they are taken.
    pub fn routes(&self, query: RouteQuery) -> Rows {
        Rows { shards: self.shards.clone(), query, shard: 0, cursor: RouteCursor::default() }
    }

    /// The number of a peer, for a query; by name, else by address.
    ///
    /// # Errors
    /// There is no such peer.
    pub async fn peer_id(&self, name: &str) -> Result<PeerId, NoSuchPeer> {
        Ok(self.find(name).await?.id)
    }

    /// Everything about one prefix; `None`: there is no path for it.
    pub async fn explain(&self, prefix: IpNet, to: Option<PeerId>) -> Option<Explanation> {
        let shard = bgp_core::rib::shard_of(prefix, self.shards.count());
        self.shards.ask(shard, move |shard| shard.explain(prefix, to)).await?
    }

    /// Session changes from now on.
    pub fn watch_peers(&self) -> broadcast::Receiver<PeerEvent> {
        self.events.subscribe()
    }

    /// Changes of best routes from now on. Shards report while anybody listens.
    pub async fn watch_routes(&self) -> broadcast::Receiver<RouteChange> {
        let receiver = self.changes.subscribe();
        for shard in 0..self.shards.count() {
            self.shards.ask(shard, |shard| shard.watch(true)).await;
        }
        receiver
    }

    /// Figures of the shards.
    pub fn shard_gauges(&self) -> Vec<ShardGauge> {
        self.shards.gauges()
    }

    /// Attribute sets held in memory.
    pub fn attribute_sets(&self) -> usize {
        self.shards.attribute_sets()
    }

    /// The clock of rows' `since`, in seconds.
    pub fn now(&self) -> u32 {
        self.shards.now()
    }

    /// Ends every session with Cease/2 and this text, then the speaker. With [`Stop::Restart`] peers
    /// that wait for us are told nothing.
    pub async fn stop(&self, text: String, stop: Stop) {
        self.ask(|reply| SpeakerOrders::Stop(text, stop, reply)).await;
        if let Some(task) = self.task.lock().await.take() {
            // A panic in it has been reported where it happened.
            let _ = task.await;
        }
    }

    async fn find(&self, name: &str) -> Result<PeerHandle, NoSuchPeer> {
        let none = || NoSuchPeer(name.to_owned());
        self.ask(|reply| SpeakerOrders::Find(name.to_owned(), reply)).await.ok_or_else(none)?
    }

    async fn order(&self, name: &str, order: Order) -> Result<(), NoSuchPeer> {
        let handle = self.find(name).await?;
        handle.orders.send(order).await.map_err(|_| NoSuchPeer(name.to_owned()))
    }

    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> SpeakerOrders) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.orders.send(order(reply)).await.ok()?;
        answer.await.ok()
    }
}

async fn status(handle: &PeerHandle) -> Option<PeerStatus> {
    let (reply, answer) = oneshot::channel();
    handle.orders.send(Order::Status(reply)).await.ok()?;
    answer.await.ok()
}

/// The answer to a query about routes; see [`SpeakerHandle::routes`].
#[derive(Debug)]
pub struct Rows {
    shards: Shards,
    query: RouteQuery,
    shard: usize,
    cursor: RouteCursor,
}

impl Rows {
    /// The next rows, none of them empty; `None` at the end.
    pub async fn next(&mut self) -> Option<Vec<RouteRow>> {
        if matches!(self.query.select, Select::Longest(_)) {
            return self.longest().await;
        }
        while self.shard < self.shards.count() {
            let (rows, done) = self.slice().await?;
            if done {
                self.next_shard();
            }
            if !rows.is_empty() {
                return Some(rows);
            }
        }
        None
    }

    fn next_shard(&mut self) {
        self.shard += 1;
        self.cursor = RouteCursor::default();
    }

    async fn slice(&mut self) -> Option<(Vec<RouteRow>, bool)> {
        let (query, cursor) = (self.query, self.cursor);
        let (rows, cursor, done) = self
            .shards
            .ask(self.shard, move |shard| {
                let (mut rows, mut cursor) = (Vec::new(), cursor);
                let done = shard.routes(&query, &mut cursor, SLICE, &mut rows);
                (rows, cursor, done)
            })
            .await?;
        self.cursor = cursor;
        Some((rows, done))
    }

    /// The longest match over all shards, as one slice.
    async fn longest(&mut self) -> Option<Vec<RouteRow>> {
        let mut best: Vec<RouteRow> = Vec::new();
        while self.shard < self.shards.count() {
            let mut found = Vec::new();
            loop {
                let (rows, done) = self.slice().await?;
                found.extend(rows);
                if done {
                    break;
                }
            }
            self.next_shard();
            let length = |rows: &[RouteRow]| rows.first().map(|row| row.prefix.prefix_len());
            if length(&found) > length(&best) {
                best = found;
            }
        }
        (!best.is_empty()).then_some(best)
    }
}
