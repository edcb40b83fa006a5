// must fail: E0451
use std::sync::Mutex;
use std::time::Instant;

use portcullis::internals::identity::Identity;
use portcullis::internals::model::NodeName;
use portcullis::internals::policy::{Action, Grant, Policies, Terms};

pub fn forge(
    set: Policies,
    identity: Identity,
    node_name: NodeName,
    terms: Terms,
) -> Grant {
    Grant {
        policies: Vec::new(),
        set,
        version: unreachable!(),
        facts: unreachable!(),
        identity,
        by_now: unreachable!(),
        node_name,
        os_user: None,
        action: Action::Shell,
        reason: None,
        commands: None,
        terms: terms.into(),
        since: Instant::now(),
        raised: Mutex::default(),
    }
}
