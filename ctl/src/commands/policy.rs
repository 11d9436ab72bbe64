//! `margay policy`.

use margay_proto::v1;

use crate::{
    cli::{
        Global,
        policy::{PolicyCommand, TraceArgs},
    },
    client::Client,
    error::Failure,
    output::Out,
    view::policy::{Shown, Trace},
};

/// Shows or traces.
pub async fn run(
    command: PolicyCommand,
    options: &Global,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    let mut policy = Client::connect_policy(&options.policy_socket).await?.policy();
    match command {
        PolicyCommand::Show { endpoint } => {
            let answer = policy.show(v1::ShowPolicyRequest { endpoint }).await?.into_inner();
            Ok(out.sheet(&Shown::from(answer))?)
        }
        PolicyCommand::Trace(args) => {
            let answer = policy.trace(request(args)).await?.into_inner();
            Ok(out.sheet(&Trace::from(answer))?)
        }
    }
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
