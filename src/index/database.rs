//! What the index needs of a database: rows for a statement, and several statements that are done whole or not at all.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use super::error::IndexError;

/// The answer of a database, later.
pub(crate) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, IndexError>> + Send + 'a>>;

/// A database. Values are bound; no value is ever part of a statement's text.
pub(crate) trait Database: fmt::Debug + Send + Sync {
    /// Which SQL it speaks, where the two differ.
    fn dialect(&self) -> Dialect;
    /// The rows that a statement gives, all of them: a statement has its own LIMIT.
    fn rows(&self, statement: Statement) -> Answer<'_, Vec<Row>>;
    /// Does these in one transaction; gives how many rows each has changed.
    fn write(&self, statements: Vec<Statement>) -> Answer<'_, Vec<u64>>;
}

/// Which SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// SQLite's.
    Sqlite,
    /// PostgreSQL's.
    Postgres,
}

/// A statement with its values, whose places are `?1`, `?2` … in both dialects.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub(crate) sql: String,
    pub(crate) values: Vec<Value>,
}

impl Statement {
    pub(crate) fn new(sql: impl Into<String>, values: Vec<Value>) -> Self {
        Self { sql: sql.into(), values }
    }
}

/// A value: the few types that both databases have.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    /// `int4[]`; PostgreSQL only.
    Numbers(Vec<i32>),
}

impl Value {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        // PostgreSQL has no NUL in a text
        let text: String = text.into();
        Self::Text(if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text })
    }

    pub(crate) fn maybe(text: Option<&str>) -> Self {
        text.map_or(Self::Null, Self::text)
    }

    /// Of a number of the format's; what is beyond a database's integers is the largest of them.
    pub(crate) fn count(count: u64) -> Self {
        Self::Integer(i64::try_from(count).unwrap_or(i64::MAX))
    }

    pub(crate) fn number(number: Option<i64>) -> Self {
        number.map_or(Self::Null, Self::Integer)
    }
}

/// One row of an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row(pub(crate) Vec<Value>);

impl Row {
    /// An integer; 0 where there is none.
    pub(crate) fn integer(&self, column: usize) -> i64 {
        self.maybe_integer(column).unwrap_or_default()
    }

    pub(crate) fn maybe_integer(&self, column: usize) -> Option<i64> {
        match self.0.get(column) {
            Some(Value::Integer(number)) => Some(*number),
            _ => None,
        }
    }

    /// A number; 0 where there is none.
    pub(crate) fn real(&self, column: usize) -> f64 {
        match self.0.get(column) {
            Some(Value::Real(number)) => *number,
            _ => 0.0,
        }
    }

    /// A text; empty where there is none.
    pub(crate) fn str(&self, column: usize) -> &str {
        match self.0.get(column) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    /// The same, to keep.
    pub(crate) fn text(&self, column: usize) -> String {
        self.maybe_text(column).unwrap_or_default()
    }

    pub(crate) fn maybe_text(&self, column: usize) -> Option<String> {
        match self.0.get(column) {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => None,
        }
    }
}
