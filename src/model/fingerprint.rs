//! 128-bit hashes of records and drafts.
//!
//! Equal fingerprints are taken to mean equal content. The hash is the first half of SHA-256 over length-prefixed parts,
//! so that no two different lists of parts share a pre-image by accident of concatenation.

use sha2::{Digest, Sha256};

/// A 128-bit hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// The hash of `parts`, in their order.
    #[must_use]
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut hash = Fingerprinter::new();
        for part in parts {
            hash.part(part);
        }
        hash.finish()
    }

    /// The bytes, as the ledger stores them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads what [`Fingerprint::as_bytes`] gave; `None` when the length is not 16.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{self}")
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// A fingerprint under construction.
#[derive(Debug, Clone, Default)]
pub struct Fingerprinter(Sha256);

impl Fingerprinter {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one part.
    pub fn part(&mut self, part: &str) {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part.as_bytes());
    }

    /// Adds bytes of a fixed length, without a prefix.
    pub(crate) fn bytes(&mut self, bytes: &[u8; 16]) {
        self.0.update(bytes);
    }

    /// The hash of all parts so far.
    #[must_use]
    pub fn finish(self) -> Fingerprint {
        let digest = self.0.finalize();
        let mut half = [0; 16];
        half.copy_from_slice(&digest[..16]);
        Fingerprint(half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(Fingerprint::of(["ab", "c"]), Fingerprint::of(["a", "bc"]));
        assert_ne!(Fingerprint::of(["a"]), Fingerprint::of(["a", ""]));
        let one = Fingerprint::of(["a"]);
        assert_eq!(Fingerprint::from_bytes(one.as_bytes()), Some(one));
        assert_eq!(Fingerprint::from_bytes(b"short"), None);
    }
}
