//! An embedded database on disk, opened so that nothing that stands there can keep Petrel from starting.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use redb::{Database, ReadableTable, TableDefinition, WriteTransaction};

const ABOUT: TableDefinition<'_, &str, &str> = TableDefinition::new("about");
/// Pages that a database keeps in memory; its own default is 1 GiB.
const CACHE_BYTES: usize = 16 << 20;

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The directory cannot be made or written.
    #[error("directory {path}: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process has it open.
    #[error("{0} is in use by another process")]
    InUse(PathBuf),
    /// The database failed.
    #[error("database: {0}")]
    Database(#[from] redb::Error),
}

impl DatabaseError {
    /// Whether what it is about is the file, not the disk or somebody else.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Database(redb::Error::Corrupted(_)))
    }
}

/// What a database is called and how it is laid out.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Name of its file.
    pub file: &'static str,
    /// Layout of its tables; a file of another layout is set aside.
    pub layout: &'static str,
    /// Makes the tables that are not there.
    pub make_tables: fn(&WriteTransaction) -> Result<(), redb::Error>,
}

/// A database and, when what stood there could not be read, where that is now and why.
#[derive(Debug)]
pub struct Opened {
    /// The database.
    pub database: Database,
    /// What was set aside.
    pub set_aside: Option<(PathBuf, String)>,
}

/// Opens the database of a directory, which is made if it is not there. All of what it holds is read once,
/// to know that it can be.
///
/// # Errors
/// When the directory cannot be used, another process has the database open, or a fresh one cannot be
/// made. What is damaged, foreign or newer is set aside under a name of its own instead.
pub fn open(directory: &Path, plan: Plan) -> Result<Opened, DatabaseError> {
    open_by(directory, plan, checked)
}

/// The same of one that this process had open, without reading it all again.
///
/// # Errors
/// As [`open`].
pub fn open_again(directory: &Path, plan: Plan) -> Result<Opened, DatabaseError> {
    open_by(directory, plan, open_file)
}

type OpenFile = fn(&Path, Plan) -> Result<Database, redb::Error>;

fn open_by(directory: &Path, plan: Plan, open_file: OpenFile) -> Result<Opened, DatabaseError> {
    let fail = |source| DatabaseError::Directory {
        path: directory.to_owned(),
        source,
    };
    std::fs::create_dir_all(directory).map_err(fail)?;
    let path = directory.join(plan.file);
    let existed = path.exists();
    let reason = match open_file(&path, plan) {
        Ok(database) => {
            return Ok(Opened {
                database,
                set_aside: None,
            });
        }
        Err(redb::Error::DatabaseAlreadyOpen) => return Err(DatabaseError::InUse(path)),
        // A disk that is full or that may not be written does not make the file a bad one.
        Err(redb::Error::Io(source)) if !existed || is_of_the_disk(&source) => {
            return Err(fail(source));
        }
        Err(error) => error.to_string(),
    };
    let aside = free_name(&path);
    std::fs::rename(&path, &aside).map_err(fail)?;
    Ok(Opened {
        database: open_file(&path, plan)?,
        set_aside: Some((aside, reason)),
    })
}

/// A database whose every page can be read. Of a damaged page the database only says when it meets it, and
/// by a panic.
fn checked(path: &Path, plan: Plan) -> Result<Database, redb::Error> {
    without_panic(|| {
        let mut database = open_file(path, plan)?;
        if !database.check_integrity()? {
            return Err(redb::Error::Corrupted("it was damaged".to_owned()));
        }
        Ok(database)
    })
}

/// What `deed` with a database does; a panic of it, which a damaged page brings about, is an error. The
/// database is to be [opened](open) anew then.
///
/// # Errors
/// Those of `deed`, and [`redb::Error::Corrupted`] for a panic.
pub fn without_panic<T>(deed: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(deed));
    done.unwrap_or_else(|_| Err(redb::Error::Corrupted("a page of it is damaged".to_owned())))
}

fn is_of_the_disk(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
            | ErrorKind::FileTooLarge
            | ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
    )
}

fn open_file(path: &Path, plan: Plan) -> Result<Database, redb::Error> {
    // Telemetry is kept in it: nobody else is to read it.
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)?;
    let database = Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create(path)?;
    let transaction = database.begin_write()?;
    {
        let mut about = transaction.open_table(ABOUT)?;
        let layout = about.get("layout")?.map(|layout| layout.value().to_owned());
        match layout {
            Some(layout) if layout != plan.layout => {
                let reason = format!("written with layout {layout}, this is {}", plan.layout);
                return Err(redb::Error::Corrupted(reason));
            }
            Some(_) => {}
            None => {
                about.insert("layout", plan.layout)?;
            }
        }
        about.insert("version", env!("CARGO_PKG_VERSION"))?;
    }
    (plan.make_tables)(&transaction)?;
    transaction.commit()?;
    Ok(database)
}

/// The first name beside a file that nothing has.
fn free_name(path: &Path) -> PathBuf {
    (1u32..)
        .map(|number| {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".set-aside-{number}"));
            PathBuf::from(name)
        })
        .find(|path| !path.exists())
        .expect("some number is free")
}
