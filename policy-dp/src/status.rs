//! How it stands, for health and metrics.

use crate::enforcer::Counts;

/// Of the kernel.
#[derive(Debug, Clone, Default)]
pub(crate) struct Status {
    /// Everything has been heard, and the kernel had it once.
    pub(crate) enforcing: bool,
    /// A guard stands behind the table.
    pub(crate) guarded: bool,
    /// How many of what there are.
    pub(crate) counts: Counts,
    /// Tables that the kernel took, those among them that were right already too.
    pub(crate) tables: u64,
    /// Steps it took.
    pub(crate) steps: u64,
    /// Seconds that took.
    pub(crate) seconds: f64,
    /// Tables it did not take.
    pub(crate) failures: u64,
    /// How often somebody else changed our table.
    pub(crate) repairs: u64,
    /// How often everything was told from the beginning.
    pub(crate) snapshots: u64,
    /// Objects told of, and those that went.
    pub(crate) events: u64,
    /// Why the kernel has not what it should.
    pub(crate) trouble: Option<String>,
}

/// Of the stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    /// There is a stream.
    pub(crate) connected: bool,
    /// Why not.
    pub(crate) cause: String,
    /// How often there was none any more, or none to be had.
    pub(crate) losses: u64,
}
