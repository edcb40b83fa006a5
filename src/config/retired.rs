//! Keys that are gone, each with the lines that replace it.

use std::fmt::Write as _;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// A key that is gone, where it stands, and what to write instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Retired {
    pub(super) span: Range<usize>,
    pub(super) message: String,
    pub(super) help: String,
}

/// The first such key in a file.
pub(super) fn find(tree: &DeTable<'_>, text: &str) -> Option<Retired> {
    let (key, value) = tree.iter().find(|(key, _)| ["rules", "realm"].contains(&key.get_ref().as_ref()))?;
    let span = key.span();
    if key.get_ref() == "realm" {
        return Some(Retired {
            span,
            message: "there is no [realm] any more: a gateway may serve several accounts and regions, each a [[realms]] with a name"
                .to_owned(),
            help: format!("take all of it out, and write this in its place, with the name that you like:\n\n{}", realms(text)),
        });
    }
    let rules = match value.get_ref() {
        DeValue::Array(rules) => rules.iter().filter_map(|rule| rule.get_ref().as_table()).map(cedar).collect(),
        _ => String::new(),
    };
    Some(Retired {
        span,
        message: "there are no [[rules]] any more: what people may do is written in Cedar, in files of its own"
            .to_owned(),
        help: format!("take them out, and write this into policies/access.cedar beside this file:\n\n{rules}"),
    })
}

/// The one realm of a file, among realms.
fn realms(text: &str) -> String {
    let file: toml::Table = text.parse().unwrap_or_default();
    let realm = file.get("realm").and_then(toml::Value::as_table).cloned().unwrap_or_default();
    let realms = toml::Value::Array(vec![toml::Value::Table(realm)]);
    let realms = toml::Table::from_iter([("realms".to_owned(), realms)]);
    let written = toml::to_string(&realms).unwrap_or_default();
    let rest = written.strip_prefix(REALMS).unwrap_or_default();
    format!("{REALMS}name = \"main\"\n{rest}")
}

const REALMS: &str = "[[realms]]\n";

/// The policies that permit what a rule allowed, no more and no less.
fn cedar(rule: &DeTable<'_>) -> String {
    let texts = |name: &str| -> Vec<String> {
        let list = rule.get(name).and_then(|value| value.get_ref().as_array());
        list.into_iter().flatten().filter_map(|item| item.get_ref().as_str().map(str::to_owned)).collect()
    };
    let name = rule.get("name").and_then(|name| name.get_ref().as_str()).unwrap_or("rule").to_owned();
    let (people, nodes, users, actions) = (texts("people"), texts("nodes"), texts("os_users"), texts("actions"));
    let (mut principal, mut conditions) = ("principal".to_owned(), Vec::new());
    match people.as_slice() {
        any if any.iter().any(|person| person == ANY) => {}
        [one] => principal = format!("principal == Person::{}", quoted(one)),
        several => conditions.push(format!("[{}].contains(principal)", listed(several, "Person::"))),
    }
    if !nodes.iter().any(|node| node == ANY) {
        let (ids, names): (Vec<String>, Vec<String>) = nodes.into_iter().partition(|node| is_id(node));
        let mut either = Vec::new();
        if !ids.is_empty() {
            either.push(format!("[{}].contains(resource)", listed(&ids, "Node::")));
        }
        if !names.is_empty() {
            either.push(format!("[{}].contains(resource.name)", listed(&names, "")));
        }
        let either = either.join(" ||\n        ");
        conditions.push(if either.contains(" ||") { format!("({either})") } else { either });
    }
    let actions: Vec<&str> = match actions.iter().any(|action| action == ANY) {
        true => vec!["Sessions"],
        false => {
            let each = actions.iter().flat_map(|action| match action.as_str() {
                "Shell" => ["Shell", "SetVariable"],
                "Exec" => ["Commands", "SetVariable"],
                _ => ["ReadFiles", "WriteFiles"],
            });
            let mut each: Vec<&str> = each.collect();
            each.sort_unstable();
            each.dedup();
            each
        }
    };
    let actions = actions.iter().map(|action| format!("Action::{action:?}")).collect::<Vec<_>>().join(", ");
    let any_user = users.iter().any(|user| user == ANY);
    let mut text = String::new();
    let mut permit = |name: &str, actions: &str, conditions: &[String], unless: Option<&str>| {
        let _ = write!(text, "@id({})\npermit ({principal}, action in [{actions}], resource)", quoted(name));
        if !conditions.is_empty() {
            let _ = write!(text, "\nwhen {{ {} }}", conditions.join(" &&\n       "));
        }
        if let Some(unless) = unless {
            let _ = write!(text, "\nunless {{ {unless} }}");
        }
        text.push_str(";\n\n");
    };
    let others = match users.as_slice() {
        _ if any_user => None,
        [] => Some("context has os_user".to_owned()),
        users => Some(format!("context has os_user && !([{}].contains(context.os_user))", listed(users, ""))),
    };
    permit(&name, &actions, &conditions, others.as_deref());
    if !users.is_empty() {
        if !any_user {
            conditions.push(format!("context has os_user && [{}].contains(context.os_user)", listed(&users, "")));
        }
        permit(&format!("{name}-as"), "Action::\"RunAs\"", &conditions, None);
    }
    text
}

/// What stood for every value.
const ANY: &str = "*";

/// As Systems Manager writes them; a policy names other nodes by their names.
fn is_id(node: &str) -> bool {
    ["i-", "mi-", "ecs:"].iter().any(|form| node.starts_with(form))
}

fn listed(items: &[String], of: &str) -> String {
    items.iter().map(|item| format!("{of}{}", quoted(item))).collect::<Vec<_>>().join(", ")
}

/// A text as Cedar reads it back.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_default())
}
