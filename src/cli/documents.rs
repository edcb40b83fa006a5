//! `portcullis documents`: the session documents that the lanes need in an account. Compares what is there with what
//! should be, prints it for other tooling, or puts it there; in every realm of a configuration, or in one.

use serde_json::{Map, Value};

use super::args::DocumentsArgs;
use super::exit::{Exit, Failure};
use super::failure::config_failure;
use super::output;
use super::realm::{self, Reached};
use super::runtime::patiently;
use crate::app;
use crate::backend::preferences::Preferences;
use crate::backend::{BackendError, Directory as _};
use crate::config::{Config, Realm, Trust};
use crate::transport;

pub(super) async fn run(args: &DocumentsArgs) -> Result<(), Failure> {
    if args.print && args.realm.is_none() {
        return print(&wanted(&Preferences::default())?);
    }
    let file = &args.config.config;
    let loaded = app::read(file, Trust::Anybodys, &args.config.overrides)
        .map_err(|error| config_failure(file, &error, "; nothing was done"))?;
    let realms = chosen(&loaded.config, args.realm.as_deref())?;
    let (mut differing, mut failed) = (0, None::<Failure>);
    for realm in &realms {
        let told = async {
            let realm = patiently("reading the AWS configuration", realm::reach(realm, None)).await?;
            let named = if loaded.config.realms.len() > 1 { format!("{}: ", realm.name) } else { String::new() };
            of_realm(args, &realm, &named).await
        };
        match told.await {
            Ok(count) => differing += count,
            // the others have documents all the same
            Err(failure) if realms.len() > 1 => {
                let failure = Failure::new(failure.exit, format!("{}: {}", realm.name, failure.text));
                if let Some(before) = failed.replace(failure) {
                    output::note(&before.text);
                }
            }
            Err(failure) => return Err(failure),
        }
    }
    if let Some(failure) = failed {
        return Err(failure);
    }
    if differing > 0 {
        let text = "the account is not ready for the lanes; put the documents there with: portcullis documents --apply";
        return Err(Failure::new(Exit::Differs, text));
    }
    Ok(())
}

/// The realms that it is about.
fn chosen<'a>(config: &'a Config, name: Option<&str>) -> Result<Vec<&'a Realm>, Failure> {
    let chosen: Vec<&Realm> = config.realms.iter().filter(|realm| name.is_none_or(|name| realm.name == name)).collect();
    match (chosen.is_empty(), name) {
        (true, Some(name)) => {
            let all = config.realms.iter().map(|realm| realm.name.as_str()).collect::<Vec<_>>().join(", ");
            Err(Failure::new(Exit::Usage, format!("no realm is called {name}; there is {all}")))
        }
        _ => Ok(chosen),
    }
}

/// Compares, prints or puts there those of one realm; how many differ. What is said of them begins with its name.
async fn of_realm(args: &DocumentsArgs, realm: &Reached, named: &str) -> Result<usize, Failure> {
    let backend = &realm.backend;
    let preferences = Preferences::of_account(backend).await.map_err(service_failure)?;
    let conflicts = preferences.lane_conflicts(realm.evidence_replaces_logging);
    if !conflicts.is_empty() {
        let what = conflicts.join(", and ");
        output::note(&format!(
            "warning: {named}the account's session preferences {what}; lanes will be refused until that ends"
        ));
    }
    let wanted = wanted(&preferences)?;
    if args.print {
        print(&wanted)?;
        return Ok(0);
    }
    let mut differing = 0;
    for (name, content) in &wanted {
        let found = backend.document(name).await.map_err(service_failure)?;
        let state = State::of(found.as_deref(), content);
        if state == State::Same {
            output::print(&format!("{named}{name}: as it should be\n"))?;
        } else if args.apply {
            backend.put_document(name, &content.to_string()).await.map_err(service_failure)?;
            let done = if state == State::Missing { "created" } else { "updated" };
            output::print(&format!("{named}{name}: {done}\n"))?;
        } else {
            differing += 1;
            let what = if state == State::Missing { "missing" } else { "differs" };
            output::print(&format!("{named}{name}: {what}\n"))?;
        }
    }
    Ok(differing)
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
