//! `portcullis policy explain`: what the policies say to one question, and why.

use serde_json::json;

use super::source::{self, Source};
use crate::cli::args::PolicyExplainArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output;
use crate::policy::{Explanation, Terms};

pub(super) fn run(args: &PolicyExplainArgs) -> Result<(), Failure> {
    let Source { policy, people } = source::read(&args.source)?;
    let scenario = args.question.scenario(&people).map_err(|wrong| Failure::new(Exit::Usage, wrong))?;
    let found = policy.explain(&scenario);
    let text = if args.json { json(&found) } else { words(&found) };
    output::print(&text)
}

fn words(found: &Explanation) -> String {
    let listed = |names: &std::collections::BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
    let mut text = match &found.outcome {
        Ok(terms) => {
            let mut text = format!("allowed by {}\n", listed(&found.policies));
            for line in obligations(terms) {
                text.push_str(&format!("  {line}\n"));
            }
            text
        }
        Err(denial) => format!("{} ({})\n", denial.text, denial.code),
    };
    if found.outcome.is_err() && !found.near.is_empty() {
        text.push_str(&format!("about this, but their conditions do not hold: {}\n", listed(&found.near)));
    }
    text
}

fn obligations(terms: &Terms) -> Vec<String> {
    let seconds =
        |what: &str, limit: Option<std::time::Duration>| limit.map(|limit| format!("{what} {} s", limit.as_secs()));
    let times = [seconds("lasts at most", terms.max_duration), seconds("may be silent for", terms.idle_timeout)];
    let limits = terms.upload_limits.iter();
    let uploads = limits.map(|(policy, bytes)| format!("uploads at most {bytes} bytes by leave of {policy}"));
    times.into_iter().flatten().chain(uploads).collect()
}

fn json(found: &Explanation) -> String {
    let (allowed, code, why) = match &found.outcome {
        Ok(_) => (true, None, None),
        Err(denial) => (false, Some(denial.code), Some(&denial.text)),
    };
    let terms = found.outcome.as_ref().ok();
    let answer = json!({
        "allowed": allowed,
        "policies": found.policies,
        "code": code,
        "why": why,
        "near": found.near,
        "max_duration_seconds": terms.and_then(|terms| terms.max_duration).map(|limit| limit.as_secs()),
        "idle_timeout_seconds": terms.and_then(|terms| terms.idle_timeout).map(|limit| limit.as_secs()),
        "upload_limit_bytes": terms.and_then(Terms::least_upload_limit).map(|(bytes, _)| bytes),
    });
    format!("{answer:#}\n")
}
