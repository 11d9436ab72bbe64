//! Routes wished for and in the kernel, in batches.

use futures::{Stream, stream};
use margay_fib::{FibRow, RowFilter};
use margay_proto::{
    error::invalid_argument,
    v1::{self, list_fib_request::Destination},
};
use tonic::Status;

use super::{Node, routing};

/// Rows of a batch.
const SLICE: usize = 1024;

/// Answers a listing; the kernel side is asked a slice at a time, as the rows are taken.
pub(super) fn list(
    node: &Node,
    request: v1::ListFibRequest,
) -> Result<impl Stream<Item = Result<v1::ListFibResponse, Status>> + Send + use<>, Status> {
    let filter = match &request.destination {
        None => RowFilter::All,
        Some(Destination::Prefix(text)) => RowFilter::Exact(routing::prefix("prefix", text)?),
        Some(Destination::Address(text)) => RowFilter::Lookup(
            text.parse()
                .map_err(|_| invalid_argument("address", format!("{text:?} is no address")))?,
        ),
    };
    let state = Some((node.fib.clone(), None));
    Ok(stream::unfold(state, move |state| async move {
        let (fib, after) = state?;
        let kernel = fib.clone();
        let rows = tokio::task::spawn_blocking(move || kernel.rows_after(filter, after, SLICE));
        let rows = rows.await.unwrap_or_default();
        let next = rows.last().map(|row| row.prefix)?;
        let routes = rows.iter().map(route).collect();
        let rest = (rows.len() == SLICE).then_some((fib, Some(next)));
        Some((Ok(v1::ListFibResponse { routes }), rest))
    }))
}

/// A row.
pub(super) fn route(row: &FibRow) -> v1::FibRoute {
    v1::FibRoute {
        prefix: row.prefix.to_string(),
        r#type: v1::FibRouteType::from_name(row.kind).unwrap_or_default().into(),
        next_hops: row
            .next_hops
            .iter()
            .map(|(gateway, interface, weight)| v1::FibNextHop {
                address: gateway.map(|address| address.to_string()),
                interface: Some(interface.clone()).filter(|name| !name.is_empty()),
                weight: u32::from(*weight),
            })
            .collect(),
        metric: row.metric,
        table: row.table,
        protocol: u32::from(row.protocol),
        in_kernel: row.in_kernel,
        error: row.error.map(str::to_owned),
    }
}
