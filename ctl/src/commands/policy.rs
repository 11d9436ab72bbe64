//! `margay policy`.

use std::path::Path;

use margay_proto::v1;
use tonic::Status;

use crate::{
    cli::{
        Global,
        policy::{PolicyCommand, TraceArgs},
    },
    client::{Client, POLICY_DATAPLANE},
    error::Failure,
    manifests,
    output::Out,
    view::{
        enforcement::Enforcement,
        policy::{Flow, Shown, Trace},
    },
};

/// Asks the policy dataplane.
pub async fn run(
    command: PolicyCommand,
    options: &Global,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    let mut policy = Client::connect_policy(&options.policy_socket).await?.policy();
    match command {
        PolicyCommand::Show { endpoint, counters } => {
            let count_seconds = counters.unwrap_or_default();
            let request = v1::ShowPolicyRequest { endpoint, count_seconds };
            let answer = policy.show(request).await.map_err(told)?.into_inner();
            Ok(out.sheet(&Shown::from(answer))?)
        }
        PolicyCommand::Trace(args) => {
            let answer = policy.trace(request(args)?).await.map_err(told)?.into_inner();
            Ok(out.sheet(&Trace::from(answer))?)
        }
        PolicyCommand::Flows { follow } => {
            let request = v1::FlowsRequest { follow, only_new: follow };
            let mut stream = policy.flows(request).await.map_err(told)?.into_inner();
            let mut gaps = Gaps::default();
            if follow {
                while let Some(some) = stream.message().await.map_err(told)? {
                    gaps.tell(&some);
                    some.flows.into_iter().try_for_each(|flow| out.line(&Flow::from(flow)))?;
                }
                return Err(Failure::failed(format!("{POLICY_DATAPLANE} ended the stream")));
            }
            let mut rows = out.rows::<Flow>();
            while let Some(some) = stream.message().await.map_err(told)? {
                gaps.tell(&some);
                some.flows.into_iter().try_for_each(|flow| rows.push(&Flow::from(flow)))?;
            }
            Ok(rows.finish()?)
        }
    }
}

/// How policy stands on this node; `None` where it has no dataplane, or the one there is another node's.
pub async fn stands(socket: &Path, node: &str) -> Option<Enforcement> {
    if !socket.exists() {
        return None;
    }
    let asked = async {
        let mut policy = Client::connect_policy(socket).await?.policy();
        policy.status(v1::PolicyStatusRequest {}).await.map_err(told)
    };
    match asked.await {
        Ok(answer) => {
            let answer = answer.into_inner();
            let own = answer.node.is_empty() || answer.node == node;
            own.then(|| Enforcement::from(answer))
        }
        Err(failure) => Some(Enforcement::away(failure.message().to_owned())),
    }
}

/// What of the packets is not told of, until now.
#[derive(Debug, Default)]
struct Gaps {
    lost: u64,
    missed: u64,
}

impl Gaps {
    /// Warns where it is more than before.
    fn tell(&mut self, now: &v1::FlowsResponse) {
        let lost = now.lost.saturating_sub(self.lost);
        if lost > 0 {
            manifests::warn(&format!("{lost} packets stand in no record: they came too fast"));
        }
        let missed = now.missed.saturating_sub(self.missed);
        if missed > 0 {
            manifests::warn(&format!("{missed} records are left out: they are read too slowly"));
        }
        (self.lost, self.missed) = (now.lost, now.missed);
    }
}

/// What the policy dataplane answered.
fn told(status: Status) -> Failure {
    Failure::of(POLICY_DATAPLANE, status)
}

fn request(args: TraceArgs) -> Result<v1::TracePolicyRequest, Failure> {
    let protocol = args.protocol;
    if protocol.has_ports() && args.port.is_none() {
        return Err(Failure::usage(format!("a packet of {protocol} goes to a port: say --port N")));
    }
    Ok(v1::TracePolicyRequest {
        from: args.from,
        to: args.to,
        protocol: args.protocol.number().into(),
        port: args.port.map(u32::from),
        source_port: args.source_port.map(u32::from),
        icmp_type: args.icmp_type.map(u32::from),
        icmp_code: args.icmp_code.map(u32::from),
    })
}
