//! The tables, by versions: an index of an earlier one is brought up to date, one of a later is left alone.
//!
//! ```text
//!  sessions   n, id, who, where, why …          n: when it was opened, in milliseconds since 1970; the next free one
//!  commands   key, at, command …        ┐
//!  files      key, path, sha256 …       ├ key = n · 2^20 + the line's number: what is newest has the greatest
//!  texts      key, at, text             ┘
//! ```
//!
//! Both n and key sort by time, so the newest hits are found without sorting all of them, and where to go on is a number.
//! A text is found by its trigrams, the sequences of three characters, small letters for capitals: in SQLite by FTS5's own, in
//! PostgreSQL by an array of numbers under a GIN index, which needs no extension. What has all trigrams is then compared.

use super::database::Dialect;
use super::error::IndexError;

/// Bits of a key that are a line's number in its session.
pub(crate) const LINE_BITS: u32 = 20;

/// The most lines of one kind that a session may have here.
pub(crate) const LINES: u64 = 1 << LINE_BITS;

/// The latest that a session may be opened: what is left of 63 bits. The year 2248.
pub(crate) const LATEST: i64 = (1 << (63 - LINE_BITS)) - 1;

/// The migrations from the version found to the one known here, each with the version that it makes.
pub(crate) fn missing(dialect: Dialect, found: i64, place: &str) -> Result<Vec<(i64, &'static str)>, IndexError> {
    let all = match dialect {
        Dialect::Sqlite => SQLITE,
        Dialect::Postgres => POSTGRES,
    };
    let known = all.last().map_or(0, |(version, _)| *version);
    if found > known {
        return Err(IndexError::Newer { place: place.to_owned(), found, known });
    }
    Ok(all.iter().copied().filter(|(version, _)| *version > found).collect())
}

const SQLITE: &[(i64, &str)] = &[(
    1,
    "
CREATE TABLE sessions (
    n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, gateway TEXT NOT NULL, day TEXT NOT NULL, person TEXT NOT NULL,
    groups_json TEXT NOT NULL, source TEXT NOT NULL, login TEXT NOT NULL, node_id TEXT NOT NULL, realm TEXT NOT NULL,
    node_name TEXT NOT NULL, node_called TEXT, os_user TEXT, action TEXT NOT NULL, command TEXT, pty INTEGER NOT NULL,
    reason TEXT, policy TEXT NOT NULL, opened INTEGER NOT NULL, closed INTEGER, outcome TEXT, why TEXT, code INTEGER,
    signal TEXT, bytes_in INTEGER NOT NULL, bytes_out INTEGER NOT NULL, commands INTEGER NOT NULL, files INTEGER NOT NULL,
    refused INTEGER NOT NULL, live INTEGER NOT NULL, head TEXT, complete INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_person ON sessions (person, n);
CREATE INDEX sessions_node_id ON sessions (node_id, n);
CREATE INDEX sessions_node_name ON sessions (node_name, n);
CREATE INDEX sessions_node_called ON sessions (node_called, n);
CREATE INDEX sessions_action ON sessions (action, n);
CREATE INDEX sessions_outcome ON sessions (outcome, n);
CREATE INDEX sessions_day ON sessions (day, gateway);
CREATE INDEX sessions_live ON sessions (n) WHERE live = 1;

CREATE TABLE commands (
    key INTEGER PRIMARY KEY, time TEXT NOT NULL, at REAL NOT NULL, command TEXT NOT NULL, command_sha256 TEXT,
    how TEXT NOT NULL, confidence REAL NOT NULL, verdict TEXT, policy TEXT, status INTEGER
) STRICT;
CREATE VIRTUAL TABLE commands_text USING fts5
    (command, content='commands', content_rowid='key', tokenize='trigram', detail='none', columnsize=0);
CREATE TRIGGER commands_added AFTER INSERT ON commands BEGIN
    INSERT INTO commands_text (rowid, command) VALUES (new.key, new.command);
END;
CREATE TRIGGER commands_gone AFTER DELETE ON commands BEGIN
    INSERT INTO commands_text (commands_text, rowid, command) VALUES ('delete', old.key, old.command);
END;

CREATE TABLE files (
    key INTEGER PRIMARY KEY, time TEXT NOT NULL, at REAL NOT NULL, action TEXT NOT NULL, path TEXT NOT NULL, real_path TEXT,
    second_path TEXT, direction TEXT, bytes INTEGER, sha256 TEXT, sha256_of_part TEXT, part_offset INTEGER,
    outcome TEXT NOT NULL, code TEXT, policy TEXT, why TEXT
) STRICT;
CREATE INDEX files_sha256 ON files (sha256, key) WHERE sha256 IS NOT NULL;
CREATE INDEX files_sha256_of_part ON files (sha256_of_part, key) WHERE sha256_of_part IS NOT NULL;
CREATE VIRTUAL TABLE files_text USING fts5
    (path, real_path, second_path, content='files', content_rowid='key', tokenize='trigram', detail='none', columnsize=0);
CREATE TRIGGER files_added AFTER INSERT ON files BEGIN
    INSERT INTO files_text (rowid, path, real_path, second_path) VALUES (new.key, new.path, new.real_path, new.second_path);
END;
CREATE TRIGGER files_gone AFTER DELETE ON files BEGIN
    INSERT INTO files_text (files_text, rowid, path, real_path, second_path)
        VALUES ('delete', old.key, old.path, old.real_path, old.second_path);
END;

CREATE TABLE texts (key INTEGER PRIMARY KEY, at REAL NOT NULL, text TEXT NOT NULL) STRICT;
CREATE VIRTUAL TABLE texts_text USING fts5
    (text, content='texts', content_rowid='key', tokenize='trigram', detail='none', columnsize=0);
CREATE TRIGGER texts_added AFTER INSERT ON texts BEGIN
    INSERT INTO texts_text (rowid, text) VALUES (new.key, new.text);
END;
CREATE TRIGGER texts_gone AFTER DELETE ON texts BEGIN
    INSERT INTO texts_text (texts_text, rowid, text) VALUES ('delete', old.key, old.text);
END;
",
)];

const POSTGRES: &[(i64, &str)] = &[(
    1,
    "
CREATE TABLE sessions (
    n bigint PRIMARY KEY, id text COLLATE \"C\" NOT NULL UNIQUE, gateway text NOT NULL, day text COLLATE \"C\" NOT NULL,
    person text NOT NULL, groups_json text NOT NULL, source text NOT NULL, login text NOT NULL, node_id text NOT NULL,
    realm text NOT NULL, node_name text NOT NULL, node_called text, os_user text, action text NOT NULL, command text,
    pty bigint NOT NULL, reason text, policy text NOT NULL, opened bigint NOT NULL, closed bigint, outcome text, why text,
    code bigint, signal text, bytes_in bigint NOT NULL, bytes_out bigint NOT NULL, commands bigint NOT NULL,
    files bigint NOT NULL, refused bigint NOT NULL, live bigint NOT NULL, head text, complete bigint NOT NULL
);
CREATE INDEX sessions_person ON sessions (person, n);
CREATE INDEX sessions_node_id ON sessions (node_id, n);
CREATE INDEX sessions_node_name ON sessions (node_name, n);
CREATE INDEX sessions_node_called ON sessions (node_called, n);
CREATE INDEX sessions_action ON sessions (action, n);
CREATE INDEX sessions_outcome ON sessions (outcome, n);
CREATE INDEX sessions_day ON sessions (day, gateway);
CREATE INDEX sessions_live ON sessions (n) WHERE live = 1;

CREATE TABLE commands (
    key bigint PRIMARY KEY, time text NOT NULL, at double precision NOT NULL, command text NOT NULL, command_sha256 text,
    how text NOT NULL, confidence double precision NOT NULL, verdict text, policy text, status bigint,
    trigrams int4[] NOT NULL
);
CREATE INDEX commands_trigrams ON commands USING gin (trigrams);

CREATE TABLE files (
    key bigint PRIMARY KEY, time text NOT NULL, at double precision NOT NULL, action text NOT NULL, path text NOT NULL,
    real_path text, second_path text, direction text, bytes bigint, sha256 text, sha256_of_part text, part_offset bigint,
    outcome text NOT NULL, code text, policy text, why text, trigrams int4[] NOT NULL
);
CREATE INDEX files_sha256 ON files (sha256, key) WHERE sha256 IS NOT NULL;
CREATE INDEX files_sha256_of_part ON files (sha256_of_part, key) WHERE sha256_of_part IS NOT NULL;
CREATE INDEX files_trigrams ON files USING gin (trigrams);

CREATE TABLE texts (
    key bigint PRIMARY KEY, at double precision NOT NULL, text text NOT NULL, trigrams int4[] NOT NULL
);
CREATE INDEX texts_trigrams ON texts USING gin (trigrams);
",
)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_of_a_later_version_is_refused_with_a_sentence_and_an_earlier_one_brought_up() {
        for dialect in [Dialect::Sqlite, Dialect::Postgres] {
            assert_eq!(missing(dialect, 0, "x").unwrap().len(), 1);
            assert!(missing(dialect, 1, "x").unwrap().is_empty());
            let refused = missing(dialect, 2, "the/index").unwrap_err().to_string();
            assert!(refused.contains("the/index is of a later version"), "{refused}");
        }
    }

    #[test]
    fn a_key_of_the_latest_session_is_a_positive_number() {
        let latest = (LATEST << LINE_BITS) + i64::try_from(LINES - 1).unwrap();
        assert_eq!(latest, i64::MAX);
    }
}
