//! `ssh <gateway>` on a terminal: the nodes that this person may reach, of which one is chosen, and the shell there.

use super::client_channel::{ClientChannel, FAILED, PATIENCE, Reply};
use super::commands::refusal;
use super::node_list;
use super::pick_list::{PickList, Picked};
use super::prompts::TOO_MANY;
use super::shared::Shared;
use crate::model::{NodeAsked, NodeName, plain_text};
use crate::session::{Caller, ChannelRequest, RequestKind};

/// What a program ends with that Ctrl-C ended.
const INTERRUPTED: u32 = 130;
/// Terminals on which nothing can be drawn.
const WITHOUT_CURSOR: [&str; 2] = ["", "dumb"];

/// Whether there is somebody to choose: a shell was asked for, on a terminal that can show a list.
pub(super) fn is_wanted(request: &ChannelRequest) -> bool {
    let draws = request.setup.pty.as_ref().is_some_and(|pty| !WITHOUT_CURSOR.contains(&pty.term.as_str()));
    draws && request.kind == RequestKind::Shell
}

/// The node that was chosen, or what to say where none was.
pub(super) async fn pick(
    shared: &Shared,
    caller: &Caller,
    request: &ChannelRequest,
    client: &ClientChannel,
) -> Result<NodeAsked, Reply> {
    let name_one = |why: &str| refusal(&format!("{why}; name one: ssh <node>@<gateway>"), FAILED);
    let Some(_place) = shared.prompts.take(caller.source.ip()) else { return Err(name_one(TOO_MANY)) };
    let list = node_list::of(shared, &caller.identity).await.map_err(|error| refusal(&error, FAILED))?;
    let realms = shared.sessions.realms();
    if list.nodes.is_empty() {
        return Err(refusal(&node_list::lines(&list, realms), FAILED));
    }
    let size = request.setup.pty.as_ref().map(|pty| pty.size).unwrap_or_default();
    let mut lines = PickList::new(node_list::columns(&list, realms), size);
    let nobody = || name_one("nobody has chosen a node");
    let place = tokio::time::timeout(PATIENCE, choose(&mut lines, client)).await.map_err(|_| nobody())?;
    let given_up = || Reply { status: INTERRUPTED, ..Reply::default() };
    let node = place.and_then(|place| list.nodes.get(place)).ok_or_else(given_up)?;
    let chosen = node.node_ref();
    let id = if realms.len() > 1 { chosen.to_string() } else { chosen.id.to_string() };
    let told = format!("{} ({}){}", plain_text(&node.name), plain_text(&id), client.newline);
    client.show(told).await.ok_or_else(given_up)?;
    // with its realm, since its id may be another's elsewhere
    let named = NodeName::parse(&chosen.to_string()).map_err(|error| refusal(&error.to_string(), FAILED))?;
    Ok(shared.sessions.asked(&named))
}

/// The place of the line that was chosen, if one was.
async fn choose(lines: &mut PickList, client: &ClientChannel) -> Option<usize> {
    client.show(lines.show()).await?;
    loop {
        match lines.take(client.typed().await?) {
            Picked::Shown(text) if text.is_empty() => {}
            Picked::Shown(text) => client.show(text).await?,
            Picked::Line(place, text) => return client.show(text).await.map(|()| place),
            Picked::GivenUp(text) => {
                client.show(text).await?;
                return None;
            }
        }
    }
}
