//! `margay workload`.

use margay_proto::v1;

use super::connect;
use crate::{
    cli::{Global, workload::WorkloadCommand},
    error::Failure,
    output::Out,
    view::workload::{Row, Shown, Trace},
};

/// Lists, shows or traces.
pub async fn run(
    command: WorkloadCommand,
    options: &Global,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    let mut workloads = connect(options).await?.workloads();
    match command {
        WorkloadCommand::List { namespace, network } => {
            let request = v1::ListWorkloadsRequest {
                network: network.unwrap_or_default(),
                namespace: namespace.unwrap_or_default(),
            };
            let answer = workloads.list(request).await?.into_inner();
            let rows: Vec<_> = answer.workloads.into_iter().map(Row::from).collect();
            Ok(out.all(&rows)?)
        }
        WorkloadCommand::Show(which) => {
            let request = v1::TraceWorkloadRequest { workload: which.workload };
            let answer = workloads.trace(request).await?.into_inner();
            Ok(out.sheet(&Shown::from(answer))?)
        }
        WorkloadCommand::Trace(which) => {
            let request = v1::TraceWorkloadRequest { workload: which.workload };
            let answer = workloads.trace(request).await?.into_inner();
            Ok(out.sheet(&Trace::from(answer))?)
        }
    }
}
