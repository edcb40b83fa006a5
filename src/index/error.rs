//! Why the index could not answer, or not take something.

/// Why the index could not answer, or not take something. Nothing is lost by any of it: the folders have everything.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The file is no database, or a damaged one.
    #[error("the index {place} is damaged ({why}); `portcullis sessions rebuild` makes it again from the folders")]
    Damaged {
        /// Which.
        place: String,
        /// What the database says.
        why: String,
    },
    /// A later version of this program has written it.
    #[error(
        "the index {place} is of a later version (its schema is {found}, this program knows {known}); use that version's portcullis, or another index"
    )]
    Newer {
        /// Which.
        place: String,
        /// The version of its schema.
        found: i64,
        /// The version that is known here.
        known: i64,
    },
    /// It can't be opened or reached.
    #[error("the index {place} can't be opened: {why}")]
    Unreachable {
        /// Which; of a URL without its password.
        place: String,
        /// Why, in words.
        why: String,
    },
    /// The database refused or broke off.
    #[error("the index did not answer: {0}")]
    Database(String),
    /// A search took longer than anybody waits.
    #[error("the search took more than {0} seconds and was given up; narrow it by a person, a node or a time")]
    TooLong(u64),
    /// A text to search for is too short to be found by an index.
    #[error("{what}: {text:?} is too short to search for; give at least three characters")]
    TooShort {
        /// Which filter.
        what: &'static str,
        /// What was asked.
        text: String,
    },
    /// A text to search for is longer than any that is found.
    #[error("{what}: what is searched for may have {most} characters at most")]
    TooMuch {
        /// Which filter.
        what: &'static str,
        /// The limit.
        most: usize,
    },
    /// A beginning of a session's id fits none.
    #[error("no session's id begins with {0}; `portcullis sessions` lists them")]
    Unknown(String),
    /// A beginning of a session's id fits several.
    #[error("{count} sessions' ids begin with {prefix}, such as {first} and {second}; give more of it")]
    Ambiguous {
        /// What was given.
        prefix: String,
        /// How many, at least.
        count: usize,
        /// One.
        first: String,
        /// Another.
        second: String,
    },
    /// That is no beginning of an id.
    #[error("{0:?} is no session's id, nor the beginning of one: it has digits, a to f, and hyphens")]
    NoId(String),
    /// The files of a folder can't be read.
    #[error("{place}: {why}")]
    Folder {
        /// Which folder or file.
        place: String,
        /// Why.
        why: String,
    },
}
