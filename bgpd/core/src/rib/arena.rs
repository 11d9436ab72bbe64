//! Records in an array that grows by whole chunks: no reallocation, freed places used again.

/// Records per chunk.
const CHUNK: usize = 4096;

/// The array; a record is named by its index.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    chunks: Vec<Vec<T>>,
    free: Vec<u32>,
    len: u32,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), free: Vec::new(), len: 0 }
    }
}

impl<T> Arena<T> {
    /// Stores a record.
    pub fn insert(&mut self, value: T) -> u32 {
        if let Some(index) = self.free.pop() {
            *self.get_mut(index) = value;
            return index;
        }
        let index = self.len;
        // Indices share their top bit with list ends.
        assert!(index < 1 << 31, "more records than 31 bits can name");
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

    /// Gives a place back. The record stays readable until it is used again.
    pub fn remove(&mut self, index: u32) {
        debug_assert!(!self.free.contains(&index) || self.free.len() > 64, "freed twice");
        self.free.push(index);
        if self.free.len() == self.len as usize {
            *self = Self::default();
        }
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
        self.len as usize - self.free.len()
    }
}

#[cfg(test)]
mod tests;
