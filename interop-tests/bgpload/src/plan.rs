//! Who tells what, and what everybody must hold in the end.
//!
//! The reference is independent of any daemon: of the paths to a prefix, one of those with the
//! shortest AS path wins (everything before it in the decision is equal; what comes after it is
//! the daemon's choice). A policy class rejects one tag, so its members are told the rest.

use crate::{
    Args,
    table::{Rng, Table, mix},
    wire::{Part, Speaker, tag},
};

/// First marker AS; peers are numbered upward from it.
pub const MARKER: u32 = 4_200_000_000;
/// AS of the first monitor.
pub const MONITOR_AS: u32 = 4_210_000_000;
/// AS of the session that only keeps alive.
pub const KEEPER_AS: u32 = 4_220_000_000;

/// The table and its distribution.
#[derive(Debug)]
pub struct Plan {
    pub table: Table,
    /// What each peer tells, in order.
    pub parts: Vec<Vec<Part>>,
    /// Peers as they show in attributes.
    pub speakers: Vec<Speaker>,
    group_of: Vec<u32>,
    seed: u64,
    classes: usize,
    /// Every peer's path is as good as any: there is one per prefix, or nobody decides.
    simple: bool,
    /// Peers whose session is up, or was not taken down on purpose.
    live: Vec<bool>,
    /// The least detour among the live paths to each prefix; [`NONE`] = no path.
    least: Vec<u8>,
}

const NONE: u8 = u8::MAX;

impl Plan {
    /// The distribution the arguments ask for.
    pub fn new(args: &Args) -> Self {
        let prefixes = match args.layout.as_str() {
            "distinct" => args.routes * args.peers,
            "random" => args.universe,
            _ => args.routes,
        };
        let chunk = if args.layout == "distinct" { args.routes } else { 0 };
        let v6_permille = match (args.family.v4, args.family.v6) {
            (true, true) => args.v6_permille,
            (false, true) => 1000,
            _ => 0,
        };
        let table = Table::generate(prefixes, args.seed, chunk, v6_permille);
        let mut group_of = vec![0u32; prefixes];
        let mut all = Vec::new();
        for (pair, group) in table.groups.windows(2).zip(0u32..) {
            let part = Part { group, from: pair[0], to: pair[1] };
            group_of[part.from as usize..part.to as usize].fill(group);
            all.push(part);
        }
        let parts: Vec<Vec<Part>> = (0..args.peers)
            .map(|peer| match args.layout.as_str() {
                "distinct" => {
                    let first = all.partition_point(|p| (p.from as usize) < peer * args.routes);
                    let past =
                        all.partition_point(|p| (p.from as usize) < (peer + 1) * args.routes);
                    all[first..past].to_vec()
                }
                "random" => sample(&all, args.routes, mix(args.seed, 1000 + peer as u64)),
                _ => all.clone(),
            })
            .collect();
        let speakers = (0..args.peers)
            .map(|index| Speaker {
                index,
                marker: MARKER + index as u32,
                internal: args.internal,
                next_hop: args.src + index as u32,
                prefer_first: args.prefer_first,
                tag_as: if args.classes > 0 { args.dut_as } else { 0 },
            })
            .collect();
        let mut plan = Self {
            table,
            parts,
            speakers,
            group_of,
            seed: args.seed,
            classes: args.classes,
            simple: args.copies || args.layout == "distinct" || args.peers == 1,
            live: vec![true; args.peers],
            least: Vec::new(),
        };
        plan.rank();
        plan
    }

    /// From now on `peer` has no paths.
    pub fn lose(&mut self, peer: usize) {
        if let Some(live) = self.live.get_mut(peer) {
            *live = false;
        }
        self.simple = false;
        self.rank();
    }

    fn rank(&mut self) {
        self.least = vec![NONE; self.table.keys.len()];
        for (speaker, parts) in self.speakers.iter().zip(&self.parts) {
            if !self.live[speaker.index] {
                continue;
            }
            for part in parts {
                let detour = if self.simple { 0 } else { speaker.detour(self.seed, part.group) };
                for least in &mut self.least[part.from as usize..part.to as usize] {
                    *least = detour.min(*least);
                }
            }
        }
    }

    /// How many prefixes there are in the table.
    pub fn prefixes(&self) -> usize {
        self.table.keys.len()
    }

    /// How many prefixes a live peer tells.
    pub fn reachable(&self) -> u64 {
        self.least.iter().filter(|least| **least != NONE).count() as u64
    }

    /// Paths told by all peers together.
    pub fn paths(&self) -> u64 {
        self.parts.iter().flatten().map(Part::len).sum()
    }

    /// The policy class of a session; 0 = its export policy accepts all.
    pub fn class(&self, session: usize) -> u16 {
        if self.classes == 0 { 0 } else { (session % self.classes) as u16 + 1 }
    }

    /// May a member of `class` be told this prefix?
    #[inline]
    pub fn allows(&self, class: u16, prefix: usize) -> bool {
        class == 0 || u16::from(tag(self.seed, self.group_of[prefix])) + 1 != class
    }

    /// Is the path of `peer` one that may win for this prefix?
    #[inline]
    pub fn wins(&self, peer: usize, prefix: usize) -> bool {
        if self.simple {
            return true;
        }
        let Some(speaker) = self.speakers.get(peer) else { return false };
        self.live[peer] && speaker.detour(self.seed, self.group_of[prefix]) == self.least[prefix]
    }

    /// Is there any path to it?
    pub fn has_path(&self, prefix: usize) -> bool {
        self.least[prefix] != NONE
    }
}

/// `count` prefixes, whole groups at random but for the last.
fn sample(all: &[Part], count: usize, seed: u64) -> Vec<Part> {
    let mut groups = all.to_vec();
    let mut random = Rng::new(seed);
    for i in (1..groups.len()).rev() {
        groups.swap(i, random.below(i as u64 + 1) as usize);
    }
    let mut out = Vec::new();
    let mut missing = count as u32;
    for part in groups {
        let taken = Part { to: part.to.min(part.from + missing), ..part };
        missing -= taken.to - taken.from;
        out.push(taken);
        if missing == 0 {
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests;
