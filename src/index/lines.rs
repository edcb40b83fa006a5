//! The rows of what happened in a session: commands, files, texts; several to a statement.

use portcullis_folder::{CommandRecord, FileRecord};

use super::chunks::Chunk;
use super::database::{Dialect, Statement, Value};
use super::needle::{trigrams, trigrams_of_all};
use super::schema::{LINE_BITS, LINES};

/// How many rows a statement adds at most: their values are fewer than either database binds.
const ROWS: usize = 200;

/// The key of a line of the session `n`; none beyond the last.
pub(crate) fn key(n: i64, line: u64) -> Option<i64> {
    (line < LINES).then(|| (n << LINE_BITS) | i64::try_from(line).unwrap_or_default())
}

/// The session of a key.
pub(crate) fn session_of(key: i64) -> i64 {
    key >> LINE_BITS
}

/// The keys of all lines of a session: from, and up to but not.
pub(crate) fn keys_of(n: i64) -> (i64, i64) {
    let first = n << LINE_BITS;
    (first, first.saturating_add(i64::try_from(LINES).unwrap_or(i64::MAX)))
}

pub(crate) const COMMAND_COLUMNS: &str =
    "key, time, at, command, command_sha256, how, confidence, verdict, policy, status";
pub(crate) const FILE_COLUMNS: &str = "key, time, at, action, path, real_path, second_path, direction, bytes, sha256, sha256_of_part, part_offset, outcome, code, policy, why";

/// Adds commands; one that is there already stays what it is.
pub(crate) fn commands<'a>(
    dialect: Dialect,
    records: impl IntoIterator<Item = (i64, &'a CommandRecord)>,
) -> Vec<Statement> {
    let row = |(key, record): (i64, &CommandRecord)| {
        let mut row = vec![
            Value::Integer(key),
            Value::text(&record.time),
            Value::Real(record.at),
            Value::text(&record.command),
            Value::maybe(record.command_sha256.as_deref()),
            Value::text(how(record)),
            Value::Real(record.confidence),
            Value::maybe(record.verdict.as_deref()),
            Value::maybe(record.policy.as_deref()),
            Value::number(record.exit.map(i64::from)),
        ];
        if dialect == Dialect::Postgres {
            row.push(Value::Numbers(trigrams(&record.command)));
        }
        row
    };
    add(dialect, "commands", COMMAND_COLUMNS, records.into_iter().map(row))
}

/// Adds files, each with its time in seconds since the session was opened.
pub(crate) fn files<'a>(
    dialect: Dialect,
    records: impl IntoIterator<Item = (i64, f64, &'a FileRecord)>,
) -> Vec<Statement> {
    let row = |(key, at, record): (i64, f64, &FileRecord)| {
        let number = |number: Option<u64>| number.map_or(Value::Null, Value::count);
        let mut row = vec![
            Value::Integer(key),
            Value::text(&record.time),
            Value::Real(at),
            Value::text(&record.action),
            Value::text(&record.path),
            Value::maybe(record.real_path.as_deref()),
            Value::maybe(record.second_path.as_deref()),
            Value::maybe(record.direction.as_deref()),
            number(record.bytes),
            Value::maybe(record.sha256.as_deref()),
            Value::maybe(record.sha256_of_part.as_deref()),
            number(record.part_offset),
            Value::text(&record.outcome),
            Value::maybe(record.code.as_deref()),
            Value::maybe(record.policy.as_deref()),
            Value::maybe(record.why.as_deref()),
        ];
        if dialect == Dialect::Postgres {
            let paths = [Some(record.path.as_str()), record.real_path.as_deref(), record.second_path.as_deref()];
            row.push(Value::Numbers(trigrams_of_all(paths)));
        }
        row
    };
    add(dialect, "files", FILE_COLUMNS, records.into_iter().map(row))
}

/// Adds what was shown.
pub(crate) fn texts<'a>(dialect: Dialect, chunks: impl IntoIterator<Item = (i64, &'a Chunk)>) -> Vec<Statement> {
    let row = |(key, chunk): (i64, &Chunk)| {
        let mut row = vec![Value::Integer(key), Value::Real(chunk.at), Value::text(&chunk.text)];
        if dialect == Dialect::Postgres {
            row.push(Value::Numbers(trigrams(&chunk.text)));
        }
        row
    };
    add(dialect, "texts", "key, at, text", chunks.into_iter().map(row))
}

/// Takes out all lines of a session.
pub(crate) fn remove(n: i64) -> Vec<Statement> {
    let (from, to) = keys_of(n);
    let of = |table: &str| {
        Statement::new(
            format!("DELETE FROM {table} WHERE key >= ?1 AND key < ?2"),
            vec![Value::Integer(from), Value::Integer(to)],
        )
    };
    ["commands", "files", "texts"].map(of).into()
}

fn how(record: &CommandRecord) -> String {
    // the word that the format has for it
    match serde_json::to_value(record.how) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

fn add(dialect: Dialect, table: &str, columns: &str, rows: impl Iterator<Item = Vec<Value>>) -> Vec<Statement> {
    let columns = match dialect {
        Dialect::Sqlite => columns.to_owned(),
        Dialect::Postgres => format!("{columns}, trigrams"),
    };
    let rows: Vec<Vec<Value>> = rows.collect();
    let statement = |rows: &[Vec<Value>]| {
        let mut place = 0;
        let tuples: Vec<String> = rows
            .iter()
            .map(|row| {
                let places: Vec<String> = row
                    .iter()
                    .map(|_| {
                        place += 1;
                        format!("?{place}")
                    })
                    .collect();
                format!("({})", places.join(", "))
            })
            .collect();
        let sql = format!("INSERT INTO {table} ({columns}) VALUES {} ON CONFLICT (key) DO NOTHING", tuples.join(", "));
        Statement::new(sql, rows.concat())
    };
    rows.chunks(ROWS).map(statement).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_whose_it_is_and_one_too_many_has_none() {
        let n = 1_796_000_000_000;
        assert_eq!(session_of(key(n, LINES - 1).unwrap()), n);
        assert_eq!(key(n, LINES), None);
        let (from, to) = keys_of(n);
        assert_eq!(session_of(from), n);
        assert_eq!(session_of(to - 1), n);
        assert_eq!(session_of(to), n + 1);
    }
}
