//! The index: opened by its place, asked, and given what happened.

use std::fmt;
use std::path::{Path, PathBuf};

use portcullis_folder::{CommandRecord, FileRecord, Manifest};
use serde::Serialize;
use uuid::Uuid;

use super::chunks::Chunk;
use super::database::{Database, Row, Statement, Value};
use super::error::IndexError;
use super::find::{self, numbered, select};
use super::lines::{self, COMMAND_COLUMNS, FILE_COLUMNS, keys_of};
use super::postgres::{self, Postgres};
use super::query::{Page, Query};
use super::schema::LATEST;
use super::session::{COLUMNS, Session, values};
use super::sqlite::{self, Sqlite};

/// Where an index is.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// In a file of SQLite's.
    File(PathBuf),
    /// At a PostgreSQL server: `postgres://user:password@host/database`.
    Server(String),
}

impl Location {
    /// The configuration's `index.url`, or where there is none the file in the evidence directory.
    pub fn of(url: Option<&str>, evidence: &Path) -> Self {
        match url {
            Some(url) if postgres::is_url(url) => Self::Server(url.to_owned()),
            Some(file) => Self::File(PathBuf::from(file)),
            None => Self::File(evidence.join("index.sqlite")),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => to.debug_tuple("File").field(path).finish(),
            // there may be a password in it
            Self::Server(_) => to.write_str("Server(…)"),
        }
    }
}

/// An index of sessions.
#[derive(Debug)]
pub struct Index {
    pub(crate) database: Box<dyn Database>,
}

/// A command, as the index has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CommandRow {
    /// When, RFC 3339.
    pub time: String,
    /// Seconds since the session was opened.
    pub at: f64,
    /// The line.
    pub command: String,
    /// Its hash, where no more of it is kept.
    pub command_sha256: Option<String>,
    /// How it was learnt.
    pub how: String,
    /// How sure that is.
    pub confidence: f64,
    /// `allowed`, `refused`.
    pub verdict: Option<String>,
    /// The policy that decided.
    pub policy: Option<String>,
    /// Its exit status.
    pub exit: Option<i64>,
}

/// The most tries to give a session a number of its own, where many were opened within one millisecond.
const TRIES: usize = 64;

impl Index {
    /// Opens it, and brings it up to this version; makes it where there is none.
    ///
    /// # Errors
    /// It can't be opened or reached, is damaged, or of a later version.
    pub async fn open(location: &Location) -> Result<Self, IndexError> {
        let database: Box<dyn Database> = match location {
            Location::File(path) => Box::new(Sqlite::open(path).await?),
            Location::Server(url) => Box::new(Postgres::open(url).await?),
        };
        Ok(Self { database })
    }

    /// The same, but of a file that is damaged another one is made in its place, which is empty; whether that was so. Nobody else may
    /// have it open.
    ///
    /// # Errors
    /// As [`Index::open`], and where the file can't be removed.
    pub async fn open_or_make_anew(location: &Location) -> Result<(Self, bool), IndexError> {
        match (Self::open(location).await, location) {
            (Err(IndexError::Damaged { .. }), Location::File(path)) => {
                for file in sqlite::files(path) {
                    match std::fs::remove_file(&file) {
                        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                            let place = file.display().to_string();
                            return Err(IndexError::Unreachable { place, why: error.to_string() });
                        }
                        _ => {}
                    }
                }
                Ok((Self::open(location).await?, true))
            }
            (opened, _) => Ok((opened?, false)),
        }
    }

    /// The sessions that are asked for, the newest first.
    ///
    /// # Errors
    /// What is searched for is too short, or it can't be answered.
    pub async fn find(&self, query: &Query) -> Result<Page, IndexError> {
        find::find(&*self.database, query).await
    }

    /// The one session whose id begins so.
    ///
    /// # Errors
    /// None does, or several.
    pub async fn session(&self, prefix: &str) -> Result<Session, IndexError> {
        self.numbered(prefix).await.map(|(_, session)| session)
    }

    /// So much of a session's id as no other one's begins with; eight digits at least.
    ///
    /// # Errors
    /// It can't be answered.
    pub async fn short_id(&self, id: Uuid) -> Result<String, IndexError> {
        let whole = id.hyphenated().to_string();
        let sql = "SELECT (SELECT max(id) FROM sessions WHERE id < ?1), (SELECT min(id) FROM sessions WHERE id > ?1)";
        let rows = self.database.rows(Statement::new(sql, vec![Value::text(&whole)])).await?;
        let neighbours = rows.iter().flat_map(|row| [row.maybe_text(0), row.maybe_text(1)]).flatten();
        let shared = |other: String| whole.bytes().zip(other.bytes()).take_while(|(one, two)| one == two).count();
        let length = neighbours.map(shared).max().map_or(8, |same| (same + 1).max(8));
        Ok(whole.get(..length).unwrap_or(&whole).to_owned())
    }

    /// The commands of a session, by its id, in order; up to a limit.
    ///
    /// # Errors
    /// It is not there, or it can't be answered.
    pub async fn commands(&self, id: Uuid, limit: usize) -> Result<Vec<CommandRow>, IndexError> {
        let rows = self.lines(id, COMMAND_COLUMNS, "commands", limit).await?;
        let command = |row: &Row| CommandRow {
            time: row.text(1),
            at: row.real(2),
            command: row.text(3),
            command_sha256: row.maybe_text(4),
            how: row.text(5),
            confidence: row.real(6),
            verdict: row.maybe_text(7),
            policy: row.maybe_text(8),
            exit: row.maybe_integer(9),
        };
        Ok(rows.iter().map(command).collect())
    }

    /// The file operations of a session, by its id, in order; up to a limit.
    ///
    /// # Errors
    /// It is not there, or it can't be answered.
    pub async fn files(&self, id: Uuid, limit: usize) -> Result<Vec<FileRecord>, IndexError> {
        let rows = self.lines(id, FILE_COLUMNS, "files", limit).await?;
        let number = |row: &Row, column| row.maybe_integer(column).and_then(|number| u64::try_from(number).ok());
        let file = |row: &Row| FileRecord {
            time: row.text(1),
            action: row.text(3),
            path: row.text(4),
            real_path: row.maybe_text(5),
            second_path: row.maybe_text(6),
            direction: row.maybe_text(7),
            bytes: number(row, 8),
            sha256: row.maybe_text(9),
            sha256_of_part: row.maybe_text(10),
            part_offset: number(row, 11),
            outcome: row.text(12),
            code: row.maybe_text(13),
            policy: row.maybe_text(14),
            why: row.maybe_text(15),
        };
        Ok(rows.iter().map(file).collect())
    }

    async fn lines(&self, id: Uuid, columns: &str, table: &str, limit: usize) -> Result<Vec<Row>, IndexError> {
        let (n, _) = self.numbered(&id.hyphenated().to_string()).await?;
        let (from, to) = keys_of(n);
        let sql = format!("SELECT {columns} FROM {table} WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT ?3");
        let values = vec![Value::Integer(from), Value::Integer(to), Value::count(limit as u64)];
        self.database.rows(Statement::new(sql, values)).await
    }

    async fn numbered(&self, prefix: &str) -> Result<(i64, Session), IndexError> {
        let wanted = prefix.trim().to_ascii_lowercase();
        if wanted.is_empty()
            || wanted.len() > 36
            || !wanted.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'))
        {
            return Err(IndexError::NoId(prefix.chars().take(64).collect()));
        }
        // a tilde comes after everything that an id has
        let sql = format!("{} WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT 3", select());
        let values = vec![Value::text(&wanted), Value::text(format!("{wanted}~"))];
        let rows = self.database.rows(Statement::new(sql, values)).await?;
        let mut found: Vec<(i64, Session)> = rows.iter().filter_map(numbered).collect();
        match (found.pop(), found.first()) {
            (Some(one), None) => Ok(one),
            (Some((_, last)), Some((_, first))) => Err(IndexError::Ambiguous {
                prefix: wanted,
                count: found.len() + 1,
                first: first.id.to_string(),
                second: last.id.to_string(),
            }),
            _ => Err(IndexError::Unknown(wanted)),
        }
    }

    /// The number of a session, by its whole id; none where it is not there.
    pub(crate) async fn number_of(&self, id: Uuid) -> Result<Option<i64>, IndexError> {
        let values = vec![Value::text(id.hyphenated().to_string())];
        let rows = self.database.rows(Statement::new("SELECT n FROM sessions WHERE id = ?1", values)).await?;
        Ok(rows.first().map(|row| row.integer(0)))
    }

    /// Puts a session's row as its manifest has it; gives its number.
    pub(crate) async fn put_session(
        &self,
        manifest: &Manifest,
        live: bool,
        head: Option<&str>,
        complete: bool,
    ) -> Result<i64, IndexError> {
        let no_time = || IndexError::Folder {
            place: manifest.session.to_string(),
            why: format!(
                "its manifest says {:?}, which is no time, for when it was opened",
                manifest.opened.chars().take(64).collect::<String>()
            ),
        };
        let (opened, values) = values(manifest, live, head, complete).ok_or_else(no_time)?;
        let mut n = opened.clamp(0, LATEST - (1 << 16));
        for _ in 0..TRIES {
            if let Some(n) = self.number_of(manifest.session).await? {
                self.database.write(vec![update(n, &values)]).await?;
                return Ok(n);
            }
            if self.database.write(vec![insert(n, &values)]).await?.first() == Some(&1) {
                return Ok(n);
            }
            // that millisecond is another's: the next that is free
            let sql = "SELECT n + 1 FROM sessions AS taken WHERE n >= ?1 AND NOT EXISTS \
                       (SELECT 1 FROM sessions WHERE sessions.n = taken.n + 1) ORDER BY n LIMIT 1";
            let rows = self.database.rows(Statement::new(sql, vec![Value::Integer(n)])).await?;
            n = rows.first().map_or(n, |row| row.integer(0));
        }
        Err(IndexError::Database(format!("too many sessions were opened at {}", manifest.opened)))
    }

    /// Takes a session out, with all of it.
    pub(crate) async fn remove(&self, id: Uuid) -> Result<(), IndexError> {
        let Some(n) = self.number_of(id).await? else { return Ok(()) };
        let mut all = lines::remove(n);
        all.push(Statement::new("DELETE FROM sessions WHERE n = ?1", vec![Value::Integer(n)]));
        self.database.write(all).await.map(drop)
    }

    /// Adds lines, all or none of them.
    pub(crate) async fn add(&self, lines: &Lines<'_>) -> Result<(), IndexError> {
        let dialect = self.database.dialect();
        let mut all = lines::commands(dialect, lines.commands.iter().copied());
        all.extend(lines::files(dialect, lines.files.iter().copied()));
        all.extend(lines::texts(dialect, lines.texts.iter().copied()));
        match all.is_empty() {
            true => Ok(()),
            false => self.database.write(all).await.map(drop),
        }
    }
}

/// Lines of sessions, each with its key; files with their time in seconds since the session was opened.
#[derive(Default)]
pub(crate) struct Lines<'a> {
    pub(crate) commands: Vec<(i64, &'a CommandRecord)>,
    pub(crate) files: Vec<(i64, f64, &'a FileRecord)>,
    pub(crate) texts: Vec<(i64, &'a Chunk)>,
}

fn insert(n: i64, values: &[Value]) -> Statement {
    let places: Vec<String> = (1..=COLUMNS.len() + 1).map(|place| format!("?{place}")).collect();
    let sql = format!(
        "INSERT INTO sessions (n, {}) VALUES ({}) ON CONFLICT DO NOTHING",
        COLUMNS.join(", "),
        places.join(", ")
    );
    Statement::new(sql, [&[Value::Integer(n)], values].concat())
}

fn update(n: i64, values: &[Value]) -> Statement {
    let columns: Vec<String> =
        COLUMNS.iter().enumerate().map(|(place, column)| format!("{column} = ?{}", place + 2)).collect();
    let sql = format!("UPDATE sessions SET {} WHERE n = ?1", columns.join(", "));
    Statement::new(sql, [&[Value::Integer(n)], values].concat())
}
