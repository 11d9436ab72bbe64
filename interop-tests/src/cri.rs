//! As much of the Container Runtime Interface (`runtime.v1.RuntimeService`) as pods need: a kubelet's
//! side of it, on a unix socket. Field numbers are those of Kubernetes' `api.proto`.
//!
//! Every pod is in the namespace [`NAMESPACE`] and has one container, which sleeps.

use anyhow::{Context, Result, ensure};
use prost::Message;
use testkit::Containerd;
use tonic::{
    Request,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

/// Of every pod.
pub const NAMESPACE: &str = "shop";

#[derive(Clone, PartialEq, Message)]
struct PodMetadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    uid: String,
    #[prost(string, tag = "3")]
    namespace: String,
}

#[derive(Clone, PartialEq, Message)]
struct PodConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<PodMetadata>,
    #[prost(string, tag = "2")]
    hostname: String,
    #[prost(message, optional, tag = "8")]
    linux: Option<PodLinux>,
}

#[derive(Clone, PartialEq, Message)]
struct PodLinux {
    #[prost(string, tag = "1")]
    cgroup_parent: String,
}

#[derive(Clone, PartialEq, Message)]
struct RunPod {
    #[prost(message, optional, tag = "1")]
    config: Option<PodConfig>,
}

/// A request or an answer that is one string.
#[derive(Clone, PartialEq, Message)]
struct Id {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, Message)]
struct PodIp {
    #[prost(string, tag = "1")]
    ip: String,
}

#[derive(Clone, PartialEq, Message)]
struct PodNetwork {
    #[prost(string, tag = "1")]
    ip: String,
    #[prost(message, repeated, tag = "2")]
    more: Vec<PodIp>,
}

#[derive(Clone, PartialEq, Message)]
struct PodStatus {
    #[prost(message, optional, tag = "5")]
    network: Option<PodNetwork>,
}

#[derive(Clone, PartialEq, Message)]
struct PodStatusAnswer {
    #[prost(message, optional, tag = "1")]
    status: Option<PodStatus>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<Id>,
    #[prost(message, optional, tag = "2")]
    image: Option<Id>,
    #[prost(string, repeated, tag = "3")]
    command: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct CreateContainer {
    #[prost(string, tag = "1")]
    pod: String,
    #[prost(message, optional, tag = "2")]
    config: Option<ContainerConfig>,
    #[prost(message, optional, tag = "3")]
    pod_config: Option<PodConfig>,
}

#[derive(Clone, PartialEq, Message)]
struct Exec {
    #[prost(string, tag = "1")]
    container: String,
    #[prost(string, repeated, tag = "2")]
    command: Vec<String>,
    #[prost(int64, tag = "3")]
    timeout: i64,
}

#[derive(Clone, PartialEq, Message)]
struct ExecAnswer {
    #[prost(bytes = "vec", tag = "1")]
    stdout: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    stderr: Vec<u8>,
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Pods {
    #[prost(message, repeated, tag = "1")]
    pods: Vec<Id>,
}

#[derive(Clone, PartialEq, Message)]
struct Nothing {}

/// A running pod with one container.
#[derive(Debug, Clone)]
pub struct Pod {
    /// As the runtime knows them, the first one first.
    pub addresses: Vec<String>,
    sandbox: String,
    container: String,
}

/// What asks the runtime. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
    cgroup: String,
}

impl Client {
    /// To a runtime that listens.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn connect(runtime: &Containerd) -> Result<Self> {
        let endpoint = Endpoint::from_shared(format!("unix://{}", runtime.socket().display()))?;
        let channel = endpoint.connect().await.context("connecting to the runtime")?;
        Ok(Self { channel, cgroup: runtime.cgroup() })
    }

    /// Starts a pod and a container that sleeps.
    ///
    /// # Errors
    /// What the runtime says, the plugin's error included.
    pub async fn run(&self, name: &str, image: &str) -> Result<Pod> {
        let (name, namespace) = (name.to_owned(), NAMESPACE.to_owned());
        let metadata = PodMetadata { uid: format!("{name}-uid"), name: name.clone(), namespace };
        let linux = Some(PodLinux { cgroup_parent: format!("/{}", self.cgroup) });
        let config = PodConfig { metadata: Some(metadata), hostname: name, linux };
        let run = RunPod { config: Some(config.clone()) };
        let sandbox = self.call::<_, Id>("RunPodSandbox", run).await?.id;
        let asked = Id { id: sandbox.clone() };
        let status: PodStatusAnswer = self.call("PodSandboxStatus", asked).await?;
        let network = status.status.and_then(|s| s.network).context("the pod's network")?;
        let mut addresses = vec![network.ip];
        addresses.extend(network.more.into_iter().map(|more| more.ip));
        let command = ["/bin/sleep", "3600"].map(str::to_owned).to_vec();
        let container = CreateContainer {
            pod: sandbox.clone(),
            config: Some(ContainerConfig {
                metadata: Some(Id { id: "main".to_owned() }),
                image: Some(Id { id: image.to_owned() }),
                command,
            }),
            pod_config: Some(config),
        };
        let container = self.call::<_, Id>("CreateContainer", container).await?.id;
        let start = Id { id: container.clone() };
        self.call::<_, Nothing>("StartContainer", start).await?;
        Ok(Pod { addresses, sandbox, container })
    }

    /// Runs a command in the pod, which must succeed; what it printed.
    ///
    /// # Errors
    /// What it printed when it failed.
    pub async fn exec(&self, pod: &Pod, command: &[&str]) -> Result<String> {
        let exec = Exec {
            container: pod.container.clone(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            timeout: 20,
        };
        let answer: ExecAnswer = self.call("ExecSync", exec).await?;
        let text = [answer.stdout, answer.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        ensure!(answer.code == 0, "{}: {text}", command.join(" "));
        Ok(text)
    }

    /// Ends a pod and removes what is left of it.
    ///
    /// # Errors
    /// What the runtime says.
    pub async fn remove(&self, pod: &Pod) -> Result<()> {
        self.remove_sandbox(&pod.sandbox).await
    }

    /// Ends every pod there is.
    ///
    /// # Errors
    /// What the runtime says of the first that stays.
    pub async fn remove_all(&self) -> Result<()> {
        let all: Pods = self.call("ListPodSandbox", Nothing {}).await?;
        for pod in all.pods {
            self.remove_sandbox(&pod.id).await?;
        }
        Ok(())
    }

    async fn remove_sandbox(&self, id: &str) -> Result<()> {
        for call in ["StopPodSandbox", "RemovePodSandbox"] {
            self.call::<_, Nothing>(call, Id { id: id.to_owned() }).await?;
        }
        Ok(())
    }

    async fn call<Q, A>(&self, name: &str, question: Q) -> Result<A>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await?;
        let path = PathAndQuery::try_from(format!("/runtime.v1.RuntimeService/{name}"))?;
        let codec = ProstCodec::<Q, A>::default();
        let answer = grpc.unary(Request::new(question), path, codec).await;
        Ok(answer.with_context(|| name.to_owned())?.into_inner())
    }
}
