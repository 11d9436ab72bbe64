//! The stored form of a block: strict, versioned JSON.
//!
//! A field, version or shape that is not known is an error: a block read wrong is an address given
//! twice. A block whose ordinals do not add up is reported with a mended copy, for `ipam check`.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::Arc,
};

use bytes::Bytes;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    Block, BlockState, Handle, Held, Instance, NameError, NodeName, Ordinal, Owner, ordinals,
};
use crate::{net::Family, time::UnixMillis};

/// The version written and read.
const VERSION: u32 = 1;

/// Beyond this many wrong ordinals octets are not worth mending.
const MOST_FAULTS: usize = 4096;

/// Why octets are no block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// Not the JSON of a block.
    #[error("the block cannot be read: {0}")]
    Json(String),
    /// Written by another version.
    #[error("the block is of version {0}, this program knows version {VERSION}")]
    Version(u32),
    /// No block has that length.
    #[error("{0} has no length of a block (/20 to /32, /116 to /128)")]
    Length(IpNet),
    /// The CIDR has host bits.
    #[error("{0} has bits set behind its length")]
    Unmasked(IpNet),
    /// It lies under the key of another block.
    #[error("the block says {inside} and lies under the key of {key}")]
    Misplaced {
        /// By its key.
        key: IpNet,
        /// By its content.
        inside: IpNet,
    },
    /// A name in it is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Ordinals are missing, doubled or outside.
    #[error("{}", list(.faults))]
    Ordinals {
        /// What is wrong.
        faults: Vec<Fault>,
        /// The block with that put right: what is held stays held, what is lost becomes free.
        mended: Box<Block>,
    },
}

/// One thing wrong with the ordinals of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Neither held, nor cooling, nor free.
    Lost(Ordinal),
    /// In two places at once.
    Doubled(Ordinal),
    /// Beyond the end of the block.
    Outside(Ordinal),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(at) => write!(f, "ordinal {} is neither held nor free", at.0),
            Self::Doubled(at) => write!(f, "ordinal {} is in two places", at.0),
            Self::Outside(at) => write!(f, "ordinal {} is outside the block", at.0),
        }
    }
}

fn list(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("; ")
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form<'a> {
    version: u32,
    #[serde(borrow)]
    pool: std::borrow::Cow<'a, str>,
    cidr: IpNet,
    owner: Option<OwnerForm>,
    state: StateForm,
    claimed_ms: u64,
    serial: u64,
    held: BTreeMap<u16, HeldForm>,
    cooling_ms: BTreeMap<u16, u64>,
    /// Runs of ordinals, both ends included, in the order they will be assigned.
    free: Vec<(u16, u16)>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StateForm {
    Active,
    Draining,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnerForm {
    node: String,
    instance: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeldForm {
    handle: String,
    node: String,
    serial: u64,
    since_ms: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<String, String>,
}

/// Only the version, to name the reason before the shape is looked at.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Addresses of a block that is never too large to be stored, whoever holds them.
const ALWAYS_FITS: usize = 128;
/// Octets that assignments may take in the stored form of a block: a datastore takes values of 1 MiB,
/// and what else a block says takes a tenth of that at most.
const MOST_OCTETS: usize = 900_000;

impl Block {
    /// How many more assignments like this one can be stored with the block. Large blocks and long
    /// names can come to more than a datastore takes.
    pub fn room_for(&self, more: &Held) -> usize {
        let ordinals = self.held.len() + self.cooling.len() + self.free.len();
        if ordinals <= ALWAYS_FITS {
            return usize::MAX;
        }
        let taken = self.held.values().map(|held| octets(held)).sum::<usize>();
        MOST_OCTETS.saturating_sub(taken) / octets(more)
    }

    /// The stored form.
    pub fn to_json(&self) -> Bytes {
        let form = Form {
            version: VERSION,
            pool: self.pool.as_str().into(),
            cidr: self.cidr,
            owner: self.owner.as_ref().map(|owner| OwnerForm {
                node: owner.node.to_string(),
                instance: owner.instance.to_string(),
            }),
            state: match self.state {
                BlockState::Active => StateForm::Active,
                BlockState::Draining => StateForm::Draining,
            },
            claimed_ms: self.claimed.0,
            serial: self.serial,
            held: self
                .held
                .iter()
                .map(|(ordinal, held)| {
                    let held = HeldForm {
                        handle: held.handle.to_string(),
                        node: held.node.to_string(),
                        serial: held.serial,
                        since_ms: held.since.0,
                        attributes: (&held.attributes).into(),
                    };
                    (ordinal.0, held)
                })
                .collect(),
            cooling_ms: self.cooling.iter().map(|(ordinal, since)| (ordinal.0, since.0)).collect(),
            free: runs(&self.free),
        };
        serde_json::to_vec(&form).expect("maps of text and numbers are always JSON").into()
    }

    /// Reads the stored form.
    pub fn from_json(octets: &[u8]) -> Result<Self, BlockError> {
        let json = |error: serde_json::Error| BlockError::Json(error.to_string());
        let form: Form<'_> = match serde_json::from_slice(octets) {
            Ok(form) => form,
            Err(error) => {
                let versioned: Versioned = serde_json::from_slice(octets).map_err(json)?;
                return Err(if versioned.version == VERSION {
                    json(error)
                } else {
                    BlockError::Version(versioned.version)
                });
            }
        };
        if form.version != VERSION {
            return Err(BlockError::Version(form.version));
        }
        if !Family::of_net(form.cidr).block_lengths().contains(&form.cidr.prefix_len()) {
            return Err(BlockError::Length(form.cidr));
        }
        if form.cidr.trunc() != form.cidr {
            return Err(BlockError::Unmasked(form.cidr));
        }
        let owner = form.owner.map(OwnerForm::read).transpose()?;
        let mut sorter = Sorter { all: ordinals(form.cidr).collect(), ..Sorter::default() };
        let mut held = BTreeMap::new();
        for (ordinal, form) in form.held {
            if sorter.place(Ordinal(ordinal)) {
                held.insert(Ordinal(ordinal), Arc::new(form.read()?));
            }
        }
        let mut cooling = BTreeMap::new();
        for (ordinal, since) in form.cooling_ms {
            if sorter.place(Ordinal(ordinal)) {
                cooling.insert(Ordinal(ordinal), UnixMillis(since));
            }
        }
        let mut free = VecDeque::new();
        for (from, to) in form.free {
            if from > to {
                return Err(BlockError::Json(format!("free: {from} to {to} is no run")));
            }
            for ordinal in (from..=to).map(Ordinal) {
                if sorter.place(ordinal) {
                    free.push_back(ordinal);
                }
            }
            if sorter.faults.len() > MOST_FAULTS {
                return Err(BlockError::Json("free: more faults than a block has places".into()));
            }
        }
        let lost: Vec<Ordinal> = sorter.all.difference(&sorter.placed).copied().collect();
        free.extend(lost.iter().copied());
        let mut faults = sorter.faults;
        faults.extend(lost.into_iter().map(Fault::Lost));
        let block = Self {
            pool: form.pool.into_owned(),
            cidr: form.cidr,
            owner,
            state: match form.state {
                StateForm::Active => BlockState::Active,
                StateForm::Draining => BlockState::Draining,
            },
            claimed: UnixMillis(form.claimed_ms),
            serial: form.serial,
            held,
            cooling,
            free,
        };
        if faults.is_empty() {
            Ok(block)
        } else {
            Err(BlockError::Ordinals { faults, mended: Box::new(block) })
        }
    }
}

/// Octets of one assignment in the stored form, at most.
fn octets(held: &Held) -> usize {
    // What is there whatever the names are, with the longest numbers.
    const FRAME: usize = 128;
    let text = |text: &str| -> usize {
        let octet = |octet: u8| match octet {
            0..=0x1f => 6,
            b'"' | b'\\' => 2,
            _ => 1,
        };
        text.bytes().map(octet).sum()
    };
    let attributes: usize =
        held.attributes.iter().map(|(name, value)| text(name) + text(value) + 6).sum();
    FRAME + text(held.handle.as_str()) + text(held.node.as_str()) + attributes
}

/// Puts each ordinal into the first place that claims it.
#[derive(Default)]
struct Sorter {
    all: BTreeSet<Ordinal>,
    placed: BTreeSet<Ordinal>,
    faults: Vec<Fault>,
}

impl Sorter {
    fn place(&mut self, ordinal: Ordinal) -> bool {
        if !self.all.contains(&ordinal) {
            self.faults.push(Fault::Outside(ordinal));
            false
        } else if !self.placed.insert(ordinal) {
            self.faults.push(Fault::Doubled(ordinal));
            false
        } else {
            true
        }
    }
}

impl OwnerForm {
    fn read(self) -> Result<Owner, NameError> {
        Ok(Owner {
            node: NodeName::try_from(self.node.as_str())?,
            instance: Instance::try_from(self.instance.as_str())?,
        })
    }
}

impl HeldForm {
    fn read(self) -> Result<Held, NameError> {
        Ok(Held {
            handle: Handle::try_from(self.handle.as_str())?,
            node: NodeName::try_from(self.node.as_str())?,
            serial: self.serial,
            since: UnixMillis(self.since_ms),
            attributes: self.attributes.into(),
        })
    }
}

/// Rising neighbours written as one run.
fn runs(free: &VecDeque<Ordinal>) -> Vec<(u16, u16)> {
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for Ordinal(ordinal) in free {
        match runs.last_mut() {
            Some((_, end)) if end.checked_add(1) == Some(*ordinal) => *end = *ordinal,
            _ => runs.push((*ordinal, *ordinal)),
        }
    }
    runs
}
