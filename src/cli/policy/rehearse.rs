//! `portcullis policy rehearse`: what people did and were refused, asked of other policies.

use std::time::Instant;

use serde_json::json;

use super::recorded::{self, Recorded};
use super::source::{self, Source};
use crate::cli::args::PolicyRehearseArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output;
use crate::model::counted;
use crate::policy::Policy;

/// A decision that would be another.
struct Turned<'a> {
    was: &'a Recorded,
    /// What they would be told.
    now: String,
    policies: Vec<String>,
}

pub(super) fn run(args: &PolicyRehearseArgs) -> Result<(), Failure> {
    let Source { policy, .. } = source::read(&args.source)?;
    let story = recorded::read(&args.logs).map_err(|why| Failure::new(Exit::Config, why))?;
    let mut took = Vec::with_capacity(story.decisions.len());
    let timed = |was| {
        let start = Instant::now();
        let turned = turn(was, &policy);
        took.push(start.elapsed());
        turned
    };
    let turned: Vec<Turned<'_>> = story.decisions.iter().filter_map(timed).collect();
    took.sort();
    let median = took.get(took.len() / 2).copied().unwrap_or_default();
    let (asked, unread) = (story.decisions.len(), story.unreadable);
    let text = match args.json {
        true => {
            let one = |turned: &Turned<'_>| {
                let was = &turned.was;
                json!({
                    "time": was.time, "id": was.id, "person": was.scenario.person, "node": was.scenario.node.node.id.0,
                    "realm": was.scenario.node.node.realm.as_str(),
                    "action": was.scenario.action.name(), "was_allowed": was.allowed, "by": was.policy,
                    "would_be": turned.now, "policies": turned.policies,
                })
            };
            let turned = turned.iter().map(one).collect::<Vec<_>>();
            format!(
                "{:#}\n",
                json!({ "decisions": asked, "not_asked": unread, "median_nanoseconds": u64::try_from(median.as_nanos()).unwrap_or(u64::MAX), "turned": turned })
            )
        }
        false => {
            let lines = turned.iter().map(|turned| format!("{}\n  {}\n", what(turned.was), turned.now));
            let unread = match unread {
                0 => String::new(),
                count => format!(", {count} not kept whole and not asked"),
            };
            let decisions = counted(asked, "decision");
            format!("{}{decisions}, {} would turn{unread}\n", lines.collect::<String>(), turned.len())
        }
    };
    output::print(&text)?;
    match turned.len() {
        0 => Ok(()),
        count => Err(Failure::new(Exit::Differs, format!("{} would turn", counted(count, "decision")))),
    }
}

fn turn<'a>(was: &'a Recorded, policy: &Policy) -> Option<Turned<'a>> {
    let found = policy.outcome(&was.scenario);
    let policies: Vec<String> = found.policies.iter().cloned().collect();
    match (was.allowed, &found.outcome) {
        (true, Err(denial)) => {
            Some(Turned { was, now: format!("allowed by {}; would be {}", was.policy, denial.text), policies })
        }
        (false, Ok(_)) => {
            let now = format!("denied by {}; would be allowed by {}", was.policy, policies.join(", "));
            Some(Turned { was, now, policies })
        }
        (true, Ok(_)) | (false, Err(_)) => None,
    }
}

/// Who did what where and when, in a line.
pub(super) fn what(recorded: &Recorded) -> String {
    let scenario = &recorded.scenario;
    let user = scenario.os_user.as_deref().map(|user| format!(" as {user}")).unwrap_or_default();
    let (action, node) = (scenario.action.name(), &scenario.node_name);
    format!("{}  {} {action} on {node}{user}", recorded.time, scenario.person)
}
