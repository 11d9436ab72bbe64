//! What blocks are owned and addresses are held by: nodes, instances, handles.

use std::{fmt, sync::Arc};

/// Why a text is no name here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing in it.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// Too long to be one.
    #[error("{what} has {length} characters, at most {MOST} are allowed")]
    Long {
        /// What it should have been.
        what: &'static str,
        /// Its length in octets.
        length: usize,
    },
    /// A control character.
    #[error("{0} has a control character in it")]
    Control(&'static str),
}

/// The longest name, in octets.
const MOST: usize = 512;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<&str> for $name {
            type Error = NameError;

            fn try_from(text: &str) -> Result<Self, NameError> {
                if text.is_empty() {
                    Err(NameError::Empty($what))
                } else if text.len() > MOST {
                    Err(NameError::Long { what: $what, length: text.len() })
                } else if text.chars().any(char::is_control) {
                    Err(NameError::Control($what))
                } else {
                    Ok(Self(text.into()))
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// What an address is held and released by. A pod's is `NETWORK.CONTAINER`.
    Handle,
    "the handle"
);
name!(
    /// The name of a node.
    NodeName,
    "the node name"
);
name!(
    /// Tells two daemons apart that carry one node name. Drawn at random when a state directory is
    /// new, and kept in it.
    Instance,
    "the instance id"
);

impl Instance {
    /// Stands where the instance of a node is not known: in blocks that others claimed for it, until
    /// its own daemon makes them its own. No daemon draws it for itself.
    pub(crate) fn absent() -> Self {
        Self("absent".into())
    }
}

/// Who owns a block.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// The node.
    pub node: NodeName,
    /// Which life of that node.
    pub instance: Instance,
}

impl Owner {
    /// A node as others know it, whichever its life.
    pub(crate) fn elsewhere(node: NodeName) -> Self {
        Self { node, instance: Instance::absent() }
    }

    /// Whether what belongs to `other` is this owner's to assign from: its own, and of a node that
    /// is seen from elsewhere whatever the node has.
    pub(crate) fn includes(&self, other: &Self) -> bool {
        self == other || (self.instance == Instance::absent() && self.node == other.node)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.node)
    }
}
