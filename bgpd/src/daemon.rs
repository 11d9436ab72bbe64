//! Starting, running and stopping: what is wired to what, in which order.

use std::{
    net::Ipv4Addr,
    process,
    sync::Arc,
    thread::available_parallelism,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use bgp_desired::{Backend, Desired};
use bgp_speaker::{KernelEvents, Speaker, SpeakerHandle, Stop};
use margay_fib::{Fib, FibConfig, FibEvent, FibHandle};
use margay_model::Area;
use margay_proto::socket::ApiSocket;
use tokio::{
    net::{TcpListener, UnixListener},
    runtime::Builder,
    signal::unix::{SignalKind, signal},
    sync::{Notify, mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tonic::transport::Server;
use tracing::{error, info, warn};

use crate::{
    api::{self, Node},
    cluster::Cluster,
    config, datastore,
    follow::{Follow, Source},
    http,
    ipam::{Heard, Ipam},
    listening,
    lock::StateLock,
    logging::Logging,
    memory::Memory,
    mirror::Mirror,
    node::{self, Registrar, Standing},
    origin::Origin,
    ready::Ready,
    reload::{Reloader, Request, Sources},
    resources::{Author, Resources},
    restart::Running,
    route_lock::RouteLock,
    upstream::{Upstream, server_tls},
    workload::{Surroundings, Workloads},
    written::Written,
};

/// Most RIB shards; beyond, the kernel side is the bottleneck.
const MAX_SHARDS: usize = 4;
/// From the signal to the end of the process.
const STOP_TIME: Duration = Duration::from_millis(4500);
/// How long a start waits for the cluster's resources: sessions that begin by the file alone might
/// have to begin again.
const CLUSTER_PATIENCE: Duration = Duration::from_secs(2);
/// Requests to the configuration's owner waiting.
const REQUESTS: usize = 16;

/// Tasks that run before sockets and timers are looked at again: sessions have timers of a second.
const EVENT_INTERVAL: u32 = 7;

/// What the signal handler waits for.
enum Signal {
    Stop(&'static str, Stop),
    Reload,
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// What keeps it from starting.
pub(crate) fn run(source: config::Source, desired: Desired, logging: Logging) -> Result<()> {
    let _lock = StateLock::take(&desired.node.state_dir)?;
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .thread_name("bgpd")
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(serve(source, desired, logging));
    // Whatever still runs has had its time.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

async fn serve(source: config::Source, desired: Desired, mut logging: Logging) -> Result<()> {
    let (_socket, listener) = ApiSocket::bind(&desired.api.socket)?;
    let listener = UnixListener::from_std(listener).context("cannot wait for calls")?;
    let http_listener = match desired.http.listen {
        Some(address) => Some(
            TcpListener::bind(address)
                .await
                .with_context(|| format!("cannot listen on {address} for [http]"))?,
        ),
        None => None,
    };
    let nodes = listen_to_nodes(&desired).await?;
    let mut signals = signals()?;

    let datastore = datastore::open(&desired)?;
    let mirror = Mirror::new();
    let name: Arc<str> = node::settle(&desired).into();
    let mut tasks = JoinSet::new();
    let blocks = nodes.is_some().then(Mirror::new);
    let mut origin = Origin::nowhere(Arc::clone(&name));
    let ipam = match &datastore {
        Some(datastore) => {
            let store = Arc::clone(&datastore.store);
            let [resources, source] = match Upstream::new(&desired, &name, &store)? {
                Some((upstream, heard)) => {
                    origin = Origin::upstream_of(Arc::clone(&name), heard.standing);
                    tasks.spawn(upstream.run());
                    [Box::new(heard.resources) as Box<dyn Source>, Box::new(heard.ipam)]
                }
                None => {
                    let follows = [Area::Resources, Area::Ipam]
                        .map(|area| Follow::new(Arc::clone(&store), area));
                    let parts = follows.iter().map(Follow::as_of);
                    origin = Origin::store(Arc::clone(&name), parts);
                    follows.map(|follow| Box::new(follow) as _)
                }
            };
            tasks.spawn(mirror.clone().follow(resources));
            let heard = Heard { source, copy: blocks.clone() };
            let (ipam, task) = Ipam::new(store, &mirror, heard, &name, &desired.node.state_dir)?;
            tasks.spawn(task);
            Some(ipam)
        }
        None => None,
    };
    let resources = datastore.as_ref().zip(ipam.as_ref()).map(|(datastore, ipam)| {
        let author = Author::new(&name, ipam.instance().as_str());
        Resources::new(Arc::clone(&datastore.store), author)
    });
    if let Some(resources) = &resources {
        tasks.spawn(resources.clone().settle());
    }
    let heard = ipam.as_ref().map(|ipam| (&mirror, ipam.own()));
    let mut cluster = Cluster::new(Arc::clone(&name), desired.node.secrets_dir(), heard);
    let mut last_words = None;
    if let Backend::Etcd(etcd) = &desired.datastore.backend {
        let (memory, writer, farewell) = Memory::new(&desired.node.state_dir, &name, etcd);
        tasks.spawn(writer);
        cluster.remember(memory);
        last_words = Some(farewell);
    }
    cluster.hear(CLUSTER_PATIENCE).await;
    let kernel_events = Arc::new(KernelEvents::default());
    let route_lock = RouteLock::take(&config::fib(&desired))?;
    let links_changed = Arc::new(Notify::new());
    let written = Written::new(&desired.node.state_dir);
    let (fib, renumbered) = start_fib(&desired, &written, &kernel_events, &links_changed)?;
    let file = desired;
    let address = config::host_router_id(&fib.links());
    let merge = cluster.merge(&file, address, &file);
    let desired = merge.merged.desired.clone();
    logging.set(desired.node.log_level);
    if config::fib(&desired) != config::fib(&file) {
        fib.reconfigure(config::fib(&desired)).context("cannot follow the kernel's routes")?;
    }
    fib.set_reach(config::reach(&desired));
    if cluster.in_sync() {
        fib.reach_in_sync();
    }
    let state_dir = file.node.state_dir.clone();
    let ready = Ready::new(&state_dir);
    let workloads = match (&resources, &ipam) {
        (Some(resources), Some(ipam)) => {
            let (workloads, task) = Workloads::new(
                fib.clone(),
                Surroundings {
                    node: Arc::clone(&name),
                    state_dir: &file.node.state_dir,
                    resources: resources.clone(),
                    mirror: &mirror,
                    ipam: ipam.clone(),
                    ready: ready.clone(),
                },
            )?;
            tasks.spawn(task);
            cluster.also(workloads.announced());
            Some(workloads)
        }
        _ => None,
    };
    let router_id = router_id(&desired, address)?;
    let (running, restarted) = Running::begin(&desired.node.state_dir);
    let mut config = config::speaker(&desired, router_id, cluster.known());
    // Of what went on forwarding nothing is left then: there is nothing to wait for.
    config.restarted = restarted && !renumbered;
    cluster.settle(merge);
    let shards = available_parallelism().map_or(1, |cores| (cores.get() / 2).clamp(1, MAX_SHARDS));
    let kernel = Arc::new(fib.clone());
    let speaker = Speaker::start(config, shards, kernel, kernel_events)
        .await
        .context("cannot start the threads of the routing table")?;

    let (requests_sender, requests) = mpsc::channel(REQUESTS);
    let (stopping, stopped) = watch::channel(false);
    let (standing_sender, standing) = watch::channel(Standing::default());
    let (desired, in_force) = watch::channel(Arc::new(desired));
    let node = Node {
        name: Arc::clone(&name),
        router_id,
        started: Instant::now(),
        desired: in_force.clone(),
        speaker: speaker.clone(),
        fib: fib.clone(),
        config_file: source.path().exists().then(|| source.path().display().to_string().into()),
        datastore,
        resources: resources.clone(),
        mirror: mirror.clone(),
        blocks,
        origin,
        ready,
        standing,
        ipam: ipam.clone(),
        workloads: workloads.clone(),
        requests: requests_sender.clone(),
    };
    tasks.spawn(listening::watch(in_force.clone()));
    if let Some(resources) = resources {
        let registrar = Registrar::new(
            name,
            resources,
            mirror,
            fib.clone(),
            in_force,
            links_changed,
            standing_sender,
        );
        tasks.spawn(registrar.run());
    }
    let reloader = Reloader::new(
        Sources { source, file, cluster },
        desired,
        router_id,
        speaker.clone(),
        fib.clone(),
        (route_lock, written),
        logging,
    );
    tasks.spawn(reloader.run(requests));
    tasks.spawn(api::serve(listener, node.clone(), stopped.clone()));
    if let Some((listener, server)) = nodes {
        tasks.spawn(api::serve_nodes(listener, server, node.clone(), stopped.clone()));
    }
    if let Some(listener) = http_listener {
        tasks.spawn(http::serve(listener, node, stopped));
    }
    info!(pid = process::id(), %router_id, shards, "margay-bgpd started");

    let (why, asked) = loop {
        tokio::select! {
            signal = signals.recv() => match signal {
                Some(Signal::Reload) => ask_to_reload(&requests_sender),
                Some(Signal::Stop(why, stop)) => break (why, stop),
                None => break ("signals lost", Stop::ForGood),
            },
            Some(ended) = tasks.join_next() => match ended {
                Ok(()) => bail!("a service ended by itself"),
                Err(error) => {
                    // Nobody is left to say what the daemon should be: better gone than deaf.
                    error!(err = %error, "a service panicked; aborting");
                    process::abort();
                }
            },
        }
    };
    info!(why, "stopping");
    stopping.send_replace(true);
    if let Some(farewell) = last_words {
        farewell.say().await;
    }
    match timeout(STOP_TIME, stop(asked, speaker, fib, ipam, workloads)).await {
        Ok(Stop::ForGood) => {
            running.farewell();
            Written::new(&state_dir).nothing();
        }
        Ok(Stop::Restart) => {}
        Err(_) => {
            warn!("not everything was cleared away in time; the next start sweeps the rest");
        }
    }
    tasks.shutdown().await;
    info!("stopped");
    Ok(())
}

/// Where other nodes' daemons may ask, if they may, and how they are met.
async fn listen_to_nodes(desired: &Desired) -> Result<Option<(TcpListener, Server)>> {
    let (Some(address), Some(tls)) = (desired.api.listen, &desired.api.tls) else {
        return Ok(None);
    };
    let server = server_tls(tls)?;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} for [api]"))?;
    Ok(Some((listener, server)))
}

/// Never waits: SIGTERM must be heard. The owner of the configuration says what comes of it.
fn ask_to_reload(requests: &mpsc::Sender<Request>) {
    if requests.try_send(Request::Signal).is_err() {
        warn!("SIGHUP left aside: too many requests wait for the configuration already");
    }
}

/// Ends sessions, then takes our routes out of the kernel: nobody keeps them up to date any more.
/// But with a peer that waits for us (RFC 4724) they stay, unless we go for good. What was done.
async fn stop(
    asked: Stop,
    speaker: SpeakerHandle,
    fib: FibHandle,
    ipam: Option<Ipam>,
    workloads: Option<Workloads>,
) -> Stop {
    let stop = match asked {
        Stop::Restart if is_waited_for(&speaker).await => Stop::Restart,
        Stop::Restart | Stop::ForGood => Stop::ForGood,
    };
    let farewell = async {
        // First who asks the allocator.
        if let Some(workloads) = workloads {
            workloads.stop().await;
        }
        if let Some(ipam) = ipam {
            ipam.stop().await;
        }
    };
    tokio::join!(speaker.stop(String::new(), stop), farewell);
    let keep = stop == Stop::Restart;
    let stopped = tokio::task::spawn_blocking(move || fib.stop(keep)).await;
    if let Err(error) = stopped {
        error!(err = %error, "the kernel side did not stop");
    }
    stop
}

/// Whether a peer keeps our routes until we are back.
async fn is_waited_for(speaker: &SpeakerHandle) -> bool {
    let peers = speaker.peers().await;
    let mut agreed = peers.iter().filter_map(|peer| peer.status.negotiated.as_ref());
    agreed.any(|negotiated| negotiated.graceful_restart.is_some())
}

/// Starts the kernel side. What an earlier run left under other numbers is taken out, as at a reload
/// that changes them; whether there was such a run.
fn start_fib(
    desired: &Desired,
    written: &Written,
    events: &Arc<KernelEvents>,
    links_changed: &Arc<Notify>,
) -> Result<(FibHandle, bool)> {
    let wanted = config::fib(desired);
    let (mut kept, mut locks, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for (table, protocol) in written.others(&wanted) {
        let other = FibConfig { enabled: true, table, protocol, ..wanted.clone() };
        match RouteLock::take(&other) {
            Ok(lock) => {
                locks.push(lock);
                others.push(other);
            }
            // They may be the reason for the change.
            Err(error) => {
                warn!(err = %error, "what an earlier run wrote under these numbers is another daemon's to sweep now");
                kept.push((table, protocol));
            }
        }
    }
    written.also(&wanted);
    let renumbered = !others.is_empty();
    let mut configs = others.into_iter().chain([wanted.clone()]);
    let first = configs.next().unwrap_or_else(|| wanted.clone());
    let (events, links_changed) = (Arc::clone(events), Arc::clone(links_changed));
    // What it may not do, it says itself.
    let fib = Fib::start(first, move |facts| {
        let of_links = |fact: &FibEvent| matches!(fact, FibEvent::Link(_) | FibEvent::LinkGone(_));
        if facts.iter().any(of_links) {
            links_changed.notify_one();
        }
        events.put(facts);
    })
    .context("cannot follow the kernel's routes")?;
    for next in configs {
        info!(
            table = next.table,
            protocol = next.protocol,
            "fib.table or fib.protocol is another than before: what was written then goes"
        );
        fib.reconfigure(next).context("cannot take over from an earlier run's fib.protocol")?;
    }
    if renumbered {
        written.only(&wanted, kept);
    }
    Ok((fib, renumbered))
}

/// `address`: the highest of the host.
fn router_id(desired: &Desired, address: Option<Ipv4Addr>) -> Result<Ipv4Addr> {
    let configured = desired.bgp.as_ref().map(|bgp| bgp.router_id);
    match configured {
        Some(Some(router_id)) => Ok(router_id),
        None => Ok(address.unwrap_or(Ipv4Addr::UNSPECIFIED)),
        Some(None) => address
            .context("the host has no IPv4 address to be its BGP identifier: set bgp.router-id"),
    }
}

fn signals() -> Result<mpsc::Receiver<Signal>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot handle SIGHUP")?;
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        loop {
            let signal = tokio::select! {
                _ = terminate.recv() => Signal::Stop("SIGTERM", Stop::Restart),
                _ = interrupt.recv() => Signal::Stop("SIGINT", Stop::ForGood),
                _ = hangup.recv() => Signal::Reload,
            };
            if sender.send(signal).await.is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

#[cfg(test)]
mod tests;
