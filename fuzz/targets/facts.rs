//! What a decision is made from, which others have the choosing of: names, tags, users, reasons, paths, lines.
#![no_main]

use std::sync::LazyLock;
use std::time::SystemTime;

use libfuzzer_sys::fuzz_target;
use portcullis::internals::model::{NodeFacts, NodeName, NodeRef, RealmName, ReasonText};
use portcullis::internals::policy::{Action, FileAction, Named, Policy, PolicyText, Scenario, SupposedProof};

const POLICIES: &str = r#"
@id("all") permit (principal, action, resource);
@id("name") forbid (principal, action, resource) when { resource.name == "x" };
@id("tag") forbid (principal, action, resource) when { resource.hasTag("env") && resource.getTag("env") == "prod" };
@id("user") forbid (principal, action, resource) when { context has os_user && context.os_user == "root" };
@id("group") forbid (principal in Group::"out", action, resource);
"#;

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let text = PolicyText { file: "fuzz".to_owned(), text: POLICIES.to_owned() };
    Policy::compile(&[text], &Named::default()).expect("they are fine").0
});

fuzz_target!(|input: (&str, Vec<String>, &str, Option<&str>, Option<&str>, &str, Vec<(String, String)>, &[u8], u8)| {
    let (person, groups, node, called, user, reason, tags, bytes, which) = input;
    let action = match which % 7 {
        0 => Action::Shell,
        1 => Action::Exec { command: bytes.to_vec() },
        2 => Action::SetVariable { name: node.to_owned(), value: bytes.to_vec() },
        3 => Action::Forward { host: node.to_owned(), port: u32::from(which) },
        4 => Action::Hop,
        5 => Action::Tunnel { port: u32::from(which) },
        _ => Action::File { action: FileAction::ALL[usize::from(which) % 16], path: bytes.to_vec() },
    };
    // it is never an error, and it is decided by what it says
    let in_production = tags.iter().rev().find(|(key, _)| key == "env").is_some_and(|(_, value)| value == "prod");
    let forbidden = called.unwrap_or(node) == "x"
        || in_production
        || user == Some("root")
        || groups.iter().any(|group| group == "out");
    let explained = POLICY.explain(&Scenario {
        person: person.to_owned(),
        groups,
        proof: SupposedProof::default(),
        second_factor: false,
        source: std::net::Ipv4Addr::LOCALHOST.into(),
        node_name: NodeName::parse("web-1").expect("it is a name"),
        node: NodeFacts {
            called: called.map(str::to_owned),
            tags: Ok(tags.into_iter().collect()),
            ..NodeFacts::bare(NodeRef::new(&RealmName::parse("main").expect("it is a name"), node))
        }
        .into(),
        os_user: user.map(str::to_owned),
        reason: ReasonText::new(reason),
        action,
        at: SystemTime::UNIX_EPOCH,
    });
    assert_eq!(explained.outcome.is_err(), forbidden, "{explained:?}");
});
