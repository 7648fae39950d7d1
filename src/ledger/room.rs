//! Whether the file system of the ledger has room for a pass.
//!
//! A disk that is full stops the ledger at any write, and nothing is sent that is not noted; yet what became of requests on
//! their way would have to be found out afterwards. So nothing is begun where that is to be expected.

use std::path::Path;

use super::LedgerError;
use super::file::beside;

/// What has to be free at least, in bytes.
const LEAST: u64 = 64 << 20;

/// Refuses when the file system of the ledger at `path` has too little room. One that cannot tell is taken to have enough.
pub(super) fn ensure(path: &Path) -> Result<(), LedgerError> {
    let log = std::fs::metadata(beside(path, "-wal")).map_or(0, |meta| meta.len());
    match rustix::fs::statvfs(path) {
        Ok(system) => enough(path, system.f_bavail.saturating_mul(system.f_frsize), log),
        Err(_) => Ok(()),
    }
}

/// Compares `free` bytes with what is needed beside a write-ahead log of `log` bytes: it can grow to as much again, and
/// all of it has to fit into the file.
fn enough(path: &Path, free: u64, log: u64) -> Result<(), LedgerError> {
    let needed = LEAST.max(log.saturating_mul(2));
    if free >= needed {
        return Ok(());
    }
    Err(LedgerError::NoRoom { path: path.to_owned(), free: free >> 20, needed: needed.div_ceil(1 << 20) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_is_more_where_the_log_is_long() {
        let path = Path::new("ledger.db");
        enough(path, 64 << 20, 32 << 20).unwrap();
        let little = enough(path, (64 << 20) - 1, 0).unwrap_err().to_string();
        assert!(little.contains("ledger.db has 63 MiB left, and 64 MiB are needed"), "{little}");
        assert!(enough(path, 100 << 20, 51 << 20).is_err());
        ensure(&std::env::temp_dir()).unwrap();
    }
}
