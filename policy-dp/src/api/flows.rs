//! What became of packets, for who asks.

use margay_model::{Kind, ResourceKey};
use margay_proto::v1::{FlowDirection, FlowVerdict, FlowsResponse};
use policy_calc::Direction;
use policy_nft::seen::Fate;
use tokio::sync::mpsc::Sender;
use tonic::Status;

use crate::{flows::Record, witness::Witness};

/// Records in one message.
const TOGETHER: usize = 256;

/// Tells of flows until there are no more, or nobody listens.
pub(super) async fn tell(
    mut witness: Witness,
    follow: bool,
    only_new: bool,
    sender: Sender<Result<FlowsResponse, Status>>,
) {
    let mut after = only_new.then(|| witness.records(u64::MAX).1);
    let mut missed = 0;
    loop {
        let (records, until, counts) = witness.records(after.unwrap_or_default());
        // What was forgotten before somebody asked is missed by nobody.
        missed += after.map_or(0, |after| missing(after, records.len(), until));
        after = Some(until);
        for some in records.chunks(TOGETHER) {
            let flows = some.iter().map(|record| flow(record)).collect();
            let message = FlowsResponse { flows, lost: counts.lost, missed };
            if sender.send(Ok(message)).await.is_err() {
                return;
            }
        }
        let more = async { follow && witness.wait(until).await };
        tokio::select! {
            more = more => if !more { return },
            () = sender.closed() => return,
        }
    }
}

/// How many of the records behind the first `after` are not among those there are now, `until` the last.
fn missing(after: u64, records: usize, until: u64) -> u64 {
    until.saturating_sub(after).saturating_sub(u64::try_from(records).unwrap_or(u64::MAX))
}

fn flow(record: &Record) -> margay_proto::v1::Flow {
    let Record { flow, ends: [source, destination], seen: [start, end], packets, staged, .. } =
        record;
    let direction = match flow.direction {
        Direction::Ingress => FlowDirection::Ingress,
        Direction::Egress => FlowDirection::Egress,
    };
    let name = |key: &Option<ResourceKey>| {
        let name = |key: &ResourceKey| match key.kind {
            Kind::HostEndpoint => format!("hep:{}", key.name),
            _ => format!("{}/{}", key.namespace, key.name),
        };
        key.as_ref().map(name).unwrap_or_default()
    };
    let (icmp_type, icmp_code) = flow.icmp.unzip();
    margay_proto::v1::Flow {
        start_millis: *start,
        end_millis: *end,
        direction: direction.into(),
        verdict: verdict(flow.fate).into(),
        by: flow.by.clone(),
        source: flow.source.to_string(),
        destination: flow.destination.to_string(),
        source_endpoint: name(source),
        destination_endpoint: name(destination),
        protocol: flow.protocol.into(),
        port: flow.port.map(Into::into),
        icmp_type: icmp_type.map(Into::into),
        icmp_code: icmp_code.map(Into::into),
        packets: *packets,
        staged_verdict: staged
            .as_ref()
            .map_or(FlowVerdict::Unspecified, |would| verdict(would.fate))
            .into(),
        staged_by: staged.as_ref().map(|would| would.by.clone()).unwrap_or_default(),
    }
}

fn verdict(fate: Fate) -> FlowVerdict {
    match fate {
        Fate::Allowed => FlowVerdict::Allow,
        Fate::Denied => FlowVerdict::Deny,
        Fate::Logged => FlowVerdict::Log,
    }
}

#[cfg(test)]
mod tests;
