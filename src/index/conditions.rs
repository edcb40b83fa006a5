//! The conditions of a statement, whose values are bound in the order in which they are said.

use super::database::Value;
use super::moment;
use super::query::Query;
use super::schema::LATEST;

/// Conditions that must all be so.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditions {
    parts: Vec<String>,
    pub(crate) values: Vec<Value>,
}

impl Conditions {
    /// Adds one, in which each `{}` stands for this value.
    pub(crate) fn add(&mut self, condition: &str, value: Value) {
        let place = self.bind(value);
        self.parts.push(condition.replace("{}", &place));
    }

    /// Binds a value; gives how it is written.
    pub(crate) fn bind(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("?{}", self.values.len())
    }

    /// Adds that a column is one of these.
    pub(crate) fn among(&mut self, column: &str, numbers: &[i64]) {
        let places: Vec<String> = numbers.iter().map(|number| self.bind(Value::Integer(*number))).collect();
        self.parts.push(format!("{column} IN ({})", places.join(", ")));
    }

    /// What stands behind WHERE.
    pub(crate) fn sql(&self) -> String {
        if self.parts.is_empty() { "1 = 1".to_owned() } else { self.parts.join(" AND ") }
    }
}

/// What a query says of the session itself.
pub(crate) fn of_session(query: &Query) -> Conditions {
    let mut all = Conditions::default();
    let texts = [
        ("person = {}", &query.person),
        ("(node_id = {} OR node_name = {} OR node_called = {})", &query.node),
        ("action = {}", &query.action),
        ("outcome = {}", &query.outcome),
    ];
    for (condition, wanted) in texts {
        if let Some(wanted) = wanted {
            all.add(condition, Value::text(wanted));
        }
    }
    match query.live {
        // in the words of the index of live ones
        Some(true) => all.parts.push("live = 1".to_owned()),
        Some(false) => all.parts.push("live = 0".to_owned()),
        None => {}
    }
    all
}

/// The numbers of sessions that a query is about, by their times and where it goes on: from, and up to but not.
pub(crate) fn range(query: &Query) -> (i64, i64) {
    let from = query.since.map_or(0, moment::of).clamp(0, LATEST);
    let until = query.until.map_or(LATEST, moment::of).clamp(0, LATEST);
    (from, query.after.map_or(until, |after| after.0.min(until)))
}
