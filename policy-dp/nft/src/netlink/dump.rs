//! Reading a whole table, all of one generation of the ruleset.

use std::{collections::BTreeMap, io};

use crate::{
    decode::{self, ChainFound, Count, ElementsFound, RuleFound, SetFound, TableFound},
    encode::{
        ELEM_LIST_SET, ELEM_LIST_TABLE, GETCHAIN, GETFLOWTABLE, GETOBJ, GETRULE, GETSET,
        GETSETELEM, GETTABLE, NEWCHAIN, NEWFLOWTABLE, NEWOBJ, NEWRULE, NEWSET, NEWSETELEM,
        NEWTABLE, RULE_CHAIN, RULE_TABLE, SET_TABLE, TABLE_NAME,
    },
    expr::{Digest, Rule},
    name::Name,
    netlink::socket::Socket,
    plan::{Actual, ActualChain, Presence},
    table::{Set, Shape},
    wire::{Message, Netfilter as _},
};

/// What was read.
pub struct Reading {
    /// The table.
    pub actual: Actual,
    /// The generation all of it is of.
    pub generation: u32,
    /// The rules themselves, of chains that have only such as we make.
    pub rules: BTreeMap<Name, Vec<Rule>>,
}

/// Reads a table whole; again, if somebody changes the ruleset meanwhile.
pub fn read(socket: &mut Socket, table: &Name, hold: bool) -> io::Result<Reading> {
    for _ in 0..TRIES {
        let before = socket.generation()?;
        let mut reader = Reader::new(socket, table, hold);
        let consistent = match reader.all() {
            Ok(consistent) => consistent,
            // The table or a set went away between two questions.
            Err(err) if err.kind() == io::ErrorKind::NotFound => false,
            Err(err) if err.raw_os_error() == Some(libc::EINTR) => false,
            Err(err) => return Err(err),
        };
        let (actual, rules) = (reader.actual, reader.rules);
        if consistent && socket.generation()? == before {
            let rules = rules.into_iter().filter_map(|(name, rules)| Some((name, rules?)));
            return Ok(Reading { actual, generation: before, rules: rules.collect() });
        }
    }
    Err(busy())
}

/// The rules of a chain in order: what stands for each, `None` for one that we never make, and what it
/// counted.
pub fn counts(
    socket: &mut Socket,
    table: &Name,
    chain: &Name,
) -> io::Result<Vec<(Option<Digest>, Option<Count>)>> {
    for _ in 0..TRIES {
        let mut all = Vec::new();
        let consistent = socket.dump(
            GETRULE,
            |e| {
                e.text(RULE_TABLE, table.as_str());
                e.text(RULE_CHAIN, chain.as_str());
            },
            |m| {
                // Kernels that do not look at the chain tell of all there are.
                let found = read_as(m, NEWRULE, RuleFound::read);
                let found = found.filter(|f| f.table == *table && f.chain == *chain);
                if let Some(found) = found {
                    let count = m.attributes().and_then(decode::count);
                    all.push((found.rule.map(|rule| rule.digest()), count));
                }
            },
        );
        match consistent {
            Ok(true) => return Ok(all),
            Ok(false) => {}
            Err(err) if err.raw_os_error() == Some(libc::EINTR) => {}
            Err(err) => return Err(err),
        }
    }
    Err(busy())
}

/// Others leave no time to read.
fn busy() -> io::Error {
    let text = "the ruleset was changed by others each time it was read";
    io::Error::new(io::ErrorKind::ResourceBusy, text)
}

struct Reader<'a> {
    socket: &'a mut Socket,
    table: &'a Name,
    hold: bool,
    actual: Actual,
    rules: BTreeMap<Name, Option<Vec<Rule>>>,
    /// Something that we never make, or that could not be read.
    strange: bool,
}

impl<'a> Reader<'a> {
    fn new(socket: &'a mut Socket, table: &'a Name, hold: bool) -> Self {
        let (actual, rules) = (Actual::default(), BTreeMap::new());
        Self { socket, table, hold, actual, rules, strange: false }
    }

    fn all(&mut self) -> io::Result<bool> {
        self.presence()?;
        if self.actual.presence == Presence::Absent {
            return Ok(true);
        }
        let mut consistent = self.chains()?;
        consistent &= self.rules()?;
        consistent &= self.sets()?;
        consistent &= self.others()?;
        if self.strange {
            self.actual.presence = Presence::Foreign;
        }
        Ok(consistent)
    }

    fn presence(&mut self) -> io::Result<()> {
        let (port, hold) = (self.socket.port(), self.hold);
        let mut presence = Presence::Foreign;
        let mut each = |m: &Message<'_>| {
            if let Some(found) = read_as(m, NEWTABLE, TableFound::read) {
                presence = found.presence(port, hold);
            }
        };
        let table = self.table.as_str();
        match self.socket.get(GETTABLE, |e| e.text(TABLE_NAME, table), &mut each) {
            Ok(()) => self.actual.presence = presence,
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            Err(err) => return Err(err),
        }
        Ok(())
    }

    fn chains(&mut self) -> io::Result<bool> {
        let (table, chains, rules) = (self.table, &mut self.actual.chains, &mut self.rules);
        let strange = &mut self.strange;
        self.socket.dump(
            GETCHAIN,
            |_| {},
            |m| match read_as(m, NEWCHAIN, ChainFound::read) {
                Some(found) if found.table == *table => {
                    *strange |= found.hook.is_none();
                    let chain = ActualChain { hook: found.hook, rules: Vec::new() };
                    chains.insert(found.name.clone(), chain);
                    rules.insert(found.name, Some(Vec::new()));
                }
                Some(_) => {}
                None => *strange = true,
            },
        )
    }

    fn rules(&mut self) -> io::Result<bool> {
        let (table, chains, rules) = (self.table, &mut self.actual.chains, &mut self.rules);
        let strange = &mut self.strange;
        self.socket.dump(
            GETRULE,
            |e| e.text(RULE_TABLE, table.as_str()),
            |m| match read_as(m, NEWRULE, RuleFound::read) {
                Some(found) if found.table == *table => {
                    if let Some(chain) = chains.get_mut(&found.chain) {
                        chain.rules.push(found.rule.as_ref().map(Rule::digest));
                    }
                    let list = rules.entry(found.chain).or_default();
                    match (list.as_mut(), found.rule) {
                        (Some(list), Some(rule)) => list.push(rule),
                        _ => *list = None,
                    }
                }
                Some(_) => {}
                None => *strange = true,
            },
        )
    }

    fn sets(&mut self) -> io::Result<bool> {
        let (table, strange) = (self.table, &mut self.strange);
        let mut shapes: Vec<(Name, Shape)> = Vec::new();
        let mut consistent = self.socket.dump(
            GETSET,
            |e| e.text(SET_TABLE, table.as_str()),
            |m| match read_as(m, NEWSET, SetFound::read) {
                Some(found) if found.table == *table => match found.shape {
                    Some(shape) => shapes.push((found.name, shape)),
                    None => *strange = true,
                },
                Some(_) => {}
                None => *strange = true,
            },
        )?;
        for (name, shape) in shapes {
            consistent &= self.elements(&name, shape)?;
        }
        Ok(consistent)
    }

    fn elements(&mut self, name: &Name, shape: Shape) -> io::Result<bool> {
        let (table, strange) = (self.table, &mut self.strange);
        let mut all = Vec::new();
        let consistent = self.socket.dump(
            GETSETELEM,
            |e| {
                e.text(ELEM_LIST_TABLE, table.as_str());
                e.text(ELEM_LIST_SET, name.as_str());
            },
            |m| match read_as(m, NEWSETELEM, ElementsFound::read).and_then(|f| f.elements) {
                Some(elements) => all.extend(elements),
                None => *strange = true,
            },
        )?;
        match decode::elements(&shape, all) {
            Some(elements) => {
                self.actual.sets.insert(name.clone(), Set { shape, elements });
            }
            None => self.strange = true,
        }
        Ok(consistent)
    }

    /// Stateful objects and flowtables: we make none, and they would keep a table from going.
    fn others(&mut self) -> io::Result<bool> {
        let table = self.table;
        let mut consistent = true;
        for (get, new) in [(GETOBJ, NEWOBJ), (GETFLOWTABLE, NEWFLOWTABLE)] {
            let strange = &mut self.strange;
            let each = |m: &Message<'_>| {
                *strange |= read_as(m, new, decode::table_named).is_some_and(|t| t == *table);
            };
            match self.socket.dump(get, |e| e.text(TABLE_NAME, table.as_str()), each) {
                Ok(same) => consistent &= same,
                // The kernel knows no such thing, so there is none.
                Err(err) if err.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
                Err(err) => return Err(err),
            }
        }
        Ok(consistent)
    }
}

fn read_as<'a, T>(
    m: &Message<'a>,
    wanted: u16,
    read: impl FnOnce(crate::wire::Attributes<'a>) -> Option<T>,
) -> Option<T> {
    if m.nftables() != Some(wanted) {
        return None;
    }
    read(m.attributes()?)
}

/// How often a table is read before somebody else's haste is an error.
const TRIES: u32 = 50;
