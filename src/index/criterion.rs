//! What is searched for in what happened in a session.

use super::conditions::Conditions;
use super::database::{Dialect, Row, Statement, Value};
use super::error::IndexError;
use super::lines::keys_of;
use super::needle::Needle;
use super::query::{Hit, Query};

/// How wide an excerpt is, in characters.
const WIDTH: usize = 160;

/// One of the texts, or the hash, that a query has.
#[derive(Clone, Debug)]
pub(crate) enum Criterion {
    Hash(String),
    Path(Needle),
    Command(Needle),
    Output(Needle),
}

impl Criterion {
    /// All of a query, those first that are likely to be rarest.
    pub(crate) fn of(query: &Query) -> Result<Vec<Self>, IndexError> {
        let mut all = Vec::new();
        if let Some(hash) = &query.sha256 {
            all.push(Self::Hash(hash.to_ascii_lowercase()));
        }
        if let Some(path) = &query.path {
            all.push(Self::Path(Needle::new("the path", path)?));
        }
        if let Some(command) = &query.command {
            all.push(Self::Command(Needle::new("the command", command)?));
        }
        if let Some(output) = &query.output {
            all.push(Self::Output(Needle::new("the output", output)?));
        }
        Ok(all)
    }

    fn table(&self) -> &'static str {
        match self {
            Self::Hash(_) | Self::Path(_) => "files",
            Self::Command(_) => "commands",
            Self::Output(_) => "texts",
        }
    }

    fn columns(&self) -> &'static str {
        match self {
            Self::Hash(_) | Self::Path(_) => {
                "r.key, r.at, r.path, r.real_path, r.second_path, r.sha256, r.sha256_of_part, r.action"
            }
            Self::Command(_) => "r.key, r.at, r.command",
            Self::Output(_) => "r.key, r.at, r.text",
        }
    }

    fn needle(&self) -> Option<&Needle> {
        match self {
            Self::Hash(_) => None,
            Self::Path(needle) | Self::Command(needle) | Self::Output(needle) => Some(needle),
        }
    }

    /// The newest lines with these keys (from, and up to but not) that may have it, by the index of texts.
    pub(crate) fn candidates(&self, dialect: Dialect, keys: (i64, i64), limit: i64) -> Statement {
        let (table, columns) = (self.table(), self.columns());
        let mut all = Conditions::default();
        let from = match (self, self.needle(), dialect) {
            (Self::Hash(hash), _, _) => {
                all.add("(r.sha256 = {} OR r.sha256_of_part = {})", Value::text(hash));
                format!("{table} AS r")
            }
            (_, Some(needle), Dialect::Sqlite) => {
                all.add(&format!("{table}_text MATCH {{}}"), Value::text(needle.for_fts()));
                // CROSS: the texts' index first, which gives the newest first
                all.add(&format!("{table}_text.rowid >= {{}}"), Value::Integer(keys.0));
                all.add(&format!("{table}_text.rowid < {{}}"), Value::Integer(keys.1));
                let limit = all.bind(Value::Integer(limit));
                let sql = format!(
                    "SELECT {columns} FROM {table}_text CROSS JOIN {table} AS r ON r.key = {table}_text.rowid WHERE {} \
                     ORDER BY {table}_text.rowid DESC LIMIT {limit}",
                    all.sql()
                );
                return Statement::new(sql, all.values);
            }
            (_, needle, _) => {
                all.add("r.trigrams @> {}", Value::Numbers(needle.map(Needle::numbers).unwrap_or_default()));
                format!("{table} AS r")
            }
        };
        all.add("r.key >= {}", Value::Integer(keys.0));
        all.add("r.key < {}", Value::Integer(keys.1));
        let limit = all.bind(Value::Integer(limit));
        let sql = format!("SELECT {columns} FROM {from} WHERE {} ORDER BY r.key DESC LIMIT {limit}", all.sql());
        Statement::new(sql, all.values)
    }

    /// The newest lines with these keys, whatever they have.
    pub(crate) fn lines(&self, keys: (i64, i64), limit: i64) -> Statement {
        let sql = format!(
            "SELECT {} FROM {} AS r WHERE r.key >= ?1 AND r.key < ?2 ORDER BY r.key DESC LIMIT ?3",
            self.columns(),
            self.table()
        );
        Statement::new(sql, vec![Value::Integer(keys.0), Value::Integer(keys.1), Value::Integer(limit)])
    }

    /// The newest lines of these sessions before a key, whatever they have; none where there can't be any.
    pub(crate) fn lines_of(&self, sessions: &[i64], before: i64, limit: i64) -> Option<Statement> {
        let mut all = Conditions::default();
        let ranges = sessions.iter().map(|n| keys_of(*n)).map(|(from, to)| (from, to.min(before)));
        // each a range of its own: joined with the sessions, either database would rather go through all lines
        let parts: Vec<String> = ranges
            .filter(|(from, to)| from < to)
            .map(|(from, to)| {
                let (from, to) = (all.bind(Value::Integer(from)), all.bind(Value::Integer(to)));
                let (table, columns) = (self.table(), self.columns());
                format!("SELECT {columns} FROM {table} AS r WHERE r.key >= {from} AND r.key < {to}")
            })
            .collect();
        let limit = all.bind(Value::Integer(limit));
        let sql = format!("SELECT * FROM ({}) AS r ORDER BY r.key DESC LIMIT {limit}", parts.join(" UNION ALL "));
        (!parts.is_empty()).then(|| Statement::new(sql, all.values))
    }

    /// How many lines are looked at one by one before the index of texts is asked: what is in every tenth is found there at once.
    pub(crate) fn glance(&self, dialect: Dialect) -> i64 {
        match (dialect, self) {
            // its index gives the newest first by itself
            (Dialect::Sqlite, _) | (_, Self::Hash(_)) => 0,
            (Dialect::Postgres, Self::Path(_) | Self::Command(_)) => 2000,
            (Dialect::Postgres, Self::Output(_)) => 500,
        }
    }

    /// What a line has of it.
    pub(crate) fn hit(&self, row: &Row) -> Option<Hit> {
        let at = row.real(1);
        match self {
            Self::Hash(hash) => [5, 6].iter().any(|column| row.str(*column) == hash).then(|| {
                let text = format!("{} {}", row.text(7), row.text(2));
                Hit { kind: "file", at, text }
            }),
            Self::Path(needle) => (2..5).find_map(|column| {
                let path = row.maybe_text(column)?;
                needle.find(&path)?;
                Some(Hit { kind: "file", at, text: format!("{} {path}", row.text(7)) })
            }),
            Self::Command(needle) => needle.excerpt(row.str(2), WIDTH).map(|text| Hit { kind: "command", at, text }),
            Self::Output(needle) => needle.excerpt(row.str(2), WIDTH).map(|text| Hit { kind: "output", at, text }),
        }
    }
}
