//! The ledger as a file: what lies under its name and beside it, before SQLite opens it.
//!
//! Looks only, and makes nothing but the lock. A file that is not a whole SQLite file is never opened, and one that was
//! there and is gone is never silently begun anew.

use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use super::LedgerError;

/// What every SQLite file begins with (SQLite, "Database File Format").
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// "bcsy" in ASCII: tells our files from other SQLite files.
pub(super) const APPLICATION_ID: i64 = 0x6263_7379;

/// What the lock says of a ledger, for people who wonder what the file is.
const TRACE: &str = "There is a bcsync ledger beside this file. Remove this one only to begin with an empty ledger.\n";

/// What stands in the lock before the epoch of its ledger, and before its newest run.
const EPOCH: &str = "epoch ";
const RUN: &str = "run ";

/// How far the ledger has come, as its lock knows it. A ledger that is behind is an older copy of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reached {
    pub(super) epoch: i64,
    pub(super) run: i64,
}

/// What lies under the ledger's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing, or an empty file.
    Nothing,
    /// A SQLite file.
    Database {
        /// Whether its last process ended without closing it.
        unclean: bool,
    },
}

/// Which file it is, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// Of the file that has this name now; `None` when there is none.
    pub(super) fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let meta = std::fs::metadata(path).ok()?;
        Some(Self { device: meta.dev(), inode: meta.ino() })
    }
}

/// Looks at the file. An error when it cannot be a ledger: a folder, no SQLite file, a part of one.
pub(super) fn look(path: &Path) -> Result<Found, LedgerError> {
    let unusable = |cause: String| LedgerError::Unusable { path: path.to_owned(), cause };
    let length = match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(unusable(error.to_string())),
        Ok(meta) if meta.is_dir() => {
            return Err(unusable("it is a folder; `path` in [ledger] names a file".to_owned()));
        }
        Ok(meta) if !meta.is_file() => return Err(unusable("it is not a file".to_owned())),
        Ok(meta) => meta.len(),
    };
    if length == 0 {
        return Ok(Found::Nothing);
    }
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(Header::LENGTH).read_to_end(&mut start));
    read.map_err(|error| unusable(error.to_string()))?;
    if !start.starts_with(&MAGIC[..start.len().min(MAGIC.len())]) {
        return Err(LedgerError::Foreign { path: path.to_owned(), found: "no SQLite file".to_owned() });
    }
    let logged = has_content(&beside(path, "-wal"));
    let Some(header) = Header::parse(&start) else { return Err(truncated(length, Header::LENGTH)) };
    // A log that was not carried over yet may still bring the missing pages.
    if !logged && let Some(whole) = header.length().filter(|whole| length < *whole) {
        return Err(truncated(length, whole));
    }
    Ok(Found::Database { unclean: logged || header.has_log() || has_journal(path) })
}

/// Whether there is a rollback journal beside the file: something was begun and not ended.
pub(super) fn has_journal(path: &Path) -> bool {
    has_content(&beside(path, "-journal"))
}

/// Whether a log lies beside the file: something is not carried over, or was not undone.
pub(super) fn has_logs(path: &Path) -> bool {
    has_content(&beside(path, "-wal")) || has_journal(path)
}

/// Gives logs beside the file another name, and says which those are; what was there under that name is gone.
pub(super) fn set_logs_aside(path: &Path) -> Result<Vec<PathBuf>, LedgerError> {
    let unusable = |error: std::io::Error| LedgerError::Unusable { path: path.to_owned(), cause: error.to_string() };
    let mut kept = Vec::new();
    for ending in ["-wal", "-journal"] {
        let log = beside(path, ending);
        if has_content(&log) {
            let aside = beside(&log, ".set-aside");
            std::fs::rename(&log, &aside).map_err(unusable)?;
            kept.push(aside);
        }
    }
    // An index of the log, of no use without it.
    match std::fs::remove_file(beside(path, "-shm")) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(unusable(error)),
        _ => Ok(kept),
    }
}

fn truncated(length: u64, whole: u64) -> LedgerError {
    LedgerError::Damaged { finding: format!("the file has {length} bytes of at least {whole}") }
}

/// Takes the lock beside the ledger for as long as the file given is open; the kernel frees it when the process dies.
pub(super) fn lock(path: &Path) -> Result<File, LedgerError> {
    let unusable = |cause: std::io::Error| LedgerError::Unusable { path: path.to_owned(), cause: cause.to_string() };
    let open = File::options().create(true).truncate(false).read(true).write(true).open(lock_path(path));
    let file = open.map_err(|error| match (error.kind(), path.parent()) {
        (ErrorKind::NotFound, Some(folder)) => LedgerError::Unusable {
            path: path.to_owned(),
            cause: format!("there is no folder {}; make it, or change `path` in [ledger]", folder.display()),
        },
        (ErrorKind::PermissionDenied, Some(folder)) => LedgerError::Unusable {
            path: path.to_owned(),
            cause: format!("this user may not write to its folder {}", folder.display()),
        },
        _ => unusable(error),
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LedgerError::Busy { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

/// Refuses to begin anew where something says that there was a ledger: the trace in the lock, or the log of a file that
/// is gone.
pub(super) fn refuse_lost(path: &Path, found: Found) -> Result<(), LedgerError> {
    let log = (found == Found::Nothing).then(|| beside(path, "-wal"));
    let trace = log.into_iter().chain([lock_path(path)]).find(|trace| has_content(trace));
    trace.map_or(Ok(()), |trace| Err(LedgerError::Lost { path: path.to_owned(), trace }))
}

/// How far the ledger has come by what its lock knows; nowhere when it knows nothing.
pub(super) fn reached(lock: &File) -> std::io::Result<Reached> {
    let text = read(lock)?;
    let number = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.parse().ok()).unwrap_or_default();
    Ok(Reached { epoch: number(EPOCH), run: number(RUN) })
}

/// Writes into the lock that there is a ledger, for [`refuse_lost`], and how far it has come, for [`reached`]. A new epoch
/// is on the disk then; that the newest run is lost does no harm.
pub(super) fn leave_trace(mut lock: &File, now: Reached) -> std::io::Result<()> {
    // As long as every other one, so that it takes the place of the last one whole.
    let trace = format!("{TRACE}{EPOCH}{:019}\n{RUN}{:019}\n", now.epoch, now.run);
    let before = reached(lock)?;
    if read(lock)? == trace {
        return Ok(());
    }
    lock.rewind()?;
    lock.write_all(trace.as_bytes())?;
    lock.set_len(trace.len() as u64)?;
    if before.epoch == now.epoch && before.run <= now.run { Ok(()) } else { lock.sync_all() }
}

fn read(mut lock: &File) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    lock.rewind()?;
    lock.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn has_content(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.len() > 0)
}

fn lock_path(path: &Path) -> PathBuf {
    beside(path, ".lock")
}

/// The path with `ending` behind its name.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// A new ledger is readable by its group, so that operators can look, and by nobody else.
pub(super) fn restrict(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o640))
}

/// The fields of SQLite's header that tell whether the file is whole (SQLite, "Database File Format", 1.3).
struct Header<'a>(&'a [u8]);

impl<'a> Header<'a> {
    const LENGTH: u64 = 100;

    fn parse(bytes: &'a [u8]) -> Option<Self> {
        (bytes.len() as u64 == Self::LENGTH).then_some(Self(bytes))
    }

    fn number<const N: usize>(&self, at: usize) -> u64 {
        self.0[at..at + N].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// The length of the file in bytes, when the header knows it.
    fn length(&self) -> Option<u64> {
        let page_size = match self.number::<2>(16) {
            1 => 65_536,
            size => size,
        };
        // The change counter stands twice; otherwise an old program wrote the file and left the number of pages alone.
        let known = self.number::<4>(24) == self.number::<4>(92);
        known.then_some(page_size * self.number::<4>(28))
    }

    /// Whether it was written with a write-ahead log, which [`super::Ledger::close`] ends.
    fn has_log(&self) -> bool {
        self.number::<1>(18) == 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of `pages` pages of 4096 bytes.
    fn header(pages: u8) -> Vec<u8> {
        let mut header = vec![0; 100];
        header[..16].copy_from_slice(MAGIC);
        header[16] = 0x10;
        header[31] = pages;
        header
    }

    #[test]
    fn a_part_of_a_file_is_told_from_a_whole_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        assert_eq!(look(&path).unwrap(), Found::Nothing);
        let mut file = header(2);
        file.resize(8192, 0);
        std::fs::write(&path, &file).unwrap();
        assert_eq!(look(&path).unwrap(), Found::Database { unclean: false });
        for length in [1, 15, 16, 99, 100, 4096, 8191] {
            std::fs::write(&path, &file[..length]).unwrap();
            assert!(matches!(look(&path), Err(LedgerError::Damaged { .. })), "{length}");
        }
        // The log may hold the rest.
        std::fs::write(beside(&path, "-wal"), "log").unwrap();
        std::fs::write(&path, &file[..4096]).unwrap();
        assert_eq!(look(&path).unwrap(), Found::Database { unclean: true });
        std::fs::write(&path, "").unwrap();
        assert_eq!(look(&path).unwrap(), Found::Nothing);
        assert!(matches!(refuse_lost(&path, Found::Nothing), Err(LedgerError::Lost { .. })));
    }

    #[test]
    fn a_lock_with_a_trace_refuses_to_begin_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let held = lock(&path).unwrap();
        refuse_lost(&path, Found::Nothing).unwrap();
        assert_eq!(reached(&held).unwrap(), Reached::default());
        for (epoch, run) in [(9, 0), (9, 0), (9, 100), (10, 100)] {
            leave_trace(&held, Reached { epoch, run }).unwrap();
            assert_eq!(reached(&held).unwrap(), Reached { epoch, run });
        }
        let trace = std::fs::read_to_string(lock_path(&path)).unwrap();
        assert_eq!(trace, format!("{TRACE}epoch 0000000000000000010\nrun 0000000000000000100\n"));
        let lost = refuse_lost(&path, Found::Nothing).unwrap_err().to_string();
        assert!(lost.contains("ledger.db.lock says that there was one"), "{lost}");
        assert!(matches!(lock(&path), Err(LedgerError::Busy { .. })));
    }
}
