//! The SSH user name inside a hop: it is never anybody else's, nor about another node, and what it accepts prints back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::internals::identity::{Around, Login};
use portcullis::internals::model::NodeName;

fuzz_target!(|texts: (&str, &str)| {
    let (user, login) = texts;
    let Ok(node) = NodeName::parse("web-1") else { unreachable!() };
    if let Ok(inside) = Login::inside(user, Around { person: "ada", node: &node, login, reason: None }) {
        assert_eq!((inside.person(), inside.node()), (Some("ada"), Some(&node)));
        assert_eq!(inside.fault(), None);
        assert_eq!(Login::parse(&inside.to_string()), Ok(inside));
    }
});
