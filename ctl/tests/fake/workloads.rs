//! The containers of the fake daemon.

use margay_proto::v1::{self, workloads_server::Workloads};
use tonic::{Request, Response, Status};

pub struct Fake;

fn live() -> v1::Workload {
    v1::Workload {
        attachment: Some(v1::Attachment {
            network: "margay".to_owned(),
            container_id: "c0ffee".to_owned(),
            ifname: "eth0".to_owned(),
        }),
        pod: Some(v1::PodIdentity {
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
            uid: "5e".to_owned(),
        }),
        state: "live".to_owned(),
        host_interface: "cali0123456789a".to_owned(),
        mac: "02:00:00:00:00:07".to_owned(),
        mtu: 1450,
        netns: "/run/netns/blue".to_owned(),
        addresses: vec!["10.10.0.7".to_owned(), "2001:db8::7".to_owned()],
        endpoint_namespace: "shop".to_owned(),
        endpoint_name: "node1-k8s-web-eth0".to_owned(),
        created: 1_772_355_600,
        problem: String::new(),
    }
}

fn stuck() -> v1::Workload {
    v1::Workload {
        state: "allocating".to_owned(),
        problem: "pool blue is full".to_owned(),
        addresses: Vec::new(),
        host_interface: String::new(),
        mtu: 0,
        pod: None,
        endpoint_name: String::new(),
        endpoint_namespace: String::new(),
        ..live()
    }
}

fn by_hand() -> v1::Workload {
    v1::Workload {
        state: "applied".to_owned(),
        host_interface: "tap0".to_owned(),
        addresses: vec!["10.10.0.9".to_owned()],
        endpoint_namespace: "vms".to_owned(),
        endpoint_name: "node1-libvirt-db-eth0".to_owned(),
        ..v1::Workload::default()
    }
}

#[tonic::async_trait]
impl Workloads for Fake {
    async fn list(
        &self,
        request: Request<v1::ListWorkloadsRequest>,
    ) -> Result<Response<v1::ListWorkloadsResponse>, Status> {
        let request = request.into_inner();
        let mut workloads = vec![live(), stuck(), by_hand()];
        if !request.namespace.is_empty() {
            workloads.retain(|workload| workload.endpoint_namespace == request.namespace);
        }
        if !request.network.is_empty() {
            workloads.retain(|workload| {
                workload.attachment.as_ref().is_some_and(|one| one.network == request.network)
            });
        }
        Ok(Response::new(v1::ListWorkloadsResponse { workloads }))
    }

    async fn trace(
        &self,
        request: Request<v1::TraceWorkloadRequest>,
    ) -> Result<Response<v1::TraceWorkloadResponse>, Status> {
        let asked = request.into_inner().workload;
        let step = |step: &str, at, micros, error: &str, detail: &str| v1::WorkloadStep {
            step: step.to_owned(),
            at,
            micros,
            error: error.to_owned(),
            detail: detail.to_owned(),
        };
        let finding = |what: &str, good, detail: &str| v1::WorkloadFinding {
            what: what.to_owned(),
            good,
            detail: detail.to_owned(),
        };
        match asked.as_str() {
            "shop/web" | "10.10.0.7" => Ok(Response::new(v1::TraceWorkloadResponse {
                workload: Some(live()),
                steps: vec![
                    step("assign", 1_772_355_600_123, 2_345, "", "10.10.0.7, 2001:db8::7"),
                    step("link", 1_772_355_600_126, 15_000_000, "no such namespace", ""),
                    step("undo assign", 1_772_355_615_126, 12, "", ""),
                ],
                findings: vec![
                    finding("address", true, "10.10.0.7 is assigned to margay.c0ffee"),
                    finding("link", false, "eth0 has MTU 1400, not 1450"),
                ],
            })),
            _ => Err(Status::not_found(format!("there is no workload {asked}"))),
        }
    }

    async fn status(
        &self,
        request: Request<v1::WorkloadStatusRequest>,
    ) -> Result<Response<v1::WorkloadStatusResponse>, Status> {
        match request.into_inner().network.as_str() {
            "full" => Err(Status::unavailable("no address is left\nhelp: add a pool")),
            _ => Ok(Response::new(v1::WorkloadStatusResponse {})),
        }
    }

    async fn add(
        &self,
        _: Request<v1::AddWorkloadRequest>,
    ) -> Result<Response<v1::AddWorkloadResponse>, Status> {
        Err(Status::internal("the command line does not add"))
    }

    async fn delete(
        &self,
        _: Request<v1::DeleteWorkloadRequest>,
    ) -> Result<Response<v1::DeleteWorkloadResponse>, Status> {
        Err(Status::internal("the command line does not delete"))
    }

    async fn check(
        &self,
        _: Request<v1::CheckWorkloadRequest>,
    ) -> Result<Response<v1::CheckWorkloadResponse>, Status> {
        Err(Status::internal("the command line does not check"))
    }

    async fn collect_garbage(
        &self,
        _: Request<v1::CollectWorkloadsRequest>,
    ) -> Result<Response<v1::CollectWorkloadsResponse>, Status> {
        Err(Status::internal("the command line does not collect"))
    }
}
