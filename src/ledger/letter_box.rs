//! Whether anything can have been asked since it was looked last, without opening the ledger.
//!
//! Whoever asks writes into the write-ahead log, which changes the time of that file. This never says that there is
//! nothing when there may be something: a log that was written to just now may be written to again without its time
//! changing.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::file;

/// More than the kernel rounds the times of files by.
const GRAIN: Duration = Duration::from_millis(100);

/// The log as it was at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    written: SystemTime,
    length: u64,
}

/// What is known about what others write.
#[derive(Debug, Default)]
pub(super) struct LetterBox {
    /// As it was when there was nothing in it.
    empty: Mutex<Option<Look>>,
}

impl LetterBox {
    /// The log of `ledger` as it is; `None` when it may change without being seen to.
    pub(super) fn look(ledger: &Path) -> Option<Look> {
        let log = fs::metadata(file::beside(ledger, "-wal")).ok()?;
        let written = log.modified().ok()?;
        let settled = written.elapsed().is_ok_and(|age| age > GRAIN);
        settled.then_some(Look { written, length: log.len() })
    }

    /// Whether nothing was written since it was found empty.
    pub(super) fn is_empty(&self, look: Option<Look>) -> bool {
        look.is_some() && *self.empty.lock().unwrap_or_else(PoisonError::into_inner) == look
    }

    /// There was nothing in it after it was looked at.
    pub(super) fn found_empty(&self, look: Option<Look>) {
        *self.empty.lock().unwrap_or_else(PoisonError::into_inner) = look;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_seen_also_within_the_same_moment() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = folder.path().join("ledger.db");
        let letter_box = LetterBox::default();
        assert!(!letter_box.is_empty(LetterBox::look(&ledger)), "there is no log");
        let log = fs::File::create(file::beside(&ledger, "-wal")).unwrap();
        let created = log.metadata().unwrap().modified().unwrap();
        let minute = Duration::from_mins(1);
        log.set_modified(created - 2 * minute).unwrap();
        assert!(!letter_box.is_empty(LetterBox::look(&ledger)), "nobody has looked into it");
        letter_box.found_empty(LetterBox::look(&ledger));
        assert!(letter_box.is_empty(LetterBox::look(&ledger)));
        log.set_modified(created - minute).unwrap();
        assert!(!letter_box.is_empty(LetterBox::look(&ledger)), "it was written to");
        // The latest moment that there is, however slowly this test runs.
        log.set_modified(created + 10 * minute).unwrap();
        letter_box.found_empty(LetterBox::look(&ledger));
        assert!(!letter_box.is_empty(LetterBox::look(&ledger)), "in this moment more may come");
    }
}
