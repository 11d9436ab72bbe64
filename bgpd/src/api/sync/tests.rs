use margay_proto::v1::{sync_client::SyncClient, sync_server::SyncServer};
use tokio::{net::UnixListener, sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{
    Code,
    transport::{Channel, Endpoint, Server},
};

use super::*;

/// A server on a socket of its own, as subscribers and the workloads room see it.
struct Bench {
    client: SyncClient<Channel>,
    server: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        let sync = Sync {
            mirror: Mirror::new(),
            blocks: None,
            there: true,
            origin: Origin::nowhere("n1".into()),
            ready: Some(Ready::new(dir.path())),
        };
        let server = tokio::spawn(async move {
            let incoming = UnixListenerStream::new(listener);
            let server = Server::builder().add_service(SyncServer::new(sync));
            server.serve_with_incoming(incoming).await.expect("serves");
        });
        let endpoint = Endpoint::try_from(format!("unix:{}", path.display())).expect("a path");
        let channel = endpoint.connect().await.expect("listening");
        Self { client: SyncClient::new(channel), server, _dir: dir }
    }

    /// Reports as long as the sender is kept.
    async fn report(&self, name: &str) -> mpsc::Sender<v1::ReportReadyRequest> {
        let (sender, receiver) = mpsc::channel(4);
        let first = v1::ReportReadyRequest { subscriber: name.to_owned(), endpoints: Vec::new() };
        sender.send(first).await.expect("room");
        let mut client = self.client.clone();
        tokio::spawn(async move { client.report_ready(ReceiverStream::new(receiver)).await });
        sender
    }

    async fn wait(&self, name: v1::ResourceName, timeout: u32) -> Result<bool, Status> {
        let request = v1::AwaitReadyRequest {
            endpoint: Some(name),
            generation: 7,
            timeout_milliseconds: timeout,
        };
        self.client.clone().await_ready(request).await.map(|answer| answer.into_inner().in_force)
    }

    /// Until the wait says so.
    async fn settles(&self, code: Option<Code>) {
        for _ in 0..500 {
            if self.wait(web(), 10).await.err().map(|status| status.code()) == code {
                return;
            }
        }
        panic!("never {code:?}");
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn web() -> v1::ResourceName {
    v1::ResourceName {
        kind: "WorkloadEndpoint".into(),
        namespace: "shop".into(),
        name: "web".into(),
    }
}

fn ready(endpoint: v1::ResourceName, generation: Option<u64>) -> v1::ReportReadyRequest {
    let endpoint = v1::EndpointReady { endpoint: Some(endpoint), generation };
    v1::ReportReadyRequest { subscriber: String::new(), endpoints: vec![endpoint] }
}

#[tokio::test]
async fn a_wait_hears_what_is_reported_and_that_the_stream_has_ended() {
    let bench = Bench::new().await;
    assert!(!bench.wait(web(), 0).await.expect("nobody is waited for"));
    let dataplane = bench.report("dataplane").await;
    bench.settles(Some(Code::DeadlineExceeded)).await;
    dataplane.send(ready(web(), Some(7))).await.expect("taken");
    assert!(bench.wait(web(), 10_000).await.expect("in force"));
    dataplane.send(ready(web(), None)).await.expect("taken");
    bench.settles(Some(Code::DeadlineExceeded)).await;
    dataplane.send(ready(web(), Some(8))).await.expect("taken");
    assert!(bench.wait(web(), 10_000).await.expect("in force, and later"));
    drop(dataplane);
    bench.settles(Some(Code::DeadlineExceeded)).await;
    let missing = bench.wait(web(), 0).await.expect_err("closed");
    assert!(missing.message().contains("no policy dataplane is connected"), "{missing}");
}

#[tokio::test]
async fn reports_and_waits_about_what_is_no_endpoint_are_refused() {
    let bench = Bench::new().await;
    let wrong = |change: fn(&mut v1::ResourceName)| {
        let mut name = web();
        change(&mut name);
        name
    };
    let names = [
        wrong(|name| name.kind = "IPPool".into()),
        wrong(|name| name.namespace.clear()),
        wrong(|name| name.name.clear()),
        wrong(|name| name.kind = "HostEndpoint".into()),
    ];
    for name in names {
        let refused = bench.wait(name.clone(), 0).await.expect_err("refused");
        assert_eq!(refused.code(), Code::InvalidArgument, "{name:?}");
        let mut report = ready(name, Some(1));
        report.subscriber = "dataplane".to_owned();
        let refused = bench.client.clone().report_ready(tokio_stream::once(report)).await;
        assert_eq!(refused.expect_err("refused").code(), Code::InvalidArgument);
    }
    let anonymous = bench.client.clone().report_ready(tokio_stream::once(ready(web(), None))).await;
    assert_eq!(anonymous.expect_err("refused").code(), Code::InvalidArgument);
    let patient = bench.wait(web(), 60_001).await.expect_err("refused");
    assert_eq!(patient.code(), Code::InvalidArgument);
}
