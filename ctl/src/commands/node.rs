//! `margay node`.

pub mod checksystem;
mod cni;
pub mod diags;
pub mod system;

use std::time::SystemTime;

use margay_proto::v1;

use super::connect;
use crate::{
    cli::{Global, NodeCommand},
    error::Failure,
    output::Out,
    view::NodeStatus,
};

/// Shows how this node is, or what its host can do.
pub async fn run(command: NodeCommand, options: &Global, out: &mut Out<'_>) -> Result<(), Failure> {
    match command {
        NodeCommand::Status => {
            let mut routing = connect(options).await?.routing();
            let answer = routing.list_peers(v1::ListPeersRequest {}).await?.into_inner();
            Ok(out.sheet(&NodeStatus::new(answer.peers, epoch_seconds()))?)
        }
        NodeCommand::Checksystem => checksystem::run(out),
        NodeCommand::Diags { file } => diags::run(file, options, out).await,
        NodeCommand::InstallCni(args) => cni::install(&args, options, out).await,
        NodeCommand::UninstallCni(places) => cni::uninstall(&places, out),
    }
}

/// Now, in seconds since the Unix epoch.
pub fn epoch_seconds() -> u64 {
    // A clock before 1970 is as good as none.
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
