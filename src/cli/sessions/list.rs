//! `portcullis sessions list`.

use portcullis_index::{Cursor, Index, Page, Query};
use serde_json::{Value, json};

use super::args::ListArgs;
use super::place::{Place, index_failure};
use super::shown::shown;
use super::{control, table};
use crate::cli::exit::{Exit, Failure};
use crate::cli::output;

pub(super) async fn run(place: &Place, args: &ListArgs) -> Result<(), Failure> {
    if args.live {
        return live(place, args);
    }
    let query = query(args)?;
    let index = place.index().await?;
    // what this gateway has recorded since somebody looked; where that can't be, what is there is shown
    if let Err(error) = index.catch_up(&place.evidence, "", &mut |_| {}).await {
        output::note(&shown(&format!("what is newest may be missing: {error}")));
    }
    let page = index.find(&query).await.map_err(index_failure)?;
    if args.json {
        return output::print(&json_of(&page));
    }
    if page.found.is_empty() {
        output::note("no session is like that");
        return Ok(());
    }
    let mut rows = Vec::new();
    for found in &page.found {
        rows.push(table::row(found, short_id(&index, found.session.id).await));
    }
    output::print(&table::text(&rows, table::width()))?;
    if let Some(next) = page.next {
        output::note(&format!("there are more: --limit, or --after {}", next.to_text()));
    }
    Ok(())
}

async fn short_id(index: &Index, id: uuid::Uuid) -> String {
    index.short_id(id).await.unwrap_or_else(|_| id.to_string())
}

pub(super) fn query(args: &ListArgs) -> Result<Query, Failure> {
    let after = match &args.after {
        None => None,
        Some(text) => {
            let wrong = || Failure::new(Exit::Usage, "--after takes what the answer before has as `next`");
            Some(Cursor::parse(text).ok_or_else(wrong)?)
        }
    };
    Ok(Query {
        person: args.person.clone(),
        node: args.node.clone(),
        since: args.since,
        until: args.until,
        command: args.command.clone(),
        output: args.output.clone(),
        path: args.path.clone(),
        sha256: args.sha256.clone(),
        action: args.action.clone(),
        outcome: args.outcome.clone(),
        live: None,
        limit: args.limit.into(),
        after,
    })
}

fn json_of(page: &Page) -> String {
    let sessions: Vec<Value> = page
        .found
        .iter()
        .map(|found| {
            let mut session = serde_json::to_value(&found.session).unwrap_or_default();
            if let Some(session) = session.as_object_mut() {
                session.insert("hits".to_owned(), serde_json::to_value(&found.hits).unwrap_or_default());
            }
            session
        })
        .collect();
    format!("{:#}\n", json!({ "sessions": sessions, "next": page.next.map(Cursor::to_text) }))
}

/// Those that run, as the gateway has them; the index may be behind.
fn live(place: &Place, args: &ListArgs) -> Result<(), Failure> {
    let answer = control::ask(&place.evidence, &json!({ "live": true }))?;
    let empty = Vec::new();
    let all = answer.get("sessions").and_then(Value::as_array).unwrap_or(&empty);
    let is = |session: &Value, name: &str, wanted: &Option<String>| {
        wanted.as_deref().is_none_or(|wanted| session.get(name).and_then(Value::as_str) == Some(wanted))
    };
    let meant: Vec<&Value> = all
        .iter()
        .filter(|session| {
            is(session, "person", &args.person)
                && is(session, "node", &args.node)
                && is(session, "action", &args.action)
        })
        .take(args.limit.into())
        .collect();
    if args.json {
        return output::print(&format!("{:#}\n", json!({ "sessions": meant })));
    }
    if meant.is_empty() {
        output::note("no session like that runs");
        return Ok(());
    }
    let rows: Vec<[String; 7]> = meant.into_iter().map(table::live_row).collect();
    output::print(&table::text(&rows, table::width()))
}
