//! `portcullis documents`: the session documents that the lanes need in an account. Compares what is there with what
//! should be, prints it for other tooling, or puts it there.

use serde_json::{Map, Value};

use super::args::DocumentsArgs;
use super::exit::{Exit, Failure};
use super::failure::config_failure;
use super::output;
use super::realm;
use super::runtime::patiently;
use crate::app;
use crate::backend::preferences::Preferences;
use crate::backend::{BackendError, Directory as _};
use crate::config::Trust;
use crate::transport;

pub(super) async fn run(args: &DocumentsArgs) -> Result<(), Failure> {
    if args.print && !args.realm {
        return print(&wanted(&Preferences::default())?);
    }
    let file = &args.config.config;
    let loaded = app::read(file, Trust::Anybodys, &args.config.overrides)
        .map_err(|error| config_failure(file, &error, "; nothing was done"))?;
    let config = loaded.config;
    let backend = patiently("reading the AWS configuration", realm::backend(&config, None)).await?;
    let preferences = Preferences::of_account(&backend).await.map_err(service_failure)?;
    let conflicts = preferences.lane_conflicts(config.realm.evidence_replaces_agent_logging);
    if !conflicts.is_empty() {
        let what = conflicts.join(", and ");
        output::note(&format!(
            "warning: the account's session preferences {what}; lanes will be refused until that ends"
        ));
    }
    let wanted = wanted(&preferences)?;
    if args.print {
        return print(&wanted);
    }
    let mut differing = 0;
    for (name, content) in &wanted {
        let found = backend.document(name).await.map_err(service_failure)?;
        let state = State::of(found.as_deref(), content);
        if state == State::Same {
            output::print(&format!("{name}: as it should be\n"))?;
        } else if args.apply {
            backend.put_document(name, &content.to_string()).await.map_err(service_failure)?;
            let done = if state == State::Missing { "created" } else { "updated" };
            output::print(&format!("{name}: {done}\n"))?;
        } else {
            differing += 1;
            let what = if state == State::Missing { "missing" } else { "differs" };
            output::print(&format!("{name}: {what}\n"))?;
        }
    }
    if differing > 0 {
        let text = "the account is not ready for the lanes; put the documents there with: portcullis documents --apply";
        return Err(Failure::new(Exit::Differs, text));
    }
    Ok(())
}

/// The documents by name, carrying the account's preferences.
fn wanted(preferences: &Preferences) -> Result<Vec<(&'static str, Value)>, Failure> {
    let parse = |(name, text): (&'static str, String)| match serde_json::from_str(&text) {
        Ok(document) => Ok((name, document)),
        Err(error) => Err(Failure::new(Exit::Failed, format!("{name} is no JSON: {error}"))),
    };
    transport::documents(preferences).into_iter().map(parse).collect()
}

/// How a document in the account stands to what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Same,
    Missing,
    Differs,
}

impl State {
    /// By what it says, not by how it is written: the service may give JSON back in its own order.
    fn of(found: Option<&str>, wanted: &Value) -> Self {
        match found.map(serde_json::from_str::<Value>) {
            None => Self::Missing,
            Some(Ok(found)) if found == *wanted => Self::Same,
            Some(_) => Self::Differs,
        }
    }
}

fn print(wanted: &[(&str, Value)]) -> Result<(), Failure> {
    let wanted: Map<String, Value> = wanted.iter().map(|(name, text)| ((*name).to_owned(), text.clone())).collect();
    output::print(&format!("{:#}\n", Value::Object(wanted)))
}

fn service_failure(error: BackendError) -> Failure {
    Failure::new(Exit::Service, error.for_operator())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_compared_by_what_they_say() {
        let wanted = serde_json::json!({"a": 1, "b": {"c": 2}});
        assert_eq!(State::of(None, &wanted), State::Missing);
        assert_eq!(State::of(Some("{\"b\": {\"c\":2},\n\"a\":1}"), &wanted), State::Same);
        assert_eq!(State::of(Some("{\"a\":1}"), &wanted), State::Differs);
        assert_eq!(State::of(Some("no json"), &wanted), State::Differs);
    }
}
