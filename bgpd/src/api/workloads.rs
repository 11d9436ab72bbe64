//! `margay.v1.Workloads`.

mod convert;
mod look;

use std::{collections::BTreeSet, time::Duration};

use margay_ipam::{
    Family, Pools, Use,
    pool::AssignmentMode,
    show::{UseRow, usage},
};
use margay_proto::{
    error::with_cni_code,
    v1::{self, workloads_server},
};
use margay_workload::{Cause, Failure, Mode, Reply, State};
use nix::time::{ClockId, clock_gettime};
use tokio::time::timeout;
use tonic::{Code, Request, Response, Status};
use tracing::warn;

use super::{Node, no_datastore};
use crate::workload::{Call, Workloads as Handle, refused, stopping};

/// How long an ADD may take when the caller does not say.
const USUAL: Duration = Duration::from_secs(30);
/// Most attachments a runtime may name in one request.
const MOST: usize = 65_536;
/// The codes of STATUS.
const NOT_AVAILABLE: u32 = 50;
const LIMITED: u32 = 51;

/// The service.
pub(super) struct Workloads(pub(super) Node);

impl Workloads {
    fn there(&self) -> Result<&Handle, Status> {
        self.0.workloads.as_ref().ok_or_else(|| with_cni_code(no_datastore(), 7))
    }

    /// What a new workload lacks here, if anything.
    async fn lacks(&self, wish: Option<&v1::AssignByUs>) -> Result<(), (u32, String)> {
        let unavailable = |text: String| (NOT_AVAILABLE, text);
        let Some(ipam) = self.0.ipam.as_ref() else {
            return Err(unavailable("there is no datastore".to_owned()));
        };
        let kernel = self.0.fib.status();
        if let Some(degraded) = kernel.degraded {
            return Err((LIMITED, format!("routes are not written: {degraded}")));
        }
        if self.0.ready.is_away() {
            let text = "no policy dataplane is connected, and this node had one";
            return Err(unavailable(text.to_owned()));
        }
        // With the addresses of another plugin no pool of ours matters.
        let wanted = wish.map(pools).unwrap_or_default();
        let looked = ipam.look(move |sight| {
            let all = sight.allocator();
            if let Some(error) = all.not_ready() {
                return Err(refused(&error).text);
            }
            let rows = usage(all.view(), all.pools(), all.reservations(), false);
            let pools = all.pools();
            wanted.iter().try_for_each(|(family, named)| has_room(&rows, pools, *family, named))
        });
        match looked.await {
            Some(Ok(())) => Ok(()),
            Some(Err(text)) => Err(unavailable(text)),
            None => Err(unavailable(stopping().text)),
        }
    }
}

/// Whether somebody still waits for what was to begin by then, milliseconds of CLOCK_BOOTTIME; always
/// with 0. What waited in the socket of a daemon that was stopped is nobody's any more.
fn in_time(begin_by: u64) -> Result<(), Status> {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
    let late = now.saturating_sub(Duration::from_millis(begin_by));
    if begin_by == 0 || late.is_zero() {
        return Ok(());
    }
    let text = format!("the daemon came to it {} ms after its time", late.as_millis());
    warn!(text, "an ADD that nobody waits for any more is not begun");
    Err(failed(Failure::new(Cause::Later, text)))
}

#[tonic::async_trait]
impl workloads_server::Workloads for Workloads {
    async fn add(
        &self,
        call: Request<v1::AddWorkloadRequest>,
    ) -> Result<Response<v1::AddWorkloadResponse>, Status> {
        let there = self.there()?;
        let request = call.into_inner();
        in_time(request.begin_by_millis)?;
        let patience = match request.deadline_millis {
            0 => USUAL,
            millis => Duration::from_millis(millis.into()),
        };
        let (id, spec, unsaid) = convert::wanted(request).map_err(failed)?;
        // Before what is there in the same name makes room for it.
        if spec.mode == Mode::Link
            && let Err(error) = tokio::fs::metadata(&spec.netns).await
        {
            let text = format!("CNI_NETNS: network namespace {}: {error}", spec.netns);
            return Err(failed(Failure::new(Cause::Namespace, text)));
        }
        let of = id.clone();
        // Asked in this order, and not waited for in between.
        let was = move |sight: crate::workload::Sight<'_>| {
            sight.desk.entry(&of).is_some_and(|entry| !entry.is_bare())
        };
        let was = timeout(patience, there.look(was));
        let added = timeout(patience, there.call(Call::Add(id.clone(), Box::new(spec), unsaid)));
        let (was, answer) = tokio::join!(biased; was, added);
        let Ok(answer) = answer else {
            // By then there is an answer, or nothing: but what was there before stays.
            let was = was.ok().flatten();
            if was == Some(false) {
                let there = there.clone();
                tokio::spawn(async move { there.call(Call::Delete { id, asked: None }).await });
            }
            let what = match was {
                Some(false) => "it is being undone",
                _ => "what was there before stays",
            };
            let text = format!("it took longer than {} ms; {what}", patience.as_millis());
            return Err(failed(Failure::new(Cause::Later, text)));
        };
        match answer.map_err(failed)? {
            Reply::Added(entry) => Ok(Response::new(convert::answer(&entry, &self.0.name))),
            _ => Err(mixed_up()),
        }
    }

    async fn delete(
        &self,
        call: Request<v1::DeleteWorkloadRequest>,
    ) -> Result<Response<v1::DeleteWorkloadResponse>, Status> {
        let request = call.into_inner();
        let id = match convert::id(request.attachment.as_ref()) {
            Ok(id) => id,
            // What cannot be named was never attached.
            Err(_) if request.attachment.is_some() => {
                return Ok(Response::new(v1::DeleteWorkloadResponse { found: false }));
            }
            Err(failure) => return Err(failed(failure)),
        };
        let asked = crate::workload::asked_then(&request);
        // Later: the plugin then takes the link down and leaves the rest for a daemon that can.
        let there = self.there().map_err(|_| with_cni_code(no_datastore(), 11))?;
        match there.call(Call::Delete { id, asked }).await.map_err(failed)? {
            Reply::Deleted(found) => Ok(Response::new(v1::DeleteWorkloadResponse { found })),
            _ => Err(mixed_up()),
        }
    }

    async fn check(
        &self,
        call: Request<v1::CheckWorkloadRequest>,
    ) -> Result<Response<v1::CheckWorkloadResponse>, Status> {
        let request = call.into_inner();
        let id = convert::id(request.attachment.as_ref()).map_err(failed)?;
        let of = id.clone();
        let entry = self.there()?.look(move |sight| sight.desk.entry(&of).cloned()).await;
        let entry = entry.ok_or_else(|| failed(stopping()))?;
        let different = |text: String| failed(Failure::new(Cause::Different, text));
        let Some(entry) = entry else { return Err(different(format!("{id} is not attached"))) };
        if entry.state != State::Live {
            return Err(different(format!("{id} is {}", entry.state.name())));
        }
        if !request.netns.is_empty() && request.netns != entry.spec.netns {
            let (is, was) = (&entry.spec.netns, &request.netns);
            return Err(different(format!("{id} is attached to {is}, not to {was}")));
        }
        convert::compare(&request, &entry).map_err(different)?;
        let findings = look::findings(&self.0, &entry).await.map_err(failed)?;
        match findings.into_iter().find(|finding| !finding.good) {
            Some(bad) => Err(different(format!("{}: {}", bad.what, bad.detail))),
            None => Ok(Response::new(v1::CheckWorkloadResponse {})),
        }
    }

    async fn collect_garbage(
        &self,
        call: Request<v1::CollectWorkloadsRequest>,
    ) -> Result<Response<v1::CollectWorkloadsResponse>, Status> {
        let v1::CollectWorkloadsRequest { network, valid } = call.into_inner();
        if valid.len() > MOST {
            return Err(failed(Failure::invalid("valid", format!("more than {MOST}"))));
        }
        let valid: BTreeSet<_> =
            valid.into_iter().map(|known| (known.container_id, known.ifname)).collect();
        match self.there()?.call(Call::Collect { network, valid }).await.map_err(failed)? {
            Reply::Collected(ids) => {
                let deleted = ids.iter().map(convert::attachment).collect();
                Ok(Response::new(v1::CollectWorkloadsResponse { deleted }))
            }
            _ => Err(mixed_up()),
        }
    }

    async fn status(
        &self,
        call: Request<v1::WorkloadStatusRequest>,
    ) -> Result<Response<v1::WorkloadStatusResponse>, Status> {
        self.there()?;
        match self.lacks(call.into_inner().assign.as_ref()).await {
            Ok(()) => Ok(Response::new(v1::WorkloadStatusResponse {})),
            Err((code, text)) => Err(with_cni_code(Status::unavailable(text), code)),
        }
    }

    async fn list(
        &self,
        call: Request<v1::ListWorkloadsRequest>,
    ) -> Result<Response<v1::ListWorkloadsResponse>, Status> {
        let v1::ListWorkloadsRequest { network, namespace } = call.into_inner();
        let mut workloads = self.all().await?;
        workloads.retain(|workload| {
            let of = workload.attachment.as_ref().map(|attachment| &attachment.network);
            (network.is_empty() || of == Some(&network))
                && (namespace.is_empty() || workload.endpoint_namespace == namespace)
        });
        Ok(Response::new(v1::ListWorkloadsResponse { workloads }))
    }

    async fn trace(
        &self,
        call: Request<v1::TraceWorkloadRequest>,
    ) -> Result<Response<v1::TraceWorkloadResponse>, Status> {
        let wanted = call.into_inner().workload;
        if wanted.is_empty() {
            return Err(failed(Failure::invalid("workload", "must not be empty")));
        }
        let workload = self.all().await?.into_iter().find(|one| look::is_called(one, &wanted));
        let of = workload.as_ref().and_then(|workload| workload.attachment.clone());
        let id = of.and_then(|of| convert::id(Some(&of)).ok());
        let steps = look::steps(self.there()?, id.clone(), wanted.clone()).await;
        let (gone, steps) = steps.ok_or_else(|| failed(stopping()))?;
        let findings = match &id {
            Some(id) => {
                let id = id.clone();
                let entry = self.there()?.look(move |sight| sight.desk.entry(&id).cloned()).await;
                match entry.flatten() {
                    Some(entry) => look::findings(&self.0, &entry).await.map_err(failed)?,
                    None => Vec::new(),
                }
            }
            None => Vec::new(),
        };
        let Some(workload) = workload.or(gone) else {
            return Err(Status::not_found(format!("no workload {wanted:?} on this node")));
        };
        let workload = Some(workload);
        Ok(Response::new(v1::TraceWorkloadResponse { workload, steps, findings }))
    }
}

impl Workloads {
    /// The attachments of this node and the endpoints applied by hand.
    async fn all(&self) -> Result<Vec<v1::Workload>, Status> {
        let node = self.0.name.clone();
        let all = self.there()?.look(move |sight| look::all(sight, &node)).await;
        all.ok_or_else(|| failed(stopping()))
    }
}

/// The families that an ADD would ask for, and the pools each is bound to, if any.
fn pools(wish: &v1::AssignByUs) -> Vec<(Family, Vec<String>)> {
    let v4 = || (Family::V4, wish.ipv4_pools.clone());
    let v6 = || (Family::V6, wish.ipv6_pools.clone());
    match (wish.ipv4, wish.ipv6) {
        (false, true) => vec![v6()],
        (true, true) => vec![v4(), v6()],
        (_, false) => vec![v4()],
    }
}

/// Whether one of the pools of a family that workloads here get addresses of, or of those named, has an
/// address left.
fn has_room(
    rows: &[UseRow],
    pools: &Pools,
    family: Family,
    named: &[String],
) -> Result<(), String> {
    // A pool that is named is used whatever it selects.
    let fits = |row: &&UseRow| {
        let pool = row.pool.as_ref().and_then(|name| pools.find(name));
        pool.is_some_and(|pool| {
            let unasked = pool.mode != AssignmentMode::Manual && pool.selects_node;
            pool.uses.contains(&Use::Workload) && (unasked || !named.is_empty())
        })
    };
    let is_named = |row: &UseRow| {
        let cidr = row.cidr.to_string();
        let is_it = |name: &String| Some(name) == row.pool.as_ref() || *name == cidr;
        named.is_empty() || named.iter().any(is_it)
    };
    let mut of = rows.iter().filter(|row| Family::of_net(row.cidr) == family && is_named(row));
    if of.any(|row| fits(&row) && row.state == "active" && row.free > 0) {
        return Ok(());
    }
    match named {
        [] => Err(format!("no pool has a free {family} address")),
        named => Err(format!("no pool of {} has a free {family} address", named.join(", "))),
    }
}

/// A failure as an answer, with the code of the CNI specification.
fn failed(failure: Failure) -> Status {
    let Failure { cause, text } = failure;
    let status = match cause {
        Cause::Invalid(field) => margay_proto::error::invalid_argument(field, text),
        Cause::Forbidden | Cause::Different => Status::failed_precondition(text),
        Cause::Namespace => Status::not_found(text),
        Cause::Later => Status::unavailable(text),
        Cause::Exhausted => Status::new(Code::ResourceExhausted, text),
        Cause::AddressTaken | Cause::NameTaken => Status::already_exists(text),
        Cause::Kernel => Status::internal(text),
    };
    with_cni_code(status, cause.cni_code())
}

/// An answer to another question: a fault of ours.
fn mixed_up() -> Status {
    Status::internal("the answer is not one to this request")
}

#[cfg(test)]
mod tests;
