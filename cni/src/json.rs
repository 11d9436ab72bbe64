//! Reading JSON with the path of what is wrong: `ipam.ipv4_pools[1]: expected a string`.

use serde_json::{Map, Value};

use crate::error::{Code, Error};

/// A value, and where it stands.
#[derive(Debug, Clone)]
pub struct At<'v> {
    path: String,
    value: &'v Value,
}

/// An object, and where it stands.
#[derive(Debug, Clone)]
pub struct Object<'v> {
    path: String,
    map: &'v Map<String, Value>,
}

impl<'v> At<'v> {
    /// The whole text.
    pub fn root(value: &'v Value) -> Self {
        Self { path: String::new(), value }
    }

    /// Where it stands.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The value itself.
    pub fn value(&self) -> &'v Value {
        self.value
    }

    /// # Errors
    /// It is something else.
    pub fn object(&self) -> Result<Object<'v>, Error> {
        match self.value {
            Value::Object(map) => Ok(Object { path: self.path.clone(), map }),
            _ => Err(self.fault("an object")),
        }
    }

    /// The elements of a list.
    ///
    /// # Errors
    /// It is something else.
    pub fn list(&self) -> Result<Vec<At<'v>>, Error> {
        let Value::Array(values) = self.value else { return Err(self.fault("a list")) };
        let at = |(index, value)| At { path: format!("{}[{index}]", self.path), value };
        Ok(values.iter().enumerate().map(at).collect())
    }

    /// # Errors
    /// It is something else.
    pub fn string(&self) -> Result<&'v str, Error> {
        self.value.as_str().ok_or_else(|| self.fault("a string"))
    }

    /// Calico writes many numbers and truths as strings, so both are taken.
    ///
    /// # Errors
    /// It is something else.
    pub fn truth(&self) -> Result<bool, Error> {
        match self.value {
            Value::Bool(truth) => Ok(*truth),
            Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            _ => Err(self.fault("true or false")),
        }
    }

    /// A whole number from 0 on.
    ///
    /// # Errors
    /// It is something else.
    pub fn number(&self) -> Result<u32, Error> {
        self.value
            .as_u64()
            .and_then(|number| u32::try_from(number).ok())
            .ok_or_else(|| self.fault("a whole number from 0 to 4294967295"))
    }

    /// What parses from a string.
    ///
    /// # Errors
    /// It is no string, or does not parse.
    pub fn parse<T: std::str::FromStr>(&self, expected: &str) -> Result<T, Error> {
        self.string()?.trim().parse().map_err(|_| self.fault(expected))
    }

    /// That it is not what it should be.
    pub fn fault(&self, expected: &str) -> Error {
        let found = match self.value {
            Value::Null => "null".to_owned(),
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) => "an object".to_owned(),
            plain => plain.to_string(),
        };
        let path = if self.path.is_empty() { "the configuration" } else { &self.path };
        Error::new(Code::InvalidConfig, format!("{path}: expected {expected}, found {found}"))
    }
}

impl<'v> Object<'v> {
    /// A key that is there and not null, which runtimes write for "nothing".
    pub fn get(&self, key: &str) -> Option<At<'v>> {
        let value = self.map.get(key).filter(|value| !value.is_null())?;
        Some(At { path: self.at(key), value })
    }

    /// Whether a key is there, null or not.
    pub fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// Where a key stands.
    pub fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Every key and its value.
    pub fn entries(&self) -> impl Iterator<Item = (&'v str, At<'v>)> {
        self.map.iter().map(|(key, value)| (key.as_str(), At { path: self.at(key), value }))
    }

    /// A string that says something.
    ///
    /// # Errors
    /// It is something else than a string.
    pub fn string(&self, key: &str) -> Result<Option<&'v str>, Error> {
        match self.get(key) {
            Some(at) => Ok(Some(at.string()?).filter(|text| !text.is_empty())),
            None => Ok(None),
        }
    }

    /// An object.
    ///
    /// # Errors
    /// It is something else.
    pub fn object(&self, key: &str) -> Result<Option<Object<'v>>, Error> {
        self.get(key).map(|at| at.object()).transpose()
    }

    /// A list; absent is empty.
    ///
    /// # Errors
    /// It is something else.
    pub fn list(&self, key: &str) -> Result<Vec<At<'v>>, Error> {
        self.get(key).map_or_else(|| Ok(Vec::new()), |at| at.list())
    }

    /// A list of strings; absent is empty.
    ///
    /// # Errors
    /// It is something else.
    pub fn strings(&self, key: &str) -> Result<Vec<String>, Error> {
        self.list(key)?.iter().map(|at| at.string().map(str::to_owned)).collect()
    }

    /// A whole number from 0 on.
    ///
    /// # Errors
    /// It is something else.
    pub fn number(&self, key: &str) -> Result<Option<u32>, Error> {
        self.get(key).map(|at| at.number()).transpose()
    }

    /// `true`, `false`, or one of them as a string.
    ///
    /// # Errors
    /// It is something else.
    pub fn truth(&self, key: &str) -> Result<Option<bool>, Error> {
        self.get(key).map(|at| at.truth()).transpose()
    }
}
