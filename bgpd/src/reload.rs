//! The owner of the configuration: shows it, compares, and takes a new one into force.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use bgp_desired::{Desired, Step, diff, show};
use bgp_speaker::{ByHand, Knowledge, SpeakerHandle};
use margay_fib::FibHandle;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};
use tracing::{error, info, warn};

use crate::{
    cluster::{Cluster, Merge},
    config::{self, LoadError, Source},
    logging::Logging,
    route_lock::RouteLock,
    written::Written,
};

/// From a change in the cluster to its taking effect: what comes together is taken together.
const COALESCE: Duration = Duration::from_millis(20);
/// After the kernel side has refused.
const RETRY: Duration = Duration::from_secs(5);
/// So many changes at once are worth a line each.
const LINES: usize = 100;

/// A configuration that is not our own file: what to call it, and its text.
pub(crate) type Text = Option<(String, String)>;

/// Why a configuration was not taken.
#[derive(Debug)]
pub(crate) enum ReloadError {
    /// It is wrong.
    Invalid(LoadError),
    /// The kernel side refused its part; nothing else was changed.
    Kernel(String),
}

type Reply<T> = oneshot::Sender<Result<T, ReloadError>>;

/// What the owner is asked. Whoever asked may be gone when the answer comes.
#[derive(Debug)]
pub(crate) enum Request {
    /// SIGHUP.
    Signal,
    /// The text in force, or what would be.
    Show(Text, Reply<String>),
    /// What a reload would do.
    Diff(Text, Reply<Vec<Step>>),
    /// Take it into force.
    Reload(Text, Reply<Vec<Step>>),
}

/// Where the daemon is told what it should be.
pub(crate) struct Sources {
    /// The file.
    pub(crate) source: Source,
    /// What it said last.
    pub(crate) file: Desired,
    /// The cluster.
    pub(crate) cluster: Cluster,
}

/// See the module.
pub(crate) struct Reloader {
    sources: Sources,
    /// In force, but for what needs a restart.
    desired: watch::Sender<Arc<Desired>>,
    /// Of the host, for a configuration without one.
    router_id: Ipv4Addr,
    speaker: SpeakerHandle,
    fib: FibHandle,
    route_lock: Option<RouteLock>,
    written: Written,
    logging: Logging,
    /// Why the kernel side does not take what the cluster says, as it was logged.
    refused: Option<String>,
}

impl Reloader {
    pub(crate) fn new(
        sources: Sources,
        desired: watch::Sender<Arc<Desired>>,
        router_id: Ipv4Addr,
        speaker: SpeakerHandle,
        fib: FibHandle,
        (route_lock, written): (Option<RouteLock>, Written),
        logging: Logging,
    ) -> Self {
        let refused = None;
        Self { sources, desired, router_id, speaker, fib, route_lock, written, logging, refused }
    }

    /// Answers, and follows the cluster, until nobody can ask any more.
    pub(crate) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut due: Option<Instant> = None;
        loop {
            tokio::select! {
                request = requests.recv() => match request {
                    Some(request) => self.answer(request).await,
                    None => return,
                },
                () = self.sources.cluster.changed() => due = Some(sooner(due, Instant::now())),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    due = self.follow().await.err().map(|_| Instant::now() + RETRY);
                }
            }
        }
    }

    async fn answer(&mut self, request: Request) {
        // Whoever asked may be gone.
        match request {
            Request::Signal => {
                // It has been logged.
                let _ = self.reload(None).await;
            }
            Request::Show(None, reply) => {
                let mut text = show(&self.in_force());
                let remarks = self.sources.cluster.remarks();
                text.extend(remarks.iter().map(|remark| format!("\n# {remark}")));
                if !remarks.is_empty() {
                    text.push('\n');
                }
                let _ = reply.send(Ok(text));
            }
            Request::Show(text, reply) => {
                let shown = self.read(text).map(|file| show(&self.merge(&file).merged.desired));
                let _ = reply.send(shown);
            }
            Request::Diff(text, reply) => {
                let steps = self
                    .read(text)
                    .map(|file| diff(&self.in_force(), &self.merge(&file).merged.desired));
                let _ = reply.send(steps);
            }
            Request::Reload(text, reply) => {
                let _ = reply.send(self.reload(text).await);
            }
        }
    }

    /// What the daemon should be by this file and by the cluster.
    fn merge(&self, file: &Desired) -> Merge {
        let address = match self.router_id.is_unspecified() {
            // There was none at the start.
            true => config::host_router_id(&self.fib.links()),
            false => Some(self.router_id),
        };
        self.sources.cluster.merge(file, address, &self.in_force())
    }

    fn read(&self, text: Text) -> Result<Desired, ReloadError> {
        let parsed = match text {
            Some((name, text)) => self.sources.source.parse(&text, &name),
            None => self.sources.source.load(),
        };
        let parsed = parsed.map_err(ReloadError::Invalid)?;
        for warning in &parsed.warnings {
            warn!(file = %warning.file, line = warning.line, key = %warning.path, err = %warning.text, "configuration");
        }
        Ok(parsed.desired)
    }

    fn in_force(&self) -> Arc<Desired> {
        self.desired.borrow().clone()
    }

    async fn reload(&mut self, text: Text) -> Result<Vec<Step>, ReloadError> {
        let file = match &text {
            Some((name, _)) => name.clone(),
            None => self.sources.source.path().display().to_string(),
        };
        let result = self.take(text).await;
        match &result {
            Ok(steps) => {
                self.sources.source.settle();
                info!(file, changes = steps.len(), "configuration reloaded");
                log(steps);
            }
            Err(ReloadError::Invalid(fault)) => {
                error!(err = fault.lines(), "configuration not reloaded: nothing has changed");
            }
            Err(ReloadError::Kernel(err)) => {
                error!(err, "configuration not reloaded: nothing has changed");
            }
        }
        result
    }

    async fn take(&mut self, text: Text) -> Result<Vec<Step>, ReloadError> {
        let mut file = self.read(text)?;
        let merge = self.merge(&file);
        let old = self.in_force();
        let steps = diff(&old, &merge.merged.desired);
        // Only a restart takes these over; until then they say what is in force.
        file.node.name.clone_from(&old.node.name);
        file.node.state_dir.clone_from(&old.node.state_dir);
        file.node.secrets_dir.clone_from(&old.node.secrets_dir);
        file.api.clone_from(&old.api);
        file.http.clone_from(&old.http);
        file.datastore.clone_from(&old.datastore);
        file.sync.clone_from(&old.sync);
        self.apply(&file, merge, ByHand::Undo).await?;
        self.sources.file = file;
        Ok(steps)
    }

    /// Takes over what the cluster says now.
    async fn follow(&mut self) -> Result<(), ReloadError> {
        let start = Instant::now();
        let file = self.sources.file.clone();
        let merge = self.merge(&file);
        let steps = diff(&self.in_force(), &merge.merged.desired);
        let planned = start.elapsed();
        if let Err(error) = self.apply(&file, merge, ByHand::Keep).await {
            if let ReloadError::Kernel(err) = &error
                && self.refused.as_ref() != Some(err)
            {
                error!(err, "the cluster's configuration is not in force; trying again");
                self.refused = Some(err.clone());
            }
            return Err(error);
        }
        if self.refused.take().is_some() {
            info!("the cluster's configuration is in force again");
        }
        if !steps.is_empty() {
            let took = start.elapsed();
            info!(
                changes = steps.len(),
                ?planned,
                ?took,
                "the cluster's configuration has changed"
            );
            log(&steps);
        }
        Ok(())
    }

    /// Takes what a merge of `file` came to into force.
    async fn apply(
        &mut self,
        file: &Desired,
        merge: Merge,
        by_hand: ByHand,
    ) -> Result<(), ReloadError> {
        if self.router_id.is_unspecified() {
            let address = config::host_router_id(&self.fib.links());
            self.router_id = address.unwrap_or(Ipv4Addr::UNSPECIFIED);
        }
        let mut new = merge.merged.desired.clone();
        new.node.clone_from(&file.node);
        new.node.log_level = merge.merged.desired.node.log_level;
        new.api.clone_from(&file.api);
        new.http.clone_from(&file.http);
        new.datastore.clone_from(&file.datastore);
        new.sync.clone_from(&file.sync);
        let fib_config = config::fib(&new);
        if fib_config != config::fib(&self.in_force()) {
            let fib = self.fib.clone();
            let refused = |error: &dyn std::fmt::Display| ReloadError::Kernel(error.to_string());
            let covered = self.route_lock.as_ref().is_some_and(|lock| lock.covers(&fib_config));
            let lock = if covered {
                None
            } else {
                Some(RouteLock::take(&fib_config).map_err(|error| refused(&error))?)
            };
            let former = config::fib(&self.in_force());
            let moved = (former.enabled, former.table, former.protocol)
                != (fib_config.enabled, fib_config.table, fib_config.protocol);
            let others = self.written.others(&former);
            if moved {
                self.written.also(&fib_config);
            }
            let now = fib_config.clone();
            tokio::task::spawn_blocking(move || fib.reconfigure(fib_config))
                .await
                .map_err(|error| refused(&error))?
                .map_err(|error| refused(&error))?;
            if moved {
                self.written.only(&now, others);
            }
            if let Some(lock) = lock {
                self.route_lock = lock;
            }
        }
        let known = self.sources.cluster.known();
        self.fib.set_reach(config::reach(&new));
        if known == Knowledge::All {
            self.fib.reach_in_sync();
        }
        self.speaker.apply(config::speaker(&new, self.router_id, known), by_hand).await;
        self.logging.set(new.node.log_level);
        publish(&self.desired, new);
        self.sources.cluster.settle(merge);
        Ok(())
    }
}

/// When to follow the cluster after a change: soon, even while a try that failed waits.
fn sooner(due: Option<Instant>, now: Instant) -> Instant {
    let soon = now + COALESCE;
    due.map_or(soon, |due| due.min(soon))
}

/// Tells those who follow what is in force, if it is something else.
fn publish(in_force: &watch::Sender<Arc<Desired>>, new: Desired) {
    in_force.send_if_modified(|known| {
        let differs = **known != new;
        if differs {
            *known = Arc::new(new);
        }
        differs
    });
}

fn log(steps: &[Step]) {
    for step in steps.iter().take(LINES) {
        if step.impact == bgp_desired::Impact::Restart {
            warn!(change = %step, "configuration change");
        } else {
            info!(change = %step, "configuration change");
        }
    }
    if let Some(more) = steps.len().checked_sub(LINES).filter(|more| *more > 0) {
        info!(more, "configuration changes");
    }
}

#[cfg(test)]
mod tests;
