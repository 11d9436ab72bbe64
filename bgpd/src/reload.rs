//! The owner of the configuration: shows it, compares, and takes a new one into force.

use std::{net::Ipv4Addr, sync::Arc};

use bgp_desired::{Desired, Step, diff, show};
use bgp_speaker::SpeakerHandle;
use margay_fib::FibHandle;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use crate::{
    config::{self, LoadError, Source},
    route_lock::RouteLock,
};

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

/// See the module.
pub(crate) struct Reloader {
    source: Source,
    /// In force, but for what needs a restart.
    desired: watch::Sender<Arc<Desired>>,
    router_id: Ipv4Addr,
    speaker: SpeakerHandle,
    fib: FibHandle,
    route_lock: Option<RouteLock>,
}

impl Reloader {
    pub(crate) fn new(
        source: Source,
        desired: watch::Sender<Arc<Desired>>,
        router_id: Ipv4Addr,
        speaker: SpeakerHandle,
        fib: FibHandle,
        route_lock: Option<RouteLock>,
    ) -> Self {
        Self { source, desired, router_id, speaker, fib, route_lock }
    }

    /// Answers until nobody can ask any more.
    pub(crate) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        while let Some(request) = requests.recv().await {
            match request {
                Request::Signal => {
                    // It has been logged.
                    let _ = self.reload(None).await;
                }
                Request::Show(None, reply) => {
                    let _ = reply.send(Ok(show(&self.in_force())));
                }
                Request::Show(text, reply) => {
                    let _ = reply.send(self.read(text).map(|desired| show(&desired)));
                }
                Request::Diff(text, reply) => {
                    let steps = self.read(text).map(|desired| diff(&self.in_force(), &desired));
                    let _ = reply.send(steps);
                }
                Request::Reload(text, reply) => {
                    let _ = reply.send(self.reload(text).await);
                }
            }
        }
    }

    fn read(&self, text: Text) -> Result<Desired, ReloadError> {
        let parsed = match text {
            Some((name, text)) => self.source.parse(&text, &name),
            None => self.source.load(),
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
            None => self.source.path().display().to_string(),
        };
        let result = self.take(text).await;
        match &result {
            Ok(steps) => {
                self.source.settle();
                info!(file, changes = steps.len(), "configuration reloaded");
                for step in steps {
                    if step.impact == bgp_desired::Impact::Restart {
                        warn!(change = %step, "configuration change");
                    } else {
                        info!(change = %step, "configuration change");
                    }
                }
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
        let mut new = self.read(text)?;
        let old = self.in_force();
        let steps = diff(&old, &new);
        // Only a restart takes these over; until then they say what is in force.
        new.node.name.clone_from(&old.node.name);
        new.node.state_dir.clone_from(&old.node.state_dir);
        new.api.clone_from(&old.api);
        new.http.clone_from(&old.http);
        new.datastore.clone_from(&old.datastore);
        let fib_config = config::fib(&new);
        if fib_config != config::fib(&old) {
            let fib = self.fib.clone();
            let refused = |error: &dyn std::fmt::Display| ReloadError::Kernel(error.to_string());
            let covered = self.route_lock.as_ref().is_some_and(|lock| lock.covers(&fib_config));
            let lock = if covered {
                None
            } else {
                Some(RouteLock::take(&fib_config).map_err(|error| refused(&error))?)
            };
            tokio::task::spawn_blocking(move || fib.reconfigure(fib_config))
                .await
                .map_err(|error| refused(&error))?
                .map_err(|error| refused(&error))?;
            if let Some(lock) = lock {
                self.route_lock = lock;
            }
        }
        self.speaker.apply(config::speaker(&new, self.router_id)).await;
        self.desired.send_replace(Arc::new(new));
        Ok(steps)
    }
}
