//! Starting, running and stopping: what is wired to what, in which order.

use std::{path::Path, process, time::Duration};

use anyhow::{Context as _, Result};
use bgp_desired::dataplane::Dataplane;
use margay_proto::socket::ApiSocket;
use tokio::{
    net::{TcpListener, UnixListener},
    runtime::Builder,
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::timeout,
};
use tracing::{error, info, warn};

use crate::{
    api::{self, Stands},
    enforcer::Revisions,
    flows::Names,
    guard, http,
    kernel::{self, Choices, Outlets},
    link::Link,
    lock::NamespaceLock,
    status::{Standing, Status},
    witness::Witness,
};

/// Messages on their way to the kernel's thread: what it does not take stays with `margay-bgpd`.
const MESSAGES: usize = 64;
/// Questions on their way to it.
const LOOKS: usize = 16;
/// How long the kernel's thread may take for what it is about.
const STOP_TIME: Duration = Duration::from_secs(4);

/// Reads the configuration again; what keeps it from being used, as it is to be told.
pub(crate) type Reread<'a> = &'a dyn Fn() -> Result<Dataplane, String>;

/// Runs the daemon until it is told to stop. What it enforces stays in force then.
///
/// # Errors
/// What keeps it from starting, or from going on.
pub(crate) fn run(config: &Dataplane, path: &Path, reread: Reread<'_>) -> Result<()> {
    let _lock = NamespaceLock::take()?;
    let runtime =
        Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(serve(config, path, reread))
}

async fn serve(config: &Dataplane, path: &Path, reread: Reread<'_>) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot handle SIGHUP")?;
    let listener = match config.http {
        Some(address) => Some(
            TcpListener::bind(address)
                .await
                .with_context(|| format!("cannot listen on {address} for [http]"))?,
        ),
        None => None,
    };
    let (_socket, api_listener) = ApiSocket::bind(&config.api)?;
    let api_listener = UnixListener::from_std(api_listener).context("cannot wait for calls")?;
    let (told, heard) = mpsc::channel(MESSAGES);
    let (looks, looked) = mpsc::channel(LOOKS);
    let (in_force_sender, in_force) = watch::channel(Revisions::default());
    let (status_sender, status) = watch::channel(Status::default());
    let (standing_sender, standing) = watch::channel(Standing::default());
    let (names_sender, names) = watch::channel(Names::default());
    let outlets = Outlets { in_force: in_force_sender, status: status_sender, names: names_sender };
    let link = Link::new(config.bgpd.clone(), config.name.clone(), told, in_force, standing_sender);
    let (stay, stop) = oneshot::channel::<()>();
    let linked = async {
        tokio::select! {
            () = link.run() => {}
            // Nobody says so but by letting go.
            _ = stop => {}
        }
    };
    let mut kernel = kernel::start(linked, heard, looked, outlets, Choices::of(config))?;
    let witness = Witness::start(names, looks.clone())?;
    let mut tasks = JoinSet::new();
    tasks.spawn(guard::sweep());
    let stands = Stands { kernel: status.clone(), stream: standing.clone() };
    tasks.spawn(api::serve(api_listener, looks, witness.clone(), stands));
    if let Some(listener) = listener {
        tasks.spawn(http::serve(listener, http::Context { status, standing, witness }));
    }
    info!(pid = process::id(), bgpd = %config.bgpd.display(), "margay-policy-dp started");

    let why = loop {
        tokio::select! {
            _ = terminate.recv() => break "SIGTERM",
            _ = interrupt.recv() => break "SIGINT",
            _ = hangup.recv() => compare(config, path, reread),
            ended = &mut kernel => return Err(end(ended)),
            Some(ended) = tasks.join_next() => match ended {
                // The kernel's thread is gone and says why.
                Ok(()) => return Err(end(kernel.await)),
                Err(error) => {
                    error!(err = %error, "a service panicked; aborting");
                    process::abort();
                }
            },
        }
    };
    info!(why, "stopping; what is enforced stays in force");
    drop(stay);
    tasks.shutdown().await;
    match timeout(STOP_TIME, kernel).await {
        Ok(Ok(None)) => info!("stopped"),
        Ok(ended) => return Err(end(ended)),
        // A transaction is whole or not at all.
        Err(_) => warn!("stopped while the kernel was busy"),
    }
    Ok(())
}

/// Why the kernel's thread ended by itself.
fn end(ended: Result<Option<anyhow::Error>, oneshot::error::RecvError>) -> anyhow::Error {
    match ended {
        Ok(Some(error)) => error,
        Ok(None) | Err(_) => anyhow::anyhow!("the kernel's thread ended by itself"),
    }
}

/// Nothing of the configuration can change while the daemon runs; to start again costs nothing.
fn compare(config: &Dataplane, path: &Path, reread: Reread<'_>) {
    match reread() {
        Ok(new) if new == *config => info!("the configuration is as it was"),
        Ok(_) => warn!(
            file = %path.display(),
            "the configuration has changed: it takes effect at the next start, which leaves what is \
             enforced in force"
        ),
        Err(text) => warn!(err = text.trim_end(), "the configuration cannot be used as it is now"),
    }
}
