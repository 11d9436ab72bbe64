//! What the handle asks of the speaker.

use bgp_core::fsm::{Impact, change_impact};
use ipnet::IpNet;
use tokio::sync::oneshot;

use super::{difference::Difference, *};
use crate::{handle::NoSuchPeer, originate::AddedRoute};

/// What becomes of a prefix of `originate` that was withdrawn by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByHand {
    /// It is originated again.
    Undo,
    /// It stays withdrawn.
    Keep,
}

/// What is to be expected after a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Nothing: peers shall forget us.
    ForGood,
    /// A process that goes on: peers that wait for it (RFC 4724) are told nothing.
    Restart,
}

/// An order of a [`SpeakerHandle`](crate::SpeakerHandle).
pub(crate) enum SpeakerOrder {
    /// Every peer by name.
    Peers(oneshot::Sender<Vec<PeerHandle>>),
    /// A peer by name, else by address.
    Find(String, oneshot::Sender<Result<PeerHandle, NoSuchPeer>>),
    /// New configuration.
    Apply(Box<SpeakerConfig>, ByHand, oneshot::Sender<()>),
    /// `margay routes add`.
    Add(AddedRoute, oneshot::Sender<()>),
    /// `margay routes withdraw`; answers whether there was such a route.
    Withdraw(IpNet, oneshot::Sender<bool>),
    /// End all sessions (the text goes to the peers), then everything.
    Stop(String, Stop, oneshot::Sender<()>),
}

impl Speaker {
    /// Answers go to somebody who may be gone; that is no error.
    pub(super) async fn order(&mut self, order: SpeakerOrder) {
        match order {
            SpeakerOrder::Peers(reply) => {
                let peers = self.peers.values().map(|entry| entry.handle.clone()).collect();
                let _ = reply.send(peers);
            }
            SpeakerOrder::Find(name, reply) => {
                let _ = reply.send(self.find(&name).ok_or(NoSuchPeer(name)));
            }
            SpeakerOrder::Apply(config, by_hand, reply) => {
                self.apply(*config, by_hand).await;
                let _ = reply.send(());
            }
            SpeakerOrder::Add(route, reply) => {
                let changes = self.originator.add(route);
                self.originate(changes).await;
                let _ = reply.send(());
            }
            SpeakerOrder::Withdraw(prefix, reply) => {
                let changes = self.originator.withdraw(prefix);
                let found = changes.is_some();
                self.originate(changes.unwrap_or_default()).await;
                let _ = reply.send(found);
            }
            SpeakerOrder::Stop(..) => {}
        }
    }

    fn find(&self, name: &str) -> Option<PeerHandle> {
        let by_address = |entry: &&Entry| match &entry.config.address {
            PeerAddress::Address { address, interface } => {
                let text = address.to_string();
                text == name || interface.as_ref().is_some_and(|i| format!("{text}%{i}") == name)
            }
            PeerAddress::Interface(interface) => interface == name,
            PeerAddress::Dynamic { .. } => false,
        };
        let entry = self.peers.get(name).or_else(|| self.peers.values().find(by_address))?;
        Some(entry.handle.clone())
    }

    /// Takes a new configuration into force: sessions that need not bounce stay up, and peers that
    /// did not change hear nothing.
    async fn apply(&mut self, new: SpeakerConfig, by_hand: ByHand) {
        let old = std::mem::replace(&mut self.config, new);
        let Difference { gone, new, changed, bounce_all, dynamic, shards } =
            Difference::between(&old, &self.config);
        // What is no longer there, or is somebody else under the same name, goes first.
        for name in gone {
            self.templates.remove(&name);
            lock(&self.keys).remove(&name);
            self.remove(&name).await;
        }
        for peer in changed {
            self.set_key(&peer, None);
            if let Some(template) = self.templates.get_mut(&peer.name) {
                *template = peer;
            } else {
                self.change(peer, bounce_all).await;
            }
        }
        for peer in new {
            self.add_configured(peer);
        }
        if dynamic {
            self.change_dynamic(bounce_all).await;
        }
        if shards {
            let peers = self.peers.values();
            let peers: Vec<_> =
                peers.map(|entry| (entry.handle.id, Arc::clone(&entry.config))).collect();
            let config = ShardConfig {
                global: Arc::clone(&self.config.global),
                install: self.config.install.clone(),
            };
            self.shards
                .event(|| Event::Reconfigure { config: config.clone(), peers: peers.clone() })
                .await;
        }
        let changes = self.originator.reconfigure(Arc::clone(&self.config.global), by_hand);
        self.originate(changes).await;
        self.update_services();
        if self.sync.is_held() {
            self.begin_sync();
        }
    }

    /// Takes what templates say into those that were made from them.
    async fn change_dynamic(&mut self, bounce_all: bool) {
        let dynamic: Vec<String> = self
            .peers
            .iter()
            .filter(|(_, entry)| entry.template.is_some())
            .map(|(name, _)| name.clone())
            .collect();
        for name in dynamic {
            let Some(entry) = self.peers.get(&name) else { continue };
            match self.derive_again(entry) {
                Some(config) => self.change(Arc::new(config), bounce_all).await,
                None => self.remove(&name).await,
            }
        }
    }

    async fn change(&mut self, config: Arc<PeerConfig>, bounce_all: bool) {
        let Some(entry) = self.peers.get_mut(&config.name) else { return };
        let impact = change_impact(&entry.config, &config);
        entry.config = Arc::clone(&config);
        let bounce = bounce_all || impact == Impact::Reset;
        if bounce {
            info!(peer = %config.name, "settings changed that need a new session");
        }
        let global = Arc::clone(&self.config.global);
        let order = Order::Reconfigure { global, config, bounce };
        // A task that has ended is being taken out.
        let _ = entry.handle.orders.send(order).await;
    }

    async fn remove(&mut self, name: &str) {
        if let Some(entry) = self.peers.remove(name) {
            info!(peer = %name, "peer removed");
            self.sync.gone(Instant::now(), &self.arrivals, entry.handle.id);
            // A task that has ended needs no telling.
            let _ = entry.handle.orders.send(Order::Stop(StopReason::Deconfigured)).await;
        }
    }
}
