//! The file of the embedded store: opening, loading, writing batches durably.
//!
//! A file that exists is never begun anew: an empty one, one that is no database, one whose pages
//! do not have their checksums are all [`StoreError::Corrupt`].

use std::{
    collections::{BTreeMap, VecDeque},
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use margay_model::Revision;
use redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};

use super::record;
use crate::{
    error::StoreError,
    image::{Bounds, Image, Staged},
};

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const VALUES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("values");
const HISTORY: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("history");

/// In [`META`]: the form of what is stored, the last revision, the one history begins after.
const FORMAT: &str = "format";
const REVISION: &str = "revision";
const OLDEST: &str = "oldest";

const FORMAT_NOW: u64 = 1;
/// Everything is in memory already: the database needs little beside.
const CACHE: usize = 8 * 1024 * 1024;

/// An open file.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    database: Option<Database>,
}

/// Whether every page is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// Every checksum: when the program starts.
    Everything,
    /// As much as recovery needs: after a write that failed.
    Recovery,
}

impl File {
    /// Opens the file, or makes it where there is none.
    pub(super) fn open(path: &Path, check: Check) -> Result<Self, StoreError> {
        match fs::metadata(path) {
            Ok(found) if found.len() == 0 => {
                return Err(corrupt(path, "the file is empty, but was not when it was made"));
            }
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => create(path)?,
            Err(e) => return Err(failed(path, &e)),
        }
        let database = guarded(path, || {
            Builder::new()
                .set_cache_size(CACHE)
                .set_check_integrity_on_open(check == Check::Everything)
                .open(path)
                .map_err(|e| cannot_open(path, e))
        })?;
        Ok(Self { path: path.to_owned(), database: Some(database) })
    }

    /// Reads everything.
    pub(super) fn load(&self, bounds: Bounds) -> Result<Image, StoreError> {
        guarded(&self.path, || {
            let damage = |cause: String| corrupt(&self.path, cause);
            let read = self.database()?.begin_read().map_err(|e| self.error(e))?;
            let meta = read.open_table(META).map_err(|e| damage(e.to_string()))?;
            let number = |name: &str| {
                let found = meta.get(name).map_err(|e| self.error(e))?;
                found.map(|n| n.value()).ok_or_else(|| damage(format!("{name} is missing")))
            };
            let format = number(FORMAT)?;
            if format != FORMAT_NOW {
                let cause = format!("form {format} is not known to this version");
                return Err(StoreError::Unavailable { endpoint: self.place(), cause });
            }
            let (revision, oldest) = (Revision(number(REVISION)?), Revision(number(OLDEST)?));
            let mut values = BTreeMap::new();
            let table = read.open_table(VALUES).map_err(|e| damage(e.to_string()))?;
            for row in table.iter().map_err(|e| self.error(e))? {
                let (path, octets) = row.map_err(|e| self.error(e))?;
                let record = record::decode(path.value(), octets.value()).map_err(damage)?;
                if record.value.revision > revision {
                    return Err(damage(format!("{} is newer than the last commit", record.key)));
                }
                values.insert(path.value().to_owned(), record);
            }
            let mut history = VecDeque::new();
            let table = read.open_table(HISTORY).map_err(|e| damage(e.to_string()))?;
            for row in table.iter().map_err(|e| self.error(e))? {
                let (at, octets) = row.map_err(|e| self.error(e))?;
                let at = Revision(at.value().0);
                if at > oldest && at <= revision {
                    let past = record::decode_change(at, octets.value()).map_err(damage)?;
                    history.push_back(past);
                }
            }
            Ok(Image::restore(values, history, oldest, revision, bounds))
        })
    }

    /// The last revision in the file.
    pub(super) fn revision(&self) -> Result<Revision, StoreError> {
        guarded(&self.path, || {
            let read = self.database()?.begin_read().map_err(|e| self.error(e))?;
            let meta = read.open_table(META).map_err(|e| self.error(e))?;
            let found = meta.get(REVISION).map_err(|e| self.error(e))?;
            let found = found.ok_or_else(|| corrupt(&self.path, "revision is missing"))?;
            Ok(Revision(found.value()))
        })
    }

    /// Writes transactions in one durable step. After an error it is not known whether they are
    /// there: [`File::reopen`] and look.
    pub(super) fn write(&self, batch: &[Staged], oldest: Revision) -> Result<(), StoreError> {
        guarded(&self.path, || {
            let write = self.database()?.begin_write().map_err(|e| self.error(e))?;
            {
                let mut meta = write.open_table(META).map_err(|e| self.error(e))?;
                let mut values = write.open_table(VALUES).map_err(|e| self.error(e))?;
                let mut history = write.open_table(HISTORY).map_err(|e| self.error(e))?;
                for staged in batch {
                    let revision = staged.committed.revision;
                    for (part, write) in (0u32..).zip(&staged.writes) {
                        let path = write.path.as_str();
                        let value = write.record.as_ref().map(|record| &record.value);
                        match &write.record {
                            Some(record) => values.insert(path, &*record::encode(record)),
                            None => values.remove(path),
                        }
                        .map_err(|e| self.error(e))?;
                        let change = record::encode_change(path, value);
                        history.insert((revision.0, part), &*change).map_err(|e| self.error(e))?;
                    }
                    meta.insert(REVISION, revision.0).map_err(|e| self.error(e))?;
                }
                meta.insert(OLDEST, oldest.0).map_err(|e| self.error(e))?;
                let forgotten = ..=(oldest.0, u32::MAX);
                history.retain_in(forgotten, |_, _| false).map_err(|e| self.error(e))?;
            }
            write.commit().map_err(|e| self.error(e))
        })
    }

    /// Closes the file and opens it again: what a failed write left is cleared away.
    pub(super) fn reopen(&mut self) -> Result<(), StoreError> {
        // It is not to be trusted after an error, and holds the lock: what it says no longer matters.
        let _ = guarded(&self.path.clone(), || {
            drop(self.database.take());
            Ok(())
        });
        let opened = Self::open(&self.path, Check::Recovery)?;
        self.database = opened.database;
        Ok(())
    }

    /// Where it is, for messages.
    pub(super) fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn database(&self) -> Result<&Database, StoreError> {
        self.database.as_ref().ok_or_else(|| StoreError::Unavailable {
            endpoint: self.place(),
            cause: "the file could not be opened again".into(),
        })
    }

    fn error(&self, error: impl Into<redb::Error>) -> StoreError {
        failure(&self.path, error.into())
    }
}

/// Makes a file under another name, so that under its own there is a whole one or none.
fn create(path: &Path) -> Result<(), StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    match fs::remove_file(&new) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(&new, &e)),
        _ => {}
    }
    guarded(&new, || {
        let fail = |e: redb::Error| failure(&new, e);
        let database =
            Builder::new().set_cache_size(CACHE).create(&new).map_err(|e| fail(e.into()))?;
        let write = database.begin_write().map_err(|e| fail(e.into()))?;
        {
            let mut meta = write.open_table(META).map_err(|e| fail(e.into()))?;
            for (name, number) in [(FORMAT, FORMAT_NOW), (REVISION, 0), (OLDEST, 0)] {
                meta.insert(name, number).map_err(|e| fail(e.into()))?;
            }
            write.open_table(VALUES).map_err(|e| fail(e.into()))?;
            write.open_table(HISTORY).map_err(|e| fail(e.into()))?;
        }
        write.commit().map_err(|e| fail(e.into()))?;
        database.close().map_err(|e| fail(e.into()))
    })?;
    fs::rename(&new, path).map_err(|e| failed(path, &e))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| failed(folder, &e))
}

/// The database checks its own invariants by panicking on some damage: that is said, not passed on.
fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        Err(corrupt(path, said.unwrap_or("the database gave up")))
    })
}

fn cannot_open(path: &Path, error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            StoreError::Unavailable {
                endpoint: path.display().to_string(),
                cause: "another process has it open".into(),
            }
        }
        other => failure(path, other.into()),
    }
}

fn failure(path: &Path, error: redb::Error) -> StoreError {
    match error {
        redb::Error::Io(e) if e.kind() == io::ErrorKind::InvalidData => {
            corrupt(path, format!("this is no datastore: {e}"))
        }
        redb::Error::Io(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
            corrupt(path, format!("the file was cut: {e}"))
        }
        redb::Error::Io(e) => failed(path, &e),
        redb::Error::Corrupted(cause) => corrupt(path, cause),
        other => StoreError::Unavailable {
            endpoint: path.display().to_string(),
            cause: other.to_string(),
        },
    }
}

fn failed(path: &Path, error: &io::Error) -> StoreError {
    let place = path.display().to_string();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            StoreError::Full { place, cause: error.to_string() }
        }
        _ => StoreError::Unavailable { endpoint: place, cause: error.to_string() },
    }
}

fn corrupt(path: &Path, cause: impl Into<String>) -> StoreError {
    StoreError::Corrupt { place: path.display().to_string(), cause: cause.into() }
}
