//! `margay.v1.Routing`.

use std::{pin::Pin, time::Duration};

use bgp_core::{config::default_families, fsm::State, policy::CommunityValue, rib::SoftReset};
use bgp_desired::autodetect::AddressFamily;
use bgp_packet::{Family, FamilySet};
use bgp_speaker::{AddedRoute, AdminState, NoSuchPeer};
use futures::Stream;
use ipnet::IpNet;
use margay_proto::{
    error::invalid_argument,
    v1::{self, routing_server},
};
use tonic::{Request, Response, Status};

use super::{Node, convert, explain, fib, monitor, peers, routes};
use crate::{listening, upstream::Standing};

/// Longest text of an Administrative Shutdown, octets (RFC 9003).
const SHUTDOWN_TEXT: usize = 255;

/// The service.
#[derive(Debug)]
pub(super) struct Routing(pub(super) Node);

type Rows<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn no_such_peer(error: NoSuchPeer) -> Status {
    Status::not_found(error.to_string())
}

/// A prefix of a request, its host bits cleared.
pub(super) fn prefix(field: &str, text: &str) -> Result<IpNet, Status> {
    let net: IpNet = text
        .parse()
        .map_err(|_| invalid_argument(field, format!("{text:?} is no prefix, as 10.0.0.0/8")))?;
    Ok(net.trunc())
}

impl Routing {
    fn registration(&self) -> v1::RegistrationStatus {
        let standing = self.0.standing.borrow();
        let address = |family| standing.addresses.get(&family).map(ToString::to_string);
        v1::RegistrationStatus {
            registered: standing.registered,
            ipv4: address(AddressFamily::V4),
            ipv6: address(AddressFamily::V6),
            problems: standing.problems.iter().map(ToString::to_string).collect(),
        }
    }
}

fn upstream(standing: Standing) -> v1::UpstreamStatus {
    let lag = standing.lag().map(|lag| u64::try_from(lag.as_millis()).unwrap_or(u64::MAX));
    v1::UpstreamStatus {
        address: standing.address().to_owned(),
        connected: standing.connected,
        path: standing.path,
        lag_milliseconds: lag,
        cause: standing.cause,
    }
}

#[tonic::async_trait]
impl routing_server::Routing for Routing {
    type ListRoutesStream = Rows<v1::ListRoutesResponse>;
    type ListFibStream = Rows<v1::ListFibResponse>;
    type MonitorStream = Rows<v1::MonitorResponse>;

    async fn get_status(
        &self,
        _: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let node = &self.0;
        // Side by side: under load an answer of the shards is worth waiting for only once.
        let (peers, counts) = tokio::join!(node.speaker.peers(), node.speaker.counts());
        let in_kernel = node.fib.status();
        let desired = node.desired.borrow().clone();
        let mut used = FamilySet::EMPTY;
        for peer in &peers {
            let remote = peer.status.address.map(|address| address.ip());
            let configured = peer.status.config.families.or(remote.map(default_families));
            configured.into_iter().flat_map(FamilySet::iter).for_each(|f| used.insert(f));
        }
        let installed = [in_kernel.routes_v4, in_kernel.routes_v6];
        let routes = Family::SUPPORTED
            .into_iter()
            .zip(counts)
            .zip(installed)
            .filter(|((family, counts), _)| used.contains(*family) || counts.paths > 0)
            .map(|((family, counts), installed)| v1::FamilyTotals {
                family: convert::family(family).into(),
                paths: counts.paths,
                best: counts.best,
                installed: convert::count(installed),
            })
            .collect();
        let established = |p: &&bgp_speaker::Peer| p.status.state == State::Established;
        Ok(Response::new(v1::GetStatusResponse {
            node: node.name.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            router_id: node.router_id().to_string(),
            asn: desired.bgp.as_ref().map_or(0, |bgp| bgp.asn.0),
            uptime_seconds: node.started.elapsed().as_secs(),
            peers: Some(v1::PeerTotals {
                total: convert::count(peers.len()),
                established: convert::count(peers.iter().filter(established).count()),
            }),
            routes,
            datastore: Some(v1::DatastoreStatus {
                r#type: desired.datastore.kind().to_owned(),
                connected: self.0.datastore.as_ref().map(|d| d.store.status().connected),
            }),
            registration: desired.node.registration.enabled.then(|| self.registration()),
            listen_missing: listening::missing(&desired).iter().map(ToString::to_string).collect(),
            upstream: self.0.origin.upstream().map(upstream),
        }))
    }

    async fn list_peers(
        &self,
        _: Request<v1::ListPeersRequest>,
    ) -> Result<Response<v1::ListPeersResponse>, Status> {
        let peers = self.0.speaker.peers().await;
        let links = self.0.fib.links();
        let peers = peers.iter().map(|peer| peers::row(peer, &links)).collect();
        Ok(Response::new(v1::ListPeersResponse { peers }))
    }

    async fn get_peer(
        &self,
        request: Request<v1::GetPeerRequest>,
    ) -> Result<Response<v1::GetPeerResponse>, Status> {
        let peer = self.0.speaker.peer(&request.get_ref().peer).await.map_err(no_such_peer)?;
        Ok(Response::new(peers::detail(&peer, &self.0.fib.links())))
    }

    async fn reset_peer(
        &self,
        request: Request<v1::ResetPeerRequest>,
    ) -> Result<Response<v1::ResetPeerResponse>, Status> {
        let request = request.into_inner();
        let (speaker, peer) = (&self.0.speaker, request.peer.as_str());
        let known = speaker.peer(peer).await.map_err(no_such_peer)?;
        if known.status.admin == AdminState::Down {
            return Err(Status::failed_precondition(format!(
                "{peer} is disabled: there is no session to reset"
            )));
        }
        let done = match request.kind() {
            v1::ResetKind::Unspecified => {
                return Err(invalid_argument("kind", "what kind of reset is not said"));
            }
            v1::ResetKind::Hard => speaker.reset(peer).await,
            v1::ResetKind::SoftIn => speaker.soft_reset(peer, SoftReset::In).await,
            v1::ResetKind::SoftOut => speaker.soft_reset(peer, SoftReset::Out).await,
            v1::ResetKind::SoftBoth => speaker.soft_reset(peer, SoftReset::Both).await,
        };
        done.map_err(no_such_peer)?;
        Ok(Response::new(v1::ResetPeerResponse {}))
    }

    async fn disable_peer(
        &self,
        request: Request<v1::DisablePeerRequest>,
    ) -> Result<Response<v1::DisablePeerResponse>, Status> {
        let v1::DisablePeerRequest { peer, message } = request.into_inner();
        if message.len() > SHUTDOWN_TEXT {
            let text = format!("{} octets, allowed: at most {SHUTDOWN_TEXT}", message.len());
            return Err(invalid_argument("message", text));
        }
        self.0.speaker.disable(&peer, message).await.map_err(no_such_peer)?;
        Ok(Response::new(v1::DisablePeerResponse {}))
    }

    async fn enable_peer(
        &self,
        request: Request<v1::EnablePeerRequest>,
    ) -> Result<Response<v1::EnablePeerResponse>, Status> {
        self.0.speaker.enable(&request.get_ref().peer).await.map_err(no_such_peer)?;
        Ok(Response::new(v1::EnablePeerResponse {}))
    }

    async fn list_routes(
        &self,
        request: Request<v1::ListRoutesRequest>,
    ) -> Result<Response<Self::ListRoutesStream>, Status> {
        let rows = routes::list(&self.0, request.into_inner()).await?;
        Ok(Response::new(Box::pin(rows)))
    }

    async fn add_route(
        &self,
        request: Request<v1::AddRouteRequest>,
    ) -> Result<Response<v1::AddRouteResponse>, Status> {
        let request = request.into_inner();
        let prefix = prefix("prefix", &request.prefix)?;
        let next_hop = match &request.next_hop {
            None => None,
            Some(text) => Some(
                text.parse::<std::net::IpAddr>()
                    .map_err(|_| invalid_argument("next_hop", format!("{text:?} is no address")))?,
            ),
        };
        if let (IpNet::V6(_), Some(std::net::IpAddr::V4(v4))) = (prefix, next_hop) {
            let text = format!("{v4} cannot be the next hop of an IPv6 prefix");
            return Err(invalid_argument("next_hop", text));
        }
        let mut communities = Vec::new();
        for text in &request.communities {
            let community: CommunityValue = text
                .parse()
                .map_err(|error| invalid_argument("communities", format!("{error}")))?;
            communities.push(community);
        }
        self.0.speaker.add_route(AddedRoute { prefix, next_hop, communities }).await;
        Ok(Response::new(v1::AddRouteResponse {}))
    }

    async fn withdraw_route(
        &self,
        request: Request<v1::WithdrawRouteRequest>,
    ) -> Result<Response<v1::WithdrawRouteResponse>, Status> {
        let prefix = prefix("prefix", &request.get_ref().prefix)?;
        if self.0.speaker.withdraw_route(prefix).await {
            Ok(Response::new(v1::WithdrawRouteResponse {}))
        } else {
            Err(Status::not_found(format!("{prefix} is not originated here")))
        }
    }

    async fn explain_route(
        &self,
        request: Request<v1::ExplainRouteRequest>,
    ) -> Result<Response<v1::ExplainRouteResponse>, Status> {
        explain::explain(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn list_fib(
        &self,
        request: Request<v1::ListFibRequest>,
    ) -> Result<Response<Self::ListFibStream>, Status> {
        let rows = fib::list(&self.0, request.into_inner())?;
        Ok(Response::new(Box::pin(rows)))
    }

    async fn monitor(
        &self,
        request: Request<v1::MonitorRequest>,
    ) -> Result<Response<Self::MonitorStream>, Status> {
        let events = monitor::monitor(&self.0, *request.get_ref()).await;
        Ok(Response::new(Box::pin(events)))
    }
}

/// Whole seconds, as every age and duration is told.
pub(super) fn seconds(duration: Duration) -> u64 {
    duration.as_secs()
}
