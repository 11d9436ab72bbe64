//! The envelope every kind comes in.

use serde_json::{Map, Value as Json};

use crate::{
    fault::Step,
    key::Key,
    kind::{Kind, Scope},
    meta::ObjectMeta,
    text::{Node, Value},
    wire::{At, Fields, Reader, Wire, object},
};

/// The group and version of our resources.
pub const API_VERSION: &str = "projectcalico.org/v3";

/// A kind's spec: which kind it is, and what holds for its objects.
pub trait Spec: Wire + Clone + Eq {
    /// The kind.
    const KIND: Kind;
    /// Whether its fields stand beside the metadata, and not under `spec`.
    const IS_FLAT: bool = false;
    /// Whether its objects have a status.
    const HAS_STATUS: bool;
    /// Its status.
    type Status: Wire + Clone + Eq;

    /// Fills in what a writer leaves out: stored objects have been through this.
    fn apply_defaults(_: &mut Object<Self>) {}

    /// Rules over metadata and spec together.
    fn check(_: &Object<Self>, _: &mut At<'_, '_>) {}
}

/// An object of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object<S: Spec> {
    /// What it says about itself.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: S,
    /// What is.
    pub status: Option<S::Status>,
}

/// The status of a kind that has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoStatus {}

impl Wire for NoStatus {
    fn read(node: &Node<'_>, reader: &mut Reader) -> Option<Self> {
        reader.refuse(node, Self::expected())
    }

    fn write(&self) -> Json {
        match *self {}
    }

    fn expected() -> String {
        "no status".into()
    }
}

impl<S: Spec> Object<S> {
    /// A cluster-wide object.
    pub fn new(name: impl Into<String>, spec: S) -> Self {
        Self { metadata: ObjectMeta::named(name), spec, status: None }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Its namespace: `default` where none was chosen, empty for a cluster-wide kind.
    pub fn namespace(&self) -> &str {
        match S::KIND.scope() {
            Scope::Cluster => "",
            Scope::Namespaced => self.metadata.namespace.as_deref().unwrap_or("default"),
        }
    }

    /// What it is stored under.
    pub fn key(&self) -> Key {
        Key::namespaced(S::KIND, self.namespace(), self.name())
    }

    /// Reads an object whose `apiVersion` and `kind` are known to be right.
    pub(crate) fn read_known(node: &Node<'_>, reader: &mut Reader) -> Option<Self> {
        let before = reader.count();
        let mut fields = Fields::open(node, reader)?;
        fields.field::<Option<String>>("apiVersion", reader, |_, _, _| true);
        fields.field::<Option<String>>("kind", reader, |_, _, _| true);
        let metadata = fields.field::<ObjectMeta>("metadata", reader, |metadata, reader, node| {
            let before = reader.count();
            metadata.check_for(S::KIND, &mut At::new(reader, node));
            reader.count() == before
        });
        let spec = if S::IS_FLAT {
            S::read(&fields.take_rest(), reader)
        } else {
            // An object may go without a spec if nothing in it must be there.
            match fields.take("spec") {
                Some(spec) if !spec.is_null() => reader.key("spec", spec),
                _ => {
                    let empty = Node { at: node.at, value: Value::Map(Vec::new()) };
                    reader.within(Step::Key("spec".into()), |reader| S::read(&empty, reader))
                }
            }
        };
        let status = match S::HAS_STATUS {
            true => fields.field::<Option<S::Status>>("status", reader, |_, _, _| true),
            false => Some(None),
        };
        fields.finish(reader);
        let value = Self { metadata: metadata?, spec: spec?, status: status? };
        if reader.count() == before {
            S::check(&value, &mut At::new(reader, node));
        }
        (reader.count() == before).then_some(value)
    }

    /// Its canonical JSON.
    pub(crate) fn write(&self) -> Json {
        let mut fields = Map::new();
        fields.insert("apiVersion".into(), S::KIND.api_version().into());
        fields.insert("kind".into(), S::KIND.name().into());
        let metadata = object().field("metadata", &self.metadata);
        let parts = if S::IS_FLAT {
            [metadata.finish(), self.spec.write()]
        } else {
            let rest = object().field("spec", &self.spec).field("status", &self.status);
            [metadata.finish(), rest.finish()]
        };
        for part in parts {
            if let Json::Object(part) = part {
                fields.extend(part);
            }
        }
        Json::Object(fields)
    }
}

/// Declares what kind a spec belongs to.
macro_rules! spec {
    ($spec:ty, $kind:ident $(, flat $flat:literal)? $(, status $status:ty)? $(, defaults $defaults:expr)? $(, check $check:expr)?) => {
        impl $crate::object::Spec for $spec {
            const KIND: $crate::kind::Kind = $crate::kind::Kind::$kind;
            $( const IS_FLAT: bool = $flat; )?
            spec!(@status $($status)?);

            $(
                fn apply_defaults(object: &mut $crate::object::Object<Self>) {
                    let defaults: fn(&mut $crate::object::Object<Self>) = $defaults;
                    defaults(object);
                }
            )?

            $(
                fn check(
                    object: &$crate::object::Object<Self>,
                    at: &mut $crate::wire::At<'_, '_>,
                ) {
                    let check: fn(
                        &$crate::object::Object<Self>,
                        &mut $crate::wire::At<'_, '_>,
                    ) = $check;
                    check(object, at);
                }
            )?
        }
    };
    (@status) => {
        const HAS_STATUS: bool = false;
        type Status = $crate::object::NoStatus;
    };
    (@status $status:ty) => {
        const HAS_STATUS: bool = true;
        type Status = $status;
    };
}
