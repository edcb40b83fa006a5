//! `ssh gate nodes`: the nodes that somebody may reach, with what tells them apart.

use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr as _;

use super::shared::Shared;
use crate::backend::{BackendError, Node, NodeList};
use crate::identity::Identity;
use crate::model::{ago, plain_text};

/// ECS tasks are in no inventory: those that policies name are looked up one by one, up to so many.
const MAX_TASKS: usize = 100;

/// The nodes that the person could be permitted to use.
pub(super) async fn of(shared: &Shared, identity: &Identity) -> Result<NodeList, BackendError> {
    let mut list = shared.sessions.nodes(identity).await?;
    for task in shared.sessions.policy().tasks_named_for(identity).iter().take(MAX_TASKS) {
        list.nodes.extend(shared.sessions.resolve(task).await);
    }
    Ok(list)
}

/// As lines: name, id, state, platform, tags.
pub(super) fn lines(list: &NodeList) -> String {
    let mut lines: Vec<String> = list.nodes.iter().map(line).collect();
    if lines.is_empty() {
        lines.push("no policy lets you use a node that is here".to_owned());
    }
    if !list.is_whole {
        lines.push("and maybe others: there are too many nodes to list all".to_owned());
    }
    lines.join("\n")
}

/// For programs.
pub(super) fn json(list: &NodeList) -> String {
    let nodes: Vec<Value> = list
        .nodes
        .iter()
        .map(|node| {
            json!({
                "id": node.id().0,
                "name": node.name,
                "online": node.online,
                "last_ping": node.last_ping,
                "platform": node.facts.platform,
                "computer_name": node.computer_name,
                "tags": node.facts.tags.as_ref().ok(),
            })
        })
        .collect();
    format!("{:#}", json!({ "nodes": nodes, "complete": list.is_whole }))
}

/// The same for a person's eyes, each beneath the other; a line for each node, and no other.
pub(super) fn columns(list: &NodeList) -> Vec<String> {
    let rows: Vec<[String; 5]> = list.nodes.iter().map(fields).collect();
    let widest = |column: usize| rows.iter().map(|row| row[column].width()).max().unwrap_or(0);
    let widths: [usize; 5] = std::array::from_fn(widest);
    let padded = |(text, width): (&String, usize)| format!("{text}{}", " ".repeat(width.saturating_sub(text.width())));
    let line =
        |row: &[String; 5]| row.iter().zip(widths).map(padded).collect::<Vec<_>>().join("  ").trim_end().to_owned();
    rows.iter().map(line).collect()
}

fn line(node: &Node) -> String {
    fields(node).join("\t")
}

/// Name, id, state, platform, tags.
fn fields(node: &Node) -> [String; 5] {
    let platform = node.facts.platform.as_deref().unwrap_or("-");
    let (state, tags) = (state(node), tags(node));
    [node.name.as_str(), node.id().0.as_str(), &state, platform, &tags].map(plain_text)
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
