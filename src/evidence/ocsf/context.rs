//! What each event of a session says of it: who, from where, on which node.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::identity::Identity;
use crate::model::NodeFacts;

/// What all events of one session have in common.
#[derive(Debug)]
pub(in crate::evidence) struct Context {
    /// `actor`, `device`, `src_endpoint`, `dst_endpoint`, as members of an object.
    shared: Map<String, Value>,
    /// Who, as OCSF's `user`.
    user: Value,
    session: Uuid,
}

/// OCSF's `type_id` of a virtual server, which most nodes are; what is none is still no desktop.
const SERVER: u8 = 1;

impl Context {
    pub(in crate::evidence) fn new(
        session: Uuid,
        identity: &Identity,
        source: std::net::SocketAddr,
        node: &NodeFacts,
        node_name: &str,
    ) -> Self {
        let groups: Vec<Value> = identity.groups().iter().map(|group| json!({ "name": group })).collect();
        let mut user = json!({ "name": identity.person() });
        if let (false, Some(user)) = (groups.is_empty(), user.as_object_mut()) {
            user.insert("groups".to_owned(), groups.into());
        }
        let node_id = &node.node.id.0;
        let mut shared = Map::new();
        shared.insert("actor".to_owned(), json!({ "user": user, "session": { "uid": session } }));
        shared.insert(
            "device".to_owned(),
            json!({ "type_id": SERVER, "uid": node_id, "name": node_name, "hostname": node.called.as_deref().unwrap_or(node_name) }),
        );
        shared.insert("src_endpoint".to_owned(), json!({ "ip": source.ip(), "port": source.port() }));
        shared.insert("dst_endpoint".to_owned(), json!({ "uid": node_id, "name": node_name }));
        Self { shared, user, session }
    }

    /// That of a session whose events are there already, by the members of one of them.
    pub(in crate::evidence) fn again(session: Uuid, mut members: Map<String, Value>) -> Self {
        let names = ["actor", "device", "src_endpoint", "dst_endpoint"];
        let shared: Map<_, _> =
            names.into_iter().filter_map(|name| Some((name.to_owned(), members.remove(name)?))).collect();
        let user = shared.get("actor").and_then(|actor| actor.get("user")).cloned().unwrap_or_default();
        Self { shared, user, session }
    }

    pub(super) fn shared(&self, name: &str) -> Option<(String, Value)> {
        self.shared.get(name).map(|value| (name.to_owned(), value.clone()))
    }

    pub(super) fn user(&self) -> Value {
        self.user.clone()
    }

    pub(super) fn session(&self) -> Uuid {
        self.session
    }
}
