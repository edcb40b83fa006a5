//! What calls are about, as policies name it: ARNs, and the facts that go with them
//! (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssystemsmanager.html>).

use std::collections::BTreeMap;

use crate::emulator::http::caller::Caller;
use crate::emulator::iam::Facts;
use crate::emulator::session::Session;
use crate::emulator::state::Shared;

/// A node: an instance, what was registered by activation, or an ECS task.
pub(super) fn node_arn(shared: &Shared, id: &str) -> String {
    let Shared { region, account, .. } = shared;
    if let Some(task) = id.strip_prefix("ecs:") {
        // ecs:<cluster>_<task>_<runtime>
        let mut parts = task.rsplitn(3, '_').skip(1);
        let (task, cluster) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        return format!("arn:aws:ecs:{region}:{account}:task/{cluster}/{task}");
    }
    match id.starts_with("mi-") {
        true => format!("arn:aws:ssm:{region}:{account}:managed-instance/{id}"),
        false => format!("arn:aws:ec2:{region}:{account}:instance/{id}"),
    }
}

/// A session document; those of AWS belong to no account.
pub(super) fn document_arn(shared: &Shared, name: &str) -> String {
    let account = if name.starts_with("AWS-") { "" } else { shared.account.as_str() };
    format!("arn:aws:ssm:{}:{account}:document/{name}", shared.region)
}

/// A session by its id.
pub(crate) fn session_arn(shared: &Shared, id: &str) -> String {
    format!("arn:aws:ssm:{}:{}:session/{id}", shared.region, shared.account)
}

/// A session by its starter's user id, as AWS's sample for `ssmmessages:OpenDataChannel` has it
/// (`session/${aws:userid}-*`). A session's id begins with the name instead, and the sample works all the same; what the
/// message service really compares is not published.
pub(crate) fn session_arn_by_user(shared: &Shared, session: &Session) -> String {
    let suffix = session.id().rsplit('-').next().unwrap_or_default();
    session_arn(shared, &format!("{}-{suffix}", session.owner_id()))
}

/// What is known besides of a node.
pub(super) fn node_facts(shared: &Shared, caller: &Caller, id: &str) -> Facts {
    with_tags(caller.facts(), &shared.nodes.tags(id))
}

/// What is known besides of a session: Session Manager marks each with who started it, and where.
pub(crate) fn session_facts(caller: &Caller, session: Option<&Session>) -> Facts {
    let Some(session) = session else { return caller.facts() };
    let tags = [("aws:ssmmessages:session-id", session.owner_id()), ("aws:ssmmessages:target-id", session.target())];
    let tags = tags.map(|(name, value)| (name.to_owned(), value.to_owned()));
    with_tags(caller.facts(), &BTreeMap::from(tags))
}

fn with_tags(facts: Facts, tags: &BTreeMap<String, String>) -> Facts {
    facts.with_tags("ssm:resourceTag", tags).with_tags("aws:ResourceTag", tags)
}
