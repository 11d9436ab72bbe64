//! Ports of Kubernetes policies, gathered by protocol and merged into ranges.

use serde_json::Value as Json;

use crate::{
    scalar::{Port, names},
    text::Node,
    wire::{Reader, Wire},
};

/// A port by number or by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortOrName {
    /// The number.
    Number(u16),
    /// The name.
    Name(String),
}

impl Wire for PortOrName {
    fn read(node: &Node<'_>, reader: &mut Reader) -> Option<Self> {
        let number = node.as_integer().and_then(|number| u16::try_from(number).ok());
        if let Some(number) = number.filter(|number| *number > 0) {
            return Some(Self::Number(number));
        }
        let name = node.as_text().filter(|name| names::port_name(name).is_ok());
        let name = name.map(|name| Self::Name(name.to_owned()));
        name.or_else(|| reader.refuse(node, Self::expected()))
    }

    fn write(&self) -> Json {
        match self {
            Self::Number(number) => (*number).into(),
            Self::Name(name) => name.as_str().into(),
        }
    }

    fn expected() -> String {
        "a port 1 to 65535, or a port name".into()
    }
}

/// Sorts ports, numbers before names, and joins what touches.
pub(super) fn merged(mut ports: Vec<Port>) -> Vec<Port> {
    ports.sort_by_key(|port| (port.range().is_none(), port.range(), port.to_string()));
    ports.dedup();
    let mut result: Vec<Port> = Vec::new();
    for port in ports {
        let last = result.last().and_then(Port::range);
        match (last, port.range()) {
            (Some((first, last)), Some((next, end))) if next <= last.saturating_add(1) => {
                result.pop();
                result.push(range(first, last.max(end)));
            }
            _ => result.push(port),
        }
    }
    result
}

/// A range, or a single port.
pub(super) fn range(first: u16, last: u16) -> Port {
    if first == last { Port::Number(first) } else { Port::Range(first, last) }
}
