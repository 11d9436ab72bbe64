//! Octets of the kernel to values. Nothing it may say makes these functions panic; what we never
//! make comes out as `None` or `Foreign`, so a plan replaces it.

mod expressions;

use std::collections::BTreeMap;

pub use self::expressions::rule_of;
use crate::{
    encode::{
        CHAIN_F_BASE, CHAIN_FLAGS, CHAIN_HOOK, CHAIN_NAME, CHAIN_POLICY, CHAIN_TABLE, CHAIN_TYPE,
        COUNTER_OCTETS, COUNTER_PACKETS, DATA_TYPE_VERDICT, ELEM_DATA, ELEM_FLAGS,
        ELEM_INTERVAL_END, ELEM_KEY, ELEM_KEY_END, ELEM_LIST_ELEMENTS, ELEM_LIST_SET,
        ELEM_LIST_TABLE, EXPR_DATA, EXPR_NAME, GEN_ID, GEN_PROC_NAME, HOOK_DEV, HOOK_DEVS,
        HOOK_HOOKNUM, HOOK_PRIORITY, MAKER, RULE_CHAIN, RULE_COMPAT, RULE_EXPRESSIONS, RULE_TABLE,
        RULE_USERDATA, SET_CONCAT, SET_DATA_LEN, SET_DATA_TYPE, SET_FLAGS, SET_INTERVAL,
        SET_KEY_LEN, SET_KEY_TYPE, SET_MAP, SET_NAME, SET_TABLE, TABLE_F_DORMANT, TABLE_F_OWNER,
        TABLE_F_PERSIST, TABLE_FLAGS, TABLE_NAME, TABLE_OWNER, TABLE_USERDATA, VERDICT_ACCEPT,
        VERDICT_DROP, field_of, kind_of, point_of, remark,
    },
    expr::{Octets, Rule},
    name::Name,
    plan::Presence,
    table::{Holds, Hook, Shape, Span, Value, before},
    wire::{Attributes, text_of, u32_of, u64_of},
};

/// The attributes of a list by number; of those that are there twice, the last.
pub(crate) fn by_number(attributes: Attributes<'_>) -> BTreeMap<u16, &[u8]> {
    attributes.collect()
}

/// What a message about a table says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFound {
    /// Its name.
    pub name: Name,
    flags: u32,
    owner: Option<u32>,
    ours: bool,
}

impl TableFound {
    /// Reads the attributes of `NEWTABLE`.
    pub fn read(attributes: Attributes<'_>) -> Option<Self> {
        let all = by_number(attributes);
        Some(Self {
            name: name(&all, TABLE_NAME)?,
            flags: all.get(&TABLE_FLAGS).map_or(Some(0), |v| u32_of(v))?,
            owner: match all.get(&TABLE_OWNER) {
                Some(value) => Some(u32_of(value)?),
                None => None,
            },
            ours: all.get(&TABLE_USERDATA).is_some_and(|v| *v == remark(Some(MAKER))),
        })
    }

    /// Whose it is, for the socket with this port, on a kernel that can hold tables or cannot.
    pub fn presence(&self, port: u32, hold: bool) -> Presence {
        let wanted = if hold { TABLE_F_PERSIST } else { 0 };
        let kept = self.flags & TABLE_F_PERSIST == wanted;
        if !self.ours || !kept || self.flags & TABLE_F_DORMANT != 0 {
            return Presence::Foreign;
        }
        let owned = self.flags & TABLE_F_OWNER != 0;
        match (hold, owned) {
            (true, false) => Presence::Orphan,
            (true, true) if self.owner == Some(port) => Presence::Held,
            (false, false) => Presence::Held,
            // Somebody else holds it; to replace it will be refused, and say so.
            (_, true) => Presence::Foreign,
        }
    }
}

/// What a message about a chain says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainFound {
    /// Its table.
    pub table: Name,
    /// Its name.
    pub name: Name,
    /// Its place; the outer `None` is one we never use.
    pub hook: Option<Option<Hook>>,
}

impl ChainFound {
    /// Reads the attributes of `NEWCHAIN`.
    pub fn read(attributes: Attributes<'_>) -> Option<Self> {
        let all = by_number(attributes);
        Some(Self {
            table: name(&all, CHAIN_TABLE)?,
            name: name(&all, CHAIN_NAME)?,
            hook: hook(&all),
        })
    }
}

fn hook(all: &BTreeMap<u16, &[u8]>) -> Option<Option<Hook>> {
    let flags = all.get(&CHAIN_FLAGS).map_or(Some(0), |v| u32_of(v))?;
    let Some(place) = all.get(&CHAIN_HOOK) else {
        return (flags == 0).then_some(None);
    };
    let place = by_number(Attributes(place));
    if flags != CHAIN_F_BASE || place.contains_key(&HOOK_DEV) || place.contains_key(&HOOK_DEVS) {
        return None;
    }
    Some(Some(Hook {
        kind: kind_of(text_of(all.get(&CHAIN_TYPE)?)?)?,
        point: point_of(u32_of(place.get(&HOOK_HOOKNUM)?)?)?,
        priority: i32::from_ne_bytes(u32_of(place.get(&HOOK_PRIORITY)?)?.to_ne_bytes()),
        drops: match u32_of(all.get(&CHAIN_POLICY)?)? {
            VERDICT_DROP => true,
            VERDICT_ACCEPT => false,
            _ => return None,
        },
    }))
}

/// What a message about a rule says.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleFound {
    /// Its table.
    pub table: Name,
    /// Its chain.
    pub chain: Name,
    /// What it does; `None` for what we never make.
    pub rule: Option<Rule>,
}

impl RuleFound {
    /// Reads the attributes of `NEWRULE`.
    pub fn read(attributes: Attributes<'_>) -> Option<Self> {
        let all = by_number(attributes);
        let list = all.get(&RULE_EXPRESSIONS).copied().unwrap_or_default();
        let user = all.get(&RULE_USERDATA).copied().unwrap_or_default();
        let foreign = all.contains_key(&RULE_COMPAT);
        Some(Self {
            table: name(&all, RULE_TABLE)?,
            chain: name(&all, RULE_CHAIN)?,
            rule: if foreign { None } else { rule_of(list, user) },
        })
    }
}

/// What a rule counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Their octets, with IP headers.
    pub octets: u64,
}

/// What a message about a rule says of its counter; `None` if it has none.
pub fn count(attributes: Attributes<'_>) -> Option<Count> {
    let list = by_number(attributes).get(&RULE_EXPRESSIONS).copied()?;
    Attributes(list).find_map(|(_, value)| {
        let all = by_number(Attributes(value));
        if text_of(all.get(&EXPR_NAME)?)? != "counter" {
            return None;
        }
        let data = by_number(Attributes(all.get(&EXPR_DATA)?));
        let number = |number| u64_of(data.get(&number)?);
        Some(Count { packets: number(COUNTER_PACKETS)?, octets: number(COUNTER_OCTETS)? })
    })
}

/// What a message about a set says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetFound {
    /// Its table.
    pub table: Name,
    /// Its name.
    pub name: Name,
    /// What it is made for; `None` for what we never make.
    pub shape: Option<Shape>,
}

impl SetFound {
    /// Reads the attributes of `NEWSET`.
    pub fn read(attributes: Attributes<'_>) -> Option<Self> {
        let all = by_number(attributes);
        Some(Self {
            table: name(&all, SET_TABLE)?,
            name: name(&all, SET_NAME)?,
            shape: shape(&all),
        })
    }
}

fn shape(all: &BTreeMap<u16, &[u8]>) -> Option<Shape> {
    let flags = all.get(&SET_FLAGS).map_or(Some(0), |v| u32_of(v))?;
    let mut kinds = u32_of(all.get(&SET_KEY_TYPE)?)?;
    let mut shape = Shape::set(&[]);
    if let Some(alone) = field_of(kinds) {
        shape.key.push(alone);
        kinds = 0;
    }
    while kinds != 0 {
        shape.key.insert(0, field_of(kinds & 0x3f)?);
        kinds >>= 6;
    }
    shape.intervals = flags & SET_INTERVAL != 0;
    shape.holds = holds(all, flags)?;
    let concat = if shape.intervals && !shape.halves() { SET_CONCAT } else { 0 };
    let known = flags & !(SET_INTERVAL | SET_MAP) == concat;
    let len = usize::try_from(u32_of(all.get(&SET_KEY_LEN)?)?).ok()?;
    (known && !shape.key.is_empty() && len == shape.octets()).then_some(shape)
}

/// What a set with these flags holds; `None` for what we never make.
fn holds(all: &BTreeMap<u16, &[u8]>, flags: u32) -> Option<Holds> {
    let number = |number| all.get(&number).map(|v| u32_of(v));
    match (flags & SET_MAP != 0, number(SET_DATA_TYPE)) {
        (false, None) => Some(Holds::Keys),
        (true, Some(Some(DATA_TYPE_VERDICT))) => Some(Holds::Verdicts),
        (true, Some(Some(kind))) => {
            let field = field_of(kind)?;
            let len = usize::try_from(number(SET_DATA_LEN)??).ok()?;
            (len == field.octets()).then_some(Holds::Values(field))
        }
        _ => None,
    }
}

/// An element as it stands in a message: with halves, a start or an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElementFound {
    key: Octets,
    key_end: Option<Octets>,
    end: bool,
    value: Value,
}

/// The elements of a message about a set, and which set it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElementsFound {
    /// Its table.
    pub table: Name,
    /// The set's name.
    pub set: Name,
    /// The elements; `None` where one is of a kind that we never make.
    pub elements: Option<Vec<ElementFound>>,
}

impl ElementsFound {
    /// Reads the attributes of `NEWSETELEM`.
    pub fn read(attributes: Attributes<'_>) -> Option<Self> {
        let all = by_number(attributes);
        let list = all.get(&ELEM_LIST_ELEMENTS).copied().unwrap_or_default();
        Some(Self {
            table: name(&all, ELEM_LIST_TABLE)?,
            set: name(&all, ELEM_LIST_SET)?,
            elements: Attributes(list).map(|(_, value)| element(value)).collect(),
        })
    }
}

fn element(value: &[u8]) -> Option<ElementFound> {
    let all = by_number(Attributes(value));
    if all.keys().any(|number| ![ELEM_KEY, ELEM_KEY_END, ELEM_DATA, ELEM_FLAGS].contains(number)) {
        return None;
    }
    let key_end = match all.get(&ELEM_KEY_END) {
        Some(value) => Some(expressions::data(value)?),
        None => None,
    };
    Some(ElementFound {
        key: expressions::data(all.get(&ELEM_KEY)?)?,
        key_end,
        end: match all.get(&ELEM_FLAGS).map_or(Some(0), |v| u32_of(v))? {
            0 => false,
            ELEM_INTERVAL_END => true,
            _ => return None,
        },
        value: match all.get(&ELEM_DATA) {
            Some(value) => match expressions::verdict(value) {
                Some(verdict) => Value::Verdict(verdict),
                None => Value::Octets(expressions::data(value)?),
            },
            None => Value::Member,
        },
    })
}

/// The elements of a set put together; `None` where they do not fit its shape.
pub fn elements(shape: &Shape, found: Vec<ElementFound>) -> Option<BTreeMap<Span, Value>> {
    if found.iter().any(|element| !fits(shape, element)) {
        return None;
    }
    if !shape.halves() {
        let span = |element: ElementFound| {
            let to = element.key_end.unwrap_or_else(|| element.key.clone());
            (Span { from: element.key, to }, element.value)
        };
        return Some(found.into_iter().map(span).collect());
    }
    let mut sorted = found;
    // Where one range ends, the next may begin: the end comes first.
    sorted.sort_by(|a, b| a.key.cmp(&b.key).then(b.end.cmp(&a.end)));
    let mut whole = BTreeMap::new();
    let mut open: Option<(Octets, Value)> = None;
    for element in sorted {
        match (open.take(), element.end) {
            (Some((from, value)), true) => {
                whole.insert(Span { from, to: before(&element.key)? }, value);
            }
            (None, false) => open = Some((element.key, element.value)),
            // What `nft` puts before the first range.
            (None, true) if element.key.iter().all(|octet| *octet == 0) => {}
            (Some(_), false) | (None, true) => return None,
        }
    }
    if let Some((from, value)) = open {
        let to = Octets::from_elem(0xff, from.len());
        whole.insert(Span { from, to }, value);
    }
    Some(whole)
}

fn fits(shape: &Shape, element: &ElementFound) -> bool {
    let whole = shape.intervals && !shape.halves();
    element.key.len() == shape.octets()
        && element.key_end.as_ref().is_none_or(|end| end.len() == shape.octets() && whole)
        && (!element.end || shape.halves())
        && match (&element.value, shape.holds) {
            (Value::Member, Holds::Keys) => true,
            (Value::Member, _) => element.end,
            (Value::Verdict(_), holds) => holds == Holds::Verdicts && !element.end,
            (Value::Octets(value), Holds::Values(field)) => {
                value.len() == field.octets() && !element.end
            }
            (Value::Octets(_), _) => false,
        }
}

/// What an announcement of a new generation says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Its number.
    pub id: u32,
    /// The program that made it; empty if the kernel does not say.
    pub process: String,
}

impl Generation {
    /// Reads the attributes of `NEWGEN`.
    pub fn read(attributes: Attributes<'_>) -> Option<Self> {
        let all = by_number(attributes);
        Some(Self {
            id: u32_of(all.get(&GEN_ID)?)?,
            process: all.get(&GEN_PROC_NAME).and_then(|v| text_of(v)).unwrap_or_default().into(),
        })
    }
}

fn name(all: &BTreeMap<u16, &[u8]>, number: u16) -> Option<Name> {
    Name::told(text_of(all.get(&number)?)?)
}

/// The table an announcement of any kind of change is about: each kind has it in its first
/// attribute.
pub fn table_named(mut attributes: Attributes<'_>) -> Option<Name> {
    let (_, value) = attributes.find(|(number, _)| *number == TABLE_NAME)?;
    Name::told(text_of(value)?)
}

#[cfg(test)]
mod tests;
