//! Two hosts and a cable: what the scenarios about one Margay start from.

use anyhow::Result;
use testkit::{Host, Lab};

/// Margay's host, the other host, and the lab that holds them. Sessions run between 10.0.0.1
/// (Margay) and 10.0.0.2; both also have fd00::1 and fd00::2. The interface is `eth0`.
pub struct Wire {
    /// Margay's end.
    pub near: Host,
    /// The other end.
    pub far: Host,
    /// Keep it until the daemons are gone.
    pub lab: Lab,
}

impl Wire {
    /// A fresh wire.
    ///
    /// # Errors
    /// When namespaces cannot be made.
    pub fn new(name: &str) -> Result<Self> {
        let mut lab = Lab::new(name)?;
        let (near, far) = (lab.host("near")?, lab.host("far")?);
        lab.link(
            (&near, "eth0", &["10.0.0.1/24", "fd00::1/64"]),
            (&far, "eth0", &["10.0.0.2/24", "fd00::2/64"]),
        )?;
        Ok(Self { near, far, lab })
    }

    /// Passes a result on; after a failure the logs stay on disk and `logs` is added to it.
    ///
    /// # Errors
    /// The given one.
    pub fn conclude<T>(&mut self, result: Result<T>, logs: impl FnOnce() -> String) -> Result<T> {
        result.map_err(|e| {
            self.lab.keep();
            e.context(logs())
        })
    }
}
