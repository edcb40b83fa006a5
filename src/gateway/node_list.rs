//! `ssh gate nodes`: the nodes that somebody may reach, with what tells them apart.

use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr as _;

use super::shared::Shared;
use crate::backend::{BackendError, Listing, Node};
use crate::identity::Identity;
use crate::model::{RealmName, ago, plain_text};

/// ECS tasks are in no inventory: those that policies name are looked up one by one, up to so many.
const MAX_TASKS: usize = 100;

/// The nodes that the person could be permitted to use; or why there is none, where that is not all there may be.
pub(super) async fn of(shared: &Shared, identity: &Identity) -> Result<Listing, String> {
    let listing = shared.sessions.nodes(identity, MAX_TASKS).await;
    match (listing.nodes.is_empty(), &listing.silent[..]) {
        (true, [(_, why)]) if shared.sessions.realms().len() < 2 => Err(why.to_string()),
        (true, [_, ..]) => Err(listing.silent.iter().map(elsewhere).collect::<Vec<_>>().join("; ")),
        _ => Ok(listing),
    }
}

/// As lines: name, id, realm where there are several, state, platform, tags.
pub(super) fn lines(list: &Listing, realms: &[RealmName]) -> String {
    let mut lines: Vec<String> = list.nodes.iter().map(|node| line(node, realms.len() > 1)).collect();
    if lines.is_empty() {
        lines.push("no policy lets you use a node that is here".to_owned());
    }
    if !list.is_whole {
        lines.push("and maybe others: there are too many nodes to list all".to_owned());
    }
    lines.extend(list.silent.iter().map(elsewhere));
    lines.join("\n")
}

fn elsewhere((realm, why): &(RealmName, BackendError)) -> String {
    plain_text(&format!("there may be nodes in {realm}, which did not answer: {why}"))
}

/// For programs.
pub(super) fn json(list: &Listing, _: &[RealmName]) -> String {
    let node = |node: &Node| {
        json!({
            "id": node.node_ref().id.0,
            "realm": node.realm().as_str(),
            "name": node.name,
            "online": node.online,
            "last_ping": node.last_ping,
            "platform": node.facts.platform,
            "computer_name": node.computer_name,
            "tags": node.facts.tags.as_ref().ok(),
        })
    };
    let silent = |(realm, why): &(RealmName, BackendError)| json!({ "realm": realm.as_str(), "why": why.to_string() });
    let nodes: Vec<Value> = list.nodes.iter().map(node).collect();
    let complete = list.is_whole && list.silent.is_empty();
    let silent: Vec<Value> = list.silent.iter().map(silent).collect();
    format!("{:#}", json!({ "nodes": nodes, "complete": complete, "silent": silent }))
}

/// The same for a person's eyes, each beneath the other; a line for each node, and no other.
pub(super) fn columns(list: &Listing, realms: &[RealmName]) -> Vec<String> {
    let rows: Vec<Vec<String>> = list.nodes.iter().map(|node| fields(node, realms.len() > 1)).collect();
    let mut widths = vec![0; rows.first().map_or(0, Vec::len)];
    for row in &rows {
        for (widest, text) in widths.iter_mut().zip(row) {
            *widest = text.width().max(*widest);
        }
    }
    let padded = |(text, width): (&String, &usize)| format!("{text}{}", " ".repeat(width - text.width()));
    let line =
        |row: &Vec<String>| row.iter().zip(&widths).map(padded).collect::<Vec<_>>().join("  ").trim_end().to_owned();
    rows.iter().map(line).collect()
}

fn line(node: &Node, with_realm: bool) -> String {
    fields(node, with_realm).join("\t")
}

/// Name, id, realm where there are several, state, platform, tags.
fn fields(node: &Node, with_realm: bool) -> Vec<String> {
    let platform = node.facts.platform.as_deref().unwrap_or("-");
    let (state, tags) = (state(node), tags(node));
    let realm = with_realm.then(|| node.realm().as_str());
    let names = [node.name.as_str(), node.node_ref().id.0.as_str()].into_iter().chain(realm);
    names.chain([state.as_str(), platform, &tags]).map(plain_text).collect()
}

/// Whether its agent is connected, or since when not.
fn state(node: &Node) -> String {
    match (node.online, node.last_ping.and_then(ago)) {
        (true, _) => "online".to_owned(),
        (false, Some(ago)) => format!("not connected, last ping {ago}"),
        (false, None) => "not connected".to_owned(),
    }
}

/// Its tags but for its name, which stands elsewhere.
fn tags(node: &Node) -> String {
    match &node.facts.tags {
        Ok(tags) => {
            let others = tags.iter().filter(|(key, _)| *key != "Name");
            others.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
        }
        Err(_) => "tags unknown".to_owned(),
    }
}
