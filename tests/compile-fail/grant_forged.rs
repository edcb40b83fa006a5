// must fail: E0451
use portcullis::identity::Identity;
use portcullis::model::NodeId;
use portcullis::policy::{Action, Grant};

pub fn forge(identity: Identity, node: NodeId) -> Grant {
    Grant {
        policy: String::new(),
        identity,
        node_name: String::new(),
        node,
        os_user: None,
        action: Action::Shell,
        reason: None,
    }
}
