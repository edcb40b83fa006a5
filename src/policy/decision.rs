//! A request and its decision by the policies. Deny is the default and the error path.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use cedar_policy::{Authorizer, Entities, PolicyId};

use super::action::Action;
use super::asking::{Asking, Given};
use super::by_now::ByNow;
use super::candidates::Candidates;
use super::denial::{Denial, PolicyVersion};
use super::facts::Facts;
use super::grant::Grant;
use super::judged_line::JudgedLine;
use super::obligations::{Obligations, Terms};
use super::policies::Policies;
use super::scope::PolicyScope;
use super::usable::Opener;
use crate::identity::Identity;
use crate::model::{NodeFacts, NodeName, ReasonText, RefusalCode};

/// Everything a decision is made from.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Who asks.
    pub identity: &'a Identity,
    /// Where they connect from.
    pub source: IpAddr,
    /// The node's name as the person wrote it.
    pub node_name: &'a NodeName,
    /// The node that name stands for.
    pub node: &'a Arc<NodeFacts>,
    /// The operating-system user asked for; none means the agent's own.
    pub os_user: Option<&'a str>,
    /// What they want to do.
    pub action: Action,
    /// Why.
    pub reason: Option<&'a ReasonText>,
}

/// The answer to a [`Request`].
#[must_use]
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "made once for a channel, and moved on at once")]
pub enum Decision {
    /// Go on, with this grant and no other.
    Allow(Grant),
    /// Refused.
    Deny(Denial),
}

/// Permits what some policy permits and none forbids, and denies the rest.
#[derive(Clone, Debug)]
pub struct Policy(Arc<Compiled>);

/// Policies that are valid, and what is known of each.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) candidates: Candidates,
    /// The schema's actions and their groups.
    pub(super) actions: Entities,
    pub(super) scopes: Vec<PolicyScope>,
    /// Those that could be about what opens a session.
    pub(super) openers: Vec<Opener>,
    /// Those that look at the commands of a line.
    pub(super) lookers: BTreeSet<PolicyId>,
    pub(super) obligations: BTreeMap<PolicyId, Obligations>,
    pub(super) version: PolicyVersion,
}

/// What the policies say to one question.
#[derive(Debug)]
pub(super) enum Answer {
    /// These permit.
    Permitted(Vec<PolicyId>),
    /// These forbid.
    Forbidden(Vec<PolicyId>),
    /// None permits.
    Nothing,
    /// Something could not be evaluated.
    Failed(String),
    /// One of them looks at what is not known of the node, and why it is not.
    Unknown(String),
}

impl Policies {
    /// Decides.
    pub fn decide(&self, request: Request<'_>) -> Decision {
        let policy = self.current();
        let asking = request.asking();
        let facts = match Facts::of(&asking, &policy.0.actions) {
            Ok(facts) => facts,
            Err(error) => return Decision::Deny(policy.failed(&error.to_string())),
        };
        let asked = Asked { asking, action: &request.action, facts: &facts, now: SystemTime::now() };
        match policy.judge(&asked) {
            Err(denial) => Decision::Deny(denial),
            Ok(Permitted { terms, policies, commands }) => Decision::Allow(Grant {
                policies: policies.iter().map(ToString::to_string).collect(),
                commands,
                set: self.clone(),
                version: policy.version().clone(),
                facts,
                identity: request.identity.clone(),
                by_now: ByNow::default(),
                node_name: request.node_name.clone(),
                os_user: request.os_user.map(str::to_owned),
                terms: Mutex::new(terms),
                since: Instant::now(),
                raised: Mutex::default(),
                action: request.action,
                reason: request.reason.cloned(),
            }),
        }
    }
}

impl Policy {
    pub(super) fn new(compiled: Compiled) -> Self {
        Self(Arc::new(compiled))
    }

    pub(super) fn scopes(&self) -> &[PolicyScope] {
        &self.0.scopes
    }

    pub(super) fn openers(&self) -> &[Opener] {
        &self.0.openers
    }

    /// Which policies these are.
    pub fn version(&self) -> &PolicyVersion {
        &self.0.version
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.candidates.whole().num_of_policies()
    }

    /// Whether a policy looks at the commands of a line.
    pub(super) fn looks_at_commands(&self, policy: &PolicyId) -> bool {
        self.0.lookers.contains(policy)
    }

    pub(super) fn actions(&self) -> &Entities {
        &self.0.actions
    }

    /// What a policy says to whom it refuses, where it says something.
    pub(super) fn message_of(&self, policy: &PolicyId) -> Option<&str> {
        self.0.candidates.whole().annotation(policy, "message")
    }

    pub(super) fn policies(&self) -> impl Iterator<Item = &cedar_policy::Policy> {
        self.0.candidates.whole().policies()
    }

    /// What those are obliged to who carry out what is asked, and the policies that permit it; or the refusal.
    pub(super) fn judge(&self, asked: &Asked<'_>) -> Result<Permitted, Denial> {
        let mut policies = self.permitting(asked)?;
        let commands = match asked.action {
            Action::Exec { command } => Some(self.judge_line(asked, command)?),
            _ => None,
        };
        policies.extend(commands.iter().flat_map(JudgedLine::policies).cloned());
        policies.sort();
        policies.dedup();
        let terms = self.terms(&policies, asked.action, &asked.asking.given())?;
        Ok(Permitted { terms, policies, commands })
    }

    /// The policies that permit what is asked, and being the user that is asked for.
    fn permitting(&self, asked: &Asked<'_>) -> Result<Vec<PolicyId>, Denial> {
        let Asked { asking, action, .. } = asked;
        let as_somebody = asking.os_user.is_some();
        let mut policies = match self.answer(asked, action) {
            Answer::Permitted(policies) => policies,
            refused => {
                // what is missing is the user where everything else would do
                let only_the_user = as_somebody && self.permits_without_user(asked);
                return Err(self.refusal(asked, refused, only_the_user));
            }
        };
        if as_somebody {
            match self.answer(asked, &Action::RunAs) {
                Answer::Permitted(more) => policies.extend(more),
                refused => return Err(self.refusal(asked, refused, true)),
            }
        }
        Ok(policies)
    }

    /// What those who carry out what these policies permit are obliged to; or what the person is, and did not do.
    pub(super) fn terms(&self, policies: &[PolicyId], action: &Action, given: &Given<'_>) -> Result<Terms, Denial> {
        let Given { node_name, reason, second_factor } = *given;
        let mut terms = Terms::default();
        for id in policies {
            let Some(obligations) = self.0.obligations.get(id) else { continue };
            terms.add(id.as_ref(), obligations);
            if obligations.second_factor && !second_factor {
                let code = RefusalCode::SecondFactorNeeded;
                let why = format_args!(
                    "{} on {node_name} needs a second factor, and this login had none; a code is asked for at login from whoever \
                     has a secret for it: ask whoever runs the gateway for one",
                    action.name()
                );
                return Err(Denial::new(code, id.as_ref(), self.version(), why));
            }
            let Some(wanted) = &obligations.reason else { continue };
            let (code, needs) = match reason {
                Some(reason) if wanted.suits(reason) => continue,
                Some(_) => (RefusalCode::ReasonUnsuitable, "needs another reason"),
                None => (RefusalCode::ReasonNeeded, "needs a reason"),
            };
            let (action, words) = (action.name(), wanted.words());
            let denial = Denial::new(
                code,
                id.as_ref(),
                self.version(),
                format_args!(
                    "{action} on {node_name} {needs} ({words}); write it behind a + in the login, as in \
                     {node_name}+<reason>, or into PORTCULLIS_REASON (ssh -o SetEnv=PORTCULLIS_REASON=…)"
                ),
            );
            return Err(Denial { wanted_reason: Some(words.to_owned()), ..denial });
        }
        Ok(terms)
    }

    /// One question, one answer.
    pub(super) fn answer(&self, asked: &Asked<'_>, action: &Action) -> Answer {
        match asked.facts.question(action, asked.now) {
            Ok(question) => self.ask(&question, asked.facts),
            Err(error) => Answer::Failed(error.to_string()),
        }
    }

    fn permits_without_user(&self, asked: &Asked<'_>) -> bool {
        let question = asked.facts.question_of_nobody(asked.action, asked.now);
        question.is_ok_and(|question| matches!(self.ask(&question, asked.facts), Answer::Permitted(_)))
    }

    /// Asks Cedar. A policy that can't be evaluated is left out by it, a forbidding one as well: so any error denies.
    pub(super) fn ask(&self, question: &cedar_policy::Request, facts: &Facts) -> Answer {
        if let Some(why) = facts.unknown_to(self.scopes()) {
            return Answer::Unknown(why.to_owned());
        }
        let candidates = self.0.candidates.of_question(question, facts.entities());
        let response = Authorizer::new().is_authorized(question, &candidates, facts.entities());
        if let Some(error) = response.diagnostics().errors().next() {
            return Answer::Failed(error.to_string());
        }
        let mut deciding: Vec<PolicyId> = response.diagnostics().reason().cloned().collect();
        // a sentence that names them is the same each time
        deciding.sort();
        match response.decision() {
            cedar_policy::Decision::Allow => Answer::Permitted(deciding),
            cedar_policy::Decision::Deny if deciding.is_empty() => Answer::Nothing,
            cedar_policy::Decision::Deny => Answer::Forbidden(deciding),
        }
    }
}

/// What an allow is made of.
pub(super) struct Permitted {
    pub(super) terms: Terms,
    pub(super) policies: Vec<PolicyId>,
    /// The commands of a line.
    pub(super) commands: Option<JudgedLine>,
}

/// One question while it is decided.
pub(super) struct Asked<'a> {
    pub(super) asking: Asking<'a>,
    pub(super) action: &'a Action,
    pub(super) facts: &'a Facts,
    pub(super) now: SystemTime,
}

#[cfg(test)]
mod tests {
    use super::super::FileAction;
    use super::super::command_line::commands;
    use super::*;
    use crate::model::{NodeAsked, NodeRef, RealmName};

    /// Somebody who asks, from a machine of a network for documentation.
    struct Asking<'a> {
        person: &'a str,
        groups: &'a [&'a str],
        user: Option<&'a str>,
        reason: Option<&'a str>,
        called: Option<&'a str>,
    }

    const ADA: Asking<'_> = Asking { person: "ada", groups: &[], user: None, reason: None, called: Some("web-1") };

    const ID: &str = "i-0123456789abcdef0";

    fn ask(policy: &Policy, asking: &Asking<'_>, action: Action) -> Decision {
        let identity = Identity::for_test_in(asking.person, asking.groups);
        Policies::new(policy.clone()).decide(Request {
            identity: &identity,
            source: "203.0.113.7".parse().unwrap(),
            node_name: &NodeName::for_test("web-1"),
            node: &NodeFacts { called: asking.called.map(str::to_owned), ..NodeFacts::bare(NodeRef::for_test(ID)) }
                .into(),
            os_user: asking.user,
            action,
            reason: asking.reason.and_then(ReasonText::new).as_ref(),
        })
    }

    fn decide(text: &str, asking: &Asking<'_>, action: Action) -> Decision {
        ask(&Policy::for_test(text), asking, action)
    }

    fn allowed(text: &str, asking: &Asking<'_>, action: Action) -> bool {
        matches!(decide(text, asking, action), Decision::Allow(_))
    }

    fn denied(text: &str, asking: &Asking<'_>, action: Action) -> Denial {
        match decide(text, asking, action) {
            Decision::Deny(denial) => denial,
            Decision::Allow(grant) => panic!("{text} allows {grant:?}"),
        }
    }

    /// A policy that permits in this scope, when this holds.
    fn permit(scope: &str, when: &str) -> String {
        format!("@id(\"p\") permit ({scope}) when {{ {when} }};")
    }

    /// Every action, with something in it.
    fn every_action() -> Vec<Action> {
        let files = FileAction::ALL.into_iter().map(|action| Action::File { action, path: b"/a\xff".to_vec() });
        let others = [
            Action::Shell,
            Action::Exec { command: b"echo \xff".to_vec() },
            Action::Command { line: b"echo \xff".to_vec(), command: None },
            Action::SetVariable { name: "LANG".to_owned(), value: b"C".to_vec() },
            Action::RunAs,
            Action::Forward { host: "db".to_owned(), port: 5432 },
            Action::ForwardSocket { path: b"/run/x".to_vec() },
            Action::Hop,
            Action::Tunnel { port: 22 },
            Action::Review { of: "bob".to_owned() },
            Action::EndSession { of: "bob".to_owned() },
            Action::Files,
        ];
        let lines = ["ls -l /x", "git-upload-pack '/srv/a b'"].map(|line| Action::Command {
            line: line.into(),
            command: commands(line.as_bytes()).unwrap().pop().map(Box::new),
        });
        files.chain(others).chain(lines).collect()
    }

    #[test]
    fn nothing_is_allowed_that_is_not_listed() {
        assert!(!allowed("", &ADA, Action::Shell));
        for (policy, yes) in [
            (permit("principal == Person::\"ada\", action == Action::\"Shell\", resource", "true"), true),
            (permit("principal, action, resource", "resource.name == \"web-1\""), true),
            (permit("principal, action, resource == Node::\"i-0123456789abcdef0\"", "true"), true),
            (permit("principal == Person::\"bob\", action, resource", "true"), false),
            (permit("principal, action, resource", "resource.name == \"web-2\""), false),
            (permit("principal, action == Action::\"Exec\", resource", "true"), false),
            (permit("principal in Group::\"ops\", action, resource", "true"), false),
        ] {
            assert_eq!(allowed(&policy, &ADA, Action::Shell), yes, "{policy}");
        }
        let everything = permit("principal, action, resource", "true");
        for action in every_action() {
            assert!(!allowed("", &ADA, action.clone()) && allowed(&everything, &ADA, action));
        }
    }

    #[test]
    fn every_action_is_one_of_the_schema_s_with_what_the_schema_says_of_it() {
        let policy = Policy::for_test("");
        let schema = cedar_policy::Schema::from_cedarschema_str(include_str!("../../config/portcullis.cedarschema"));
        let (schema, warnings) = schema.unwrap();
        assert_eq!(warnings.map(|warning| warning.to_string()).collect::<Vec<_>>(), [""; 0]);
        let mut asked = std::collections::BTreeSet::new();
        for (user, reason) in [(None, None), (Some("root"), Some("INC-1"))] {
            let identity = Identity::for_test_in("ada", &["ops"]);
            let reason = reason.and_then(ReasonText::new);
            for action in every_action() {
                let request = Request {
                    identity: &identity,
                    source: "2001:db8::1".parse().unwrap(),
                    node_name: &NodeName::for_test("web-1"),
                    node: &NodeFacts::bare(NodeRef::for_test(ID)).into(),
                    os_user: user,
                    action: action.clone(),
                    reason: reason.as_ref(),
                };
                let facts = Facts::of(&request.asking(), &policy.0.actions).unwrap();
                let question = facts.question(&action, SystemTime::now()).unwrap();
                let uid = question.action().unwrap();
                question.context().unwrap().validate(&schema, uid).unwrap_or_else(|error| panic!("{uid}: {error}"));
                facts.entities().clone().add_entities([], Some(&schema)).unwrap();
                asked.insert(uid.clone());
            }
        }
        let groups: Vec<_> = schema.action_groups().collect();
        let known = schema
            .actions()
            .filter(|action| schema.principals_for_action(action).is_some_and(|mut of| of.next().is_some()));
        let unasked: Vec<_> = known.filter(|action| !asked.contains(*action)).collect();
        assert!(unasked.is_empty(), "nobody asks about {unasked:?}");
        assert_eq!(groups.len(), 5, "{groups:?}");
    }

    #[test]
    fn an_os_user_has_to_be_listed_even_where_all_else_is_allowed() {
        let sessions = permit("principal, action in Action::\"Sessions\", resource", "true");
        let deploy = Asking { user: Some("deploy"), ..ADA };
        let run_as = "@id(\"as\") permit (principal, action == Action::\"RunAs\", resource)\n\
                      when { context has os_user && context.os_user == \"deploy\" };";
        let both = format!("{sessions}\n{run_as}");
        assert!(allowed(&sessions, &ADA, Action::Files) && !allowed(&sessions, &deploy, Action::Files));
        assert!(allowed(&both, &deploy, Action::Files));
        let denial = denied(&both, &Asking { user: Some("root"), ..ADA }, Action::Shell);
        assert_eq!(
            denial.text,
            "denied by policy \"default\": no policy lets ada do Shell on web-1 as root; leave the user out, or ask whoever keeps the policies"
        );
        assert_eq!(denial.code, RefusalCode::OsUserNotListed);
        // who is permitted to be somebody is not permitted to do anything by that
        assert_eq!(denied(run_as, &deploy, Action::Shell).code, RefusalCode::NoRule);
        let alone = permit("principal, action == Action::\"Shell\", resource", "!(context has os_user)");
        assert_eq!(denied(&alone, &deploy, Action::Shell).code, RefusalCode::OsUserNotListed);
        let Decision::Allow(grant) = decide(&both, &deploy, Action::Shell) else { panic!("denied") };
        assert_eq!(grant.policy(), "as, p");
    }

    #[test]
    fn what_forbids_wins_and_says_what_it_says() {
        let policies = "@id(\"all\") permit (principal, action, resource);\n\
             @id(\"night\") @message(\"nobody works at night; sleep\") forbid (principal, action == Action::\"Shell\", resource);\n\
             @id(\"mute\") forbid (principal, action == Action::\"Exec\", resource);";
        let denial = denied(policies, &ADA, Action::Shell);
        assert_eq!(denial.text, "denied by policy \"night\": nobody works at night; sleep");
        assert_eq!((denial.code, denial.policy.as_str()), (RefusalCode::Forbidden, "night"));
        let denial = denied(policies, &ADA, Action::Exec { command: b"id".to_vec() });
        assert_eq!(denial.text, "denied by policy \"mute\": it forbids Exec on web-1; ask whoever keeps the policies");
        assert!(allowed(policies, &ADA, Action::Files));
    }

    #[test]
    fn every_denial_says_which_policy_why_and_what_to_do() {
        let mute = "@id(\"mute\") forbid (principal, action, resource);";
        let all = "@id(\"all\") permit (principal, action, resource);";
        let alone = "@id(\"alone\") permit (principal, action, resource) when { !(context has os_user) };";
        let run_as = "@id(\"as\") permit (principal, action == Action::\"RunAs\", resource);";
        let (alone_and_as, wants) =
            (format!("{alone}\n{run_as}"), all.replace("permit", "@reason(\"a ticket\") permit"));
        let root = Asking { user: Some("root"), ..ADA };
        let begins =
            |denial: &Denial, policy: &str| denial.text.starts_with(&format!("denied by policy \"{policy}\": "));
        for action in every_action() {
            let name = action.name();
            for (policies, asking, policy, what_to_do) in [
                ("", &ADA, "default", "ask whoever keeps the policies"),
                (mute, &ADA, "mute", "ask whoever keeps the policies"),
                (wants.as_str(), &ADA, "all", "write it behind a + in the login"),
                (alone_and_as.as_str(), &root, "default", "leave the user out, or ask whoever keeps the policies"),
            ] {
                if matches!(action, Action::RunAs) && asking.user.is_some() {
                    continue;
                }
                let denial = denied(policies, asking, action.clone());
                let complete = begins(&denial, policy)
                    && denial.text.contains(name)
                    && denial.text.contains("web-1")
                    && denial.text.contains(what_to_do);
                assert!(complete, "{name} under {policies}: {denial:?}");
            }
        }
    }

    #[test]
    fn z6_what_can_t_be_evaluated_is_denied() {
        // a sum that is too large is an error of evaluation, which Cedar leaves out: also where it would have forbidden
        let sum = "context.weekday + 9223372036854775807 > 0";
        let all = "@id(\"all\") permit (principal, action, resource);";
        for policies in [
            permit("principal, action, resource", sum),
            format!("{all}\n@id(\"f\") forbid (principal, action, resource) when {{ {sum} }};"),
        ] {
            let denial = denied(&policies, &ADA, Action::Shell);
            assert_eq!(denial.code, RefusalCode::PolicyFailed, "{denial:?}");
            assert!(denial.text.contains("could not be evaluated"), "{denial:?}");
        }
    }

    #[test]
    fn a_reason_that_is_wanted_is_asked_for_in_words_that_help() {
        let policy = "@id(\"by-ticket\") @reason(\"a ticket, such as INC-1234\") @reason_pattern(\"INC-[0-9]+.*\")\n\
                      permit (principal, action, resource);";
        let denial = denied(policy, &ADA, Action::Shell);
        assert_eq!(denial.code, RefusalCode::ReasonNeeded);
        assert_eq!(
            denial.text,
            "denied by policy \"by-ticket\": Shell on web-1 needs a reason (a ticket, such as INC-1234); write it behind \
             a + in the login, as in web-1+<reason>, or into PORTCULLIS_REASON (ssh -o SetEnv=PORTCULLIS_REASON=…)"
        );
        let because = |reason| Asking { reason: Some(reason), ..ADA };
        assert_eq!(denied(policy, &because("curiosity"), Action::Shell).code, RefusalCode::ReasonUnsuitable);
        let Decision::Allow(grant) = decide(policy, &because("INC-42 disk"), Action::Shell) else { panic!("denied") };
        assert_eq!(grant.reason().map(ReasonText::as_str), Some("INC-42 disk"));
    }

    #[test]
    fn what_all_that_permit_oblige_to_holds() {
        let policies = "@id(\"a\") @max_duration(\"8h\") @upload_limit(\"1KiB\") permit (principal, action, resource);\n\
                        @id(\"b\") @max_duration(\"1h\") permit (principal in Group::\"ops\", action, resource);";
        let terms = |groups| match decide(policies, &Asking { groups, ..ADA }, Action::Files) {
            Decision::Allow(grant) => grant.terms(),
            Decision::Deny(denial) => panic!("{denial:?}"),
        };
        let hours = |hours: u64| Some(std::time::Duration::from_secs(3600 * hours));
        assert_eq!(terms(&[]).max_duration, hours(8));
        assert_eq!(terms(&["ops"]).max_duration, hours(1));
        assert_eq!(terms(&["ops"]).least_upload_limit(), Some((1024, "a")));
    }

    #[test]
    fn what_is_known_of_the_asking_can_be_asked_for() {
        for (when, yes) in [
            ("context.source.isInRange(ip(\"203.0.113.0/24\"))", true),
            ("context.source.isInRange(ip(\"198.51.100.0/24\"))", false),
            ("context.proof == \"test\"", true),
            ("context.authentication.user_verified || context.authentication has certificate", false),
            ("context.authentication has key && context.authentication.key like \"SHA256:*\"", true),
            ("context has reason", false),
            ("context.time > datetime(\"2024-01-01\")", true),
            ("context.weekday >= 1 && context.weekday <= 7", true),
            ("resource.name like \"web-*\"", true),
        ] {
            assert_eq!(
                allowed(&permit("principal, action == Action::\"Shell\", resource", when), &ADA, Action::Shell),
                yes,
                "{when}"
            );
        }
        let exec = |when| permit("principal, action in Action::\"Commands\", resource", when);
        let id = Action::Exec { command: b"id".to_vec() };
        assert!(allowed(&exec("context.command == \"id\""), &ADA, id.clone()));
        // printf %s 'journalctl -u nginx -n 50 --no-pager' | sha256sum
        let known = exec("context.sha256 == \"f98977d96278c233f0b9cdc1cbddf8be402b4f98ed994ccd927102c619d74f5e\"");
        assert!(!allowed(&known, &ADA, id));
        assert!(allowed(&known, &ADA, Action::Exec { command: b"journalctl -u nginx -n 50 --no-pager".to_vec() }));
    }

    #[test]
    fn a_node_without_a_name_is_called_by_its_id_and_by_nothing_that_it_says() {
        let named = |name: &str| permit("principal, action, resource", &format!("resource.name == {name:?}"));
        let unnamed = Asking { called: None, ..ADA };
        assert!(!allowed(&named("web-1"), &unnamed, Action::Shell) && allowed(&named(ID), &unnamed, Action::Shell));
    }

    #[test]
    fn who_has_no_rule_for_a_name_is_denied_before_anybody_looks_for_it() {
        let ada = Identity::for_test("ada");
        let unseen = |policies: &str, name: &str| {
            let name = NodeAsked::for_test(name);
            Policy::for_test(policies).denies_unseen(&ada, &name, &Action::Shell).is_some()
        };
        let on = |when: &str| permit("principal == Person::\"ada\", action, resource", when);
        assert!(unseen("", "web-1"));
        assert!(unseen(&permit("principal == Person::\"bob\", action, resource", "true"), "web-1"));
        assert!(unseen(&on("resource.name == \"web-2\""), "web-1"));
        let forbids = "@id(\"f\") forbid (principal, action, resource);";
        assert!(unseen(forbids, "web-1"), "what forbids lets nobody do anything");
        for when in [
            "resource.name == \"web-1\"",
            "true",
            "resource == Node::\"i-0123456789abcdef0\"",
            "resource in [Node::\"mi-0123456789abcdef0\"]",
            "resource.name like \"db-*\"",
        ] {
            assert!(!unseen(&on(when), "web-1"), "{when} may be it");
        }
        // whose name an id is, is not known beforehand
        assert!(!unseen(&on("resource.name == \"web-2\""), ID));
        assert!(unseen(&on("resource == Node::\"i-00000000000000000\""), ID));
        // in the same words as after a look
        let policy = Policy::for_test("");
        let Decision::Deny(seen) = ask(&policy, &ADA, Action::Shell) else { panic!("allowed") };
        assert_eq!(seen.code, RefusalCode::NoRule);
        assert_eq!(policy.denies_unseen(&ada, &NodeAsked::for_test("web-1"), &Action::Shell), Some(seen));
    }

    #[test]
    fn a_name_that_is_no_node_s_is_denied_like_another_s_node_unless_a_policy_has_it() {
        let ada = Identity::for_test("ada");
        let unnamed = |when: &str| {
            let policy = Policy::for_test(&permit("principal, action, resource", when));
            let within = [RealmName::for_test()];
            let denial = policy.denies_unnamed(&ada, &NodeAsked::for_test("web-1"), &within, &Action::Shell);
            // in the same words as a node that is another's
            let Decision::Deny(seen) = ask(&policy, &Asking { called: Some("db-1"), ..ADA }, Action::Shell) else {
                return denial.is_some();
            };
            assert!(denial.as_ref().is_none_or(|denial| *denial == seen), "{denial:?}");
            denial.is_some()
        };
        assert!(!unnamed("resource.name == \"web-1\"") && !unnamed("context.weekday > 0"));
        for when in
            ["resource == Node::\"i-00000000000000000\"", "resource.name like \"web-*\"", "resource.name == \"web-2\""]
        {
            assert!(unnamed(when), "{when}");
        }
    }

    #[test]
    fn tags_that_can_t_be_read_deny_where_a_policy_looks_at_them() {
        let identity = Identity::for_test_in("ada", &["ops"]);
        let denied = |policies: &str, called: Option<&str>| {
            let id = NodeRef::for_test(ID);
            let called = called.map(str::to_owned);
            let node = NodeFacts { called, tags: Err("AWS is throttling".to_owned()), ..NodeFacts::bare(id) };
            let decision = Policies::new(Policy::for_test(policies)).decide(Request {
                identity: &identity,
                source: std::net::Ipv4Addr::LOCALHOST.into(),
                node_name: &NodeName::for_test("web-1"),
                node: &node.into(),
                os_user: None,
                action: Action::Shell,
                reason: None,
            });
            match decision {
                Decision::Allow(_) => None,
                Decision::Deny(denial) => Some((denial.code, denial.text)),
            }
        };
        let all = "@id(\"all\") permit (principal, action, resource);\n";
        let forbid = |scope: &str, when: &str| format!("{all}@id(\"f\") forbid ({scope}) when {{ {when} }};");
        let prod = "resource.hasTag(\"env\") && resource.getTag(\"env\") == \"prod\"";
        let (code, text) = denied(&forbid("principal, action, resource", prod), Some("web-1")).unwrap();
        assert_eq!(code, RefusalCode::PolicyFailed);
        assert!(
            text.contains("a policy looks at the tags or the name of web-1") && text.contains("throttling"),
            "{text}"
        );
        // an instance's name is a tag as well
        let named = forbid("principal, action, resource", "resource.name == \"prod-1\"");
        assert!(denied(&named, None).is_some() && denied(&named, Some("web-1")).is_none());
        // what looks at none of it goes on, and so does who is not meant
        assert_eq!(denied(all, None), None);
        assert_eq!(denied(&forbid("principal == Person::\"bob\", action, resource", prod), None), None);
        assert!(denied(&forbid("principal in Group::\"ops\", action, resource", prod), None).is_some());
    }

    #[test]
    fn another_text_is_another_version_and_the_same_is_the_same() {
        let version = |text: &str| Policy::for_test(text).version().sha256().to_owned();
        let one = permit("principal, action, resource", "true");
        assert_eq!(version(&one), version(&one));
        assert_ne!(version(&one), version(&format!("{one} ")));
    }

    #[test]
    fn the_samples_are_valid_and_name_each_other_s_policies() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/config/policies");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let cedar = files.filter(|path| path.extension().is_some_and(|ending| ending == "cedar"));
        let texts = cedar.map(|path| super::super::PolicyText {
            file: path.display().to_string(),
            text: std::fs::read_to_string(path).unwrap(),
        });
        let groups =
            ["developers", "on-call", "auditors", "contractors", "robots", "agents", "backups"].map(str::to_owned);
        let named = super::super::Named { groups: groups.into(), ..Default::default() };
        let (policy, warnings) = Policy::compile(&texts.collect::<Vec<_>>(), &named).unwrap();
        assert_eq!(warnings, [], "{warnings:#?}");
        assert!(policy.count() >= 8);
    }
}
