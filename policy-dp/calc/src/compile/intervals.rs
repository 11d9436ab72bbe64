//! Rows by values of 16 bits: ports, and types and codes of ICMP.

use std::collections::BTreeSet;

use super::Row;

/// A row for every value of 16 bits, and one for packets without any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intervals {
    /// Where a row begins to hold, ascending from 0.
    pub starts: Vec<(u16, Row)>,
    /// Where there is no value.
    pub absent: Row,
}

impl Intervals {
    /// Those of `base`, and entries in ranges of theirs: first and last value.
    pub(super) fn new(base: Row, ranges: Vec<(usize, (u16, u16))>) -> Self {
        let mut starts = BTreeSet::from([0]);
        for (_, (first, last)) in &ranges {
            starts.insert(*first);
            starts.extend(last.checked_add(1));
        }
        let mut rows: Vec<_> = starts.into_iter().map(|start| (start, base.clone())).collect();
        for (entry, (first, last)) in ranges {
            let from = rows.partition_point(|(start, _)| *start < first);
            let inside = rows.iter_mut().skip(from).take_while(|(start, _)| *start <= last);
            inside.for_each(|(_, row)| row.put(entry, true));
        }
        rows.dedup_by(|later, earlier| later.1 == earlier.1);
        Self { starts: rows, absent: base }
    }

    /// The row of a value.
    pub fn row(&self, value: Option<u16>) -> &Row {
        let Some(value) = value else { return &self.absent };
        let after = self.starts.partition_point(|(start, _)| *start <= value);
        let found = after.checked_sub(1).and_then(|index| self.starts.get(index));
        found.map_or(&self.absent, |(_, row)| row)
    }
}
