//! `margay peers`.

use margay_proto::v1::{self, ResetKind};

use super::connect;
use crate::{
    cli::{Global, PeersArgs, PeersCommand, Soft},
    error::Failure,
    output::Out,
    view::{Done, Peer, PeerDetail},
};

/// Lists peers, shows one, or does something to one.
pub async fn run(args: PeersArgs, options: &Global, out: &mut Out<'_>) -> Result<(), Failure> {
    let mut routing = connect(options).await?.routing();
    match args.command {
        None => match args.name {
            None => {
                let answer = routing.list_peers(v1::ListPeersRequest {}).await?.into_inner();
                let peers: Vec<_> = answer.peers.into_iter().map(Peer::from).collect();
                out.all(&peers)?;
            }
            Some(peer) => {
                let answer = routing.get_peer(v1::GetPeerRequest { peer }).await?.into_inner();
                out.sheet(&PeerDetail::from(answer))?;
            }
        },
        Some(PeersCommand::Reset { name, soft }) => {
            let (kind, action) = match soft {
                None => (ResetKind::Hard, "session reset"),
                Some(Soft::In) => (ResetKind::SoftIn, "import policy applied again"),
                Some(Soft::Out) => (ResetKind::SoftOut, "routes sent again"),
                Some(Soft::Both) => {
                    (ResetKind::SoftBoth, "policies applied again, routes sent again")
                }
            };
            let request = v1::ResetPeerRequest { peer: name.clone(), kind: kind.into() };
            routing.reset_peer(request).await?;
            out.sheet(&Done::peer(name, action))?;
        }
        Some(PeersCommand::Disable { name, message }) => {
            let message = message.unwrap_or_default();
            routing.disable_peer(v1::DisablePeerRequest { peer: name.clone(), message }).await?;
            out.sheet(&Done::peer(name, "disabled"))?;
        }
        Some(PeersCommand::Enable { name }) => {
            routing.enable_peer(v1::EnablePeerRequest { peer: name.clone() }).await?;
            out.sheet(&Done::peer(name, "enabled"))?;
        }
    }
    Ok(())
}
