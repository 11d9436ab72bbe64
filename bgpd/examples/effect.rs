//! How soon a running daemon does what a resource says: `cargo run --profile lab -p margay-bgpd
//! --example effect -- SOCKET [ROUNDS]`.
//!
//! Writes a BGPPeer, and waits until the daemon has the peer, whether or not its session comes; then
//! deletes it, and waits until it has not. Prints how long both took, and how many of the other
//! sessions ended meanwhile. The daemon's node must speak BGP over IPv4. ROUNDS is 254 at most.

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    time::{Duration, Instant},
};

use margay_proto::v1::{
    DeleteResourceRequest, ListPeersRequest, ResourceName, SessionState, WriteMode,
    WriteResourcesRequest, resources_client::ResourcesClient, routing_client::RoutingClient,
};
use tokio::time;
use tonic::transport::{Channel, Endpoint};

/// Between two looks.
const STEP: Duration = Duration::from_millis(1);
/// After which a change is given up.
const PATIENCE: Duration = Duration::from_secs(30);
const NAME: &str = "bench-effect";

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = env::args().skip(1);
    let socket = arguments.next().ok_or("which socket?")?;
    let rounds: u8 = arguments.next().map_or(Ok(50), |text| text.parse())?;
    let channel = Endpoint::from_shared(format!("unix://{socket}"))?.connect().await?;
    let mut resources = ResourcesClient::new(channel.clone());
    let mut routing = RoutingClient::new(channel);
    let before = established(&mut routing).await?;
    let (mut came, mut went) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let address = format!("192.0.2.{round}");
        let object = format!(
            "{{\"apiVersion\":\"projectcalico.org/v3\",\"kind\":\"BGPPeer\",\"metadata\":{{\"name\":\
             \"{NAME}\"}},\"spec\":{{\"peerIP\":\"{address}\",\"asNumber\":65009}}}}"
        );
        let start = Instant::now();
        let (mode, objects) = (WriteMode::Create.into(), vec![object]);
        resources
            .write_resources(WriteResourcesRequest { mode, objects, ..Default::default() })
            .await?;
        came.push(until(&mut routing, start, &address, true).await?);
        let start = Instant::now();
        let name = ResourceName { kind: "BGPPeer".into(), name: NAME.into(), ..Default::default() };
        let request = DeleteResourceRequest { name: Some(name), ..Default::default() };
        resources.delete_resource(request).await?;
        went.push(until(&mut routing, start, &address, false).await?);
    }
    let after = established(&mut routing).await?;
    let ended = before.iter().filter(|(name, flaps)| after.get(*name) != Some(flaps)).count();
    tell("a BGPPeer written", came);
    tell("a BGPPeer deleted", went);
    println!("other sessions: count={} ended={ended}", before.len());
    Ok(())
}

/// Waits until the daemon has a peer of this address, or has not.
async fn until(
    routing: &mut RoutingClient<Channel>,
    start: Instant,
    address: &str,
    there: bool,
) -> Result<Duration, Failure> {
    loop {
        let peers = routing.list_peers(ListPeersRequest {}).await?.into_inner().peers;
        if peers.iter().any(|peer| peer.address.as_deref() == Some(address)) == there {
            return Ok(start.elapsed());
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("the peer {address} does not come or go").into());
        }
        time::sleep(STEP).await;
    }
}

/// The established sessions, and how often each has ended.
async fn established(
    routing: &mut RoutingClient<Channel>,
) -> Result<BTreeMap<String, u64>, Failure> {
    let peers = routing.list_peers(ListPeersRequest {}).await?.into_inner().peers;
    let up = peers.into_iter().filter(|peer| peer.state() == SessionState::Established);
    Ok(up.map(|peer| (peer.name, peer.flaps)).collect())
}

fn tell(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |part: usize| times.get(times.len() * part / 1000).or(times.last());
    let ms = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1e3);
    println!(
        "{what}: count={} p50_ms={:.2} p99_ms={:.2} max_ms={:.2}",
        times.len(),
        ms(at(500)),
        ms(at(990)),
        ms(times.last()),
    );
}
