//! Checksums of the rows on which hangs what is sent, and to which row of Business Central.
//!
//! SQLite notices a page that makes no sense, not a letter that became another one: a flipped bit in the id of a row would
//! look like a row that vanished. Each checksum is over the columns that do not change without the row being written
//! anew, and over the keys under which the row is found, so that no row can stand in for another one. It is verified
//! whenever such a row is read to decide or to send.

use super::{JobId, LedgerError, TargetId};
use crate::model::{Fingerprint, Fingerprinter};

/// A checksum under construction: the columns in a fixed order.
#[derive(Debug, Default)]
pub(super) struct Checksum(Fingerprinter);

impl Checksum {
    /// Of a row of `table` that belongs to the job.
    pub(super) fn of_job(table: &str, job: JobId) -> Self {
        Self::default().text(table).number(job.0)
    }

    /// Of the target's row with this name.
    pub(super) fn of_target(name: &str) -> Self {
        Self::default().text("target").text(name)
    }

    /// Adds a text.
    pub(super) fn text(mut self, text: &str) -> Self {
        self.0.part(text);
        self
    }

    /// Adds a text that may be null.
    pub(super) fn nullable(self, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.text("text").text(text),
            None => self.text("null"),
        }
    }

    /// Adds a number.
    pub(super) fn number(self, number: i64) -> Self {
        self.text(&number.to_string())
    }

    /// Adds a target's row.
    pub(super) fn target(self, target: TargetId) -> Self {
        self.number(target.0)
    }

    /// The value that is stored.
    pub(super) fn finish(self) -> Fingerprint {
        self.0.finish()
    }

    /// Compares with what is `stored` beside the columns in the row of `key` in `table`.
    pub(super) fn verify(self, stored: &[u8], table: &'static str, key: &str) -> Result<(), LedgerError> {
        if Fingerprint::from_bytes(stored) == Some(self.finish()) {
            return Ok(());
        }
        Err(LedgerError::Corrupt { table, key: key.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_do_not_run_together() {
        let sum = |one: Option<&str>, other: Option<&str>| {
            Checksum::of_job("outbox", JobId(1)).nullable(one).nullable(other).finish()
        };
        let all = [
            sum(None, None),
            sum(Some(""), None),
            sum(None, Some("")),
            sum(Some("null"), None),
            sum(Some("a"), Some("b")),
            sum(Some("ab"), Some("")),
        ];
        for (place, one) in all.iter().enumerate() {
            assert!(!all[..place].contains(one), "{place}");
        }
        assert_ne!(Checksum::of_job("outbox", JobId(1)).finish(), Checksum::of_job("outbox", JobId(2)).finish());
        let sum = sum(None, None);
        let other = Checksum::of_job("outbox", JobId(1));
        let error = other.verify(sum.as_bytes(), "outbox", "17").unwrap_err().to_string();
        assert!(error.contains("the row of 17 in its table `outbox` is not as it was written"), "{error}");
    }
}
