//! A growing set of small integers, one bit each.

/// The set.
#[derive(Debug, Clone, Default)]
pub(crate) struct BitSet {
    words: Vec<u64>,
    count: usize,
}

fn place(index: u32) -> (usize, u64) {
    ((index >> 6) as usize, 1 << (index & 63))
}

/// Equal members; how far the words reach is no matter.
impl PartialEq for BitSet {
    fn eq(&self, other: &Self) -> bool {
        let shared = self.words.len().min(other.words.len());
        self.count == other.count && self.words[..shared] == other.words[..shared]
    }
}

impl BitSet {
    /// Whether `index` is in the set.
    pub fn test(&self, index: u32) -> bool {
        let (word, bit) = place(index);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Adds it; whether it was not there.
    pub fn set(&mut self, index: u32) -> bool {
        let (word, bit) = place(index);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.count += usize::from(new);
        new
    }

    /// Removes it; whether it was there.
    pub fn clear(&mut self, index: u32) -> bool {
        let (word, bit) = place(index);
        match self.words.get_mut(word) {
            Some(word) if *word & bit != 0 => {
                *word &= !bit;
                self.count -= 1;
                true
            }
            _ => false,
        }
    }

    /// Adds or removes it; whether it was there.
    pub fn put(&mut self, index: u32, there: bool) -> bool {
        if there { !self.set(index) } else { self.clear(index) }
    }

    /// Members.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Removes all and gives the memory back.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// The smallest member that is not below `from`.
    pub fn next(&self, from: u32) -> Option<u32> {
        let (first, bit) = place(from);
        let mut mask = !(bit - 1);
        for (offset, word) in self.words.get(first..)?.iter().enumerate() {
            let word = word & mask;
            if word != 0 {
                return Some(((first + offset) as u32) << 6 | word.trailing_zeros());
            }
            mask = u64::MAX;
        }
        None
    }

    /// Its members, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let mut from = Some(0);
        std::iter::from_fn(move || {
            let found = self.next(from?)?;
            from = found.checked_add(1);
            Some(found)
        })
    }
}

#[cfg(test)]
mod tests;
