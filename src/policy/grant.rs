//! The [`Grant`], without which nothing opens, and which judges whatever is done later in what it opened.
//!
//! ```text
//!  Request ──Policy::decide──▶ Grant ──consumed by opening──▶ the session's, for as long as it lasts
//!                                                                  │
//!           each file operation, each variable ──Grant::judge──▶ Terms, or a Denial
//! ```
//!
//! Whoever permits what is done later obliges as whoever permitted the opening does: a reason is wanted then, limits of time
//! become the session's, and the size of an upload is what the terms of that one upload say.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::action::Action;
use super::asking::Given;
use super::by_now::{ByNow, Who};
use super::decision::Answer;
use super::denial::{Denial, PolicyVersion};
use super::facts::Facts;
use super::judged_line::JudgedLine;
use super::obligations::Terms;
use super::policies::Policies;
use super::scope::PolicyScope;
use crate::identity::Identity;
use crate::model::{NodeFacts, NodeName, NodeRef, ReasonText, RefusalCode};

/// Proof that policy allowed one action, for one identity, on one node. Only this module makes one; it can't be cloned,
/// and opening a transport consumes it. Whoever carries out what follows from it asks it again: there is no second
/// decider.
#[derive(Debug)]
pub struct Grant {
    pub(super) policies: Vec<String>,
    /// What is done in it is asked of those in force then.
    pub(super) set: Policies,
    pub(super) version: PolicyVersion,
    pub(super) facts: Facts,
    pub(super) identity: Identity,
    /// Who that is by now, for what is done in it.
    pub(super) by_now: ByNow,
    pub(super) node_name: NodeName,
    pub(super) os_user: Option<String>,
    pub(super) action: Action,
    /// Of a line, its commands.
    pub(super) commands: Option<JudgedLine>,
    pub(super) reason: Option<ReasonText>,
    /// What the session is obliged to; times get shorter by what is done in it.
    pub(super) terms: Mutex<Terms>,
    pub(super) since: Instant,
    /// The policies whose alerts have been raised.
    pub(super) raised: Mutex<BTreeSet<String>>,
}

/// What may be done for a while after a session's beginning is asked later than that.
struct SessionTooOld;

/// What the judgement of a file operation depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The action only. The path in the question is the client's own.
    Actions,
    /// The path, too: it is resolved first (one more round trip to the node), and the operation is carried out on the
    /// path that was judged.
    Paths,
}

impl Grant {
    /// May this be done as well, under the same grant, and on what terms? From memory: it is asked while the client waits. A rename is asked
    /// about as `Rename` and also as `Remove` and `Download` of what is moved and as `Upload` to where it goes; a link as
    /// `Download` and `Upload`, and a new size as `Upload`. A directory is one path: what moves with it is not asked about.
    pub fn judge(&self, action: &Action) -> Result<Terms, Denial> {
        match (&self.action, action) {
            (opened, asked) if opened == asked => Ok(self.terms()),
            (Action::Files, Action::File { .. })
            | (Action::Shell | Action::Exec { .. }, Action::SetVariable { .. }) => self.ask(action),
            (opened, asked) => Err(self.beyond(opened, asked)),
        }
    }

    fn ask(&self, action: &Action) -> Result<Terms, Denial> {
        let policy = self.set.current();
        let by_now = self.by_now.who();
        let (facts, identity) = match by_now.as_deref() {
            None => (&self.facts, &self.identity),
            Some(Ok(Who { facts, identity })) => (facts, identity),
            Some(Err(error)) => return Err(policy.failed(&error.to_string())),
        };
        let answer = match facts.question(action, SystemTime::now()) {
            Ok(question) => policy.ask(&question, facts),
            Err(error) => Answer::Failed(error.to_string()),
        };
        let second_factor = identity.second_factor().is_some();
        let given = Given { node_name: &self.node_name, reason: self.reason.as_ref(), second_factor };
        match answer {
            Answer::Permitted(policies) => {
                let terms = policy.terms(&policies, action, &given)?;
                let too_old = || policy.too_old(&policies, action, &self.node_name, &terms);
                self.keep_to(&terms).map_err(|_: SessionTooOld| too_old())?;
                Ok(terms)
            }
            Answer::Forbidden(policies) => Err(policy.forbidden(&policies, action, &self.node_name)),
            Answer::Nothing => Err(policy.nothing_permits(self.identity.person(), action, &self.node_name, None)),
            Answer::Failed(why) => Err(policy.failed(&why)),
            Answer::Unknown(why) => Err(policy.unknown(&self.node_name, &why)),
        }
    }

    /// The session keeps to the times of what is done in it, from its own start; one that is too old already does not do it.
    fn keep_to(&self, terms: &Terms) -> Result<(), SessionTooOld> {
        if terms.max_duration.is_some_and(|longest| self.since.elapsed() >= longest) {
            return Err(SessionTooOld);
        }
        if terms.max_duration.is_some() || terms.idle_timeout.is_some() {
            self.kept_terms().keep_to_times(terms.max_duration, terms.idle_timeout);
        }
        if !terms.alerts.is_empty() {
            self.kept_terms().alerts.extend(terms.alerts.clone());
        }
        Ok(())
    }

    /// What somebody is to be told at once, of each policy once in the session: name and text.
    pub fn take_alerts(&self) -> Vec<(String, String)> {
        let alerts = std::mem::take(&mut self.kept_terms().alerts);
        let mut raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        alerts.into_iter().filter(|(policy, _)| raised.insert(policy.clone())).collect()
    }

    fn kept_terms(&self) -> std::sync::MutexGuard<'_, Terms> {
        self.terms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What [`Self::judge`] looks at in an operation on a file.
    pub fn scope(&self) -> Scope {
        let policy = self.set.current();
        let mut theirs = policy.scopes().iter();
        let by_now = self.by_now.who();
        let identity = by_now.as_deref().and_then(|who| who.as_ref().ok()).map_or(&self.identity, |who| &who.identity);
        let (person, groups) = (identity.person(), identity.groups());
        let node = self.facts.node();
        let looks =
            |scope: &PolicyScope| scope.looks_at_path && scope.concerns(person, groups) && scope.could_be_about(node);
        match theirs.any(looks) {
            true => Scope::Paths,
            false => Scope::Actions,
        }
    }

    /// May what the granted forward's name stands for be reached? What forbids the address by itself refuses; that the name is permitted
    /// is enough for any other, but not for the node's own loopback, which no name but its own is to lead to.
    pub fn judge_address(&self, address: IpAddr) -> Result<(), Denial> {
        let Action::Forward { port, .. } = self.action else {
            return Err(self.beyond(&self.action, &self.action));
        };
        let asked = Action::Forward { host: address.to_string(), port };
        match self.ask(&asked) {
            Ok(_) => Ok(()),
            Err(denial) if denial.code == RefusalCode::NoRule && !address.is_loopback() => Ok(()),
            Err(denial) => Err(denial),
        }
    }

    fn beyond(&self, opened: &Action, asked: &Action) -> Denial {
        let (opened, asked) = (opened.name(), asked.name());
        let why = format_args!("the session was opened for {opened}, not for {asked}; open another one for it");
        Denial::new(RefusalCode::BeyondTheGrant, &self.policy(), &self.version, why)
    }

    /// More is uploaded than the terms let.
    pub fn too_much(&self, limit: u64, policy: &str) -> Denial {
        let why =
            format_args!("no more than {limit} bytes may be uploaded in a session; open another one for the rest");
        Denial::new(RefusalCode::UploadLimit, policy, &self.version, why)
    }

    /// Which policies say what is asked about now.
    pub fn in_force(&self) -> PolicyVersion {
        self.set.current().version().clone()
    }

    /// The policies that allowed it, by name.
    pub fn policy(&self) -> String {
        self.policies.join(", ")
    }
    /// Of which set.
    pub fn version(&self) -> &PolicyVersion {
        &self.version
    }
    /// What those who carry it out are obliged to, after all that was done in it so far.
    pub fn terms(&self) -> Terms {
        self.kept_terms().clone()
    }
    /// Of these the times, which somebody asks for at every turn: how long the session may last, and be silent.
    pub fn times(&self) -> (Option<Duration>, Option<Duration>) {
        let terms = self.kept_terms();
        (terms.max_duration, terms.idle_timeout)
    }
    /// Who may.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
    /// The node's name as the person wrote it.
    pub fn node_name(&self) -> &NodeName {
        &self.node_name
    }
    /// The node, in its realm.
    pub fn node(&self) -> &NodeRef {
        &self.facts.node().node
    }
    /// What was known of the node.
    pub fn node_facts(&self) -> &NodeFacts {
        self.facts.node()
    }
    /// The operating-system user; none means the agent's own.
    pub fn os_user(&self) -> Option<&str> {
        self.os_user.as_deref()
    }
    /// What was allowed.
    pub fn action(&self) -> &Action {
        &self.action
    }
    /// What its commands were judged as, where it is for a line.
    pub fn commands(&self) -> Option<&JudgedLine> {
        self.commands.as_ref()
    }
    /// Why.
    pub fn reason(&self) -> Option<&ReasonText> {
        self.reason.as_ref()
    }
}

/// Grants for tests of what comes after policy: of one policy that permits everything, unless a test has others.
#[cfg(test)]
impl Grant {
    pub(crate) fn for_test(node: &str, action: Action) -> Self {
        Self::for_test_of("tester", node, action)
    }

    pub(crate) fn for_test_of(person: &str, node: &str, action: Action) -> Self {
        Self::under("@id(\"test\") permit (principal, action, resource);", person, node, action)
    }

    /// The policies that it asks, which a test may change.
    pub(crate) fn policies(&self) -> Policies {
        self.set.clone()
    }

    /// The same for this reason.
    pub(crate) fn because(self, reason: ReasonText) -> Self {
        Self { reason: Some(reason), ..self }
    }

    /// For a node of a realm.
    pub(crate) fn for_test_in(realm: &str, node: &str, action: Action) -> Self {
        Self::for_test_to_in(Identity::for_test("tester"), realm, node, action)
    }

    /// The same to somebody about whom a test says more than a name.
    pub(crate) fn for_test_to_in(identity: Identity, realm: &str, node: &str, action: Action) -> Self {
        let policies = "@id(\"test\") permit (principal, action, resource);";
        let node = NodeRef::new(&crate::model::RealmName::of_test(realm), node);
        Self::on(identity, policies, node, action)
    }

    /// To somebody about whom a test says more than a name.
    pub(crate) fn for_test_to(identity: Identity, node: &str, action: Action) -> Self {
        Self::to(identity, "@id(\"test\") permit (principal, action, resource);", node, action)
    }

    /// By these policies.
    pub(crate) fn under(policies: &str, person: &str, node: &str, action: Action) -> Self {
        Self::to(Identity::for_test(person), policies, node, action)
    }

    fn to(identity: Identity, policies: &str, node: &str, action: Action) -> Self {
        Self::on(identity, policies, NodeRef::for_test(node), action)
    }

    fn on(identity: Identity, policies: &str, node: NodeRef, action: Action) -> Self {
        let decision = Policies::new(super::Policy::for_test(policies)).decide(super::Request {
            identity: &identity,
            source: std::net::Ipv4Addr::LOCALHOST.into(),
            node_name: &NodeName::for_test(&node.id.0),
            node: &NodeFacts::bare(node).into(),
            os_user: None,
            action,
            reason: None,
        });
        match decision {
            super::Decision::Allow(grant) => grant,
            super::Decision::Deny(denial) => panic!("{denial:?}"),
        }
    }

    /// For files, with one action refused below one directory: judged by path.
    pub(crate) fn for_files_but(action: super::FileAction, below: impl AsRef<std::path::Path>) -> Self {
        let below = below.as_ref().display().to_string();
        let policies = format!(
            "@id(\"test\") permit (principal, action, resource);\n\
             @id(\"but\") @message(\"not below that\")\n\
             forbid (principal, action == Action::\"{}\", resource)\n\
             when {{ context.path == {below:?} || context.path like {:?} }};",
            action.name(),
            format!("{below}/*"),
        );
        Self::under(&policies, "tester", "web-1", Action::Files)
    }
}

#[cfg(test)]
mod tests {
    use super::super::FileAction;
    use super::*;

    fn upload(path: &str) -> Action {
        Action::File { action: FileAction::Upload, path: path.into() }
    }

    fn download(path: &str) -> Action {
        Action::File { action: FileAction::Download, path: path.into() }
    }

    /// Files are everybody's to look at; what else is permitted obliges to this.
    fn obliging(to: &str, action: &str) -> Grant {
        let policies = format!(
            "@id(\"look\") permit (principal, action in Action::\"BrowseFiles\", resource);\n\
             @id(\"more\") {to} permit (principal, action == Action::\"{action}\", resource);"
        );
        Grant::under(&policies, "tester", "web-1", Action::Files)
    }

    #[test]
    fn a_policy_that_permits_no_more_than_an_operation_obliges_whoever_asks_for_it() {
        let remove = Action::File { action: FileAction::Remove, path: b"/x".to_vec() };
        let grant = obliging("@reason_pattern(\"INC-[0-9]+\")", "Remove");
        let denial = grant.judge(&remove).unwrap_err();
        assert_eq!((denial.code, denial.policy.as_str()), (RefusalCode::ReasonNeeded, "more"));
        assert!(denial.text.contains("Remove on web-1 needs a reason (one that fits INC-[0-9]+)"), "{denial:?}");
        let because = |reason: &str| {
            obliging("@reason_pattern(\"INC-[0-9]+\")", "Remove").because(ReasonText::new(reason).unwrap())
        };
        assert_eq!(because("curiosity").judge(&remove).unwrap_err().code, RefusalCode::ReasonUnsuitable);
        assert!(because("INC-7").judge(&remove).is_ok());
        let terms = obliging("@upload_limit(\"5KiB\")", "Upload").judge(&upload("/x")).unwrap();
        assert_eq!(terms.least_upload_limit(), Some((5120, "more")));
    }

    #[test]
    fn a_limit_of_time_holds_from_when_something_is_done_by_its_leave() {
        let grant = obliging("@max_duration(\"5m\") @idle_timeout(\"1m\")", "Download");
        assert_eq!(grant.times(), (None, None));
        assert!(
            grant.judge(&upload("/x")).is_err() && grant.times() == (None, None),
            "what is refused obliges to nothing"
        );
        assert!(grant.judge(&download("/x")).is_ok());
        let minutes = |minutes: u64| Some(Duration::from_secs(60 * minutes));
        assert_eq!(grant.times(), (minutes(5), minutes(1)));
        let old = Instant::now().checked_sub(Duration::from_secs(301)).unwrap();
        let grant = Grant { since: old, ..obliging("@max_duration(\"5m\")", "Download") };
        let denial = grant.judge(&download("/x")).unwrap_err();
        assert_eq!((denial.code, denial.policy.as_str()), (RefusalCode::SessionTooOld, "more"));
        assert!(
            denial.text.ends_with("Download on web-1 is for the first 300 s of a session; open another one for it")
        );
        assert_eq!(grant.times(), (None, None), "who may not do it keeps the session");
    }

    #[test]
    fn a_variable_obliges_as_all_else_does() {
        let policies = "@id(\"run\") permit (principal, action in Action::\"Commands\", resource);\n\
                        @id(\"set\") @max_duration(\"1m\") @reason(\"required\")\n\
                        permit (principal, action == Action::\"SetVariable\", resource);";
        let exec = Action::Exec { command: b"id".to_vec() };
        let set = Action::SetVariable { name: "LANG".to_owned(), value: b"C".to_vec() };
        let grant = Grant::under(policies, "tester", "web-1", exec);
        assert_eq!(grant.judge(&set).unwrap_err().code, RefusalCode::ReasonNeeded);
        let grant = grant.because(ReasonText::new("why not").unwrap());
        assert!(grant.judge(&set).is_ok());
        assert_eq!(grant.times(), (Some(Duration::from_secs(60)), None));
    }

    #[test]
    fn a_grant_covers_what_it_was_given_for_and_nothing_else() {
        let exec = |command: &str| Action::Exec { command: command.into() };
        let grant = Grant::for_test("web-1", exec("id"));
        assert_eq!(grant.judge(&exec("id")), Ok(Terms::default()));
        for other in [exec("rm -r /"), Action::Shell, Action::Files, Action::RunAs, upload("/etc/passwd")] {
            let denial = grant.judge(&other).unwrap_err();
            assert_eq!((denial.code, denial.policy.as_str()), (RefusalCode::BeyondTheGrant, "test"));
            let name = other.name();
            assert!(
                denial
                    .text
                    .ends_with(&format!("the session was opened for Exec, not for {name}; open another one for it")),
                "{denial:?}"
            );
        }
    }

    #[test]
    fn a_session_of_files_covers_what_is_permitted_in_it_and_no_shell() {
        let grant = Grant::for_test("web-1", Action::Files);
        assert_eq!(grant.judge(&upload("/etc/passwd")), Ok(Terms::default()));
        assert_eq!(grant.scope(), Scope::Actions);
        assert!(grant.judge(&Action::Shell).is_err());
        let readers = "@id(\"r\") permit (principal, action in Action::\"ReadFiles\", resource);";
        let grant = Grant::under(readers, "tester", "web-1", Action::Files);
        let of = |action| grant.judge(&Action::File { action, path: b"/x".to_vec() });
        use FileAction::{Download, List, ReadLink, Remove, Rename, Resolve, Stat, Symlink, Upload};
        for action in [Download, List, ReadLink, Resolve, Stat] {
            assert_eq!(of(action), Ok(Terms::default()), "{action:?}");
        }
        for action in [Remove, Rename, Symlink, Upload] {
            let denial = of(action).unwrap_err();
            assert_eq!((denial.code, denial.policy.as_str()), (RefusalCode::NoRule, "default"), "{action:?}");
        }
    }

    #[test]
    fn what_a_name_stands_for_is_asked_about_as_the_address_that_it_is() {
        let named = "@id(\"db\") permit (principal, action == Action::\"Forward\", resource) when { context.host == \"db\" };\n\
                     @id(\"net\") forbid (principal, action == Action::\"Forward\", resource)\n\
                     when { context has address && context.address.isInRange(ip(\"10.9.0.0/16\")) };";
        let forward = || Action::Forward { host: "db".to_owned(), port: 5432 };
        let judged = |policies: &str, address: &str| {
            let grant = Grant::under(policies, "tester", "web-1", forward());
            grant.judge_address(address.parse().unwrap()).map_err(|denial| (denial.code, denial.policy))
        };
        for address in ["10.0.0.7", "2001:db8::7"] {
            assert_eq!(judged(named, address), Ok(()), "the name is permitted, and nothing is said of {address}");
        }
        assert_eq!(judged(named, "10.9.0.7"), Err((RefusalCode::Forbidden, "net".to_owned())));
        // no name but its own leads to the node itself, unless that is permitted as such
        for address in ["127.0.0.1", "127.9.9.9", "::1"] {
            assert_eq!(judged(named, address), Err((RefusalCode::NoRule, "default".to_owned())), "{address}");
            let own = format!(
                "{named}\n@id(\"own\") permit (principal, action == Action::\"Forward\", resource) when {{ context.loopback }};"
            );
            assert_eq!(judged(&own, address), Ok(()), "{address}");
        }
        // and a grant for something else says nothing of addresses
        let shell = Grant::for_test("web-1", Action::Shell);
        assert_eq!(shell.judge_address("10.0.0.7".parse().unwrap()).unwrap_err().code, RefusalCode::BeyondTheGrant);
    }

    #[test]
    fn terms_that_look_at_paths_are_judged_by_path() {
        let grant = Grant::for_files_but(FileAction::Upload, "/safe");
        assert_eq!(grant.scope(), Scope::Paths);
        let denial = grant.judge(&upload("/safe/x")).unwrap_err();
        assert_eq!(denial.text, "denied by policy \"but\": not below that");
        assert_eq!(grant.judge(&upload("/safer")), Ok(Terms::default()));
        assert!(grant.judge(&download("/safe/x")).is_ok());
    }

    #[test]
    fn whose_policies_look_at_no_path_has_none_resolved() {
        let policies = "@id(\"all\") permit (principal, action, resource);\n\
                        @id(\"eve\") forbid (principal == Person::\"eve\", action == Action::\"Upload\", resource)\n\
                        when { context.path like \"/etc/*\" };";
        assert_eq!(Grant::under(policies, "tester", "web-1", Action::Files).scope(), Scope::Actions);
        assert_eq!(Grant::under(policies, "eve", "web-1", Action::Files).scope(), Scope::Paths);
    }
}
