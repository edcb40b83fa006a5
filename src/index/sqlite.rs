//! SQLite, on a thread of its own: a disk that is slow stops nobody but whoever waits for the index.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, ToSql};
use tokio::sync::{mpsc, oneshot};

use super::database::{Answer, Database, Dialect, Row, Statement, Value};
use super::error::IndexError;
use super::schema;

/// How many questions may wait for the thread.
const QUEUE: usize = 64;

/// How long another process may hold the file for writing.
const BUSY: Duration = Duration::from_secs(5);

/// How long a question may take.
pub(crate) const LONGEST: Duration = Duration::from_secs(15);

/// An embedded database.
#[derive(Debug)]
pub(crate) struct Sqlite {
    jobs: mpsc::Sender<Job>,
}

#[derive(Debug)]
enum Job {
    Rows(Statement, oneshot::Sender<Result<Vec<Row>, IndexError>>),
    Write(Vec<Statement>, oneshot::Sender<Result<Vec<u64>, IndexError>>),
}

impl Sqlite {
    /// Opens the file, or makes it (mode 0600).
    pub(crate) async fn open(path: &Path) -> Result<Self, IndexError> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (opened, is_open) = oneshot::channel();
        let path = path.to_owned();
        let spawned = thread::Builder::new().name("index".to_owned()).spawn(move || {
            stand_back();
            match connect(&path) {
                Ok(connection) => {
                    if opened.send(Ok(())).is_ok() {
                        serve(connection, &path, queue);
                    }
                }
                Err(error) => drop(opened.send(Err(error))),
            }
        });
        spawned.map_err(|error| IndexError::Database(format!("no thread can be started for it: {error}")))?;
        is_open.await.unwrap_or_else(|_| Err(gone()))?;
        Ok(Self { jobs })
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<Result<T, IndexError>>) -> Job) -> Result<T, IndexError> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(job(answer)).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl Database for Sqlite {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn rows(&self, statement: Statement) -> Answer<'_, Vec<Row>> {
        Box::pin(self.ask(|answer| Job::Rows(statement, answer)))
    }

    fn write(&self, statements: Vec<Statement>) -> Answer<'_, Vec<u64>> {
        Box::pin(self.ask(|answer| Job::Write(statements, answer)))
    }
}

/// Somebody's key at a terminal is before what others may look for later. On Linux a nice value is a thread's (setpriority(2)).
fn stand_back() {
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "the index works at the same priority as everybody");
    }
}

/// By how much its thread stands back, of 19.
const NICE: i32 = 10;

fn gone() -> IndexError {
    IndexError::Database("its thread has ended".to_owned())
}

/// The file and what SQLite writes beside it: whoever makes it anew removes all of them.
pub(crate) fn files(path: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|end| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    })
}

fn connect(path: &Path) -> Result<Connection, IndexError> {
    make_private(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(|error| told(path, &error))?;
    let ready = (|| {
        connection.busy_timeout(BUSY)?;
        // what a power cut takes is read from the folders again: no need to wait for the disk at each transaction
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = OFF; PRAGMA trusted_schema = OFF;
             PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384; PRAGMA journal_size_limit = 67108864;",
        )?;
        connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))
    })();
    let found = ready.map_err(|error| told(path, &error))?;
    let place = path.display().to_string();
    let missing = schema::missing(Dialect::Sqlite, found, &place)?;
    if !missing.is_empty() {
        let migrated = (|| {
            let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            // another process may have been first
            let now: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
            for (version, sql) in missing.iter().filter(|(version, _)| *version > now) {
                transaction.execute_batch(sql)?;
                transaction.pragma_update(None, "user_version", version)?;
            }
            transaction.commit()
        })();
        migrated.map_err(|error| told(path, &error))?;
    }
    Ok(connection)
}

/// SQLite gives a new file the mode that the umask leaves, and its companions that of the file.
fn make_private(path: &Path) -> Result<(), IndexError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let opened = std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    opened
        .map(drop)
        .map_err(|error| IndexError::Unreachable { place: path.display().to_string(), why: error.to_string() })
}

fn serve(mut connection: Connection, path: &Path, mut queue: mpsc::Receiver<Job>) {
    while let Some(job) = queue.blocking_recv() {
        match job {
            Job::Rows(statement, answer) => {
                // nobody waits any more: somebody who has gone is not worth the time
                if !answer.is_closed() {
                    let _ = answer.send(rows(&mut connection, &statement).map_err(|error| told(path, &error)));
                }
            }
            Job::Write(statements, answer) => {
                let _ = answer.send(write(&mut connection, &statements).map_err(|error| told(path, &error)));
            }
        }
    }
}

fn rows(connection: &mut Connection, statement: &Statement) -> rusqlite::Result<Vec<Row>> {
    let begun = Instant::now();
    connection.progress_handler(100_000, Some(move || begun.elapsed() > LONGEST))?;
    let mut prepared = connection.prepare_cached(&statement.sql)?;
    let columns = prepared.column_count();
    let mut found = prepared.query(rusqlite::params_from_iter(&statement.values))?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        let values = (0..columns).map(|column| row.get_ref(column).map(owned)).collect::<rusqlite::Result<_>>()?;
        rows.push(Row(values));
    }
    Ok(rows)
}

fn write(connection: &mut Connection, statements: &[Statement]) -> rusqlite::Result<Vec<u64>> {
    connection.progress_handler(0, None::<fn() -> bool>)?;
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let mut changed = Vec::with_capacity(statements.len());
    for statement in statements {
        let mut prepared = transaction.prepare_cached(&statement.sql)?;
        changed.push(prepared.execute(rusqlite::params_from_iter(&statement.values))? as u64);
    }
    transaction.commit()?;
    Ok(changed)
}

fn owned(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null | ValueRef::Blob(_) => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null | Self::Numbers(_) => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

fn told(path: &Path, error: &rusqlite::Error) -> IndexError {
    let place = path.display().to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            IndexError::Damaged { place, why: error.to_string() }
        }
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            IndexError::Unreachable { place, why: error.to_string() }
        }
        Some(ErrorCode::OperationInterrupted) => IndexError::TooLong(LONGEST.as_secs()),
        _ => IndexError::Database(format!("{place}: {error}")),
    }
}
