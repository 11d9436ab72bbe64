//! `margay.v1.Ipam`.

mod held;
mod mend;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
    time::SystemTime,
};

use margay_datastore::Store;
use margay_ipam::{
    Answer, Ask, Consequence, Elsewhere, Handle, IpamError, NodeName, Pools, Release, Request,
    Settings, Use, Want,
    check::{Facts, check},
    show::{self, AddressRow, UseRow},
    view::View,
};
use margay_proto::{
    error::invalid_argument,
    v1::{self, ipam_server},
};
use tonic::{Code, Request as Call, Response, Status};

use self::{
    held::Endpoints,
    mend::{Mended, mend},
};
use super::{Node, actor, no_datastore, unavailable};
use crate::{
    ipam::{Ipam as Allocator, wall},
    resources::{Configure, ResourceError, Resources},
};

/// Most addresses or pools named in one request.
const MOST: usize = 4096;
/// Most octets of all attributes of an address, names and values.
const MOST_OF_ATTRIBUTES: usize = 4096;

/// What a check looks at, of one moment.
struct Scene {
    view: View,
    pools: Pools,
    pools_missing: bool,
    settings: Settings,
    gone: BTreeSet<NodeName>,
    nodes: Option<BTreeSet<NodeName>>,
}

/// The service.
pub(super) struct Ipam {
    there: Option<(Allocator, Resources)>,
    node: Arc<str>,
}

impl Ipam {
    /// Of this daemon.
    pub(super) fn new(node: &Node) -> Self {
        let there = node.ipam.clone().zip(node.resources.clone());
        Self { there, node: Arc::clone(&node.name) }
    }

    fn ipam(&self) -> Result<&Allocator, Status> {
        self.there.as_ref().map(|(ipam, _)| ipam).ok_or_else(no_datastore)
    }

    fn store(&self) -> Result<&Arc<dyn Store>, Status> {
        Ok(self.resources()?.store())
    }

    fn resources(&self) -> Result<&Resources, Status> {
        self.there.as_ref().map(|(_, resources)| resources).ok_or_else(no_datastore)
    }

    async fn ask(&self, ask: Ask) -> Result<Answer, Status> {
        self.ipam()?.ask(ask).await.map_err(|error| refused(&error))
    }

    /// The node a request is for, unless it is our own.
    async fn elsewhere(&self, node: &str) -> Result<Option<Arc<Elsewhere>>, Status> {
        let ipam = self.ipam()?;
        if node.is_empty() || node == ipam.node().as_str() {
            return Ok(None);
        }
        let name = NodeName::try_from(node)
            .map_err(|error| invalid_argument("node", error.to_string()))?;
        let there = ipam.look(move |sight| sight.elsewhere(&name)).await.ok_or_else(unavailable)?;
        let there = there.map_err(|error| refused(&error))?.ok_or_else(|| {
            Status::not_found(format!(
                "there is no Node named {node}\n\
                 help: `margay get nodes` lists them; `margay apply` a Node resource for one that \
                 has no daemon yet"
            ))
        })?;
        Ok(Some(Arc::new(there)))
    }
}

#[tonic::async_trait]
impl ipam_server::Ipam for Ipam {
    async fn assign_addresses(
        &self,
        call: Call<v1::AssignAddressesRequest>,
    ) -> Result<Response<v1::AssignAddressesResponse>, Status> {
        let request = call.into_inner();
        let elsewhere = self.elsewhere(&request.node).await?;
        let ipam = self.ipam()?;
        let want = want(&request)?;
        let use_ = match request.r#use.as_str() {
            "" | "Workload" => Use::Workload,
            "Tunnel" => Use::Tunnel,
            "LoadBalancer" => Use::LoadBalancer,
            _ => {
                let text = "must be Workload, Tunnel or LoadBalancer";
                return Err(invalid_argument("use", text));
            }
        };
        let handle = match request.handle.as_str() {
            "" => Handle::try_from(format!("margay-{}", uuid::Uuid::new_v4()).as_str()),
            given => Handle::try_from(given),
        };
        let handle = handle.map_err(|error| invalid_argument("handle", error.to_string()))?;
        let namespace = request.namespace;
        let not_for_namespace = ipam.look(move |sight| sight.not_for_namespace(&namespace)).await;
        let ask = Ask::Assign(Request {
            elsewhere,
            handle,
            want,
            pools: request.pools,
            not_for_namespace: not_for_namespace.ok_or_else(unavailable)?,
            use_,
            attributes: attributes(request.attributes)?,
            reuse: false,
            replaces: None,
        });
        let Answer::Assigned(grants) = self.ask(ask).await? else { return Err(mixed_up()) };
        let addresses = grants.into_iter().map(|grant| v1::AssignedAddress {
            address: grant.address.to_string(),
            block: grant.block.to_string(),
            pool: grant.pool,
            handle: grant.handle.to_string(),
            node: grant.node.to_string(),
        });
        Ok(Response::new(v1::AssignAddressesResponse { addresses: addresses.collect() }))
    }

    async fn release_addresses(
        &self,
        call: Call<v1::ReleaseAddressesRequest>,
    ) -> Result<Response<v1::ReleaseAddressesResponse>, Status> {
        let ask = Ask::Release(releases(call.into_inner())?);
        let Answer::Released { addresses, absent } = self.ask(ask).await? else {
            return Err(mixed_up());
        };
        let text = |all: Vec<IpAddr>| all.iter().map(ToString::to_string).collect();
        let (released, absent) = (text(addresses), text(absent));
        Ok(Response::new(v1::ReleaseAddressesResponse { released, absent }))
    }

    async fn show_ipam(
        &self,
        call: Call<v1::ShowIpamRequest>,
    ) -> Result<Response<v1::ShowIpamResponse>, Status> {
        let blocks = call.into_inner().blocks;
        let shown = self.ipam()?.look(move |sight| {
            let all = sight.allocator();
            all.is_in_sync().then(|| v1::ShowIpamResponse {
                rows: show::usage(all.view(), all.pools(), all.reservations(), blocks)
                    .into_iter()
                    .map(row)
                    .collect(),
                borrowed: show::borrowed(all.view()).into_iter().map(borrowed).collect(),
                settings: Some(settings(all.settings())),
            })
        });
        let shown = shown.await.ok_or_else(unavailable)?;
        Ok(Response::new(shown.ok_or_else(|| refused(&IpamError::NotInSync))?))
    }

    async fn show_address(
        &self,
        call: Call<v1::ShowAddressRequest>,
    ) -> Result<Response<v1::ShowAddressResponse>, Status> {
        let address = address("address", &call.into_inner().address)?;
        let shown = self.ipam()?.look(move |sight| {
            let all = sight.allocator();
            all.is_in_sync().then(|| {
                let pool = all.pools().of(address).map(|pool| pool.name.clone());
                one(address, show::address(all.view(), address), pool)
            })
        });
        let shown = shown.await.ok_or_else(unavailable)?;
        Ok(Response::new(shown.ok_or_else(|| refused(&IpamError::NotInSync))?))
    }

    async fn check_ipam(
        &self,
        call: Call<v1::CheckIpamRequest>,
    ) -> Result<Response<v1::CheckIpamResponse>, Status> {
        let actor = actor("ipam", &self.node, &call);
        let v1::CheckIpamRequest { fix, addresses } = call.into_inner();
        let scene = self.ipam()?.look(|sight| {
            let all = sight.allocator();
            all.is_in_sync().then(|| Scene {
                view: all.view().clone(),
                pools: all.pools().clone(),
                pools_missing: !all.unreadable().pools.is_empty(),
                settings: *all.settings(),
                gone: sight.gone(),
                nodes: sight.nodes(),
            })
        });
        let scene = scene.await.ok_or_else(unavailable)?;
        let scene = scene.ok_or_else(|| refused(&IpamError::NotInSync))?;
        // Endpoints later than blocks: what of them is not held yet was assigned since, and a block that
        // was written since is not mended.
        let endpoints = Endpoints::list(self.store()?.as_ref()).await;
        let used = endpoints.map_err(ResourceError::from)?.used(&scene.view);
        let report = check(Facts {
            view: &scene.view,
            pools: &scene.pools,
            pools_missing: scene.pools_missing,
            settings: &scene.settings,
            gone: &scene.gone,
            nodes: scene.nodes.as_ref(),
            used: Some(&used),
            now: wall(),
        });
        let addresses = match addresses {
            true => held::addresses(&scene.view, &report),
            false => Vec::new(),
        };
        let mended = match fix {
            true => mend(self.store()?.as_ref(), &report.steps, &actor).await,
            false => Mended::default(),
        };
        let problem = |problem: margay_ipam::check::Problem| v1::IpamProblem {
            kind: problem.kind.to_string(),
            address: problem.address.map(|address| address.to_string()),
            block: problem.block.map(|block| block.to_string()),
            fixed: mended.covers(&problem),
            detail: problem.detail,
            by_hand: problem.by_hand,
        };
        let problems = report.problems.into_iter().map(problem).collect();
        Ok(Response::new(v1::CheckIpamResponse { problems, failures: mended.failures, addresses }))
    }

    async fn split_pool(
        &self,
        call: Call<v1::SplitPoolRequest>,
    ) -> Result<Response<v1::SplitPoolResponse>, Status> {
        let actor = actor("ipam", &self.node, &call);
        let v1::SplitPoolRequest { pool, parts } = call.into_inner();
        let parts = self.resources()?.split_pool(&pool, parts, SystemTime::now(), &actor).await?;
        let part =
            |(name, cidr): (String, ipnet::IpNet)| v1::SplitPart { name, cidr: cidr.to_string() };
        let pools = parts.into_iter().map(part).collect();
        Ok(Response::new(v1::SplitPoolResponse { pools }))
    }

    async fn configure_ipam(
        &self,
        call: Call<v1::ConfigureIpamRequest>,
    ) -> Result<Response<v1::ConfigureIpamResponse>, Status> {
        let actor = actor("ipam", &self.node, &call);
        let request = call.into_inner();
        let set = Configure {
            strict_affinity: request.strict_affinity,
            auto_allocate_blocks: request.auto_allocate_blocks,
            max_blocks_per_host: request.max_blocks_per_host,
            ip_cooldown_seconds: request.ip_cooldown_seconds,
        };
        let written = self.resources()?.configure_ipam(set, &actor).await?;
        let settings = Some(settings(&written));
        Ok(Response::new(v1::ConfigureIpamResponse { settings }))
    }
}

/// An error as an answer, with what can be done about it.
fn refused(error: &IpamError) -> Status {
    let mut text = error.to_string();
    if let Some(help) = error.help() {
        text = format!("{text}\nhelp: {help}");
    }
    match error.consequence() {
        Consequence::Invalid => {
            let field = match error {
                IpamError::OutsidePools(_) => "addresses",
                _ => "ipv4",
            };
            invalid_argument(field, text)
        }
        Consequence::Forbidden => Status::failed_precondition(text),
        Consequence::NotFound => Status::not_found(text),
        Consequence::AlreadyExists => Status::already_exists(text),
        Consequence::Exhausted => Status::new(Code::ResourceExhausted, text),
        Consequence::Aborted => Status::aborted(text),
        // Waiting alone helps nobody here.
        Consequence::Unavailable
            if matches!(
                error,
                IpamError::Locked | IpamError::Unreadable(_) | IpamError::Block { .. }
            ) =>
        {
            Status::failed_precondition(text)
        }
        Consequence::Unavailable => Status::unavailable(text),
    }
}

/// An answer to another question: a fault of ours.
fn mixed_up() -> Status {
    Status::internal("the answer is not one to this request")
}

/// What is said of whoever holds an address: it is written down with each.
fn attributes(given: HashMap<String, String>) -> Result<BTreeMap<String, String>, Status> {
    let octets: usize = given.iter().map(|(name, value)| name.len() + value.len()).sum();
    if octets > MOST_OF_ATTRIBUTES {
        let text = format!("have {octets} octets, more than {MOST_OF_ATTRIBUTES}");
        return Err(invalid_argument("attributes", text));
    }
    Ok(given.into_iter().collect())
}

fn want(request: &v1::AssignAddressesRequest) -> Result<Want, Status> {
    let count = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    if request.pools.len() > MOST {
        return Err(invalid_argument("pools", format!("more than {MOST}")));
    }
    if request.addresses.is_empty() {
        return Ok(Want::Any { v4: count(request.ipv4), v6: count(request.ipv6) });
    }
    if request.ipv4 > 0 || request.ipv6 > 0 {
        let text = "are given, so ipv4 and ipv6 must be 0";
        return Err(invalid_argument("addresses", text));
    }
    Ok(Want::Exactly(addresses(&request.addresses)?))
}

fn releases(request: v1::ReleaseAddressesRequest) -> Result<Vec<Release>, Status> {
    let v1::ReleaseAddressesRequest { addresses: named, handle, owner, assignments } = request;
    if !assignments.is_empty() {
        if !named.is_empty() || !handle.is_empty() || !owner.is_empty() {
            let text = "are given, so addresses, handle and owner must not be";
            return Err(invalid_argument("assignments", text));
        }
        if assignments.len() > MOST {
            return Err(invalid_argument("assignments", format!("more than {MOST}")));
        }
        return assignments.into_iter().map(assignment).collect();
    }
    if !owner.is_empty() {
        if !named.is_empty() || !handle.is_empty() {
            let text = "is given, so addresses and handle must not be";
            return Err(invalid_argument("owner", text));
        }
        return Ok(vec![Release::Owner(owner.into_iter().collect())]);
    }
    let handle = match handle.as_str() {
        "" => None,
        given => Some(
            Handle::try_from(given)
                .map_err(|error| invalid_argument("handle", error.to_string()))?,
        ),
    };
    let named = addresses(&named)?;
    if !named.is_empty() {
        let one = |address| Release::Address { address, handle: handle.clone(), serial: None };
        return Ok(named.into_iter().map(one).collect());
    }
    let handle = handle.ok_or_else(|| {
        invalid_argument("addresses", "missing: name addresses, a handle or an owner")
    })?;
    Ok(vec![Release::Handle(handle)])
}

fn assignment(named: v1::Assignment) -> Result<Release, Status> {
    let handle = Handle::try_from(named.handle.as_str())
        .map_err(|error| invalid_argument("assignments", error.to_string()))?;
    let address = address("assignments", &named.address)?;
    Ok(Release::Address { address, handle: Some(handle), serial: Some(named.serial) })
}

fn addresses(texts: &[String]) -> Result<Vec<IpAddr>, Status> {
    if texts.len() > MOST {
        return Err(invalid_argument("addresses", format!("more than {MOST}")));
    }
    texts.iter().map(|text| address("addresses", text)).collect()
}

fn address(field: &str, text: &str) -> Result<IpAddr, Status> {
    text.parse().map_err(|_| invalid_argument(field, format!("{text:?} is no address")))
}

fn row(row: UseRow) -> v1::IpamRow {
    v1::IpamRow {
        cidr: row.cidr.to_string(),
        block: row.is_block,
        pool: row.pool,
        node: row.node,
        state: row.state.to_owned(),
        total: row.total.to_string(),
        in_use: row.in_use.to_string(),
        reserved: row.reserved.to_string(),
        free: row.free.to_string(),
        cooling: row.cooling.to_string(),
    }
}

fn borrowed(row: show::BorrowedRow) -> v1::BorrowedAddress {
    v1::BorrowedAddress {
        address: row.address.to_string(),
        node: row.node,
        block: row.block.to_string(),
        owner: row.owner,
        r#type: row.kind,
        allocated_to: row.allocated_to,
    }
}

fn settings(settings: &Settings) -> v1::IpamSettings {
    v1::IpamSettings {
        strict_affinity: settings.strict_affinity,
        auto_allocate_blocks: settings.auto_allocate_blocks,
        max_blocks_per_host: settings.max_blocks_per_host,
        ip_cooldown_seconds: u32::try_from(settings.cooldown.as_secs()).unwrap_or(u32::MAX),
    }
}

fn one(address: IpAddr, row: AddressRow, pool: Option<String>) -> v1::ShowAddressResponse {
    let shown = v1::ShowAddressResponse {
        address: address.to_string(),
        pool,
        ..v1::ShowAddressResponse::default()
    };
    match row {
        AddressRow::InUse { block, held } => v1::ShowAddressResponse {
            state: "in-use".to_owned(),
            block: Some(block.to_string()),
            node: Some(held.node.to_string()),
            handle: Some(held.handle.to_string()),
            since: Some(held.since.0 / 1000),
            attributes: held
                .attributes
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            ..shown
        },
        AddressRow::Cooling { block, since } => v1::ShowAddressResponse {
            state: "cooling".to_owned(),
            block: Some(block.to_string()),
            since: Some(since.0 / 1000),
            ..shown
        },
        AddressRow::Free => v1::ShowAddressResponse { state: "free".to_owned(), ..shown },
        AddressRow::Unreadable(block) => v1::ShowAddressResponse {
            state: "unreadable".to_owned(),
            block: Some(block.to_string()),
            ..shown
        },
    }
}
