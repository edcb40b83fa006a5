//! The gateway's own few commands, for a login that names no node: `ssh gate whoami`.

use super::client_channel::{FAILED, Reply};
use super::client_files::{self, KnownHosts};
use super::node_list;
use super::shared::Shared;
use crate::backend::Listing;
use crate::evidence::{Event, GatewayAsked};
use crate::identity::{Acting, ActsAs, By, Identity};
use crate::model::RealmName;
use crate::session::{Caller, RequestKind};

const HELP: &str = "\
ssh <gateway>                           on a terminal: the nodes you may reach, to choose one
ssh <node>@<gateway>                    a shell, as the agent's own user
ssh <os-user>%<node>@<gateway>          as another user of the node
ssh <node>+<reason>@<gateway>           with the reason for the session
ssh <node>.<realm>@<gateway>            where several accounts or regions have one of that name
scp, sftp, rsync and git work with the same names
ssh -J <gateway> <os-user>@<node>       the same by a hop; ProxyJump in ssh_config, and scp -J, sftp -J
a node is an id (i-…, mi-…), a Name, or tag:Key=Value that matches exactly one

of the gateway itself: whoami; nodes (those you may reach, --json for programs); sessions (that run); sessions end <id>; help
for hops: known-hosts (the line by which nodes are known; --plain for clients without certificates) and ssh-config [<gateway>]
(a Host block for each of your nodes, where your ssh_config calls the gateway so, or gate)
and what was recorded, for whom policy lets: sessions list, show, play, follow, export (sessions --help says more)";

const UNKNOWN: &str = "this is the gateway, which knows whoami, nodes, sessions, known-hosts, ssh-config and help; for a node: ssh <node>@<gateway>";

/// Answers a command to the gateway itself.
pub(super) async fn answer(shared: &Shared, caller: &Caller, kind: &RequestKind) -> Reply {
    let command = match kind {
        RequestKind::Shell => return refusal("name a node: ssh <node>@<gateway> (ssh <gateway> help says more)", 1),
        RequestKind::Sftp => return refusal("this is the gateway; name a node: sftp <node>@<gateway>", FAILED),
        RequestKind::Exec(command) => String::from_utf8_lossy(command).trim().to_owned(),
    };
    match command.as_str() {
        "whoami" => said(whoami(&caller.identity)),
        "help" => said(HELP.to_owned()),
        "nodes" => nodes(shared, caller, node_list::lines).await,
        "nodes --json" => nodes(shared, caller, node_list::json).await,
        "known-hosts" => said(known_hosts(shared, false)),
        "known-hosts --plain" => said(known_hosts(shared, true)),
        "ssh-config" => ssh_config(shared, caller, "gate").await,
        command => match command.strip_prefix("ssh-config ").map(str::trim_start) {
            Some(jump) if client_files::is_jump(jump) => ssh_config(shared, caller, jump).await,
            Some(_) => refusal("ssh-config takes what your ssh_config calls this gateway, such as gate", FAILED),
            None => refusal(UNKNOWN, 127),
        },
    }
}

/// The lines by which a client knows the nodes that it hops to.
fn known_hosts(shared: &Shared, plain: bool) -> String {
    let (host_ca, host_keys) = (shared.hosts.ca().public_line(), shared.hosts.keys().public_lines());
    let known = KnownHosts { host_ca: &host_ca, host_keys: &host_keys, nodes: "*", gateways: &[], plain };
    known.lines().join("\n")
}

/// `Host` blocks for the nodes that this person may reach.
async fn ssh_config(shared: &Shared, caller: &Caller, jump: &str) -> Reply {
    let list = match node_list::of(shared, &caller.identity).await {
        Ok(list) => list,
        Err(why) => return refusal(&why, FAILED),
    };
    let (entries, known) =
        (client_files::entries(&list, shared.sessions.realms(), None), client_files::known_hosts_file(jump));
    let head = format!("# for ~/.ssh/config, behind the block of {jump}; and: ssh {jump} known-hosts > {known}\n");
    said(head + &client_files::ssh_config(&entries, jump, &known))
}

/// Leaves the event of what the gateway was asked for.
pub(super) fn note(shared: &Shared, caller: &Caller, kind: &RequestKind, reply: &Reply) {
    let command = match kind {
        RequestKind::Shell => "".into(),
        RequestKind::Sftp => "sftp".into(),
        RequestKind::Exec(command) => String::from_utf8_lossy(command),
    };
    let asked = GatewayAsked {
        source: caller.source,
        login: &caller.login.to_string(),
        person: caller.identity.person(),
        command: &command,
        status: reply.status,
    };
    shared.sessions.note(caller.connection, &Event::GatewayAsked(asked));
}

pub(super) fn said(out: String) -> Reply {
    Reply { out, ..Reply::default() }
}

pub(super) fn refusal(text: &str, status: u32) -> Reply {
    Reply { err: format!("portcullis: {text}"), status, ..Reply::default() }
}

/// Who this is here, and in AWS; in each realm, where there are several.
fn whoami(identity: &Identity) -> String {
    let mut lines = vec![format!("{} ({})", identity.person(), identity.proof())];
    let realms: Vec<_> = identity.in_realms().collect();
    for (realm, acts_as) in &realms {
        let place = if realms.len() > 1 { format!("in AWS, realm {realm}") } else { "in AWS".to_owned() };
        in_aws(identity, realm, acts_as, &place, &mut lines);
    }
    lines.join("\n")
}

fn in_aws(identity: &Identity, realm: &RealmName, acts_as: &ActsAs, place: &str, lines: &mut Vec<String>) {
    let Some(acting) = Acting::of(identity, realm, None) else {
        lines.push(match acts_as {
            ActsAs::Nobody => {
                format!("{place}: nobody, so no session opens; none of the realm's [[realms.roles]] is for you")
            }
            ActsAs::NotSignedIn => format!(
                "{place}: nobody, so no session opens; your role is got by a sign-in, and you have logged in without one (ssh -o \
                 PubkeyAuthentication=no)"
            ),
            _ => format!("{place}: this gateway, whose own sessions yours are"),
        });
        return;
    };
    lines.push(format!("{place}: role {}", acting.role.arn));
    match acting.role.by() {
        By::Gateway => {}
        By::Token => lines.push("  got by           your own ID token".to_owned()),
        By::TokenAnd(first) => lines.push(format!("  got by           your own ID token, through the role {first}")),
    }
    lines.push(format!("  session name     {}", acting.session_name));
    let source = acting.seen_as().unwrap_or("none, since your ID token says none");
    lines.push(format!("  source identity  {source}"));
    lines.extend(
        acting.claims.tags.iter().map(|(key, value)| format!("  tag  {key} = {value} (your ID token says it)")),
    );
    lines.extend(acting.tags.iter().map(|(key, value)| format!("  tag  {key} = {value}")));
    if acting.role.by() != By::Token {
        lines.push("  tag  portcullis:node = the node's id".to_owned());
    }
    let Acting { left_out, .. } = acting;
    lines.extend(left_out.iter().map(|what| format!("  left out: {what}")));
}

/// The nodes that this person may reach.
async fn nodes(shared: &Shared, caller: &Caller, show: fn(&Listing, &[RealmName]) -> String) -> Reply {
    match node_list::of(shared, &caller.identity).await {
        Ok(list) => said(show(&list, shared.sessions.realms())),
        Err(why) => refusal(&why, FAILED),
    }
}
