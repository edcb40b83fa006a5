//! `portcullis policy test`: scenarios, each a question and the answer that is expected.
//!
//! ```toml
//! [[scenario]]
//! says = "on-call people need a ticket in production"
//! person = "ada"
//! groups = ["on-call"]
//! node = "prod-1"
//! action = "Shell"
//! expect = "deny"
//! code = "reason-needed"
//! ```

use std::path::Path;

use serde::Deserialize;
use serde_json::json;

use super::Question;
use super::source::{self, Source};
use crate::cli::args::PolicyTestArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output;
use crate::model::counted;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    scenario: Vec<Expected>,
}

#[derive(Debug, Deserialize)]
struct Expected {
    /// What it is about, for people.
    says: String,
    expect: Outcome,
    /// A policy that must be among those that decide.
    policy: Option<String>,
    /// The code of the refusal.
    code: Option<String>,
    #[serde(flatten)]
    question: toml::Table,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Allow,
    Deny,
}

/// One scenario, and what is wrong with it.
struct Tested {
    file: String,
    says: String,
    wrong: Option<String>,
}

pub(super) fn run(args: &PolicyTestArgs) -> Result<(), Failure> {
    let source = source::read(&args.source)?;
    let mut tested = Vec::new();
    for path in &args.scenarios {
        for expected in read(path)? {
            let wrong = differs(&expected, &source);
            tested.push(Tested { file: path.display().to_string(), says: expected.says, wrong });
        }
    }
    let failed = tested.iter().filter(|one| one.wrong.is_some()).count();
    let text = match args.json {
        true => {
            let one = |one: &Tested| json!({ "file": one.file, "says": one.says, "wrong": one.wrong });
            format!("{:#}\n", json!({ "ok": failed == 0, "scenarios": tested.iter().map(one).collect::<Vec<_>>() }))
        }
        false => {
            let lines = tested
                .iter()
                .filter_map(|one| Some(format!("{}: {}\n  {}\n", one.file, one.says, one.wrong.as_ref()?)));
            format!("{}{}, {failed} not as expected\n", lines.collect::<String>(), counted(tested.len(), "scenario"))
        }
    };
    output::print(&text)?;
    match failed {
        0 => Ok(()),
        _ => Err(Failure::new(
            Exit::Differs,
            format!("{} answered otherwise than expected", counted(failed, "scenario")),
        )),
    }
}

fn read(path: &Path) -> Result<Vec<Expected>, Failure> {
    let failure = |why: String| Failure::new(Exit::Config, format!("{}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| failure(error.to_string()))?;
    let file: File = toml::from_str(&text).map_err(|error| failure(error.to_string()))?;
    Ok(file.scenario)
}

/// How the answer differs from what is expected, if it does.
fn differs(expected: &Expected, source: &Source) -> Option<String> {
    let Source { policy, people, realm, .. } = source;
    let question: Result<Question, String> =
        expected.question.clone().try_into().map_err(|error: toml::de::Error| error.message().to_owned());
    let scenario = match question.and_then(|question| question.scenario(people, realm.as_ref())) {
        Ok(scenario) => scenario,
        Err(wrong) => return Some(wrong),
    };
    let found = policy.explain(&scenario);
    let (outcome, said, code) = match &found.outcome {
        Ok(_) => (Outcome::Allow, "it is allowed".to_owned(), None),
        Err(denial) => (Outcome::Deny, denial.text.clone(), Some(denial.code.name())),
    };
    let names = found.policies.iter().cloned().collect::<Vec<_>>().join(", ");
    if outcome != expected.expect {
        return Some(format!("{said} ({names})"));
    }
    if let Some(wanted) = expected.policy.as_ref().filter(|wanted| !found.policies.contains(*wanted)) {
        return Some(format!("{names} decided it, not {wanted}"));
    }
    let wanted = expected.code.as_deref().filter(|wanted| code != Some(*wanted));
    wanted.map(|wanted| format!("the code is {}, not {wanted}", code.unwrap_or("none")))
}
