//! `BlockAffinity`: which node owns a block; a view of blocks, readable in Calico's shape.

use serde_json::Value as Json;

use crate::{
    object::Object,
    scalar::Cidr,
    text::Node,
    wire::{At, Reader, Wire},
};

choice! {
    /// How far a node has got with owning a block.
    pub enum AffinityState {
        /// It owns it.
        Confirmed = "confirmed",
        /// It is about to.
        Pending = "pending",
        /// It is giving it up.
        PendingDeletion = "pendingDeletion",
    }
}

choice! {
    /// What owns a block.
    pub enum AffinityType {
        /// A node.
        Host = "host",
        /// Something else under a name of its own, such as `load-balancer`.
        Virtual = "virtual",
    }
}

/// A boolean that Calico's stores keep as the string `"true"` or `"false"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag(pub bool);

impl Wire for Flag {
    fn read(node: &Node<'_>, reader: &mut Reader) -> Option<Self> {
        let flag = node.as_bool().or_else(|| match node.as_text() {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => None,
        });
        flag.map(Self).or_else(|| reader.refuse(node, Self::expected()))
    }

    fn write(&self) -> Json {
        self.0.into()
    }

    fn expected() -> String {
        "true or false".into()
    }
}

record! {
    /// The spec of a `BlockAffinity`.
    pub struct BlockAffinitySpec {
        /// How far it has got.
        state: AffinityState = "state",
        /// The owner's name.
        node: String = "node",
        /// What the owner is; a node if absent.
        kind: Option<AffinityType> = "type",
        /// The block.
        cidr: Cidr = "cidr",
        /// Whether it is on its way out; only stores say so.
        deleted: Option<Flag> = "deleted",
    }
    check |spec, at: &mut At<'_, '_>| {
        if spec.deleted == Some(Flag(true)) {
            at.refuse("deleted", "false: a client never deletes this way");
        }
    }
}

spec!(BlockAffinitySpec, BlockAffinity);

/// A `BlockAffinity`.
pub type BlockAffinity = Object<BlockAffinitySpec>;
