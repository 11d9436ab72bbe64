//! `margay monitor`.

use margay_proto::v1;

use super::connect;
use crate::{
    cli::{Global, Watched},
    error::Failure,
    output::Out,
    view::Event,
};

/// Prints changes until the reader or the daemon goes away.
pub async fn run(
    what: Option<Watched>,
    options: &Global,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    let request = v1::MonitorRequest {
        peers: what != Some(Watched::Routes),
        routes: what != Some(Watched::Peers),
    };
    let mut routing = connect(options).await?.routing();
    let mut stream = routing.monitor(request).await?.into_inner();
    while let Some(batch) = stream.message().await? {
        for event in batch.events.into_iter().filter_map(Event::new) {
            out.line(&event)?;
        }
    }
    Err(Failure::failed("the daemon ended the stream"))
}
