//! The gateway's own few commands, for a login that names no node: `ssh gate whoami`.

use super::client_channel::{FAILED, Reply};
use super::shared::Shared;
use crate::policy::NamedNodes;
use crate::session::{Caller, RequestKind};

const HELP: &str = "\
ssh <node>@<gateway>                    a shell, as the agent's own user
ssh <os-user>%<node>@<gateway>          as another user of the node
ssh <node>+<reason>@<gateway>           with the reason for the session
scp, sftp, rsync and git work with the same names
a node is an id (i-…, mi-…), a Name, or tag:Key=Value that matches exactly one

of the gateway itself: whoami, nodes, help";

/// More names than this are not looked up one by one.
const MAX_NODES: usize = 100;

/// Answers a command to the gateway itself.
pub(super) async fn answer(shared: &Shared, caller: &Caller, kind: &RequestKind) -> Reply {
    let command = match kind {
        RequestKind::Shell => return refusal("name a node: ssh <node>@<gateway> (ssh <gateway> help says more)", 1),
        RequestKind::Sftp => return refusal("this is the gateway; name a node: sftp <node>@<gateway>", FAILED),
        RequestKind::Exec(command) => String::from_utf8_lossy(command).trim().to_owned(),
    };
    match command.as_str() {
        "whoami" => said(format!("{} ({})", caller.identity.person(), caller.identity.proof())),
        "help" => said(HELP.to_owned()),
        "nodes" => said(nodes(shared, caller).await),
        _ => refusal("this is the gateway, which knows whoami, nodes and help; for a node: ssh <node>@<gateway>", 127),
    }
}

fn said(out: String) -> Reply {
    Reply { out, ..Reply::default() }
}

fn refusal(text: &str, status: u32) -> Reply {
    Reply { err: format!("portcullis: {text}"), status, ..Reply::default() }
}

/// The nodes that the rules name for this person, and whether they are there.
async fn nodes(shared: &Shared, caller: &Caller) -> String {
    let NamedNodes { names, any } = shared.sessions.policy().nodes_of(caller.identity.person());
    let mut lines = Vec::new();
    for name in names.iter().take(MAX_NODES) {
        lines.push(match shared.sessions.resolve(name).await {
            Ok(node) if node.online => format!("{name}\t{}\tonline", node.id),
            Ok(node) => format!("{name}\t{}\tnot connected", node.id),
            Err(error) => format!("{name}\t-\t{error}"),
        });
    }
    if names.len() > MAX_NODES {
        lines.push(format!("and {} more", names.len() - MAX_NODES));
    }
    if any {
        lines.push("your rules let you name any node, by id or Name".to_owned());
    }
    if lines.is_empty() {
        lines.push("no rule names a node for you".to_owned());
    }
    lines.join("\n")
}
