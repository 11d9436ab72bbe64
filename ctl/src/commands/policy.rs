//! `margay policy`.

use margay_proto::v1;

use crate::{
    cli::{
        Global,
        policy::{PolicyCommand, TraceArgs},
    },
    client::Client,
    error::Failure,
    manifests,
    output::Out,
    view::policy::{Flow, Shown, Trace},
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
            let answer = policy.show(request).await?.into_inner();
            Ok(out.sheet(&Shown::from(answer))?)
        }
        PolicyCommand::Trace(args) => {
            let answer = policy.trace(request(args)).await?.into_inner();
            Ok(out.sheet(&Trace::from(answer))?)
        }
        PolicyCommand::Flows { follow } => {
            let request = v1::FlowsRequest { follow, only_new: follow };
            let mut stream = policy.flows(request).await?.into_inner();
            let mut lost = 0;
            if follow {
                while let Some(some) = stream.message().await? {
                    tell_lost(&mut lost, some.lost);
                    some.flows.into_iter().try_for_each(|flow| out.line(&Flow::from(flow)))?;
                }
                return Err(Failure::failed("the daemon ended the stream"));
            }
            let mut rows = out.rows::<Flow>();
            while let Some(some) = stream.message().await? {
                tell_lost(&mut lost, some.lost);
                some.flows.into_iter().try_for_each(|flow| rows.push(&Flow::from(flow)))?;
            }
            Ok(rows.finish()?)
        }
    }
}

/// Warns of packets of which no record tells, where there are more than before.
fn tell_lost(before: &mut u64, now: u64) {
    let more = now.saturating_sub(*before);
    if more > 0 {
        manifests::warn(&format!("{more} packets stand in no record: they came too fast"));
    }
    *before = now;
}

fn request(args: TraceArgs) -> v1::TracePolicyRequest {
    v1::TracePolicyRequest {
        from: args.from,
        to: args.to,
        protocol: args.protocol.number().into(),
        port: args.port.map(u32::from),
        source_port: args.source_port.map(u32::from),
        icmp_type: args.icmp_type.map(u32::from),
        icmp_code: args.icmp_code.map(u32::from),
    }
}
