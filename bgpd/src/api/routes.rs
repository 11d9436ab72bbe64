//! Routes in batches.

use bgp_core::rib::{RouteQuery, RouteRow, Select, View};
use bgp_packet::Family;
use bgp_speaker::Rows;
use futures::{Stream, stream};
use margay_fib::FibHandle;
use margay_proto::{
    error::invalid_argument,
    v1::{self, list_routes_request::Destination},
};
use tonic::Status;

use super::{Node, convert, routing};

/// Answers a listing; the shards are asked a slice at a time, as the rows are taken.
pub(super) async fn list(
    node: &Node,
    request: v1::ListRoutesRequest,
) -> Result<impl Stream<Item = Result<v1::ListRoutesResponse, Status>> + Send + use<>, Status> {
    let query = query(node, &request).await?;
    let took_part = matches!(query.view, View::Table | View::Best | View::Received(_));
    let state = Listing {
        rows: node.speaker.routes(query),
        fib: node.fib.clone(),
        now: node.speaker.now(),
        took_part,
        only_best: request.best,
        left: if request.limit == 0 { u64::MAX } else { request.limit },
    };
    Ok(stream::unfold(state, |mut state| async {
        let routes = state.next().await?;
        Some((Ok(v1::ListRoutesResponse { routes }), state))
    }))
}

/// A listing under way.
struct Listing {
    rows: Rows,
    fib: FibHandle,
    now: u32,
    took_part: bool,
    only_best: bool,
    left: u64,
}

impl Listing {
    /// The next rows, none of them empty.
    async fn next(&mut self) -> Option<Vec<v1::Route>> {
        while self.left > 0 {
            let mut batch = self.rows.next().await?;
            let take = usize::try_from(self.left).unwrap_or(usize::MAX);
            in_kernel(&self.fib, &mut batch).await;
            let routes: Vec<v1::Route> = batch
                .iter()
                .filter(|row| row.best || !self.only_best)
                .take(take)
                .map(|row| convert::route(row, self.now, self.took_part))
                .collect();
            self.left = self.left.saturating_sub(convert::count(routes.len()));
            if !routes.is_empty() {
                return Some(routes);
            }
        }
        None
    }
}

/// The table says what it wished for; only the kernel side knows what came of it.
pub(super) async fn in_kernel(fib: &FibHandle, rows: &mut [RouteRow]) {
    let prefixes: Vec<_> = rows.iter().filter(|row| row.installed).map(|row| row.prefix).collect();
    if prefixes.is_empty() {
        return;
    }
    let fib = fib.clone();
    let found = tokio::task::spawn_blocking(move || fib.in_kernel(prefixes)).await;
    let mut found = found.unwrap_or_default().into_iter();
    for row in rows.iter_mut().filter(|row| row.installed) {
        row.installed = found.next().unwrap_or(false);
    }
}

async fn query(node: &Node, request: &v1::ListRoutesRequest) -> Result<RouteQuery, Status> {
    let select = match &request.destination {
        None => Select::All,
        Some(Destination::Prefix(text)) => {
            let prefix = routing::prefix("prefix", text)?;
            if request.longer { Select::Within(prefix) } else { Select::Exact(prefix) }
        }
        Some(Destination::Address(text)) => Select::Longest(
            text.parse()
                .map_err(|_| invalid_argument("address", format!("{text:?} is no address")))?,
        ),
    };
    let family = match request.family() {
        v1::Family::Unspecified => None,
        v1::Family::Ipv4Unicast => Some(Family::IPV4_UNICAST),
        v1::Family::Ipv6Unicast => Some(Family::IPV6_UNICAST),
    };
    let view = match (&request.received_from, &request.advertised_to) {
        (Some(_), Some(_)) => {
            let text = "a route cannot be asked for by sender and receiver at once";
            return Err(invalid_argument("advertised_to", text));
        }
        (Some(peer), None) if request.pre_policy => {
            View::ReceivedPrePolicy(peer_id(node, peer).await?)
        }
        (Some(peer), None) => View::Received(peer_id(node, peer).await?),
        (None, Some(peer)) => View::Advertised(peer_id(node, peer).await?),
        (None, None) if request.pre_policy => {
            return Err(invalid_argument("pre_policy", "only together with received_from"));
        }
        (None, None) if request.best => View::Best,
        (None, None) => View::Table,
    };
    Ok(RouteQuery { select, family, view })
}

async fn peer_id(node: &Node, name: &str) -> Result<bgp_core::rib::PeerId, Status> {
    node.speaker.peer_id(name).await.map_err(|error| Status::not_found(error.to_string()))
}
