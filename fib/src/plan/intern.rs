//! One copy of each distinct value, counted: what a million routes say the same is a number.

use std::collections::HashMap;
use std::hash::Hash;

/// Values by number. Numbers start at [`FIRST`]; those below are for the user's own meanings.
#[derive(Debug)]
pub struct Interner<T> {
    slots: Vec<Option<Slot<T>>>,
    ids: HashMap<T, u32, foldhash::fast::RandomState>,
    free: Vec<u32>,
}

/// The lowest number given to a value.
pub const FIRST: u32 = 2;

#[derive(Debug)]
struct Slot<T> {
    value: T,
    holders: u32,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), ids: HashMap::default(), free: Vec::new() }
    }
}

impl<T: Hash + Eq + Clone> Interner<T> {
    /// The number of a value, held once more.
    pub fn hold(&mut self, value: T) -> u32 {
        if let Some(&id) = self.ids.get(&value) {
            self.again(id);
            return id;
        }
        let slot = Slot { value: value.clone(), holders: 1 };
        let id = match self.free.pop() {
            Some(id) => {
                if let Some(place) = self.slots.get_mut(place(id)) {
                    *place = Some(slot);
                }
                id
            }
            None => {
                self.slots.push(Some(slot));
                number(self.slots.len() - 1)
            }
        };
        self.ids.insert(value, id);
        id
    }

    /// Holds a number once more.
    pub fn again(&mut self, id: u32) {
        if let Some(Some(slot)) = self.slots.get_mut(place(id)) {
            slot.holders += 1;
        }
    }

    /// Lets go once; the value when nobody holds it any more.
    pub fn release(&mut self, id: u32) -> Option<T> {
        let entry = self.slots.get_mut(place(id))?;
        let slot = entry.as_mut()?;
        slot.holders -= 1;
        if slot.holders > 0 {
            return None;
        }
        let value = entry.take()?.value;
        self.ids.remove(&value);
        self.free.push(id);
        Some(value)
    }

    /// The value of a number.
    pub fn at(&self, id: u32) -> Option<&T> {
        self.slots.get(place(id))?.as_ref().map(|slot| &slot.value)
    }

    /// The number of a value that is held already.
    pub fn find(&self, value: &T) -> Option<u32> {
        self.ids.get(value).copied()
    }

    /// All values held, by number.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(i, slot)| Some((number(i), &slot.as_ref()?.value)))
    }
}

fn place(id: u32) -> usize {
    // usize::MAX is no slot: a number below FIRST finds nothing.
    id.checked_sub(FIRST).and_then(|i| usize::try_from(i).ok()).unwrap_or(usize::MAX)
}

fn number(place: usize) -> u32 {
    // Far below 2^32 distinct values: each needs more than one octet of memory.
    u32::try_from(place).unwrap_or(u32::MAX - FIRST) + FIRST
}

#[cfg(test)]
mod tests;
