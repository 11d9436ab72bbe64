//! Drivers of real BGP implementations: each writes its daemon's configuration, starts it on a
//! host and asks it what it knows in its own words.

mod bird;
mod exabgp;
mod frr;
mod gobgp;
mod openbgpd;

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result};

pub use bird::{Bird, BirdRoute};
pub use exabgp::ExaBgp;
pub use frr::Frr;
pub use gobgp::GoBgp;
pub use openbgpd::OpenBgpd;

use crate::{
    Daemon,
    bgp::{Announcement, Family, Implementation, Received, Speaker},
    lab::Host,
    wait::until,
};

/// How long a daemon has until it answers its control tool.
const READY: Duration = Duration::from_secs(20);

/// A BGP speaker of another make.
pub trait Peer {
    /// Which make.
    fn implementation(&self) -> Implementation;

    /// Starts the daemon (again) with the present configuration; returns when it answers.
    ///
    /// # Errors
    /// When it cannot be started or does not answer in time.
    fn start(&mut self) -> Result<()>;

    /// The running daemons, the one that speaks BGP first; empty before `start`.
    fn daemons(&mut self) -> &mut Vec<Daemon>;

    /// True when the session with the neighbour at `address` is Established.
    ///
    /// # Errors
    /// When the daemon does not answer.
    fn established(&mut self, address: &str) -> Result<bool>;

    /// The routes held from the neighbour at `address`, ordered by prefix.
    ///
    /// # Errors
    /// When the daemon does not answer.
    fn received(&mut self, address: &str) -> Result<Vec<Received>>;

    /// Originates a route, at run time.
    ///
    /// # Errors
    /// When the daemon refuses it.
    fn announce(&mut self, announcement: &Announcement) -> Result<()>;

    /// Stops originating a route, at run time.
    ///
    /// # Errors
    /// When the daemon refuses it.
    fn withdraw(&mut self, prefix: &str) -> Result<()>;

    /// Sends ROUTE-REFRESH (RFC 2918) to the neighbour at `address`.
    ///
    /// # Errors
    /// When the daemon refuses it.
    fn refresh(&mut self, address: &str) -> Result<()>;

    /// The last words of its logs.
    fn log(&mut self) -> String {
        let logs: Vec<String> =
            self.daemons().iter().map(|d| crate::process::tail(&d.log(), 30)).collect();
        logs.join("\n")
    }

    /// kill -9 of all its daemons.
    ///
    /// # Errors
    /// When one cannot be waited for.
    fn kill(&mut self) -> Result<()> {
        for daemon in self.daemons() {
            daemon.kill()?;
        }
        self.daemons().clear();
        Ok(())
    }

    /// SIGSTOP: connections stay open, nothing is sent.
    ///
    /// # Errors
    /// When it is not running.
    fn pause(&mut self) -> Result<()> {
        self.daemons().iter().try_for_each(Daemon::pause)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// When it is not running.
    fn resume(&mut self) -> Result<()> {
        self.daemons().iter().try_for_each(Daemon::resume)
    }
}

/// A driver for `implementation` on `host`, not started yet.
pub fn on(implementation: Implementation, host: &Host, speaker: Speaker) -> Box<dyn Peer + Send> {
    match implementation {
        Implementation::Bird => Box::new(Bird::new(host, speaker)),
        Implementation::Frr => Box::new(Frr::new(host, speaker)),
        Implementation::GoBgp => Box::new(GoBgp::new(host, speaker)),
        Implementation::OpenBgpd => Box::new(OpenBgpd::new(host, speaker)),
        Implementation::ExaBgp => Box::new(ExaBgp::new(host, speaker)),
    }
}

/// Writes a configuration file.
fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

/// Waits until a freshly started daemon answers `probe`, and fails early when it has ended.
fn ready(what: &str, daemons: &mut [Daemon], mut probe: impl FnMut() -> Result<()>) -> Result<()> {
    until(what, READY, || {
        for daemon in daemons.iter_mut() {
            daemon.check_running()?;
        }
        probe().map(|()| true)
    })
}

/// Routes of one family in a stable order.
fn sorted(mut routes: Vec<Received>) -> Vec<Received> {
    routes.sort_by(|a, b| a.prefix.cmp(&b.prefix));
    routes
}

/// The unicast family name in the way of FRR, GoBGP and OpenBGPD: `ipv4` or `ipv6`.
fn afi(address: &str) -> &'static str {
    Family::of(address).short()
}
