//! Output of one group on its way to octets: exported attribute sets, each made once, and what is
//! announced and withdrawn, packed by them.

use std::{collections::BTreeMap, sync::Arc};

use bgp_packet::{Announce, EncodeContext, NextHop, PathAttributes, encode_withdraw};
use bytes::BytesMut;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use ipnet::IpNet;
use smallvec::SmallVec;

use super::{
    core::Core,
    event::{Effect, Member},
    export,
    flush::but,
    group::{Audience, GroupKey},
    net::Net,
    splice,
    table::{MED_SET, Path, Table},
};

type Map<K, V> = HashMap<K, V, FixedState>;

/// What shapes the export of a path besides its prefix.
type Origin = (u32, u16, bool);

/// Octets per [`Effect::Send`], about.
const BLOCK: usize = 64 << 10;

/// Exported attribute sets by number.
#[derive(Debug, Default)]
pub(crate) struct Exports {
    by_origin: Map<Origin, Option<u32>>,
    by_content: Map<PathAttributes, Option<u32>>,
    made: Vec<Announce>,
    /// The sessions whose own address each has as next hop, where there are any.
    named: Map<u32, SmallVec<[u16; 2]>>,
    last: Option<(Origin, Option<u32>)>,
    /// As export policy finds it.
    decoded: Option<(u32, PathAttributes)>,
    /// Attribute sets no message can hold: a prefix that has them, and whose it is.
    too_long: Vec<(IpNet, u16)>,
    /// Scratch.
    octets: Vec<u8>,
}

impl Exports {
    /// The number of what a path becomes for the group; `None`: it is not sent.
    pub fn number<N: Net>(
        &mut self,
        core: &Core,
        key: &GroupKey,
        path: &Path,
        net: N,
    ) -> Option<u32> {
        let origin = (path.attrs, path.session, path.flags.any(MED_SET));
        let by_prefix = key.export.as_ref().is_some_and(|policy| policy.looks_at_prefix());
        if by_prefix {
            return self.by_prefix(core, key, path, net.to_ip(), origin);
        }
        if let Some((last, number)) = self.last
            && last == origin
        {
            return number;
        }
        let number = match self.by_origin.get(&origin) {
            Some(number) => *number,
            None => {
                let number = self.plain::<N>(core, key, path, net);
                self.by_origin.insert(origin, number);
                number
            }
        };
        self.last = Some((origin, number));
        number
    }

    /// Where the prefix has no say.
    fn plain<N: Net>(&mut self, core: &Core, key: &GroupKey, path: &Path, net: N) -> Option<u32> {
        export::allowed(core, key, path).ok()?;
        if splice::is_plain(key) {
            self.octets.clear();
            if let Some(next_hop) = splice::splice(core, key, N::FAMILY, path, &mut self.octets) {
                let octets = &self.octets;
                let next_hop = next_hop.ok()?;
                let made = Announce::from_canonical(N::FAMILY, octets, next_hop, key.encode);
                return self.keep(core, made, &next_hop, (net.to_ip(), path.session));
            }
        }
        let sent = export::export(core, key, path, net.to_ip()).ok()?;
        self.make(core, key, &sent, (net.to_ip(), path.session))
    }

    fn by_prefix(
        &mut self,
        core: &Core,
        key: &GroupKey,
        path: &Path,
        prefix: IpNet,
        origin: Origin,
    ) -> Option<u32> {
        export::allowed(core, key, path).ok()?;
        let decoded = match self.decoded.take() {
            Some((attrs, decoded)) if attrs == path.attrs => decoded,
            _ => export::stored(core, key, path),
        };
        let family = export::family_of(prefix);
        let whose = (prefix, path.session);
        let rewrite = |by_policy| export::rewrite(core, key, family, path, &decoded, by_policy);
        let number = match export::policy(core, key, path, &decoded, prefix) {
            Err(_) => None,
            Ok(by_policy) if by_policy.is_nothing() => match self.by_origin.get(&origin) {
                Some(number) => *number,
                None => {
                    let number =
                        rewrite(by_policy).ok().and_then(|sent| self.make(core, key, &sent, whose));
                    self.by_origin.insert(origin, number);
                    number
                }
            },
            Ok(by_policy) => match rewrite(by_policy) {
                Err(_) => None,
                Ok(sent) => match self.by_content.get(&sent) {
                    Some(number) => *number,
                    None => {
                        let number = self.make(core, key, &sent, whose);
                        self.by_content.insert(sent, number);
                        number
                    }
                },
            },
        };
        self.decoded = Some((path.attrs, decoded));
        number
    }

    /// The sessions that are not told of an exported set, for it names them as next hop.
    pub fn named(&self, export: u32) -> &[u16] {
        self.named.get(&export).map_or(&[], |named| named)
    }

    /// Reports what no message could hold to those who would have been told.
    pub fn report(&mut self, core: &Core, audience: &Audience, out: &mut Vec<Effect>) {
        for (prefix, session) in self.too_long.drain(..) {
            let except = core.sessions.peer(session).map(|session| session.peer);
            out.push(Effect::TooLong { to: Arc::clone(&audience.members), except, prefix });
        }
    }

    fn make(
        &mut self,
        core: &Core,
        key: &GroupKey,
        sent: &PathAttributes,
        whose: (IpNet, u16),
    ) -> Option<u32> {
        let made = Announce::new(export::family_of(whose.0), sent, key.encode);
        self.keep(core, made, &sent.next_hop, whose)
    }

    fn keep(
        &mut self,
        core: &Core,
        made: Option<Announce>,
        next_hop: &NextHop,
        whose: (IpNet, u16),
    ) -> Option<u32> {
        let Some(made) = made else {
            self.too_long.push(whose);
            return None;
        };
        let number = self.made.len() as u32;
        self.made.push(made);
        let named = core.sessions.named_by(next_hop);
        if !named.is_empty() {
            self.named.insert(number, named);
        }
        Some(number)
    }
}

/// Who of an audience something is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum To {
    /// Each but this session.
    Except(u16),
    /// Each but several sessions, by their number in the outbox.
    Without(u32),
    /// This session.
    Only(u16),
    /// Each.
    All,
}

/// What an audience is to be sent.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    withdraw: Vec<(To, u32, u32)>,
    announce: Vec<(To, u32, u32, u32)>,
    /// What `To::Without` leaves out; ascending inside.
    without: Vec<Several>,
    numbers: BTreeMap<Several, u32>,
}

/// Some sessions.
type Several = SmallVec<[u16; 4]>;

impl Outbox {
    /// An exported set for a slot; the path identifier is 0 without add-path.
    pub fn announce(&mut self, to: To, export: u32, path_id: u32, slot: u32) {
        self.announce.push((to, export, path_id, slot));
    }

    pub fn withdraw(&mut self, to: To, path_id: u32, slot: u32) {
        self.withdraw.push((to, path_id, slot));
    }

    /// An audience without a session and those that the announcement names as next hop; `None`
    /// when nobody is left.
    pub fn but(&mut self, audience: &Audience, session: u16, named: &[u16]) -> Option<To> {
        if named.is_empty() {
            return but(audience, session);
        }
        let all = named.iter().copied().chain([session]);
        let mut out: Several = all.filter(|session| audience.has(*session)).collect();
        out.sort_unstable();
        out.dedup();
        if out.len() == audience.sessions.len() {
            return None;
        }
        Some(match out[..] {
            [] => To::All,
            [one] => To::Except(one),
            _ => {
                let next = self.without.len() as u32;
                To::Without(*self.numbers.entry(out).or_insert_with_key(|out| {
                    self.without.push(out.clone());
                    next
                }))
            }
        })
    }

    pub fn is_empty(&self) -> bool {
        self.withdraw.is_empty() && self.announce.is_empty()
    }

    /// Encodes everything: withdrawals first, then what shares attributes side by side.
    pub fn send<N: Net>(
        &mut self,
        core: &Core,
        table: &Table<N>,
        context: EncodeContext,
        audience: &Audience,
        exports: &Exports,
        out: &mut Vec<Effect>,
    ) {
        let without = &self.without;
        let octets = BytesMut::new();
        let mut block = Block { out, core, audience, without, octets, messages: 0 };
        self.withdraw.sort_by_key(|(to, ..)| *to);
        for run in self.withdraw.chunk_by(|a, b| a.0 == b.0) {
            let to = run[0].0;
            let prefixes = run.iter().map(|(_, id, slot)| (*id, table.prefix(*slot).net.to_ip()));
            block.reserve();
            let mut messages = 0;
            encode_withdraw(N::FAMILY, context, prefixes, &mut block.octets, |_, _| messages += 1);
            block.messages += messages;
            block.finish(to);
        }
        self.announce.sort_by_key(|(to, export, ..)| (*to, *export));
        for run in self.announce.chunk_by(|a, b| a.0 == b.0) {
            let to = run[0].0;
            for same in run.chunk_by(|a, b| a.1 == b.1) {
                let announce = &exports.made[same[0].1 as usize];
                block.reserve();
                let mut messages = 0;
                announce.encode_all(
                    same.iter().map(|(_, _, id, slot)| (*id, table.prefix(*slot).net.to_ip())),
                    &mut block.octets,
                    |_, _| messages += 1,
                );
                block.messages += messages;
                block.full(to);
            }
            block.finish(to);
        }
        *self = Self::default();
    }
}

/// Whole messages for one audience, gathered into few effects.
struct Block<'a> {
    out: &'a mut Vec<Effect>,
    core: &'a Core,
    audience: &'a Audience,
    without: &'a [Several],
    octets: BytesMut,
    messages: u32,
}

impl Block<'_> {
    fn reserve(&mut self) {
        if self.octets.capacity() < 4096 {
            self.octets.reserve(BLOCK);
        }
    }

    fn full(&mut self, to: To) {
        if self.octets.len() >= BLOCK {
            self.finish(to);
        }
    }

    fn finish(&mut self, to: To) {
        if self.octets.is_empty() {
            return;
        }
        let octets = self.octets.split().freeze();
        let messages = std::mem::take(&mut self.messages);
        let (to, except): (Arc<[Member]>, _) = match to {
            To::All => (Arc::clone(&self.audience.members), None),
            To::Except(session) => {
                let except = self.core.sessions.peer(session).map(|session| session.peer);
                (Arc::clone(&self.audience.members), except)
            }
            To::Without(number) => {
                let without = &self.without[number as usize];
                let sessions = self.audience.sessions.iter();
                let left = sessions.filter(|session| !without.contains(session));
                (left.filter_map(|session| self.core.sessions.member(*session)).collect(), None)
            }
            To::Only(session) => (self.core.sessions.member(session).into_iter().collect(), None),
        };
        self.out.push(Effect::Send { to, except, octets, messages });
    }
}
