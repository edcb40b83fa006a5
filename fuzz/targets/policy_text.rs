//! Policies as somebody wrote them: whatever stands there, it is refused or it decides.
#![no_main]

use std::time::SystemTime;

use libfuzzer_sys::fuzz_target;
use portcullis::internals::model::{NodeFacts, NodeName, NodeRef, RealmName};
use portcullis::internals::policy::{Action, Named, Policy, PolicyText, Scenario, SupposedProof, formatted};

fn node() -> NodeFacts {
    NodeFacts::bare(NodeRef::new(&RealmName::parse("main").expect("it is a name"), "i-0123456789abcdef0"))
}

fuzz_target!(|text: &str| {
    let texts = [PolicyText { file: "fuzz".to_owned(), text: text.to_owned() }];
    let _ = Policy::lint(&texts, &Named::default());
    let Ok((policy, _)) = Policy::compile(&texts, &Named::default()) else { return };
    for action in [Action::Shell, Action::Exec { command: b"id; rm x".to_vec() }] {
        let _ = policy.explain(&Scenario {
            person: "ada".to_owned(),
            groups: vec!["ops".to_owned()],
            proof: SupposedProof::default(),
            second_factor: false,
            source: std::net::Ipv4Addr::LOCALHOST.into(),
            node_name: NodeName::parse("web-1").expect("it is a name"),
            node: NodeFacts { called: Some("web-1".to_owned()), ..node() }.into(),
            os_user: Some("root".to_owned()),
            reason: None,
            action,
            at: SystemTime::UNIX_EPOCH,
        });
    }
    // what is written anew says the same
    let Ok(text) = formatted(text) else { return };
    let again = [PolicyText { file: "fuzz".to_owned(), text }];
    let (again, _) = Policy::compile(&again, &Named::default()).expect("it was fine before");
    assert_eq!(again.differences(&policy), Default::default());
});
