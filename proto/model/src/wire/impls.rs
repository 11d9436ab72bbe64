//! Reading and writing of what comes with the language: strings, numbers, lists, maps.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde_json::{Map, Number, Value as Json};

use super::{Reader, Wire};
use crate::{
    fault::Step,
    text::{Node, Value},
};

impl Wire for String {
    fn read(node: &Node<'_>, reader: &mut Reader) -> Option<Self> {
        match node.as_string() {
            Some(text) => Some(text.to_owned()),
            None if node.as_scalar().is_some() => reader.refuse(node, "a string, in quotes"),
            None => reader.refuse(node, Self::expected()),
        }
    }

    fn write(&self) -> Json {
        self.as_str().into()
    }

    fn is_blank(node: &Node<'_>) -> bool {
        node.as_text() == Some("")
    }

    fn expected() -> String {
        "a string".into()
    }
}

impl Wire for bool {
    fn read(node: &Node<'_>, reader: &mut Reader) -> Option<Self> {
        node.as_bool().or_else(|| reader.refuse(node, Self::expected()))
    }

    fn write(&self) -> Json {
        (*self).into()
    }

    fn expected() -> String {
        "true or false".into()
    }
}

textual!(IpAddr, "an IP address", |text| text.parse().map_err(|_| "an IP address".into()));
textual!(Ipv4Addr, "an IPv4 address", |text| text.parse().map_err(|_| "an IPv4 address".into()));
textual!(Ipv6Addr, "an IPv6 address", |text| text.parse().map_err(|_| "an IPv6 address".into()));

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl Wire for $type {
            fn read(node: &Node<'_>, reader: &mut Reader) -> Option<Self> {
                let value = node.as_integer().and_then(|value| value.try_into().ok());
                value.or_else(|| reader.refuse(node, Self::expected()))
            }

            fn write(&self) -> Json {
                (*self).into()
            }

            fn expected() -> String {
                format!("a whole number from {} to {}", <$type>::MIN, <$type>::MAX)
            }
        }
    )*};
}

integers!(u8, u16, u32, i32, i64);

impl<T: Wire> Wire for Option<T> {
    fn read(node: &Node<'_>, reader: &mut Reader) -> Option<Self> {
        if node.is_null() || T::is_blank(node) {
            return Some(None);
        }
        T::read(node, reader).map(Some)
    }

    fn write(&self) -> Json {
        self.as_ref().map_or(Json::Null, Wire::write)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }

    fn expected() -> String {
        T::expected()
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn read(node: &Node<'_>, reader: &mut Reader) -> Option<Self> {
        let Value::List(items) = &node.value else {
            return reader.refuse(node, Self::expected());
        };
        // Every item is read, so that every fault is found.
        let read: Vec<_> =
            items.iter().enumerate().map(|(index, item)| reader.item(index, item)).collect();
        read.into_iter().collect()
    }

    fn write(&self) -> Json {
        self.iter().map(Wire::write).collect()
    }

    fn absent() -> Option<Self> {
        Some(Vec::new())
    }

    fn is_absent(&self) -> bool {
        self.is_empty()
    }

    fn expected() -> String {
        "a list".into()
    }
}

impl<T: Wire> Wire for BTreeMap<String, T> {
    fn read(node: &Node<'_>, reader: &mut Reader) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            return reader.refuse(node, Self::expected());
        };
        let read: Vec<_> = entries
            .iter()
            .map(|(key, node)| Some((key.name.to_string(), reader.key(&key.name, node)?)))
            .collect();
        read.into_iter().collect()
    }

    fn write(&self) -> Json {
        let fields = self.iter().map(|(key, value)| (key.clone(), value.write()));
        Json::Object(fields.collect::<Map<_, _>>())
    }

    fn absent() -> Option<Self> {
        Some(Self::new())
    }

    fn is_absent(&self) -> bool {
        self.is_empty()
    }

    fn expected() -> String {
        "a mapping".into()
    }
}

impl<T: Wire> Wire for Box<T> {
    fn read(node: &Node<'_>, reader: &mut Reader) -> Option<Self> {
        T::read(node, reader).map(Box::new)
    }

    fn write(&self) -> Json {
        (**self).write()
    }

    fn expected() -> String {
        T::expected()
    }
}

/// A part of an object that is kept but not looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw(pub Json);

impl Wire for Raw {
    fn read(node: &Node<'_>, reader: &mut Reader) -> Option<Self> {
        let json = match &node.value {
            Value::Null => Json::Null,
            Value::Text(text) => Json::String(text.to_string()),
            Value::List(items) => {
                let read = items.iter().enumerate();
                let read = read.map(|(index, item)| Some(reader.item::<Self>(index, item)?.0));
                Json::Array(read.collect::<Option<_>>()?)
            }
            Value::Map(entries) => {
                let mut map = Map::new();
                for (key, node) in entries {
                    let step = Step::Key(key.name.to_string());
                    let raw = reader.within(step, |reader| Self::read(node, reader))?;
                    map.insert(key.name.to_string(), raw.0);
                }
                Json::Object(map)
            }
            Value::Bool(value) => Json::Bool(*value),
            Value::Number(text) | Value::Plain(text) => match (number(node), node.as_text()) {
                (Some(number), _) => Json::Number(number),
                // Without a type to read it as, the words of YAML 1.2 count.
                (None, None) => Json::Bool(text.starts_with(['t', 'T'])),
                (None, Some(text)) => Json::String(text.to_owned()),
            },
        };
        Some(Self(json))
    }

    fn write(&self) -> Json {
        self.0.clone()
    }

    fn expected() -> String {
        "any value".into()
    }
}

fn number(node: &Node<'_>) -> Option<Number> {
    let text = node.as_scalar().filter(|_| node.is_number())?;
    let exact = text.parse::<i64>().ok();
    // Hexadecimal and octal ones too.
    let exact = exact.or_else(|| node.as_integer().filter(|_| text.starts_with('0')));
    exact
        .map(Number::from)
        .or_else(|| text.parse::<u64>().ok().map(Number::from))
        .or_else(|| node.as_float().and_then(Number::from_f64))
        // Too large for any number: zero would be a lie, so it is kept at the edge.
        .or_else(|| Number::from_f64(f64::MAX))
}
