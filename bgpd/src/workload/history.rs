//! What was done for each attachment, and how long each step took.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use margay_workload::AttachmentId;

/// Steps remembered of one attachment.
const STEPS: usize = 24;
/// Attachments remembered after they are gone.
const GONE: usize = 128;
/// Upper bounds of the histograms, microseconds.
const BOUNDS: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 5_000_000,
];

/// A step that was done, or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Its name.
    pub(crate) step: &'static str,
    /// When it began, milliseconds since the Unix epoch.
    pub(crate) at: u64,
    /// How long it took.
    pub(crate) micros: u32,
    /// Why it was not done.
    pub(crate) error: Option<Box<str>>,
    /// With what: addresses, the interface, the state.
    pub(crate) detail: Arc<str>,
}

/// The steps of all attachments there are, and of the last that were.
#[derive(Debug, Default)]
pub(crate) struct History {
    records: BTreeMap<AttachmentId, VecDeque<Record>>,
    gone: VecDeque<AttachmentId>,
}

impl History {
    /// A step has ended.
    pub(super) fn add(&mut self, id: &AttachmentId, mut record: Record) {
        if !self.records.contains_key(id) {
            self.records.insert(id.clone(), VecDeque::with_capacity(8));
        }
        if let Some(records) = self.records.get_mut(id) {
            if records.len() >= STEPS {
                records.pop_front();
            }
            // Most steps of an attachment are about the same interface.
            if let Some(same) = records.iter().find(|other| other.detail == record.detail) {
                record.detail = Arc::clone(&same.detail);
            }
            records.push_back(record);
        }
        self.gone.retain(|gone| gone != id);
    }

    /// The attachment is gone.
    pub(super) fn gone(&mut self, id: &AttachmentId) {
        self.gone.retain(|gone| gone != id);
        self.gone.push_back(id.clone());
        while self.gone.len() > GONE {
            if let Some(oldest) = self.gone.pop_front() {
                self.records.remove(&oldest);
            }
        }
    }

    /// The steps of an attachment, oldest first.
    pub(crate) fn of(&self, id: &AttachmentId) -> impl Iterator<Item = &Record> {
        self.records.get(id).into_iter().flatten()
    }

    /// The attachments that are gone, the last first.
    pub(crate) fn last(&self) -> impl Iterator<Item = &AttachmentId> {
        self.gone.iter().rev()
    }
}

/// Times by name: how many took at most so long.
#[derive(Debug, Default)]
pub(crate) struct Times(Mutex<BTreeMap<&'static str, Histogram>>);

/// How long something took.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Histogram {
    counts: [u64; BOUNDS.len()],
    /// How many there were.
    pub(crate) count: u64,
    micros: u64,
}

impl Times {
    /// One more.
    pub(crate) fn add(&self, name: &'static str, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let histogram = times.entry(name).or_default();
        for (count, bound) in histogram.counts.iter_mut().zip(BOUNDS) {
            *count += u64::from(micros <= bound);
        }
        histogram.count += 1;
        histogram.micros = histogram.micros.saturating_add(micros);
    }

    /// All of them.
    pub(crate) fn read(&self) -> BTreeMap<&'static str, Histogram> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Histogram {
    /// Upper bounds in seconds, as Prometheus writes them, and how many were within each.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        let bound = |micros: u64| Duration::from_micros(micros).as_secs_f64().to_string();
        BOUNDS.into_iter().map(bound).zip(self.counts)
    }

    /// How long all took together, seconds.
    pub(crate) fn seconds(&self) -> f64 {
        Duration::from_micros(self.micros).as_secs_f64()
    }
}
