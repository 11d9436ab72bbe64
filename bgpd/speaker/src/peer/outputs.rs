//! Carries out what a session asks for.

use std::sync::{Mutex, PoisonError, atomic::AtomicBool};

use bgp_core::fsm::{Control, ErrorDirection};
use bgp_packet::{FamilySet, SessionKind, notification::code};
use tokio::sync::watch;

use super::*;
use crate::{
    addresses::session_addresses,
    arrivals::Arrival,
    connection::{Pulse, queue::SendQueue, reader, writer},
    metrics::MessageKind,
    newcomers::Newcomer,
    transport::scoped,
};

impl PeerTask {
    pub(super) async fn output(&mut self, output: Output) {
        match output {
            Output::Connect(id) => self.connect(id),
            Output::Send(id, control) => self.send(id, &control),
            Output::Close(id) => self.close(id),
            Output::Established(id, negotiated) => self.established(id, negotiated).await,
            Output::Down(id, keep) => self.down(id, keep).await,
            Output::Forget => self.forget().await,
            Output::Refresh(refresh) => self.forward = Some(refresh),
            Output::StateChanged { from, to, why } => self.state_changed(from, to, &why),
        }
    }

    fn connect(&mut self, id: ConnectionId) {
        let global = Arc::clone(&self.setup.global);
        let config = Arc::clone(&self.setup.config);
        let neighbour = self.neighbour.subscribe();
        let abort = self.tasks.spawn(async move {
            let dialled = match remote(&config, neighbour).await {
                Ok(remote) => transport::dial(&global, &config, remote).await,
                Err(why) => Err(why),
            };
            Ended::Dialled(id, dialled)
        });
        self.dials.insert(id, abort);
    }

    /// A stream is there: starts its tasks, then tells the session. `newcomer`: it came in.
    pub(super) async fn connected(
        &mut self,
        id: ConnectionId,
        stream: TcpStream,
        newcomer: Option<Newcomer>,
    ) {
        let incoming = newcomer.is_some();
        let addresses = stream.local_addr().and_then(|local| Ok((local, stream.peer_addr()?)));
        let (local, remote) = match addresses {
            Ok((local, remote)) => (transport::canonical(local), transport::canonical(remote)),
            Err(error) => {
                let why = error.to_string();
                self.input(Input::ConnectFailed { connection: id, why }).await;
                return;
            }
        };
        let socket = Arc::new(stream);
        let link = Arc::new(Link {
            peer: self.setup.id,
            name: self.setup.config.name.as_str().into(),
            connection: id,
            shards: self.setup.shards.clone(),
            queue: SendQueue::default(),
            pulse: Pulse::new(&socket),
            counters: Arc::clone(&self.counters),
            newcomer: Mutex::new(newcomer),
            told_too_long: AtomicBool::new(false),
            closing: tokio_util::sync::CancellationToken::new(),
        });
        let receiving = watch::Sender::new(None);
        let watching = receiving.subscribe();
        let reports = self.reports_sender.clone();
        let (for_reader, reading) = (Arc::clone(&link), Arc::clone(&socket));
        let reader = async move {
            Ended::Reader(id, reader::run(for_reader, reading, watching, reports).await)
        };
        self.tasks.spawn_on(reader, &self.setup.readers);
        let (for_writer, writing) = (Arc::clone(&link), Arc::clone(&socket));
        self.tasks.spawn(async move { Ended::Writer(id, writer::run(for_writer, writing).await) });
        let connection = Connection {
            link,
            receiving,
            local,
            remote,
            incoming,
            socket: Arc::downgrade(&socket),
            fed_received: None,
            fed_progress: None,
        };
        self.connections.insert(id, connection);
        debug!(peer = %self.setup.config.name, %local, %remote, incoming, "connection open");
        let input = if incoming {
            Input::Accepted { connection: id, local, remote }
        } else {
            Input::Connected { connection: id, local, remote }
        };
        Box::pin(self.input(input)).await;
    }

    fn send(&self, id: ConnectionId, control: &Control) {
        let Some(connection) = self.connections.get(&id) else { return };
        let (kind, octets) = match control {
            Control::Open(open) => (MessageKind::Open, message::encode_open(open)),
            Control::KeepAlive => (MessageKind::KeepAlive, message::keep_alive()),
            Control::Notification(notification) => {
                (MessageKind::Notification, message::encode_notification(notification))
            }
        };
        self.counters.sent(kind, 1);
        connection.link.queue.push_control(octets);
    }

    fn close(&mut self, id: ConnectionId) {
        if let Some(dial) = self.dials.remove(&id) {
            dial.abort();
        }
        if let Some(connection) = self.connections.remove(&id) {
            connection.link.queue.close();
            connection.link.closing.cancel();
        }
    }

    async fn established(&mut self, id: ConnectionId, negotiated: Arc<Negotiated>) {
        let Some(connection) = self.connections.get(&id) else { return };
        // It has proved who it is.
        drop(connection.link.newcomer.lock().unwrap_or_else(PoisonError::into_inner).take());
        let epoch = self.setup.shards.next_epoch();
        let source = self.kept.take().unwrap_or(epoch);
        if let Some(socket) = connection.socket.upgrade() {
            transport::set_user_timeout(&socket, negotiated.hold_time);
        }
        let links = self.setup.kernel.links();
        let config = Arc::clone(&self.setup.config);
        let addresses = session_addresses(&links, connection.local, connection.remote);
        let one_hop = negotiated.kind == SessionKind::External
            && config.multihop.is_none()
            && config.ttl_security.is_none_or(|hops| hops <= 1);
        let depends_on =
            links.iter().find(|link| one_hop && Some(link.index) == addresses.interface).map(
                |link| Carrier { interface: link.index, name: link.name.clone(), seen_up: link.up },
            );
        let up = crate::shard::Up {
            peer: self.setup.id,
            epoch,
            config: Arc::clone(&config),
            negotiated: Arc::clone(&negotiated),
            addresses,
            link: Arc::clone(&connection.link),
            orders: self.own_orders.clone(),
        };
        // The shards hear of the session before its first route.
        self.setup.shards.peer_up(up).await;
        // The speaker hears of it before its first End-of-RIB.
        let awaited = negotiated.graceful_restart.is_some_and(|peer| !peer.restarting);
        let arrival = if awaited { Arrival::Awaited(epoch) } else { Arrival::Up };
        self.setup.arrivals.put(self.setup.id, arrival);
        let receiving = receiving(epoch, &negotiated, &self.setup.config);
        connection.receiving.send_replace(Some(Arc::new(receiving)));
        let since = Instant::now();
        self.up = Some(Up { connection: id, epoch, source, negotiated, config, since, depends_on });
    }

    async fn down(&mut self, id: ConnectionId, keep: FamilySet) {
        if self.up.as_ref().is_none_or(|up| up.connection != id) {
            return;
        }
        let Some(up) = self.up.take() else { return };
        self.setup.arrivals.put(self.setup.id, Arrival::Down);
        if keep.is_empty() {
            self.setup.shards.source_down(up.source);
        } else {
            info!(peer = %self.setup.config.name, "its routes are kept until it is back");
            self.kept = Some(up.source);
        }
        self.setup.shards.peer_down(self.setup.id, up.epoch, keep).await;
    }

    /// What was kept of the peer, and did not come again, goes.
    async fn forget(&mut self) {
        if let Some(source) = self.kept.take() {
            info!(peer = %self.setup.config.name, "it did not come back in time: its routes go");
            self.setup.shards.source_down(source);
        }
        let peer = self.setup.id;
        self.setup.shards.event(|| Event::Forget { peer }).await;
    }

    fn state_changed(&mut self, from: State, to: State, why: &Arc<str>) {
        let name = &self.setup.config.name;
        if from == State::Established || to == State::Established {
            info!(peer = %name, ?from, ?to, %why, "session state changed");
        } else {
            debug!(peer = %name, ?from, ?to, %why, "session state changed");
        }
        let error = self.session.last_error();
        if let Some(error) = error
            && to < from
            && error.direction != ErrorDirection::Local
            && self.logged_error != Some(error.at)
        {
            let direction = match error.direction {
                ErrorDirection::Sent => "sent",
                ErrorDirection::Received => "received",
                ErrorDirection::Local => "local",
            };
            let (code, subcode, text) = (error.code, error.subcode, &error.text);
            if code == code::CEASE {
                info!(peer = %name, direction, code, subcode, text, "NOTIFICATION");
            } else {
                warn!(peer = %name, direction, code, subcode, text, "NOTIFICATION");
            }
            self.logged_error = Some(error.at);
        }
        // Nobody listening is no error.
        let _ = self.setup.events.send(PeerEvent {
            name: name.clone(),
            address: self.remote_address(),
            from,
            to,
            admin: self.admin,
            why: Arc::clone(why),
        });
    }
}

/// Where to connect to; for an unnumbered peer once its router advertisement was heard.
async fn remote(
    config: &PeerConfig,
    mut neighbour: watch::Receiver<Option<(Ipv6Addr, u32)>>,
) -> Result<SocketAddr, String> {
    match &config.address {
        PeerAddress::Address { address, interface } => {
            let scope = match interface {
                Some(name) => interface_index(name)?,
                None => 0,
            };
            Ok(scoped(*address, config.port, scope))
        }
        PeerAddress::Interface(_) => {
            let heard = neighbour.wait_for(Option::is_some).await;
            match heard.map(|heard| *heard) {
                Ok(Some((address, scope))) => Ok(scoped(address.into(), config.port, scope)),
                _ => Err("no neighbour was heard on the interface".to_owned()),
            }
        }
        PeerAddress::Dynamic { prefix, .. } => Err(format!("{prefix} is no address")),
    }
}

fn interface_index(name: &str) -> Result<u32, String> {
    nix::net::if_::if_nametoindex(name).map_err(|error| format!("interface {name}: {error}"))
}
