//! TOML values with their place in the text; what is wrong is reported, and reading goes on.

use std::{
    cell::RefCell, fmt::Display, net::IpAddr, ops::Range, ops::RangeInclusive, str::FromStr,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    fault::{Fault, Severity, Snippet},
    suggest::nearest,
};

/// The text, and what was found wrong with it so far.
pub(crate) struct Source<'a> {
    file: &'a str,
    text: &'a str,
    /// Offset of each line's first octet.
    lines: Vec<usize>,
    faults: RefCell<Vec<Reported>>,
}

struct Reported {
    offset: usize,
    fault: Fault,
    /// Only worth telling where nothing is wrong: a misspelt name leaves its set unused.
    if_sound: bool,
}

impl<'a> Source<'a> {
    pub(crate) fn new(file: &'a str, text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, octet)| *octet == b'\n');
        let lines = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Self { file, text, lines, faults: RefCell::default() }
    }

    /// The line an octet stands on, from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset).max(1)
    }

    pub(crate) fn report(&self, severity: Severity, span: Range<usize>, path: &str, text: String) {
        self.push(severity, span, path, text, false);
    }

    fn push(
        &self,
        severity: Severity,
        mut span: Range<usize>,
        path: &str,
        text: String,
        if_sound: bool,
    ) {
        // The parser's spans of inline tables begin with the space before them.
        let piece = self.text.get(span.clone()).unwrap_or("");
        span.start += piece.len() - piece.trim_start().len();
        let line = self.line(span.start);
        let begin = line.checked_sub(1).and_then(|l| self.lines.get(l)).copied().unwrap_or(0);
        let whole = self.text.get(begin..).unwrap_or("").split('\n').next().unwrap_or("");
        let whole = whole.strip_suffix('\r').unwrap_or(whole);
        let chars = |range: Range<usize>| self.text.get(range).map_or(0, |t| t.chars().count());
        let start = chars(begin..span.start);
        let end = span.end.min(begin + whole.len());
        let len = chars(span.start.min(end)..end).max(1);
        let fault = Fault {
            severity,
            file: self.file.to_owned(),
            line,
            column: start + 1,
            path: path.to_owned(),
            text,
            snippet: Snippet { line: hide_secret(whole), start, len },
        };
        self.faults.borrow_mut().push(Reported { offset: span.start, fault, if_sound });
    }

    /// In the order of the text.
    pub(crate) fn into_faults(self) -> Vec<Fault> {
        let mut faults = self.faults.into_inner();
        let sound = faults.iter().all(|one| one.fault.severity == Severity::Warning);
        faults.retain(|one| sound || !one.if_sound);
        faults.sort_by_key(|one| one.offset);
        faults.into_iter().map(|one| one.fault).collect()
    }
}

/// A line to be shown: what follows the key `password` is not.
fn hide_secret(line: &str) -> String {
    let mut rest = line;
    let mut offset = 0;
    while let Some(at) = rest.find("password") {
        let behind = at + "password".len();
        let tail = rest.get(behind..).unwrap_or("");
        let value = tail.trim_start_matches(['"', '\'', ' ', '\t']);
        if value.starts_with('=') {
            let keep = offset + behind + (tail.len() - value.len()) + 1;
            return format!("{} (secret)", line.get(..keep).unwrap_or(""));
        }
        offset += behind;
        rest = tail;
    }
    line.to_owned()
}

/// A table whose keys are read one by one; [`finish`](Self::finish) reports the others.
pub(crate) struct Section<'a> {
    source: &'a Source<'a>,
    path: String,
    table: &'a DeTable<'a>,
    span: Range<usize>,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub(crate) fn root(source: &'a Source<'a>, table: &'a DeTable<'a>) -> Self {
        Self { source, path: String::new(), table, span: 0..0, known: Vec::new() }
    }

    /// Whether a key is not there.
    pub(crate) fn is_absent(&self, key: &str) -> bool {
        !self.table.iter().any(|(name, _)| name.get_ref() == key)
    }

    /// The value of a key, if it is there. Asking makes the key known.
    pub(crate) fn entry(&mut self, key: &'static str) -> Option<Entry<'a>> {
        self.known.push(key);
        let (name, value) = self.table.iter().find(|(name, _)| name.get_ref() == key)?;
        Some(self.make(name, value))
    }

    fn make(&self, name: &Spanned<impl AsRef<str>>, value: &'a Spanned<DeValue<'a>>) -> Entry<'a> {
        Entry {
            source: self.source,
            path: join(&self.path, name.get_ref().as_ref()),
            key: name.span(),
            value: value.get_ref(),
            span: value.span(),
        }
    }

    /// All entries, where the keys are names the user gave.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&'a str, Entry<'a>)> {
        self.table.iter().map(|(name, value)| (name.get_ref().as_ref(), self.make(name, value)))
    }

    /// Refuses keys of the contract whose feature is not built.
    pub(crate) fn unsupported(&mut self, keys: &[&'static str]) {
        for key in keys {
            if let Some(entry) = self.entry(key) {
                entry.fault("not supported in this version");
            }
        }
    }

    /// Reports that a key is not there.
    pub(crate) fn missing(&self, key: &str, text: impl Display) {
        let path = join(&self.path, key);
        self.source.report(Severity::Error, self.span.clone(), &path, format!("missing, {text}"));
    }

    /// Reports something about the table as a whole.
    pub(crate) fn warn(&self, key: &str, text: impl Display) {
        let path = join(&self.path, key);
        self.source.report(Severity::Warning, self.span.clone(), &path, text.to_string());
    }

    /// Reports every key that nobody asked for.
    pub(crate) fn finish(mut self) {
        self.known.sort_unstable();
        self.known.dedup();
        for (name, entry) in self.named() {
            if self.known.contains(&name) {
                continue;
            }
            let hint = match nearest(name, self.known.iter().copied()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("allowed: {}", self.known.join(", ")),
            };
            let text = format!("unknown key, {hint}");
            self.source.report(Severity::Error, entry.key, &entry.path, text);
        }
    }
}

/// A value and its place.
#[derive(Clone)]
pub(crate) struct Entry<'a> {
    source: &'a Source<'a>,
    path: String,
    key: Range<usize>,
    value: &'a DeValue<'a>,
    span: Range<usize>,
}

impl<'a> Entry<'a> {
    pub(crate) fn fault(&self, text: impl Display) {
        self.source.report(Severity::Error, self.place(), &self.path, text.to_string());
    }

    pub(crate) fn warn(&self, text: impl Display) {
        self.source.report(Severity::Warning, self.place(), &self.path, text.to_string());
    }

    /// A warning that is dropped where there is an error.
    pub(crate) fn warn_if_sound(&self, text: impl Display) {
        self.source.push(Severity::Warning, self.place(), &self.path, text.to_string(), true);
    }

    /// What a fault about this entry points at: the value, or the header of a table.
    fn place(&self) -> Range<usize> {
        if self.span.is_empty() { self.key.clone() } else { self.span.clone() }
    }

    /// `found …, allowed: …`.
    pub(crate) fn expected(&self, allowed: impl Display) {
        self.fault(format_args!("found {}, allowed: {allowed}", self.found()));
    }

    fn found(&self) -> String {
        if self.path.ends_with(".password") {
            return format!("(secret) of type {}", self.value.type_str());
        }
        match self.value {
            DeValue::String(text) => quoted(text),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            DeValue::Boolean(value) => value.to_string(),
            DeValue::Datetime(value) => format!("the date {value}"),
            DeValue::Array(array) if array.is_empty() => "an empty list".to_owned(),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        }
    }

    pub(crate) fn string(&self, allowed: &str) -> Option<&'a str> {
        let found = self.value.as_str();
        if found.is_none() {
            self.expected(allowed);
        }
        found
    }

    pub(crate) fn boolean(&self) -> Option<bool> {
        let found = self.value.as_bool();
        if found.is_none() {
            self.expected("true or false");
        }
        found
    }

    pub(crate) fn as_str(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    pub(crate) fn as_bool(&self) -> Option<bool> {
        self.value.as_bool()
    }

    pub(crate) fn is_integer(&self) -> bool {
        self.value.is_integer()
    }

    pub(crate) fn is_table(&self) -> bool {
        self.value.is_table()
    }

    pub(crate) fn integer<T>(&self, range: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i128> + PartialOrd + Display,
    {
        let value = self.integer_value().and_then(|value| T::try_from(value).ok());
        let value = value.filter(|value| range.contains(value));
        if value.is_none() {
            self.expected(format_args!("a number from {} to {}", range.start(), range.end()));
        }
        value
    }

    pub(crate) fn integer_value(&self) -> Option<i128> {
        let number = self.value.as_integer()?;
        i128::from_str_radix(number.as_str(), number.radix()).ok()
    }

    /// A number, with or without a point, in a range.
    pub(crate) fn float(&self, range: RangeInclusive<f32>) -> Option<f32> {
        let text = match self.value {
            DeValue::Float(number) => number.as_str(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            _ => "",
        };
        let value = text.parse().ok().filter(|value| range.contains(value));
        if value.is_none() {
            self.expected(format_args!("a number from {} to {}", range.start(), range.end()));
        }
        value
    }

    /// A string whose own parser says what is wrong.
    pub(crate) fn parsed<T>(&self, allowed: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.string(allowed)?.parse().map_err(|error| self.fault(error)).ok()
    }

    /// A string in a standard form.
    pub(crate) fn standard<T: FromStr>(&self, allowed: &str) -> Option<T> {
        let value = self.value.as_str().and_then(|text| text.parse().ok());
        if value.is_none() {
            self.expected(allowed);
        }
        value
    }

    /// An address a host can have.
    pub(crate) fn unicast(&self) -> Option<IpAddr> {
        let allowed = "an IPv4 or IPv6 address";
        let address: IpAddr = self.standard(allowed)?;
        let why = match address {
            _ if address.is_unspecified() => "the unspecified address",
            _ if address.is_multicast() => "a multicast address",
            IpAddr::V4(v4) if v4.is_broadcast() => "the broadcast address",
            IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => "an IPv4-mapped address",
            _ => return Some(address),
        };
        self.fault(format_args!("{address} is {why}, allowed: a unicast address"));
        None
    }

    /// A string that is one of some words.
    pub(crate) fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let found = self.value.as_str();
        let value = words.iter().find(|(word, _)| found == Some(word));
        if value.is_none() {
            let words: Vec<String> = words.iter().map(|(word, _)| quoted(word)).collect();
            self.expected(words.join(", "));
        }
        value.map(|(_, value)| *value)
    }

    /// The elements of a list.
    pub(crate) fn items(&self, allowed: &str) -> Vec<Self> {
        let DeValue::Array(array) = self.value else {
            self.expected(allowed);
            return Vec::new();
        };
        self.elements(array)
    }

    /// The elements of a list, or the value itself as the only one.
    pub(crate) fn one_or_more(&self) -> Vec<Self> {
        match self.value {
            DeValue::Array(array) => self.elements(array),
            _ => vec![self.clone()],
        }
    }

    /// Elements that are written as tables of their own (`[[…]]`) are told apart by their lines, the
    /// others by their index.
    fn elements(&self, array: &'a [Spanned<DeValue<'a>>]) -> Vec<Self> {
        let element = |(index, value): (usize, &'a Spanned<DeValue<'a>>)| Self {
            source: self.source,
            path: format!("{}[{index}]", self.path),
            key: self.key.clone(),
            value: value.get_ref(),
            span: value.span(),
        };
        array.iter().enumerate().map(element).collect()
    }

    /// The elements of a list of tables; their path is that of the list.
    pub(crate) fn tables(&self, allowed: &str) -> Vec<Section<'a>> {
        let elements = self.items(allowed).into_iter();
        elements.filter_map(|entry| Self { path: self.path.clone(), ..entry }.section()).collect()
    }

    pub(crate) fn section(&self) -> Option<Section<'a>> {
        let DeValue::Table(table) = self.value else {
            self.expected("a table");
            return None;
        };
        Some(Section {
            source: self.source,
            path: self.path.clone(),
            table,
            span: self.place(),
            known: Vec::new(),
        })
    }
}

/// A value that was read, and where.
#[derive(Clone)]
pub(crate) struct At<'a, T> {
    pub(crate) value: T,
    pub(crate) entry: Entry<'a>,
}

/// Whether TOML takes the key without quotes.
pub(crate) fn is_bare(key: &str) -> bool {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
    !key.is_empty() && key.bytes().all(plain)
}

fn join(path: &str, key: &str) -> String {
    let key = if is_bare(key) { key.to_owned() } else { quoted(key) };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// In quotes, control characters escaped, cut short.
pub(crate) fn quoted(text: &str) -> String {
    const MOST: usize = 80;
    match text.char_indices().nth(MOST) {
        Some((cut, _)) => format!("{:?}…", text.get(..cut).unwrap_or("")),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests;
