//! How fast a running daemon assigns addresses: `cargo run --profile lab -p margay-bgpd --example
//! assign -- SOCKET [RATE] [SECONDS]`.
//!
//! Asks for one address RATE times a second, whether earlier answers have come or not, and prints
//! how long they took. Then as fast as 32 callers get their answers, a connection each. Everything
//! is released at the end. The daemon needs a pool with room for it.

use std::{
    env,
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use margay_proto::v1::{AssignAddressesRequest, ReleaseAddressesRequest, ipam_client::IpamClient};
use tokio::{task::JoinSet, time};
use tonic::transport::{Channel, Endpoint};

/// Callers of the second part.
const CALLERS: usize = 32;
/// Releases at once.
const TOGETHER: usize = 256;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = env::args().skip(1);
    let socket = arguments.next().ok_or("which socket?")?;
    let rate: u32 = arguments.next().map_or(Ok(500), |text| text.parse())?;
    let seconds: u32 = arguments.next().map_or(Ok(10), |text| text.parse())?;
    let mut clients = Vec::new();
    for _ in 0..CALLERS {
        let channel = Endpoint::from_shared(format!("unix://{socket}"))?.connect().await?;
        clients.push(IpamClient::new(channel));
    }
    let mut turns = clients.iter().cycle().cloned();
    let mut ipam = || turns.next().ok_or("there are callers");
    let run: Arc<str> = format!("bench-{}", std::process::id()).into();
    // The first one may have to claim a block.
    one(ipam()?, format!("{run}-first")).await?;

    let mut ticks = time::interval(Duration::from_secs(1) / rate);
    let mut asked = JoinSet::new();
    let start = Instant::now();
    for number in 0..rate * seconds {
        ticks.tick().await;
        asked.spawn(one(ipam()?, format!("{run}-r{number}")));
    }
    let mut times = Vec::new();
    while let Some(done) = asked.join_next().await {
        times.push(done??);
    }
    tell(&format!("{rate} a second asked for"), start.elapsed(), times);

    let start = Instant::now();
    let until = start + Duration::from_secs(seconds.into());
    let mut callers = JoinSet::new();
    for (caller, ipam) in clients.iter().enumerate() {
        let (ipam, run) = (ipam.clone(), Arc::clone(&run));
        callers.spawn(async move {
            let mut times = Vec::new();
            while Instant::now() < until {
                times.push(one(ipam.clone(), format!("{run}-c{caller}-{}", times.len())).await?);
            }
            Ok::<_, Failure>(times)
        });
    }
    let mut times = Vec::new();
    let mut most = 0;
    while let Some(done) = callers.join_next().await {
        let mut of_one = done??;
        most = most.max(of_one.len());
        times.append(&mut of_one);
    }
    tell(&format!("{CALLERS} callers"), start.elapsed(), times);

    let of_rate = (0..rate * seconds).map(|number| format!("{run}-r{number}"));
    let of_callers = (0..CALLERS * most)
        .map(|number| format!("{run}-c{}-{}", number / most.max(1), number % most.max(1)));
    let mut released = JoinSet::new();
    for handle in of_rate.chain(of_callers).chain([format!("{run}-first")]) {
        if released.len() >= TOGETHER
            && let Some(done) = released.join_next().await
        {
            done??;
        }
        released.spawn(release(ipam()?, handle));
    }
    while let Some(done) = released.join_next().await {
        done??;
    }
    Ok(())
}

/// Asks for an address; how long the answer took.
async fn one(mut ipam: IpamClient<Channel>, handle: String) -> Result<Duration, Failure> {
    let start = Instant::now();
    let request = AssignAddressesRequest { ipv4: 1, handle, ..Default::default() };
    ipam.assign_addresses(request).await?;
    Ok(start.elapsed())
}

async fn release(mut ipam: IpamClient<Channel>, handle: String) -> Result<(), Failure> {
    ipam.release_addresses(ReleaseAddressesRequest { handle, ..Default::default() }).await?;
    Ok(())
}

fn tell(what: &str, took: Duration, mut times: Vec<Duration>) {
    times.sort();
    let at = |part: usize| times.get(times.len() * part / 1000).or(times.last());
    let ms = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1e3);
    println!(
        "{what}: count={} a_second={:.0} p50_ms={:.2} p99_ms={:.2} max_ms={:.2}",
        times.len(),
        times.len() as f64 / took.as_secs_f64(),
        ms(at(500)),
        ms(at(990)),
        ms(times.last()),
    );
}
