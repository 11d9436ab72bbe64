//! Rows of bits, one for each entry of a program.

/// A bit for each entry: whether it accepts a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row(Vec<u64>);

impl Row {
    /// A row of so many bits, each as told.
    pub fn new(bits: usize, accepts: impl Fn(usize) -> bool) -> Self {
        let word = |word: usize| {
            let bits = (word * 64..bits.min(word * 64 + 64)).enumerate();
            bits.filter(|(_, bit)| accepts(*bit)).fold(0, |word, (shift, _)| word | 1 << shift)
        };
        Self((0..bits.div_ceil(64)).map(word).collect())
    }

    /// Sets or clears a bit that it has.
    pub(super) fn put(&mut self, bit: usize, accepts: bool) {
        if let Some(word) = self.0.get_mut(bit / 64) {
            let mask = 1 << (bit % 64);
            *word = if accepts { *word | mask } else { *word & !mask };
        }
    }

    /// Whether no bit is set.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// The words, 64 bits each, the first entry in the lowest bit of the first.
    pub fn words(&self) -> &[u64] {
        &self.0
    }

    /// One bit for each word: whether any of its bits is set.
    pub fn summary(&self) -> Vec<u64> {
        let words = self.0.chunks(64);
        let any = |words: &[u64]| {
            let set = words.iter().enumerate().filter(|(_, word)| **word != 0);
            set.fold(0, |summary, (shift, _)| summary | 1 << shift)
        };
        words.map(any).collect()
    }

    /// Whether a bit is set.
    pub fn has(&self, bit: usize) -> bool {
        self.word(bit / 64) & (1 << (bit % 64)) != 0
    }

    pub(super) fn word(&self, index: usize) -> u64 {
        self.0.get(index).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
