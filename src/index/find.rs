//! Finding: which sessions are meant, the newest first.
//!
//! ```text
//!  nothing searched for          sessions, in their order
//!  few sessions are meant        sessions, in their order ─▶ all their lines
//!  else                          lines by the index of texts, the newest first ─▶ their sessions ─▶ the other texts
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::conditions::{self, Conditions};
use super::criterion::Criterion;
use super::database::{Database, Row, Statement, Value};
use super::error::IndexError;
use super::lines::session_of;
use super::query::{Cursor, Found, Hit, MOST, Page, Query};
use super::schema::{LATEST, LINE_BITS};
use super::session::{COLUMNS, Session, of_row};
use super::sqlite::LONGEST;

/// Up to so many sessions that are meant, it is their lines that are looked at.
const FEW: i64 = 2000;

/// How many sessions' lines are looked at together.
const TOGETHER: usize = 64;

/// How many lines come in one answer at most.
const LINES_AT_ONCE: i64 = 1000;

/// How many lines come in the first answer of an index of texts: each time more of them, where they are not enough.
const FIRST: i64 = 64;

/// The sessions that a query asks for.
pub(crate) async fn find(database: &dyn Database, query: &Query) -> Result<Page, IndexError> {
    let criteria = Criterion::of(query)?;
    let limit = if query.limit == 0 { MOST } else { query.limit.min(MOST) };
    let search = Search { database, query, criteria, limit };
    match tokio::time::timeout(LONGEST, search.page()).await {
        Ok(page) => page,
        Err(_) => Err(IndexError::TooLong(LONGEST.as_secs())),
    }
}

struct Search<'a> {
    database: &'a dyn Database,
    query: &'a Query,
    criteria: Vec<Criterion>,
    limit: usize,
}

/// Sessions that were found, by their numbers.
type Hits = BTreeMap<i64, Vec<Hit>>;

impl Search<'_> {
    async fn page(&self) -> Result<Page, IndexError> {
        let (from, to) = conditions::range(self.query);
        // one more than fits says whether there are more
        let mut found: Vec<(i64, Found)> = Vec::new();
        match self.criteria.split_first() {
            None => {
                for (n, session) in self.sessions(from, to, self.limit + 1).await? {
                    found.push((n, Found { session, hits: Vec::new() }));
                }
            }
            Some(_) if self.are_few(from, to).await? => self.by_sessions(from, to, &mut found).await?,
            Some((first, others)) => self.by_lines(first, others, from, to, &mut found).await?,
        }
        let more = found.len() > self.limit;
        found.truncate(self.limit);
        let next = found.last().filter(|_| more).map(|(n, _)| Cursor(*n));
        Ok(Page { found: found.into_iter().map(|(_, found)| found).collect(), next })
    }

    async fn are_few(&self, from: i64, to: i64) -> Result<bool, IndexError> {
        let mut all = conditions::of_session(self.query);
        add_range(&mut all, from, to);
        let limit = all.bind(Value::Integer(FEW + 1));
        let sql = format!("SELECT count(*) FROM (SELECT 1 FROM sessions WHERE {} LIMIT {limit}) AS counted", all.sql());
        let rows = self.database.rows(Statement::new(sql, all.values)).await?;
        Ok(rows.first().is_some_and(|row| row.integer(0) <= FEW))
    }

    async fn sessions(&self, from: i64, to: i64, limit: usize) -> Result<Vec<(i64, Session)>, IndexError> {
        let mut all = conditions::of_session(self.query);
        add_range(&mut all, from, to);
        let limit = all.bind(Value::count(limit as u64));
        let sql = format!("{} WHERE {} ORDER BY n DESC LIMIT {limit}", select(), all.sql());
        let rows = self.database.rows(Statement::new(sql, all.values)).await?;
        Ok(rows.iter().filter_map(numbered).collect())
    }

    async fn by_sessions(&self, from: i64, to: i64, found: &mut Vec<(i64, Found)>) -> Result<(), IndexError> {
        let mut to = to;
        while found.len() <= self.limit {
            let sessions = self.sessions(from, to, TOGETHER).await?;
            let Some((last, _)) = sessions.last() else { return Ok(()) };
            to = *last;
            let mut hits: Hits = sessions.iter().map(|(n, _)| (*n, Vec::new())).collect();
            for criterion in &self.criteria {
                hits = self.having(hits, criterion).await?;
            }
            self.add(sessions, hits, found);
        }
        Ok(())
    }

    /// Those of the sessions that have it, with where.
    async fn having(&self, sessions: Hits, criterion: &Criterion) -> Result<Hits, IndexError> {
        let mut missing: BTreeSet<i64> = sessions.keys().copied().collect();
        let (mut sessions, mut with, mut before) = (sessions, Hits::new(), i64::MAX);
        while !missing.is_empty() {
            let wanted: Vec<i64> = missing.iter().copied().collect();
            let Some(statement) = criterion.lines_of(&wanted, before, LINES_AT_ONCE) else { break };
            let lines = self.database.rows(statement).await?;
            for row in &lines {
                before = row.integer(0);
                let n = session_of(before);
                if let Some(hit) = missing.contains(&n).then(|| criterion.hit(row)).flatten() {
                    missing.remove(&n);
                    let mut hits = sessions.remove(&n).unwrap_or_default();
                    hits.push(hit);
                    with.insert(n, hits);
                }
            }
            if (lines.len() as i64) < LINES_AT_ONCE {
                break;
            }
            // those whose lines have all been looked at
            let now = session_of(before);
            missing.retain(|n| *n <= now);
        }
        Ok(with)
    }

    async fn by_lines(
        &self,
        first: &Criterion,
        others: &[Criterion],
        from: i64,
        to: i64,
        found: &mut Vec<(i64, Found)>,
    ) -> Result<(), IndexError> {
        let (from, mut to) = (from << LINE_BITS, to << LINE_BITS);
        let glance = first.glance(self.database.dialect());
        if glance > 0 {
            let lines = self.database.rows(first.lines((from, to), glance)).await?;
            if let Some(before) = self.take(&lines, first, others, found).await? {
                to = before;
            }
            if (lines.len() as i64) < glance {
                return Ok(());
            }
        }
        let mut limit = FIRST;
        while found.len() <= self.limit {
            let lines = self.database.rows(first.candidates(self.database.dialect(), (from, to), limit)).await?;
            if let Some(before) = self.take(&lines, first, others, found).await? {
                to = before;
            }
            if (lines.len() as i64) < limit {
                return Ok(());
            }
            limit = (limit * 4).min(LINES_AT_ONCE * 4);
        }
        Ok(())
    }

    /// Looks at lines; gives the key before which it goes on: the rest of a session whose line was found is not looked at again.
    async fn take(
        &self,
        lines: &[Row],
        first: &Criterion,
        others: &[Criterion],
        found: &mut Vec<(i64, Found)>,
    ) -> Result<Option<i64>, IndexError> {
        let mut hits = Hits::new();
        for row in lines {
            let n = session_of(row.integer(0));
            if !hits.contains_key(&n)
                && let Some(hit) = first.hit(row)
            {
                hits.insert(n, vec![hit]);
            }
        }
        let last = lines.last().map(|row| row.integer(0));
        let before =
            last.map(|key| if hits.contains_key(&session_of(key)) { session_of(key) << LINE_BITS } else { key });
        let wanted: Vec<i64> = hits.keys().rev().copied().collect();
        for some in wanted.chunks(TOGETHER) {
            if found.len() > self.limit {
                break;
            }
            let mut all = conditions::of_session(self.query);
            all.among("n", some);
            let sql = format!("{} WHERE {} ORDER BY n DESC", select(), all.sql());
            let rows = self.database.rows(Statement::new(sql, all.values)).await?;
            let sessions: Vec<(i64, Session)> = rows.iter().filter_map(numbered).collect();
            let mut these: Hits = sessions.iter().filter_map(|(n, _)| Some((*n, hits.remove(n)?))).collect();
            for criterion in others {
                these = self.having(these, criterion).await?;
            }
            self.add(sessions, these, found);
        }
        Ok(before)
    }

    fn add(&self, sessions: Vec<(i64, Session)>, mut hits: Hits, found: &mut Vec<(i64, Found)>) {
        let those =
            sessions.into_iter().filter_map(|(n, session)| Some((n, Found { session, hits: hits.remove(&n)? })));
        found.extend(those.take((self.limit + 1).saturating_sub(found.len())));
    }
}

fn add_range(all: &mut Conditions, from: i64, to: i64) {
    if from > 0 {
        all.add("n >= {}", Value::Integer(from));
    }
    if to < LATEST {
        all.add("n < {}", Value::Integer(to));
    }
}

/// `n` and a session's columns, of the table.
pub(crate) fn select() -> String {
    format!("SELECT n, {} FROM sessions", COLUMNS.join(", "))
}

/// A session with its `n`.
pub(crate) fn numbered(row: &Row) -> Option<(i64, Session)> {
    Some((row.integer(0), of_row(row, 1)?))
}
