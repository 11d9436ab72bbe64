//! The fields of one mapping, taken one by one; what is left over nobody knows.

use serde_json::{Map, Value as Json};

use super::{Mode, Reader, Wire};
use crate::{
    fault::{Problem, Step},
    text::{Key, Node, Value},
};

/// A mapping that is being read.
pub struct Fields<'n> {
    node: &'n Node<'n>,
    entries: &'n [(Key<'n>, Node<'n>)],
    taken: Vec<bool>,
    known: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// Opens a mapping, or reports that it is none.
    pub fn open(node: &'n Node<'n>, reader: &mut Reader) -> Option<Self> {
        match &node.value {
            Value::Map(entries) => {
                let taken = vec![false; entries.len()];
                Some(Self { node, entries, taken, known: Vec::new() })
            }
            _ => reader.refuse(node, "a mapping"),
        }
    }

    /// Takes the value of a field as it stands. One whose name differs in case only is the field
    /// where no other is, as for calicoctl.
    pub fn take(&mut self, name: &'static str) -> Option<&'n Node<'n>> {
        self.known.push(name);
        let mut found = None;
        for ((key, node), taken) in self.entries.iter().zip(&mut self.taken) {
            if key.name == name {
                *taken = true;
                // The first one counts; the second is reported as a duplicate.
                found = found.or(Some(node));
            }
        }
        found.or_else(|| {
            let mut entries = self.entries.iter().zip(&mut self.taken);
            let (entry, taken) = entries
                .find(|((key, _), taken)| !**taken && key.name.eq_ignore_ascii_case(name))?;
            *taken = true;
            Some(&entry.1)
        })
    }

    /// Takes all that was not taken, as a mapping of its own.
    pub fn take_rest(&mut self) -> Node<'n> {
        let entries = self.entries.iter().zip(&mut self.taken);
        let rest = entries
            .filter_map(|(entry, taken)| (!std::mem::replace(taken, true)).then(|| entry.clone()));
        Node { at: self.node.at, value: Value::Map(rest.collect()) }
    }

    /// Reads a field and asks its own rule.
    pub fn field<T: Wire>(
        &mut self,
        name: &'static str,
        reader: &mut Reader,
        rule: impl Fn(&T, &mut Reader, &Node<'_>) -> bool,
    ) -> Option<T> {
        let node = self.take(name);
        match node {
            Some(node) if !node.is_null() => reader.within(Step::Key(name.to_owned()), |reader| {
                let value = T::read(node, reader)?;
                rule(&value, reader, node).then_some(value)
            }),
            _ => T::absent().or_else(|| {
                let problem = Problem::Missing { allowed: T::expected() };
                let at = node.unwrap_or(self.node);
                reader.within(Step::Key(name.to_owned()), |reader| reader.fault(at, problem));
                None
            }),
        }
    }

    /// Takes fields of older releases, with a warning each.
    pub fn removed(&mut self, names: &[&'static str], reader: &mut Reader) {
        for name in names {
            if let Some(node) = self.take(name) {
                reader.within(Step::Key((*name).to_owned()), |reader| {
                    let warning = reader.place(node, Problem::Removed);
                    reader.warnings.push(warning);
                });
            }
            self.known.pop();
        }
    }

    /// Reports the fields that were not taken.
    pub fn finish(self, reader: &mut Reader) {
        for ((key, node), _) in self.entries.iter().zip(&self.taken).filter(|(_, taken)| !**taken) {
            let meant = self.known.iter().copied().find(|known| resembles(known, &key.name));
            let at = Node { at: key.at, value: node.value.clone() };
            reader.within(Step::Key(key.name.to_string()), |reader| {
                let fault = reader.place(&at, Problem::Unknown { meant });
                match reader.mode {
                    Mode::Strict => reader.faults.push(fault),
                    Mode::Lenient => reader.warnings.push(fault),
                }
            });
        }
    }
}

/// Whether one may have been meant by the other: equal but for case and signs, or one letter off.
fn resembles(known: &str, found: &str) -> bool {
    let plain = |text: &str| -> Vec<char> {
        text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
    };
    let (known, found) = (plain(known), plain(found));
    let front = known.iter().zip(&found).take_while(|(a, b)| a == b).count();
    let back = known.iter().rev().zip(found.iter().rev()).take_while(|(a, b)| a == b).count();
    let longer = known.len().max(found.len());
    known.len().abs_diff(found.len()) <= 1 && front + back + 1 >= longer && longer > 3
}

/// A JSON object that is being written.
pub struct ObjectWriter(Map<String, Json>);

/// Starts a JSON object.
pub fn object() -> ObjectWriter {
    ObjectWriter(Map::new())
}

impl ObjectWriter {
    /// Adds a field, unless it is absent.
    pub fn field<T: Wire>(mut self, name: &str, value: &T) -> Self {
        if !value.is_absent() {
            self.0.insert(name.to_owned(), value.write());
        }
        self
    }

    /// Ends it.
    pub fn finish(self) -> Json {
        Json::Object(self.0)
    }
}
