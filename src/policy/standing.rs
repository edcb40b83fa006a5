//! What a grant was given for, so that it can be asked about again when the policies have changed.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::action::Action;
use super::by_now::{ByNow, Who};
use super::decision::{Asked, Decision, Request};
use super::denial::Denial;
use super::facts::Facts;
use super::grant::Grant;
use super::judged_line::JudgedLine;
use super::policies::Policies;
use crate::identity::Identity;
use crate::model::{NodeFacts, NodeName, RealmName, ReasonText, RefusalCode};

/// A decision's request, for as long as what it allowed goes on. It opens nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub(super) identity: Identity,
    pub(super) by_now: ByNow,
    pub(super) source: IpAddr,
    pub(super) node_name: NodeName,
    pub(super) node: Arc<NodeFacts>,
    pub(super) os_user: Option<String>,
    pub(super) action: Action,
    pub(super) reason: Option<ReasonText>,
    /// A line that the login shell runs.
    pub(super) in_login_shell: bool,
}

impl Standing {
    /// Who it was given to.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The same for this person as they are now. What is done in it from now on is asked about them.
    #[must_use]
    pub fn of(&self, identity: Identity, policies: &Policies) -> Self {
        let now = Self { identity, ..self.clone() };
        if now.identity != self.identity {
            let facts = Facts::of(&now.request(&now.identity).asking(), policies.current().actions());
            self.by_now.set(facts.map(|facts| Who { identity: now.identity.clone(), facts }));
        }
        now
    }

    fn request<'a>(&'a self, identity: &'a Identity) -> Request<'a> {
        Request {
            identity,
            source: self.source,
            node_name: &self.node_name,
            node: &self.node,
            os_user: self.os_user.as_deref(),
            action: self.action.clone(),
            reason: self.reason.as_ref(),
        }
    }

    /// Whether a line may be run that somebody has typed in the shell that it stands for, by the policies in force.
    pub fn judge_typed(&self, policies: &Policies, line: &[u8]) -> Result<(), Denial> {
        let policy = policies.current();
        let request = self.request(&self.identity);
        let asking = request.asking();
        let facts = match Facts::of(&asking, policy.actions()) {
            Ok(facts) => facts,
            Err(error) => return Err(policy.failed(&error.to_string())),
        };
        let asked = Asked { asking, action: &self.action, facts: &facts, now: SystemTime::now() };
        policy.judge_line(&asked, line).map(drop)
    }

    /// The realm of its node.
    pub fn realm(&self) -> &RealmName {
        &self.node.node.realm
    }

    /// Whether it would be given again, by the policies in force and to this person as they are now.
    pub fn judge(&self, policies: &Policies, identity: &Identity) -> Result<(), Denial> {
        match policies.decide(self.request(identity)) {
            // it runs, and not as it would have been read
            Decision::Allow(grant)
                if self.in_login_shell && grant.commands().is_some_and(JudgedLine::takes_the_modelled_shell) =>
            {
                let why = format_args!("its commands are looked at now, and it was begun without that");
                Err(Denial::new(RefusalCode::CommandUnknown, &grant.policy(), grant.version(), why))
            }
            Decision::Allow(_) => Ok(()),
            Decision::Deny(denial) => Err(denial),
        }
    }
}

impl Grant {
    /// What it was given for.
    pub fn standing(&self) -> Standing {
        Standing {
            identity: self.identity.clone(),
            by_now: self.by_now.clone(),
            source: self.facts.source(),
            node_name: self.node_name.clone(),
            node: Arc::clone(self.facts.node()),
            os_user: self.os_user.clone(),
            action: self.action.clone(),
            reason: self.reason.clone(),
            in_login_shell: matches!(self.commands, Some(JudgedLine::Any(_))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FileAction, Policy};
    use super::*;

    fn granted(policies: &Policies, identity: &Identity) -> Grant {
        let decision = policies.decide(Request {
            identity,
            source: std::net::Ipv4Addr::LOCALHOST.into(),
            node_name: &NodeName::for_test("web-1"),
            node: &Arc::new(NodeFacts::named("i-1", "web-1")),
            os_user: None,
            action: Action::Files,
            reason: None,
        });
        let Decision::Allow(grant) = decision else { panic!("denied") };
        grant
    }

    #[test]
    fn what_is_done_is_asked_about_who_somebody_is_by_now() {
        let policies = Policies::new(Policy::for_test(
            "@id(\"ops\") permit (principal in Group::\"ops\", action, resource);\n\
             @id(\"all\") permit (principal, action in Action::\"BrowseFiles\", resource);",
        ));
        let (of_ops, of_none) = (Identity::for_test_in("ada", &["ops"]), Identity::for_test("ada"));
        let grant = granted(&policies, &of_ops);
        let may = |action| grant.judge(&Action::File { action, path: b"/x".to_vec() }).is_ok();
        assert!(may(FileAction::Upload));
        let standing = grant.standing();
        assert_eq!(standing.judge(&policies, &of_none), Ok(()), "the session goes on, since they may look at files");
        let now = standing.of(of_none.clone(), &policies);
        assert!(!may(FileAction::Upload) && may(FileAction::List), "who is in the group no more");
        assert_eq!(now.identity(), &of_none);
        let _ = now.of(of_ops, &policies);
        assert!(may(FileAction::Upload));
    }

    #[test]
    fn what_was_allowed_is_judged_by_the_newest_policies() {
        let all = "@id(\"all\") permit (principal, action, resource);";
        let readers =
            "@id(\"readers\") permit (principal in Group::\"ops\", action in Action::\"ReadFiles\", resource);";
        let policies = Policies::new(Policy::for_test(all));
        let identity = Identity::for_test_in("ada", &["ops"]);
        let grant = granted(&policies, &identity);
        let upload = Action::File { action: FileAction::Upload, path: b"/x".to_vec() };
        let standing = grant.standing();
        assert!(grant.judge(&upload).is_ok());
        assert_eq!(standing.judge(&policies, &identity), Ok(()));
        let before = policies.replace(Policy::for_test(readers));
        assert_ne!(before.version(), policies.current().version());
        assert!(grant.judge(&upload).is_err(), "a file session that goes on is judged by what is in force");
        assert_eq!(standing.judge(&policies, &identity), Ok(()));
        assert!(standing.judge(&policies, &Identity::for_test("ada")).is_err(), "who is in the group no more");
        policies.replace(Policy::for_test(""));
        assert!(standing.judge(&policies, &identity).is_err());
    }
}
