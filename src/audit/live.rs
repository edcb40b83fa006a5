//! Sessions that run, as the gateway tells of them.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::args::ListArgs;
use super::shown::shown;
use super::table::Row;
use crate::model::lasting;
use crate::session::Running;

/// A session that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveSession {
    /// Its number.
    pub id: Uuid,
    /// Who.
    pub person: String,
    /// Where, as the person wrote it.
    pub node: String,
    /// As whom; none means the agent's own user.
    pub os_user: Option<String>,
    /// What.
    pub action: String,
    /// The client's address and port.
    pub source: String,
    /// Since when (RFC 3339), and for how many seconds.
    pub since: String,
    /// For how many seconds.
    pub seconds: u64,
}

impl From<&Running> for LiveSession {
    fn from(session: &Running) -> Self {
        Self {
            id: session.id,
            person: session.person.clone(),
            node: session.node_name.to_string(),
            os_user: session.os_user.clone(),
            action: session.action.to_owned(),
            source: session.source.to_string(),
            since: OffsetDateTime::from(session.since).format(&Rfc3339).unwrap_or_default(),
            seconds: SystemTime::now().duration_since(session.since).unwrap_or_default().as_secs(),
        }
    }
}

/// How much of a number is shown where that is enough: what is asked for at least.
const SHORT: usize = 8;

/// Those that are meant.
pub(super) fn meant(all: Vec<LiveSession>, args: &ListArgs) -> Vec<LiveSession> {
    let is = |value: &str, wanted: &Option<String>| wanted.as_deref().is_none_or(|wanted| value == wanted);
    let meant = all.into_iter().filter(|session| {
        is(&session.person, &args.person) && is(&session.node, &args.node) && is(&session.action, &args.action)
    });
    meant.take(args.limit.into()).collect()
}

/// Their rows of the table.
pub(super) fn rows_of_live(all: &[LiveSession]) -> Vec<Row> {
    let numbers: Vec<String> = all.iter().map(|session| session.id.to_string()).collect();
    let short = |number: &str| {
        let short: String = number.chars().take(SHORT).collect();
        let is_one = numbers.iter().filter(|other| other.starts_with(&short)).count() == 1;
        if is_one { short } else { number.to_owned() }
    };
    let row = |(session, number): (&LiveSession, &String)| {
        let user = session.os_user.as_deref().map(|user| format!(" as {}", shown(user))).unwrap_or_default();
        [
            short(number),
            shown(&session.since).chars().take(19).collect::<String>().replace('T', " "),
            shown(&session.person),
            format!("{}{user}", shown(&session.node)),
            format!("{}, from {}", shown(&session.action), shown(&session.source)),
            lasting(session.seconds),
            "live".to_owned(),
        ]
    };
    all.iter().zip(&numbers).map(row).collect()
}
