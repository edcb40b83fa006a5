//! Which sessions there are.

use portcullis_index::{Cursor, Found, Index, Query};
use serde_json::{Value, json};

use super::args::ListArgs;
use super::error::{Kind, Trouble};
use super::leave::Subject;
use super::screen::Screen;
use super::shown::shown;
use super::{Audit, live, table};

/// How many pages of the index are looked through for what somebody may see, before they are told where to go on.
const PAGES: usize = 20;

/// A page of what they may see.
struct Seen {
    found: Vec<Found>,
    next: Option<Cursor>,
}

pub(super) async fn run(audit: &Audit<'_>, args: &ListArgs, screen: &mut dyn Screen) -> Result<(), Trouble> {
    if args.live {
        return running(audit, args, screen).await;
    }
    let query = query(args)?;
    audit.leave.note("list", None).await?;
    let index = audit.archive.index().await?;
    // what a gateway has recorded that has not told the index; where that can't be, what is there is shown
    if !audit.archive.is_kept
        && let Err(error) = index.catch_up(&audit.archive.evidence, "", &mut |_| {}).await
    {
        screen.note(&shown(&format!("what is newest may be missing: {error}"))).await;
    }
    let seen = seen(audit, &index, query).await?;
    if args.json {
        return screen.print(&json_of(&seen)).await;
    }
    if seen.found.is_empty() && seen.next.is_none() {
        screen.note("no session is like that").await;
        return Ok(());
    }
    let mut rows = Vec::new();
    for found in &seen.found {
        rows.push(table::row(found, short_id(&index, found.session.id).await));
    }
    screen.print(&table::text(&rows, screen.width())).await?;
    if let Some(next) = seen.next {
        screen.note(&format!("there are more: --limit, or --after {}", next.to_text())).await;
    }
    Ok(())
}

/// As many as are wanted of those that they may see. A page of the index may have none, and the next one some.
async fn seen(audit: &Audit<'_>, index: &Index, mut query: Query) -> Result<Seen, Trouble> {
    let (wanted, mut found) = (query.limit, Vec::new());
    for _ in 0..PAGES {
        query.limit = wanted - found.len();
        let page = index.find(&query).await?;
        for one in page.found {
            if audit.leave.may(&Subject::from(&one.session)).await.is_ok() {
                found.push(one);
            }
        }
        query.after = page.next;
        if query.after.is_none() || found.len() >= wanted {
            break;
        }
    }
    // that there are others is not theirs to know
    let next = query.after.filter(|_| !found.is_empty());
    Ok(Seen { found, next })
}

async fn short_id(index: &Index, id: uuid::Uuid) -> String {
    index.short_id(id).await.unwrap_or_else(|_| id.to_string())
}

fn query(args: &ListArgs) -> Result<Query, Trouble> {
    let after = match &args.after {
        None => None,
        Some(text) => {
            let wrong = || Trouble::new(Kind::Usage, "--after takes what the answer before has as `next`");
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

fn json_of(seen: &Seen) -> String {
    let session = |found: &Found| {
        let mut session = serde_json::to_value(&found.session).unwrap_or_default();
        if let Some(session) = session.as_object_mut() {
            session.insert("hits".to_owned(), serde_json::to_value(&found.hits).unwrap_or_default());
        }
        session
    };
    let sessions: Vec<Value> = seen.found.iter().map(session).collect();
    format!("{:#}\n", json!({ "sessions": sessions, "next": seen.next.map(Cursor::to_text) }))
}

/// Those that run, as the gateway has them; the index may be behind.
async fn running(audit: &Audit<'_>, args: &ListArgs, screen: &mut dyn Screen) -> Result<(), Trouble> {
    audit.leave.note("live", None).await?;
    let meant = live::meant(audit.leave.live().await?, args);
    if args.json {
        return screen.print(&format!("{:#}\n", json!({ "sessions": meant }))).await;
    }
    if meant.is_empty() {
        screen.note("no session like that runs").await;
        return Ok(());
    }
    screen.print(&table::text(&live::rows_of_live(&meant), screen.width())).await
}
