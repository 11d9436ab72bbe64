//! Changes as they happen.

use std::time::Duration;

use bgp_core::rib::RouteRow;
use bgp_speaker::{PeerEvent, RouteChange, SpeakerHandle};
use futures::{Stream, stream};
use margay_fib::FibHandle;
use margay_proto::v1::{self, monitor_event::Event};
use tokio::sync::broadcast;
use tonic::Status;

use super::{Node, convert};

/// Events of one batch.
const BATCH: usize = 256;

/// Streams peer and route changes until the reader goes. What a slow reader misses is counted.
pub(super) async fn monitor(
    node: &Node,
    request: v1::MonitorRequest,
) -> impl Stream<Item = Result<v1::MonitorResponse, Status>> + Send + use<> {
    let both = !request.peers && !request.routes;
    let routes = match request.routes || both {
        true => Some(node.speaker.watch_routes().await),
        false => None,
    };
    let watch = Watch {
        fib: node.fib.clone(),
        speaker: node.speaker.clone(),
        peers: (request.peers || both).then(|| node.speaker.watch_peers()),
        routes,
    };
    stream::unfold(watch, |mut watch| async {
        let events = watch.next().await?;
        Some((Ok(v1::MonitorResponse { events }), watch))
    })
}

struct Watch {
    fib: FibHandle,
    speaker: SpeakerHandle,
    peers: Option<broadcast::Receiver<PeerEvent>>,
    routes: Option<broadcast::Receiver<RouteChange>>,
}

impl Watch {
    /// The next events, at least one; `None` once the daemon stops.
    async fn next(&mut self) -> Option<Vec<v1::MonitorEvent>> {
        let mut events = Vec::new();
        tokio::select! {
            event = next(&mut self.peers) => {
                let event = event?;
                events.push(event.map_or_else(lost, |e| peer_event(&e, &self.fib.links())));
            }
            event = next(&mut self.routes) => {
                let now = self.speaker.now();
                events.push(event?.map_or_else(lost, |e| route_event(&e, now)));
                while events.len() < BATCH
                    && let Some(Ok(event)) = self.routes.as_mut().map(broadcast::Receiver::try_recv)
                {
                    events.push(route_event(&event, now));
                }
            }
        }
        Some(events)
    }
}

/// The next event or how many were lost; never, where nothing is watched; `None` at the end.
async fn next<T: Clone>(receiver: &mut Option<broadcast::Receiver<T>>) -> Option<Result<T, u64>> {
    match receiver {
        None => std::future::pending().await,
        Some(receiver) => match receiver.recv().await {
            Ok(event) => Some(Ok(event)),
            Err(broadcast::error::RecvError::Lagged(lost)) => Some(Err(lost)),
            Err(broadcast::error::RecvError::Closed) => None,
        },
    }
}

fn event(event: Event) -> v1::MonitorEvent {
    v1::MonitorEvent { at: convert::ago(Duration::ZERO), event: Some(event) }
}

fn lost(count: u64) -> v1::MonitorEvent {
    event(Event::Lost(count))
}

fn peer_event(change: &PeerEvent, links: &[margay_fib::Link]) -> v1::MonitorEvent {
    event(Event::Peer(v1::PeerEvent {
        name: change.name.clone(),
        address: change.address.map(|address| convert::address(address, links)),
        from: convert::state(change.from).into(),
        to: convert::state(change.to).into(),
        admin_state: convert::admin(change.admin).into(),
        why: change.why.to_string(),
    }))
}

fn route_event(change: &RouteChange, now: u32) -> v1::MonitorEvent {
    let best = change.best.as_deref();
    event(Event::Route(v1::RouteEvent {
        prefix: change.prefix.to_string(),
        family: convert::family_of(change.prefix).into(),
        best: best.map(|row: &RouteRow| convert::route(row, now, true)),
    }))
}
