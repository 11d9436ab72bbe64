//! A plan as one atomic batch of messages, and which of its objects an error is about.

use std::{collections::BTreeSet, ops::Range};

use crate::{
    encode::{
        BATCH_GENID, CHAIN_HOOK, CHAIN_NAME, CHAIN_POLICY, CHAIN_TABLE, CHAIN_TYPE, DELCHAIN,
        DELRULE, DELSET, DELSETELEM, DELTABLE, ELEM_FLAGS, ELEM_LIST_ELEMENTS, ELEM_LIST_SET,
        ELEM_LIST_TABLE, FAMILY_INET, HOOK_HOOKNUM, HOOK_PRIORITY, MAKER, NEWCHAIN, NEWRULE,
        NEWSET, NEWSETELEM, NEWTABLE, RULE_CHAIN, RULE_TABLE, SET_ID, SET_NAME, SET_TABLE,
        TABLE_F_OWNER, TABLE_F_PERSIST, TABLE_FLAGS, TABLE_NAME, TABLE_USERDATA, element,
        kind_name, point_number, policy_number, remark, rule, shape,
    },
    name::Name,
    plan::Op,
    table::{Hook, Shape, Span, Value},
    wire::{
        APPEND, Attributes, BATCH_BEGIN, BATCH_END, CREATE, Encoder, GENERIC, HEADER, REQUEST,
        Refusal, SUBSYSTEM, align, kind,
    },
};

/// How a batch is to be written.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// The table all of it is about.
    pub table: &'a Name,
    /// Made void if the ruleset is of another generation by then.
    pub generation: Option<u32>,
    /// Whether the table is held against others, and outlives us.
    pub hold: bool,
    /// Sequence number of its first message.
    pub first: u32,
    /// Sets and maps of which each element goes in a message of its own: of a message the kernel names only
    /// the first that it refuses.
    pub apart: &'a BTreeSet<Name>,
}

/// Messages to be sent together, and what each is about.
#[derive(Debug)]
pub struct Batch {
    octets: Vec<u8>,
    first: u32,
    /// What the messages behind the first are about; their numbers follow each other.
    sent: Vec<Sent>,
}

#[derive(Debug)]
struct Sent {
    at: usize,
    op: usize,
    /// For elements: which of the step's.
    elements: Range<usize>,
}

/// What a message is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    /// The batch as a whole.
    Batch,
    /// The table.
    Table,
    /// A chain.
    Chain(Name),
    /// A rule, counted from 0 in its chain.
    Rule {
        /// Its chain.
        chain: Name,
        /// How many stand before it.
        index: usize,
    },
    /// A set or map.
    Set(Name),
    /// An element.
    Element {
        /// Its set.
        set: Name,
        /// Its keys.
        span: Span,
    },
}

impl Object {
    /// Of an element, its set.
    pub fn set_of_element(&self) -> Option<&Name> {
        match self {
            Self::Element { set, .. } => Some(set),
            _ => None,
        }
    }
}

impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Batch => f.write_str("the batch"),
            Self::Table => f.write_str("the table"),
            Self::Chain(name) => write!(f, "chain {name}"),
            Self::Rule { chain, index } => write!(f, "rule {index} of chain {chain}"),
            Self::Set(name) => write!(f, "set {name}"),
            Self::Element { set, span } => {
                write!(f, "element {:02x?}-{:02x?} of set {set}", &span.from[..], &span.to[..])
            }
        }
    }
}

impl Batch {
    /// Writes one.
    pub fn new(terms: Terms<'_>, ops: &[Op]) -> Self {
        let mut writer = Writer {
            e: Encoder::default(),
            terms,
            seq: terms.first,
            sent: Vec::with_capacity(ops.len()),
            op: 0,
        };
        writer.edge(BATCH_BEGIN);
        for (index, op) in ops.iter().enumerate() {
            writer.op = index;
            writer.step(op);
        }
        writer.edge(BATCH_END);
        Self { octets: writer.e.into_octets(), first: terms.first, sent: writer.sent }
    }

    /// The messages.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// How many sequence numbers it uses.
    pub fn numbers(&self) -> u32 {
        u32::try_from(self.sent.len()).unwrap_or(u32::MAX).saturating_add(2)
    }

    /// What an answer with this number is about; the whole batch, if it names nothing of it.
    pub fn about(&self, seq: u32, answer: &Refusal, ops: &[Op]) -> Object {
        self.placed(seq, answer, ops).unwrap_or(Object::Batch)
    }

    fn placed(&self, seq: u32, answer: &Refusal, ops: &[Op]) -> Option<Object> {
        let back = usize::try_from(seq.wrapping_sub(self.first)).ok()?;
        let sent = self.sent.get(back.checked_sub(1)?)?;
        Some(match ops.get(sent.op)? {
            Op::HoldTable | Op::DropTable => Object::Table,
            Op::AddSet(name, _) | Op::DropSet(name, _) => Object::Set(name.clone()),
            Op::AddChain(name, _) | Op::DropChain(name) | Op::ClearChain(name) => {
                Object::Chain(name.clone())
            }
            Op::AddRule(chain, _) => {
                let same = |op: &&Op| matches!(op, Op::AddRule(name, _) if name == chain);
                let index = ops.iter().take(sent.op).filter(same).count();
                Object::Rule { chain: chain.clone(), index }
            }
            Op::AddElements(set, _, elements) | Op::RemoveElements(set, _, elements) => {
                let mine = elements.get(sent.elements.clone())?;
                let which = answer.offset.and_then(|at| self.element_at(sent.at, at));
                match which.and_then(|which| mine.get(which)) {
                    Some((span, _)) => Object::Element { set: set.clone(), span: span.clone() },
                    None => Object::Set(set.clone()),
                }
            }
        })
    }

    /// Which element of the message that begins `at` has an attribute at `offset`.
    fn element_at(&self, at: usize, offset: usize) -> Option<usize> {
        let message = self.octets.get(at..)?;
        let len = u32::from_ne_bytes(message.first_chunk().copied()?);
        let message = message.get(..usize::try_from(len).ok()?)?;
        let mut place = HEADER + GENERIC;
        let mut list = None;
        for (number, value) in Attributes(message.get(place..)?) {
            if number == ELEM_LIST_ELEMENTS {
                list = Some(value);
                break;
            }
            place += align(4 + value.len());
        }
        place += 4;
        let mut starts = 0_usize;
        for (_, value) in Attributes(list?) {
            // The end of a range is no element of its own to us.
            starts += usize::from(!Attributes(value).any(|(number, _)| number == ELEM_FLAGS));
            place += align(4 + value.len());
            if offset < place {
                return starts.checked_sub(1);
            }
        }
        None
    }
}

struct Writer<'a> {
    e: Encoder,
    terms: Terms<'a>,
    seq: u32,
    sent: Vec<Sent>,
    op: usize,
}

impl Writer<'_> {
    fn edge(&mut self, message: u16) {
        let at = self.e.begin(message, REQUEST, self.seq, 0, SUBSYSTEM);
        if message == BATCH_BEGIN
            && let Some(generation) = self.terms.generation
        {
            self.e.u32(BATCH_GENID, generation);
        }
        self.e.end(at);
        self.seq = self.seq.wrapping_add(1);
    }

    fn step(&mut self, op: &Op) {
        let create = REQUEST | CREATE;
        match op {
            Op::HoldTable => self.message(NEWTABLE, create, |e, terms| {
                e.text(TABLE_NAME, terms.table.as_str());
                if terms.hold {
                    e.u32(TABLE_FLAGS, TABLE_F_OWNER | TABLE_F_PERSIST);
                }
                e.attribute(TABLE_USERDATA, &remark(Some(MAKER)));
            }),
            Op::DropTable => self.message(DELTABLE, REQUEST, |e, terms| {
                e.text(TABLE_NAME, terms.table.as_str());
            }),
            Op::AddSet(name, form) => {
                let id = self.seq;
                self.message(NEWSET, create, |e, terms| {
                    e.text(SET_TABLE, terms.table.as_str());
                    e.text(SET_NAME, name.as_str());
                    e.u32(SET_ID, id);
                    shape(e, form);
                });
            }
            Op::DropSet(name, _) => self.message(DELSET, REQUEST, |e, terms| {
                e.text(SET_TABLE, terms.table.as_str());
                e.text(SET_NAME, name.as_str());
            }),
            Op::AddChain(name, place) => self.message(NEWCHAIN, create, |e, terms| {
                e.text(CHAIN_TABLE, terms.table.as_str());
                e.text(CHAIN_NAME, name.as_str());
                if let Some(place) = place {
                    hook(e, place);
                }
            }),
            Op::DropChain(name) => self.message(DELCHAIN, REQUEST, |e, terms| {
                e.text(CHAIN_TABLE, terms.table.as_str());
                e.text(CHAIN_NAME, name.as_str());
            }),
            Op::ClearChain(name) => self.message(DELRULE, REQUEST, |e, terms| {
                e.text(RULE_TABLE, terms.table.as_str());
                e.text(RULE_CHAIN, name.as_str());
            }),
            Op::AddRule(chain, new) => self.message(NEWRULE, create | APPEND, |e, terms| {
                e.text(RULE_TABLE, terms.table.as_str());
                e.text(RULE_CHAIN, chain.as_str());
                rule(e, new);
            }),
            Op::AddElements(set, form, all) => self.elements(NEWSETELEM, set, form, all),
            Op::RemoveElements(set, form, all) => self.elements(DELSETELEM, set, form, all),
        }
    }

    fn message(&mut self, message: u16, flags: u16, body: impl FnOnce(&mut Encoder, &Terms<'_>)) {
        let at = self.open(message, flags, 0..0);
        body(&mut self.e, &self.terms);
        self.e.end(at);
    }

    fn open(&mut self, message: u16, flags: u16, elements: Range<usize>) -> usize {
        let at = self.e.begin(kind(message), flags, self.seq, FAMILY_INET, 0);
        self.sent.push(Sent { at, op: self.op, elements });
        self.seq = self.seq.wrapping_add(1);
        at
    }

    /// As many messages as it takes: the list of one is an attribute, which ends at 64 KiB.
    fn elements(&mut self, message: u16, set: &Name, form: &Shape, all: &[(Span, Value)]) {
        let flags = if message == NEWSETELEM { REQUEST | CREATE } else { REQUEST };
        let apart = self.terms.apart.contains(set);
        let mut done = 0;
        while done < all.len() {
            let at = self.open(message, flags, done..all.len());
            self.e.text(ELEM_LIST_TABLE, self.terms.table.as_str());
            self.e.text(ELEM_LIST_SET, set.as_str());
            let list = self.e.open(ELEM_LIST_ELEMENTS);
            for (span, value) in all.get(done..).unwrap_or_default() {
                element(&mut self.e, form, span, value, message == NEWSETELEM);
                done += 1;
                if apart || self.e.octets().len() - list > FULL {
                    break;
                }
            }
            self.e.close(list);
            self.e.end(at);
            if let Some(sent) = self.sent.last_mut() {
                sent.elements.end = done;
            }
        }
    }
}

fn hook(e: &mut Encoder, place: &Hook) {
    let at = e.open(CHAIN_HOOK);
    e.u32(HOOK_HOOKNUM, point_number(place.point));
    e.u32(HOOK_PRIORITY, u32::from_ne_bytes(place.priority.to_ne_bytes()));
    e.close(at);
    e.u32(CHAIN_POLICY, policy_number(place));
    e.text(CHAIN_TYPE, kind_name(place.kind));
}

/// Octets of elements after which a message is full; one element is a few hundred.
const FULL: usize = 60_000;

#[cfg(test)]
mod tests;
