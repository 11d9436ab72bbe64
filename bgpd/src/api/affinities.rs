//! `BlockAffinity` as users of Calico know it: a view of IPAM blocks, never stored.

use margay_ipam::show::{self, AffinityRow};
use margay_model::{
    Key, Resource, Revision,
    kinds::{AffinityState, AffinityType, BlockAffinity, BlockAffinitySpec},
};
use tonic::Status;

use super::{no_datastore, unavailable};
use crate::{ipam::Ipam, resources::ResourceError};

/// All of them in the order of blocks, as JSON, and the revision they were last changed at.
pub(super) async fn list(ipam: Option<&Ipam>) -> Result<(Vec<String>, Revision), Status> {
    let (rows, revision) = rows(ipam).await?;
    Ok((rows.into_iter().map(text).collect(), revision))
}

/// One by its name.
pub(super) async fn get(ipam: Option<&Ipam>, key: Key) -> Result<String, Status> {
    let name = key.resource().map_or("", |key| key.name.as_str());
    let (rows, _) = rows(ipam).await?;
    let found = rows.into_iter().find(|row| row.name == name).map(text);
    found.ok_or_else(|| ResourceError::NotFound(key).into())
}

/// Why they are not watched.
pub(super) fn not_watched() -> Status {
    Status::failed_precondition(
        "BlockAffinity is a view of IPAM blocks and is not watched\n\
         help: `margay ipam show --show-blocks` shows them",
    )
}

async fn rows(ipam: Option<&Ipam>) -> Result<(Vec<AffinityRow>, Revision), Status> {
    let ipam = ipam.ok_or_else(no_datastore)?;
    let look = ipam.look(|sight| {
        let all = sight.allocator();
        all.is_in_sync().then(|| (show::affinities(all.view()), all.view().seen()))
    });
    let seen = look.await.ok_or_else(unavailable)?;
    seen.ok_or_else(|| Status::unavailable("the list of blocks is not loaded yet"))
}

fn text(row: AffinityRow) -> String {
    let state = match row.state {
        "confirmed" => AffinityState::Confirmed,
        _ => AffinityState::PendingDeletion,
    };
    let kind = Some(AffinityType::Host);
    let cidr = row.cidr.into();
    let spec = BlockAffinitySpec { state, node: row.node, kind, cidr, deleted: None };
    let affinity = BlockAffinity::new(row.name, spec);
    Resource::BlockAffinity(Box::new(affinity)).to_json().to_string()
}
