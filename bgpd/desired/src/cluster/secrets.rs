//! The passwords that resources name, each read once a merge.

use std::{collections::BTreeMap, fmt, io};

use bgp_core::config::Secret;
use margay_model::kinds::SecretKeySelector;

use crate::settings;

/// A key of a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretRef {
    /// The secret.
    pub name: String,
    /// The key in it.
    pub key: String,
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {} of secret {}", self.key, self.name)
    }
}

/// Gives the octets of a key.
pub type ReadSecretRef<'a> = &'a dyn Fn(&SecretRef) -> io::Result<Vec<u8>>;

/// What came of reading a key: the password, none because it may be missing, or why there is none.
type Read = Result<Option<Secret>, String>;

/// See the module.
pub(super) struct Secrets<'a> {
    read: ReadSecretRef<'a>,
    known: BTreeMap<(SecretRef, bool), Read>,
}

impl<'a> Secrets<'a> {
    pub(super) fn new(read: ReadSecretRef<'a>) -> Self {
        Self { read, known: BTreeMap::new() }
    }

    /// The password, or why the session has to stay down.
    pub(super) fn read(&mut self, reference: &SecretKeySelector) -> Read {
        let optional = reference.optional == Some(true);
        let key = SecretRef { name: reference.name.clone(), key: reference.key.clone() };
        if let Some(known) = self.known.get(&(key.clone(), optional)) {
            return known.clone();
        }
        let found = match (self.read)(&key) {
            Ok(octets) => settings::key_of(octets).map(Some).map_err(|why| format!("{key} {why}")),
            Err(error) if optional && error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{key} cannot be read: {error}")),
        };
        self.known.insert((key, optional), found.clone());
        found
    }

    /// Why sessions stay down.
    pub(super) fn failed(self) -> impl Iterator<Item = String> {
        self.known.into_values().filter_map(Result::err)
    }
}
