//! What is said to whom policy refuses: which policy, why, and what to do.

use cedar_policy::PolicyId;

use super::action::Action;
use super::asking::Asking;
use super::decision::{Answer, Asked, Policy};
use super::denial::{ASK, DEFAULT, Denial};
use super::obligations::Terms;
use crate::model::{NodeName, RefusalCode};

impl Policy {
    pub(super) fn refusal(&self, asked: &Asked<'_>, answer: Answer, only_the_user: bool) -> Denial {
        let (action, Asking { person, node_name, os_user, .. }) = (asked.action, asked.asking);
        match answer {
            Answer::Forbidden(policies) => self.forbidden(&policies, action, node_name),
            Answer::Failed(why) => self.failed(&why),
            Answer::Unknown(why) => self.unknown(node_name, &why),
            Answer::Nothing | Answer::Permitted(_) => {
                self.nothing_permits(person, action, node_name, os_user.filter(|_| only_the_user))
            }
        }
    }

    /// The names of policies, as they stand between quotes, and what one of them says.
    pub(super) fn named(&self, policies: &[PolicyId]) -> (String, Option<&str>) {
        let names: Vec<String> = policies.iter().map(ToString::to_string).collect();
        (names.join("\", \""), policies.iter().find_map(|id| self.message_of(id)))
    }

    /// These forbid it.
    pub(super) fn forbidden(&self, policies: &[PolicyId], action: &Action, node: &NodeName) -> Denial {
        let (names, said) = self.named(policies);
        let code = RefusalCode::Forbidden;
        match said {
            Some(message) => Denial::new(code, &names, self.version(), format_args!("{message}")),
            None => {
                let instead = instead(action, node);
                let action = action.name();
                Denial::new(code, &names, self.version(), format_args!("it forbids {action} on {node}; {instead}{ASK}"))
            }
        }
    }

    /// None permits it; or they would, but for the operating-system user.
    pub fn nothing_permits(
        &self,
        person: &str,
        action: &Action,
        node: &NodeName,
        only_for_the_user: Option<&str>,
    ) -> Denial {
        let (code, then) = match only_for_the_user {
            None => (RefusalCode::NoRule, format!("; {}{ASK}", instead(action, node))),
            Some(user) => (RefusalCode::OsUserNotListed, format!(" as {user}; leave the user out, or {ASK}")),
        };
        let action = action.name();
        let why = format_args!("no policy lets {person} do {action} on {node}{then}");
        Denial::new(code, DEFAULT, self.version(), why)
    }

    /// These permit it at the beginning of a session, which is over.
    pub(super) fn too_old(&self, policies: &[PolicyId], action: &Action, node: &NodeName, terms: &Terms) -> Denial {
        let (names, _) = self.named(policies);
        let (action, seconds) = (action.name(), terms.max_duration.map_or(0, |longest| longest.as_secs()));
        let why = format_args!("{action} on {node} is for the first {seconds} s of a session; open another one for it");
        Denial::new(RefusalCode::SessionTooOld, &names, self.version(), why)
    }

    /// A policy about this person looks at what is not known of the node: what can't be decided is denied.
    pub(super) fn unknown(&self, node: &NodeName, why: &str) -> Denial {
        let why = format_args!("a policy looks at the tags or the name of {node}, which can't be read now: {why}");
        Denial::new(RefusalCode::PolicyFailed, DEFAULT, self.version(), why)
    }

    /// Something could not be evaluated, and what can't be decided is denied.
    pub fn failed(&self, why: &str) -> Denial {
        let why = format_args!("the policies could not be evaluated: {why}; whoever keeps them has to mend that");
        Denial::new(RefusalCode::PolicyFailed, DEFAULT, self.version(), why)
    }
}

/// What to do in place of something that nobody would see.
fn instead(action: &Action, node: &NodeName) -> String {
    match action {
        Action::Tunnel { .. } => format!(
            "that is the node's own sshd, where nobody sees what is done: ssh -J <gateway> {node} is answered by the gateway and recorded; \
             for a way that is end to end "
        ),
        _ => String::new(),
    }
}
