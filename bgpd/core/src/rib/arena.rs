//! Records in an array that grows by whole chunks: no reallocation, freed places used again.

use super::table::NONE;

/// Records per chunk.
const CHUNK: usize = 4096;

/// A record that can name another one while it is free.
pub(crate) trait Link {
    /// The record named.
    fn link(&self) -> u32;
    /// Names one.
    fn set_link(&mut self, to: u32);
}

/// The array; a record is named by its index.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    chunks: Vec<Vec<T>>,
    /// The first free place, which names the next.
    free: u32,
    len: u32,
    used: u32,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), free: NONE, len: 0, used: 0 }
    }
}

impl<T: Link> Arena<T> {
    /// Stores a record.
    pub fn insert(&mut self, value: T) -> u32 {
        self.used += 1;
        if self.free != NONE {
            let index = self.free;
            let place = self.get_mut(index);
            let next = place.link();
            *place = value;
            self.free = next;
            return index;
        }
        let index = self.len;
        // Indices share their highest bits with marks.
        assert!(index < 1 << 30, "more records than 30 bits can name");
        self.len += 1;
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => chunk.push(value),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(value);
                self.chunks.push(chunk);
            }
        }
        index
    }

    /// Gives a place back; the link of the record is lost.
    pub fn remove(&mut self, index: u32) {
        self.used -= 1;
        if self.used == 0 {
            *self = Self::default();
            return;
        }
        let next = std::mem::replace(&mut self.free, index);
        self.get_mut(index).set_link(next);
    }

    /// A record.
    pub fn get(&self, index: u32) -> &T {
        &self.chunks[index as usize / CHUNK][index as usize % CHUNK]
    }

    /// A record.
    pub fn get_mut(&mut self, index: u32) -> &mut T {
        &mut self.chunks[index as usize / CHUNK][index as usize % CHUNK]
    }

    /// One more than the highest index in use since the arena was last empty.
    pub fn end(&self) -> u32 {
        self.len
    }

    /// Records in use.
    pub fn used(&self) -> usize {
        self.used as usize
    }
}

#[cfg(test)]
mod tests;
