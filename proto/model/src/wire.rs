//! From nodes to typed values and back: the strict reader behind every kind.
//!
//! Owns what holds for all fields: unknown and duplicate names, wrong types, missing values, where
//! a fault lies. Promises that one reading finds every fault, and that rules over several fields
//! are asked only of values that could be read. Leaves the rules to the kinds.

#[macro_use]
mod macros;

mod fields;
mod impls;
pub(crate) mod rules;

pub use fields::{Fields, object};
pub use impls::Raw;

use serde_json::Value as Json;

use crate::{
    fault::{Fault, Path, Problem, Step},
    text::{Node, Value, shorten},
};

/// What to do with fields nobody knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// They are faults.
    #[default]
    Strict,
    /// They are warnings, and are not kept.
    Lenient,
}

/// A value that stands in documents.
pub trait Wire: Sized {
    /// Reads it; `None` if it holds a fault, which was then reported.
    fn read(node: &Node<'_>, reader: &mut Reader) -> Option<Self>;

    /// Its canonical JSON.
    fn write(&self) -> Json;

    /// What it is if its field is missing or null; `None` if the field must be there.
    fn absent() -> Option<Self> {
        None
    }

    /// Whether its field is left out.
    fn is_absent(&self) -> bool {
        false
    }

    /// Whether an optional field that says this says nothing: the empty string.
    fn is_blank(_: &Node<'_>) -> bool {
        false
    }

    /// What stands there, in the words of a fault.
    fn expected() -> String;
}

/// Reads one document and collects what is wrong with it.
pub struct Reader {
    mode: Mode,
    document: usize,
    path: Vec<Step>,
    faults: Vec<Fault>,
    warnings: Vec<Fault>,
}

impl Reader {
    /// Starts a document.
    pub fn new(mode: Mode, document: usize) -> Self {
        Self { mode, document, path: Vec::new(), faults: Vec::new(), warnings: Vec::new() }
    }

    /// Ends it: the faults, then the warnings.
    pub fn finish(self) -> (Vec<Fault>, Vec<Fault>) {
        (self.faults, self.warnings)
    }

    /// How many faults there are so far.
    pub fn count(&self) -> usize {
        self.faults.len()
    }

    /// Reports a fault of `node`, which is the value at the current path.
    pub fn fault(&mut self, node: &Node<'_>, problem: Problem) {
        let fault = self.place(node, problem);
        self.faults.push(fault);
    }

    fn place(&self, node: &Node<'_>, problem: Problem) -> Fault {
        Fault {
            document: self.document,
            position: (node.at.line > 0).then_some(node.at),
            path: Path(self.path.clone()),
            problem,
        }
    }

    /// Reports that `node` is not what is allowed there. Gives the `None` of a failed reading.
    pub fn refuse<T>(&mut self, node: &Node<'_>, allowed: impl Into<String>) -> Option<T> {
        let problem = Problem::Refused { found: node.describe(), allowed: allowed.into() };
        self.fault(node, problem);
        None
    }

    /// Does something one step deeper.
    pub fn within<T>(&mut self, step: Step, work: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step);
        let result = work(self);
        self.path.pop();
        result
    }

    /// Reads a field's value.
    pub fn key<T: Wire>(&mut self, name: &str, node: &Node<'_>) -> Option<T> {
        self.within(Step::Key(name.to_owned()), |reader| T::read(node, reader))
    }

    /// Reads an item's value.
    pub fn item<T: Wire>(&mut self, index: usize, node: &Node<'_>) -> Option<T> {
        self.within(Step::Index(index), |reader| T::read(node, reader))
    }

    /// Reports every field that stands twice, however deep.
    pub fn duplicates(&mut self, node: &Node<'_>) {
        match &node.value {
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    if matches!(item.value, Value::List(_) | Value::Map(_)) {
                        self.within(Step::Index(index), |reader| reader.duplicates(item));
                    }
                }
            }
            Value::Map(entries) => {
                let mut order: Vec<_> = (0..entries.len()).collect();
                order.sort_by_key(|index| entries.get(*index).map(|(key, _)| &key.name));
                for pair in order.windows(2) {
                    let [first, second] = pair else { continue };
                    let (Some((first, _)), Some((second, node))) =
                        (entries.get(*first), entries.get(*second))
                    else {
                        continue;
                    };
                    if first.name == second.name {
                        let problem = Problem::Duplicate { first: first.at };
                        let at = Node { at: second.at, value: node.value.clone() };
                        self.within(Step::Key(second.name.to_string()), |reader| {
                            reader.fault(&at, problem);
                        });
                    }
                }
                for (key, value) in entries {
                    if matches!(value.value, Value::List(_) | Value::Map(_)) {
                        let step = Step::Key(key.name.to_string());
                        self.within(step, |reader| reader.duplicates(value));
                    }
                }
            }
            _ => {}
        }
    }
}

/// A value whose fields could be read, to be asked whether they go together.
pub struct At<'r, 'n> {
    reader: &'r mut Reader,
    node: &'n Node<'n>,
}

impl<'r, 'n> At<'r, 'n> {
    pub fn new(reader: &'r mut Reader, node: &'n Node<'n>) -> Self {
        Self { reader, node }
    }

    /// Whether the field was written down.
    pub fn says(&self, field: &str) -> bool {
        self.node.field(field).is_some_and(|node| !node.is_null())
    }

    /// Reports that a field cannot have the value it has.
    pub fn refuse(&mut self, field: &str, allowed: impl Into<String>) {
        self.refuse_at(&[Step::Key(field.to_owned())], allowed);
    }

    /// Reports that an item of a list cannot have the value it has.
    pub fn refuse_item(&mut self, field: &str, index: usize, allowed: impl Into<String>) {
        self.refuse_at(&[Step::Key(field.to_owned()), Step::Index(index)], allowed);
    }

    /// Reports that a value below this one cannot be what it is. A value that is not there is
    /// reported as missing.
    pub fn refuse_at(&mut self, steps: &[Step], allowed: impl Into<String>) {
        let allowed = allowed.into();
        let mut nearest = self.node;
        let mut found = Some(self.node);
        for step in steps {
            found = found.and_then(|node| match step {
                Step::Key(key) => node.field(key),
                Step::Index(index) => node.item(*index),
            });
            nearest = found.unwrap_or(nearest);
        }
        let problem = match found {
            Some(node) if !node.is_null() => Problem::Refused { found: node.describe(), allowed },
            _ => Problem::Missing { allowed },
        };
        let depth = self.reader.path.len();
        self.reader.path.extend_from_slice(steps);
        self.reader.fault(nearest, problem);
        self.reader.path.truncate(depth);
    }

    /// Reports that the name of a field cannot be what it is.
    pub fn refuse_key(&mut self, steps: &[Step], allowed: impl Into<String>) {
        let Some((Step::Key(key), parents)) = steps.split_last() else { return };
        let parent = parents.iter().try_fold(self.node, |node, step| match step {
            Step::Key(key) => node.field(key),
            Step::Index(index) => node.item(*index),
        });
        let at = match parent.map(|node| &node.value) {
            Some(Value::Map(entries)) => {
                entries.iter().find(|(name, _)| name.name == *key).map(|(name, _)| name.at)
            }
            _ => None,
        };
        let place = Node { at: at.unwrap_or(self.node.at), value: Value::Null };
        let problem = Problem::Refused { found: shorten(key), allowed: allowed.into() };
        let depth = self.reader.path.len();
        self.reader.path.extend_from_slice(steps);
        self.reader.fault(&place, problem);
        self.reader.path.truncate(depth);
    }

    /// Reports that the value as a whole cannot be what it is.
    pub fn refuse_all(&mut self, found: impl Into<String>, allowed: impl Into<String>) {
        let problem = Problem::Refused { found: found.into(), allowed: allowed.into() };
        self.reader.fault(self.node, problem);
    }
}
