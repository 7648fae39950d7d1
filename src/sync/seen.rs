//! What a read has come across, in a few bits for each record.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

/// Keys by their hashes, in a few bytes each. Two keys with one hash only mean that a vanished record stays for longer.
#[derive(Debug, Default)]
pub(super) struct Seen {
    hasher: RandomState,
    hashes: HashSet<u64>,
}

impl Seen {
    pub(super) fn insert(&mut self, key: &str) {
        self.hashes.insert(self.hasher.hash_one(key));
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.hashes.contains(&self.hasher.hash_one(key))
    }
}

/// The links that a read has come across: a bit for each, so that a million of them cost 125 kB.
#[derive(Debug, Default)]
pub(super) struct Present {
    words: Vec<u64>,
}

impl Present {
    pub(super) fn insert(&mut self, number: i64) {
        let (word, bit) = place(number);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= bit;
    }

    pub(super) fn contains(&self, number: i64) -> bool {
        let (word, bit) = place(number);
        self.words.get(word).is_some_and(|bits| bits & bit != 0)
    }
}

fn place(number: i64) -> (usize, u64) {
    let number = usize::try_from(number).expect("SQLite numbers the rows of this table from 1");
    (number / 64, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_link_has_a_bit_of_its_own() {
        let mut present = Present::default();
        for number in [1, 63, 64, 1_000] {
            assert!(!present.contains(number));
            present.insert(number);
            assert!(present.contains(number));
        }
        for number in [2, 62, 65, 128, 999, 1_001, 1_000_000] {
            assert!(!present.contains(number), "{number}");
        }
    }
}
