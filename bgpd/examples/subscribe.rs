//! What many readers of `Sync`, and a slow one among them, cost: `cargo run --profile lab -p
//! margay-bgpd --example subscribe -- SOCKET [RESOURCES] [SUBSCRIBERS] [CHANGES]`.
//!
//! Writes RESOURCES network sets, subscribes SUBSCRIBERS times, a connection each, and measures how
//! long a change takes to each of them: first while all read, then while one of them has stopped
//! reading; a part of the resources is rewritten at once in both. The slow reader must hear the
//! latest state of everything once it reads again. Memory is the daemon's, as `/proc` has it. The
//! resources are left behind: this is for a daemon with an empty datastore.

use std::{
    env,
    error::Error,
    fs,
    ops::Range,
    time::{Duration, Instant},
};

use margay_proto::v1::{
    SubscribeRequest, SubscribeResponse, WriteMode, WriteResourcesRequest,
    resources_client::ResourcesClient, sync_client::SyncClient, sync_event::Event,
};
use tokio::{
    net::UnixStream,
    sync::{mpsc, watch},
    task::JoinSet,
};
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};

/// Resources in one request.
const TOGETHER: usize = 10_000;
/// Largest answer to one.
const MAX_MESSAGE: usize = 64 << 20;
/// The resource whose changes are timed.
const PROBE: &str = "\"probe\"";

type Failure = Box<dyn Error + Send + Sync>;

/// What a reader tells the one who measures.
enum Told {
    /// It has the snapshot.
    InSync,
    /// It was told of the probe.
    Probe(Instant),
    /// It was told of so many other resources.
    Others(usize),
    /// It has stopped reading.
    Paused,
}

/// What the slow reader is to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    On,
    Off,
    /// Read, and tell of nothing that is older than this.
    From(usize),
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = env::args().skip(1);
    let socket = arguments.next().ok_or("which socket?")?;
    let mut number = |or: usize| arguments.next().map_or(Ok(or), |text| text.parse());
    let (resources, subscribers, changes) = (number(50_000)?, number(500)?, number(100)?);
    let daemon = Daemon::behind(&socket).await?;
    let mut writer = ResourcesClient::new(connect(&socket).await?)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);

    let start = Instant::now();
    write(&mut writer, 0..resources, 0, resources).await?;
    let took = start.elapsed().as_secs_f64();
    println!(
        "{resources} resources written: seconds={took:.2} daemon_mb={:.1}",
        daemon.memory("VmRSS")?
    );

    let (tell, mut told) = mpsc::channel(65_536);
    let (lead, led) = watch::channel(Reading::On);
    let mut readers = JoinSet::new();
    let start = Instant::now();
    for reader in 0..subscribers {
        let stream = subscribe(&socket).await?;
        // The last one stops reading when it is told to.
        let led = (reader + 1 == subscribers).then(|| led.clone());
        readers.spawn(read(stream, tell.clone(), led));
    }
    drop(tell);
    let mut in_sync = 0;
    while in_sync < subscribers {
        in_sync += usize::from(matches!(next(&mut told).await?, Told::InSync));
    }
    let took = start.elapsed().as_secs_f64();
    println!(
        "{subscribers} snapshots: seconds={took:.2} a_second={:.0} daemon_mb={:.1} peak_mb={:.1}",
        (resources * subscribers) as f64 / took,
        daemon.memory("VmRSS")?,
        daemon.memory("VmHWM")?,
    );

    let part = (resources / 25).max(1);
    let mut generation = 0;
    for (what, reading) in [("all read", subscribers), ("one does not read", subscribers - 1)] {
        if reading < subscribers {
            lead.send_replace(Reading::Off);
            while !matches!(next(&mut told).await?, Told::Paused) {}
        }
        let mut times = Vec::new();
        for _ in 0..changes {
            generation += 1;
            let start = Instant::now();
            write(&mut writer, resources..resources + 1, generation, resources).await?;
            let mut heard = 0;
            while heard < reading {
                if let Told::Probe(at) = next(&mut told).await? {
                    times.push(at - start);
                    heard += 1;
                }
            }
        }
        tell_times(&format!("a change, {what}"), times);
        // Twice: what a reader is owed already costs nothing more.
        for round in 1..=2 {
            generation += 1;
            let start = Instant::now();
            write(&mut writer, 0..part, generation, resources).await?;
            let mut heard = 0;
            while heard < part * reading {
                if let Told::Others(some) = next(&mut told).await? {
                    heard += some;
                }
            }
            let took = start.elapsed().as_secs_f64();
            println!(
                "{part} changes at once, {what}, round {round}: seconds={took:.3} a_second={:.0} \
                 daemon_mb={:.1}",
                heard as f64 / took,
                daemon.memory("VmRSS")?,
            );
        }
    }

    // Twice rewritten, and each is to come once as it is now.
    let start = Instant::now();
    lead.send_replace(Reading::From(generation));
    let mut heard = 0;
    while heard < part {
        if let Told::Others(some) = next(&mut told).await? {
            heard += some;
        }
    }
    readers.abort_all();
    println!(
        "the slow one reads again: seconds={:.3} told={heard} peak_mb={:.1}",
        start.elapsed().as_secs_f64(),
        daemon.memory("VmHWM")?
    );
    Ok(())
}

async fn next(told: &mut mpsc::Receiver<Told>) -> Result<Told, Failure> {
    let patience = Duration::from_secs(60);
    let told = tokio::time::timeout(patience, told.recv()).await;
    Ok(told.map_err(|_| "a reader hears nothing more")?.ok_or("all readers ended")?)
}

/// Reads a stream as it is led.
async fn read(
    mut stream: Streaming<SubscribeResponse>,
    tell: mpsc::Sender<Told>,
    mut led: Option<watch::Receiver<Reading>>,
) -> Result<(), Failure> {
    let (mut in_sync, mut wanted) = (false, None);
    loop {
        let message = match &mut led {
            None => stream.message().await?,
            Some(led) => {
                let message = tokio::select! {
                    biased;
                    off = led.wait_for(|led| *led == Reading::Off) => off.map(|_| None)?,
                    message = stream.message() => Some(message?),
                };
                let Some(message) = message else {
                    tell.send(Told::Paused).await?;
                    if let Reading::From(least) = *led.wait_for(|led| *led != Reading::Off).await? {
                        wanted = Some(generation_label(least));
                    }
                    continue;
                };
                message
            }
        };
        let Some(response) = message else { return Ok(()) };
        let now = Instant::now();
        let mut others = 0;
        for event in response.events {
            match event.event {
                Some(Event::InSync(_)) if !in_sync => {
                    in_sync = true;
                    tell.send(Told::InSync).await?;
                }
                Some(Event::Object(text)) if in_sync && text.contains(PROBE) => {
                    tell.send(Told::Probe(now)).await?;
                }
                Some(Event::Object(text)) if in_sync => {
                    let counts = wanted.as_ref().is_none_or(|wanted| text.contains(wanted));
                    others += usize::from(counts);
                }
                _ => {}
            }
        }
        if others > 0 {
            tell.send(Told::Others(others)).await?;
        }
    }
}

async fn connect(socket: &str) -> Result<Channel, Failure> {
    Ok(Endpoint::from_shared(format!("unix://{socket}"))?.connect().await?)
}

async fn subscribe(socket: &str) -> Result<Streaming<SubscribeResponse>, Failure> {
    let request = SubscribeRequest { subscriber: "bench".into(), ..Default::default() };
    Ok(SyncClient::new(connect(socket).await?).subscribe(request).await?.into_inner())
}

/// Writes these resources; the one behind the last of all is the probe.
async fn write(
    writer: &mut ResourcesClient<Channel>,
    numbers: Range<usize>,
    generation: usize,
    probe: usize,
) -> Result<(), Failure> {
    let objects: Vec<String> = numbers.map(|number| object(number, generation, probe)).collect();
    for some in objects.chunks(TOGETHER) {
        let mode = WriteMode::Apply.into();
        let request = WriteResourcesRequest { mode, objects: some.to_vec(), ..Default::default() };
        writer.write_resources(request).await?;
    }
    Ok(())
}

fn object(number: usize, generation: usize, probe: usize) -> String {
    let name = if number == probe { "probe".to_owned() } else { format!("set-{number:06}") };
    let (high, low, label) = (number >> 8 & 255, number & 255, generation_label(generation));
    format!(
        "{{\"apiVersion\":\"projectcalico.org/v3\",\"kind\":\"GlobalNetworkSet\",\"metadata\":{{\
         \"name\":\"{name}\",\"labels\":{{\"group\":\"group-{}\",\"generation\":{label}}}}},\"spec\":\
         {{\"nets\":[\"10.{high}.{low}.0/24\",\"192.0.2.{low}/32\"]}}}}",
        number % 50,
    )
}

fn generation_label(generation: usize) -> String {
    format!("\"g{generation}\"")
}

/// The process behind a socket.
struct Daemon {
    pid: i32,
}

impl Daemon {
    async fn behind(socket: &str) -> Result<Self, Failure> {
        let stream = UnixStream::connect(socket).await?;
        Ok(Self { pid: stream.peer_cred()?.pid().ok_or("whose socket is this?")? })
    }

    /// A figure of its memory, in MB.
    fn memory(&self, field: &str) -> Result<f64, Failure> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = text.lines().find(|line| line.starts_with(field)).ok_or("no such field")?;
        let number = line.split_whitespace().nth(1).ok_or("no figure")?;
        Ok(number.parse::<f64>()? / 1024.0)
    }
}

fn tell_times(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let ms = |part: usize| {
        let at = times.get(times.len() * part / 1000).or(times.last());
        at.map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    println!(
        "{what}: count={} p50_ms={:.2} p99_ms={:.2} max_ms={:.2}",
        times.len(),
        ms(500),
        ms(990),
        ms(1000),
    );
}
