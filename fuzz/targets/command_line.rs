//! A command line, which anybody who may log in may send: taken apart, and each command asked about.
#![no_main]

use std::sync::LazyLock;
use std::time::SystemTime;

use libfuzzer_sys::fuzz_target;
use portcullis::internals::model::{NodeFacts, NodeName, NodeRef, RealmName};
use portcullis::internals::policy::{Action, Named, Policy, PolicyText, Scenario, SupposedProof};

const POLICIES: &str = r#"
@id("lines") permit (principal, action == Action::"Exec", resource);
@id("known") permit (principal, action == Action::"Command", resource) when { context.known && context.name != "rm" };
"#;

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let text = PolicyText { file: "fuzz".to_owned(), text: POLICIES.to_owned() };
    Policy::compile(&[text], &Named::default()).expect("they are fine").0
});

fuzz_target!(|line: &[u8]| {
    let explained = POLICY.explain(&Scenario {
        person: "ada".to_owned(),
        groups: Vec::new(),
        proof: SupposedProof::default(),
        second_factor: false,
        source: std::net::Ipv4Addr::LOCALHOST.into(),
        node_name: NodeName::parse("web-1").expect("it is a name"),
        node: NodeFacts::bare(NodeRef::new(&RealmName::parse("main").expect("it is a name"), "i-0123456789abcdef0"))
            .into(),
        os_user: None,
        reason: None,
        action: Action::Exec { command: line.to_vec() },
        at: SystemTime::UNIX_EPOCH,
    });
    let Some(commands) = explained.commands else { return };
    assert!(commands.each().iter().all(|command| command.unknown.is_none() && command.name != "rm"));
});
