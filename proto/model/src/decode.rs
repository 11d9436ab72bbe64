//! Texts that users write, and octets that stores keep, as typed objects.
//!
//! Owns which group, version and kind is what, lists, arrays and several documents in one text.
//! Promises that either every object of a text is valid or all its faults are told.

use serde_json::Value as Json;

use crate::{
    fault::{Fault, Faults, Path, Position, Problem, Step},
    kind::Kind,
    kubernetes,
    meta::ObjectMeta,
    object::API_VERSION,
    resource::Resource,
    text::{self, Node, Value, shorten},
    wire::{Mode, Raw, Reader, Wire},
};

/// The group and version of Calico's custom resources.
const CRD_API_VERSION: &str = "crd.projectcalico.org/v1";

/// An object of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// One of ours.
    Resource(Resource),
    /// One of Kubernetes; [`kubernetes::Object::into_resource`] makes one of ours of it.
    Kubernetes(kubernetes::Object),
}

/// An object of a text and where it stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The document of the text, from 1. A list has one document for all its items.
    pub number: usize,
    /// Where the object stands.
    pub place: Place,
    /// The object.
    pub item: Item,
}

/// Where an object stands in a text, for who finds a fault in it later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its first character.
    pub start: Position,
    /// The values in its metadata and its spec.
    fields: Vec<(String, Position)>,
}

impl Place {
    fn of(node: &Node<'_>) -> Self {
        let mut fields = Vec::new();
        for part in ["metadata", "spec"] {
            let Some(Node { value: Value::Map(entries), .. }) = node.field(part) else { continue };
            let named =
                entries.iter().map(|(key, value)| (format!("{part}.{}", key.name), value.at));
            fields.extend(named);
        }
        Self { start: node.at, fields }
    }

    /// Where the value of a field (`spec.cidr`) starts; else the object.
    pub fn field(&self, path: &str) -> Position {
        let found = self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(path));
        found.map_or(self.start, |(_, at)| *at)
    }
}

/// A text without faults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Its objects in order; none if the text is empty.
    pub documents: Vec<Document>,
    /// Fields that were ignored: those of older releases and, if [`Mode::Lenient`], unknown ones.
    pub warnings: Faults,
}

/// Reads a text of YAML or JSON: any number of documents, each an object, a list or an array of
/// objects. All faults of all documents are told at once.
pub fn decode(octets: &[u8], mode: Mode) -> Result<Manifest, Faults> {
    read(octets, mode, false)
}

/// Reads a text of YAML or JSON that holds something else than resources: the documents as JSON. A
/// plain scalar is what YAML 1.2 takes it for.
pub fn decode_json(octets: &[u8]) -> Result<Vec<Json>, Faults> {
    let text =
        std::str::from_utf8(octets).map_err(|error| not_utf8(octets, error.valid_up_to()))?;
    let (mut documents, mut faults) = (Vec::new(), Faults::default());
    for part in text::parse(text) {
        match part.root {
            Ok(None) => {}
            Ok(Some(root)) => {
                let mut reader = Reader::new(Mode::Strict, part.number);
                reader.duplicates(&root);
                documents.extend(Raw::read(&root, &mut reader).map(|raw| raw.0));
                faults.0.extend(reader.finish().0);
            }
            Err(error) => faults.0.push(Fault {
                document: part.number,
                position: Some(error.at),
                path: Path::default(),
                problem: Problem::Syntax(error.reason),
            }),
        }
    }
    if faults.is_empty() { Ok(documents) } else { Err(faults) }
}

/// Reads one resource as stores keep it.
pub(crate) fn resource(octets: &[u8], mode: Mode) -> Result<Resource, Faults> {
    let mut documents = read(octets, mode, true)?.documents;
    match (documents.pop(), documents.is_empty()) {
        (Some(Document { item: Item::Resource(resource), .. }), true) => Ok(resource),
        (found, _) => {
            let found = match (found, documents.len()) {
                (None, _) => "nothing".into(),
                (Some(_), 0) => "an object of another API".into(),
                (Some(_), more) => format!("{} objects", more + 1),
            };
            let problem = Problem::Refused { found, allowed: "one resource".into() };
            let path = Path::default();
            Err(Faults(vec![Fault { document: 1, position: None, path, problem }]))
        }
    }
}

/// What an annotation keeps of an object's metadata; `None` if it cannot be read.
pub(crate) fn packed_metadata(json: &str) -> Option<ObjectMeta> {
    let part = text::parse(json).pop()?;
    let root = part.root.ok()??;
    let mut reader = Reader::new(Mode::Lenient, 1);
    ObjectMeta::read(&root, &mut reader)
}

fn read(octets: &[u8], mode: Mode, stored: bool) -> Result<Manifest, Faults> {
    let mut manifest = Manifest::default();
    let mut faults = Faults::default();
    let text = match std::str::from_utf8(octets) {
        Ok(text) => text,
        Err(error) => return Err(not_utf8(octets, error.valid_up_to())),
    };
    for part in text::parse(text) {
        let root = match part.root {
            Ok(Some(root)) => root,
            Ok(None) => continue,
            Err(error) => {
                faults.0.push(Fault {
                    document: part.number,
                    position: Some(error.at),
                    path: Path::default(),
                    problem: Problem::Syntax(error.reason),
                });
                continue;
            }
        };
        let mut reader = Reader::new(mode, part.number);
        reader.duplicates(&root);
        let mut objects = Objects { stored, number: part.number, found: Vec::new() };
        match &root.value {
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    reader.within(Step::Index(index), |reader| {
                        objects.read(item, Within::Document, reader)
                    });
                }
            }
            _ => objects.read(&root, Within::Document, &mut reader),
        }
        let (found, warnings) = reader.finish();
        faults.0.extend(found);
        manifest.warnings.0.extend(warnings);
        manifest.documents.extend(objects.found);
    }
    if faults.is_empty() {
        return Ok(manifest);
    }
    faults.sort();
    Err(faults)
}

fn not_utf8(octets: &[u8], valid: usize) -> Faults {
    let before = String::from_utf8_lossy(octets.get(..valid).unwrap_or_default());
    let line = before.matches('\n').count();
    let column = before.chars().rev().take_while(|c| *c != '\n').count();
    let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX >> 1).saturating_add(1);
    let position = Some(Position { line: small(line), column: small(column) });
    let problem = Problem::Syntax("no UTF-8".into());
    Faults(vec![Fault { document: 1, position, path: Path::default(), problem }])
}

/// What an object stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within<'a> {
    /// A document, or the array that is one.
    Document,
    /// A list of anything.
    List,
    /// A list of this group and kind: items need not say it.
    ListOf(&'a str, &'a str),
}

struct Objects {
    stored: bool,
    number: usize,
    found: Vec<Document>,
}

impl Objects {
    fn read(&mut self, node: &Node<'_>, within: Within<'_>, reader: &mut Reader) {
        if !matches!(node.value, Value::Map(_)) {
            let _: Option<()> = reader.refuse(node, "an object: a mapping");
            return;
        }
        let says = |field| node.field(field).and_then(Node::as_text);
        let (group, word) = match (says("apiVersion"), says("kind"), within) {
            (None, None, Within::ListOf(group, word)) => (group, word),
            (group, word, _) => {
                for (field, value) in [("apiVersion", group), ("kind", word)] {
                    if value.is_none() {
                        self.missing(node, field, reader);
                    }
                }
                let (Some(group), Some(word)) = (group, word) else { return };
                (group, word)
            }
        };
        if let Some(items) = list_items(word) {
            if within != Within::Document {
                let _: Option<()> = reader.refuse(node, "an object: a list cannot hold lists");
                return;
            }
            let within = items.map_or(Within::List, |item| Within::ListOf(group, item));
            self.read_list(node, within, reader);
            return;
        }
        let resource_kind = match (group, word) {
            (CRD_API_VERSION, "IPAMConfig") => Some(Kind::IpamConfiguration),
            _ => Kind::from_name(word).filter(|kind| match group {
                CRD_API_VERSION => kind.api_version() == API_VERSION,
                group => kind.api_version() == group,
            }),
        };
        let item = match resource_kind {
            Some(kind) => {
                let is_crd = group == CRD_API_VERSION;
                let resource = Resource::read(kind, node, reader).and_then(|mut resource| {
                    resource.unpack(is_crd, self.stored);
                    // What an annotation held has not been asked yet.
                    let unpacked = if is_crd { resource.check() } else { Ok(()) };
                    let Err(faults) = unpacked else { return Some(resource) };
                    for fault in faults.0 {
                        reader.fault(node, fault.problem);
                    }
                    None
                });
                resource.map(Item::Resource)
            }
            None => match kubernetes::Object::read(group, word, node, reader) {
                Some(object) => object.map(Item::Kubernetes),
                None => {
                    self.unknown(node, group, word, reader);
                    None
                }
            },
        };
        let number = self.number;
        self.found.extend(item.map(|item| Document { number, place: Place::of(node), item }));
    }

    fn read_list(&mut self, node: &Node<'_>, within: Within<'_>, reader: &mut Reader) {
        if let Value::Map(entries) = &node.value {
            for (key, value) in entries {
                if !matches!(&*key.name, "apiVersion" | "kind" | "metadata" | "items") {
                    let at = Node { at: key.at, value: value.value.clone() };
                    reader.within(Step::Key(key.name.to_string()), |reader| {
                        reader.fault(&at, Problem::Unknown { meant: None });
                    });
                }
            }
        }
        let step = Step::Key("items".into());
        match node.field("items").map(|items| (items, &items.value)) {
            Some((_, Value::List(items))) => reader.within(step, |reader| {
                for (index, item) in items.iter().enumerate() {
                    reader.within(Step::Index(index), |reader| self.read(item, within, reader));
                }
            }),
            Some((_, Value::Null)) => {}
            Some((items, _)) => {
                reader.within(step, |reader| reader.refuse::<()>(items, "a list"));
            }
            None => self.missing(node, "items", reader),
        }
    }

    fn missing(&self, node: &Node<'_>, field: &str, reader: &mut Reader) {
        let at = node.field(field).unwrap_or(node);
        let problem = Problem::Missing { allowed: "a string".into() };
        reader.within(Step::Key(field.to_owned()), |reader| reader.fault(at, problem));
    }

    fn unknown(&self, node: &Node<'_>, group: &str, word: &str, reader: &mut Reader) {
        let known_group = matches!(group, API_VERSION | CRD_API_VERSION);
        let (field, found) = if known_group { ("kind", word) } else { ("apiVersion", group) };
        let meant = Kind::from_word(word).filter(|kind| known_group && kind.name() != word);
        let allowed = match meant {
            Some(kind) => format!("a known resource type, such as {kind}"),
            None => format!("a known resource type ({group} {word} is none)"),
        };
        let problem = Problem::Refused { found: shorten(found), allowed };
        let at = node.field(field).unwrap_or(node);
        reader.within(Step::Key(field.to_owned()), |reader| reader.fault(at, problem));
    }
}

/// Whether it is a list, and of what: `List` holds anything, `IPPoolList` holds IPPools.
fn list_items(word: &str) -> Option<Option<&str>> {
    match word.strip_suffix("List")? {
        "" => Some(None),
        item => Some(Some(item)),
    }
}

#[cfg(test)]
mod tests;
