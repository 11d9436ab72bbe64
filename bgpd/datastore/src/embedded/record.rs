//! How values and changes lie in the file: lengths and octets, nothing to guess.

use bytes::Bytes;
use margay_model::{Change, IndexEntry, Key, Revision, Versioned};

use crate::image::{Before, Past, Record};

/// Why octets of the file cannot be what was written.
pub(super) type Damage = String;

/// `revision`, number of index entries, each as two texts, then the value.
pub(super) fn encode(record: &Record) -> Vec<u8> {
    let mut out = Vec::with_capacity(record.value.value.len() + 64);
    out.extend(record.value.revision.0.to_be_bytes());
    push_length(&mut out, record.index.len());
    for entry in &record.index {
        push_text(&mut out, &entry.index);
        push_text(&mut out, &entry.value);
    }
    out.extend(&record.value.value);
    out
}

/// Reads back what [`encode`] wrote under `path`.
pub(super) fn decode(path: &str, octets: &[u8]) -> Result<Record, Damage> {
    let key = Key::from_path(path).map_err(|e| e.to_string())?;
    let mut rest = octets;
    let revision = take_number(&mut rest).ok_or_else(|| format!("{path}: cut short"))?;
    let index = take_index(&mut rest).ok_or_else(|| format!("{path}: cut short"))?;
    let value = Versioned { value: Bytes::copy_from_slice(rest), revision };
    Ok(Record { key, value, index })
}

/// The path, whether the key lives on, then the value.
pub(super) fn encode_change(path: &str, value: Option<&Versioned>) -> Vec<u8> {
    let mut out = Vec::new();
    push_text(&mut out, path);
    out.push(u8::from(value.is_some()));
    out.extend(value.iter().flat_map(|value| value.value.iter()));
    out
}

/// Reads back what [`encode_change`] wrote for this revision.
pub(super) fn decode_change(revision: Revision, octets: &[u8]) -> Result<Past, Damage> {
    let short = || format!("history of revision {}: cut short", revision.0);
    let mut rest = octets;
    let path = take_text(&mut rest).ok_or_else(short)?;
    let key = Key::from_path(&path).map_err(|e| e.to_string())?;
    let (lives, value) = rest.split_first().ok_or_else(short)?;
    let value = (*lives != 0).then(|| Versioned { value: Bytes::copy_from_slice(value), revision });
    Ok(Past { change: Change { key, value, revision }, path, before: Before::Forgotten })
}

fn push_length(out: &mut Vec<u8>, length: usize) {
    let length = u32::try_from(length).expect("everything stored has a bound of a few MiB");
    out.extend(length.to_be_bytes());
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    push_length(out, text.len());
    out.extend(text.as_bytes());
}

fn take_number(rest: &mut &[u8]) -> Option<Revision> {
    let (number, tail) = rest.split_first_chunk::<8>()?;
    *rest = tail;
    Some(Revision(u64::from_be_bytes(*number)))
}

fn take_length(rest: &mut &[u8]) -> Option<usize> {
    let (number, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    usize::try_from(u32::from_be_bytes(*number)).ok()
}

fn take_text(rest: &mut &[u8]) -> Option<String> {
    let length = take_length(rest)?;
    let (text, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    String::from_utf8(text.to_vec()).ok()
}

fn take_index(rest: &mut &[u8]) -> Option<Vec<IndexEntry>> {
    let entries = take_length(rest)?;
    let mut index = Vec::new();
    for _ in 0..entries {
        index.push(IndexEntry { index: take_text(rest)?, value: take_text(rest)? });
    }
    Some(index)
}

#[cfg(test)]
mod tests;
