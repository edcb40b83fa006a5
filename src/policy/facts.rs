//! What a decision is made from, in Cedar's types: entities once for a session, a context for each question.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use cedar_policy::{Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use super::action::Action;
use super::asking::{Asking, ProofOf};
use super::command_line::{Command, Transfer};
use super::scope::PolicyScope;
use crate::identity::CertificateFacts;
use crate::identity::SignInFacts;
use crate::model::{NodeFacts, TargetHost};

/// Who asks about which node, and what is known however often they ask.
#[derive(Debug)]
pub(super) struct Facts {
    principal: EntityUid,
    resource: EntityUid,
    entities: Entities,
    node: Arc<NodeFacts>,
    /// Who asks, where not everything is known of the node.
    unsure: Option<(String, Vec<String>)>,
    os_user: Option<String>,
    reason: Option<String>,
    source: IpAddr,
    proof: String,
    authentication: RestrictedExpression,
    /// What is known however often they ask, in this second: to read a time takes longer than to decide.
    common: Mutex<Option<(i64, Context)>>,
}

/// Facts that can't be put into Cedar's types. It refuses, as any error does.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct FactsError(String);

impl Facts {
    /// Those of somebody who asks; `actions` are the schema's own entities.
    pub(super) fn of(asking: &Asking<'_>, actions: &Entities) -> Result<Self, FactsError> {
        let groups: Vec<EntityUid> = asking.groups.iter().map(|group| uid("Group", group)).collect::<Result<_, _>>()?;
        let principal = uid("Person", asking.person)?;
        let resource = uid("Node", &asking.node.node.id.0)?;
        let node = entity(resource.clone(), asking.node)?;
        let parents: HashSet<EntityUid> = groups.iter().cloned().collect();
        let person = Entity::new_no_attrs(principal.clone(), parents);
        let groups = groups.into_iter().map(|group| Entity::new_no_attrs(group, HashSet::new()));
        let entities = actions.clone().add_entities(groups.chain([person, node]), None).map_err(refused)?;
        Ok(Self {
            principal,
            resource,
            entities,
            node: Arc::clone(asking.node),
            unsure: asking.node.tags.is_err().then(|| (asking.person.to_owned(), asking.groups.to_vec())),
            os_user: asking.os_user.map(str::to_owned),
            reason: asking.reason.map(|reason| reason.as_str().to_owned()),
            source: asking.source,
            proof: asking.proof.method().to_owned(),
            authentication: authentication(asking.proof, asking.second_factor)?,
            common: Mutex::default(),
        })
    }

    pub(super) fn entities(&self) -> &Entities {
        &self.entities
    }

    pub(super) fn source(&self) -> IpAddr {
        self.source
    }

    pub(super) fn node(&self) -> &Arc<NodeFacts> {
        &self.node
    }

    /// Why what one of these policies looks at is not known, where one does that is about who asks.
    pub(super) fn unknown_to(&self, scopes: &[PolicyScope]) -> Option<&str> {
        let (person, groups) = self.unsure.as_ref()?;
        let why = self.node.tags.as_ref().err()?;
        let looks = |scope: &PolicyScope| scope.looks_at_tags || (scope.looks_at_name && !self.node.is_name_known());
        scopes.iter().any(|scope| looks(scope) && scope.concerns(person, groups)).then_some(why)
    }

    /// The question whether an action may be done now.
    pub(super) fn question(&self, action: &Action, now: SystemTime) -> Result<cedar_policy::Request, FactsError> {
        let now = OffsetDateTime::from(now);
        let second = now.unix_timestamp();
        let mut kept = self.common.lock().unwrap_or_else(PoisonError::into_inner);
        let common = match &*kept {
            Some((of, common)) if *of == second => common.clone(),
            _ => {
                let common = Context::from_pairs(self.common(self.os_user.as_deref(), now)).map_err(refused)?;
                *kept = Some((second, common.clone()));
                common
            }
        };
        drop(kept);
        self.asked(action, common)
    }

    /// The same as if no user of the node had been asked for.
    pub(super) fn question_of_nobody(
        &self,
        action: &Action,
        now: SystemTime,
    ) -> Result<cedar_policy::Request, FactsError> {
        self.asked(action, Context::from_pairs(self.common(None, now.into())).map_err(refused)?)
    }

    fn asked(&self, action: &Action, common: Context) -> Result<cedar_policy::Request, FactsError> {
        let particulars = particulars(action)?;
        // to merge is to read all of it once more
        let context = match particulars.is_empty() {
            true => common,
            false => common.merge(particulars).map_err(refused)?,
        };
        let action = uid("Action", action.name())?;
        let (principal, resource) = (self.principal.clone(), self.resource.clone());
        // the types are this module's own, and a test has every action validated
        cedar_policy::Request::new(principal, action, resource, context, None).map_err(refused)
    }

    fn common(
        &self,
        os_user: Option<&str>,
        now: OffsetDateTime,
    ) -> impl Iterator<Item = (String, RestrictedExpression)> + use<> {
        let optional = [("os_user", os_user.map(text)), ("reason", self.reason.as_deref().map(text))];
        let optional = optional.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let always = [
            ("source", RestrictedExpression::new_ip(self.source.to_string())),
            ("proof", text(&self.proof)),
            ("authentication", self.authentication.clone()),
            ("time", datetime(now)),
            ("weekday", RestrictedExpression::new_long(now.weekday().number_from_monday().into())),
        ];
        let pairs: Vec<_> = always.into_iter().chain(optional).map(|(name, value)| (name.to_owned(), value)).collect();
        pairs.into_iter()
    }
}

/// A node with what is known of it.
fn entity(uid: EntityUid, node: &NodeFacts) -> Result<Entity, FactsError> {
    let platform = node.platform.as_deref().map(|platform| ("platform", text(platform)));
    let always = [("name", text(node.name())), ("realm", text(node.node.realm.as_str()))];
    let attributes = always.into_iter().chain(platform);
    let attributes = attributes.map(|(name, value)| (name.to_owned(), value));
    let tags = node.tags.iter().flatten().map(|(key, value)| (key.clone(), text(value)));
    Entity::new_with_tags(uid, attributes, [], tags).map_err(refused)
}

/// What proved who the person is.
fn authentication(proof: ProofOf<'_>, second_factor: Option<&str>) -> Result<RestrictedExpression, FactsError> {
    let certificate = proof.certificate().map(certificate).transpose()?;
    let optional = [
        ("key", proof.key().as_deref().map(text)),
        ("second_factor", second_factor.map(text)),
        ("certificate", certificate),
        ("oidc", proof.sign_in().map(sign_in).transpose()?),
    ];
    record([("user_verified", RestrictedExpression::new_bool(proof.user_verified()))], optional)
}

fn certificate(facts: &CertificateFacts) -> Result<RestrictedExpression, FactsError> {
    // what is so far away that it has no date never comes
    let end = facts.valid_before.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let end = end.and_then(|since| OffsetDateTime::from_unix_timestamp(i64::try_from(since.as_secs()).ok()?).ok());
    let optional = [
        ("authority", facts.authority.as_deref().map(text)),
        ("principal", facts.principal.as_deref().map(text)),
        ("valid_before", end.map(datetime)),
    ];
    let always = [
        ("key_id", text(&facts.key_id)),
        ("serial", text(&facts.serial.to_string())),
        ("authority_key", text(&facts.authority_key)),
    ];
    record(always, optional)
}

fn sign_in(facts: &SignInFacts) -> Result<RestrictedExpression, FactsError> {
    let amr = RestrictedExpression::new_set(facts.amr.iter().map(|method| text(method)));
    let always = [
        ("issuer", text(&facts.issuer)),
        ("subject", text(&facts.subject)),
        ("at", datetime(facts.at.into())),
        ("amr", amr),
    ];
    record(always, [("acr", facts.acr.as_deref().map(text))])
}

fn record(
    always: impl IntoIterator<Item = (&'static str, RestrictedExpression)>,
    optional: impl IntoIterator<Item = (&'static str, Option<RestrictedExpression>)>,
) -> Result<RestrictedExpression, FactsError> {
    let optional = optional.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let fields = always.into_iter().chain(optional).map(|(name, value)| (name.to_owned(), value));
    RestrictedExpression::new_record(fields).map_err(refused)
}

fn datetime(time: OffsetDateTime) -> RestrictedExpression {
    let date = format!("{:04}-{:02}-{:02}", time.year(), u8::from(time.month()), time.day());
    let (hour, minute, second) = time.to_hms();
    RestrictedExpression::new_datetime(format!("{date}T{hour:02}:{minute:02}:{second:02}Z"))
}

/// What is known of some actions only.
fn particulars(action: &Action) -> Result<Vec<(String, RestrictedExpression)>, FactsError> {
    let pairs = match action {
        Action::Shell | Action::RunAs | Action::Hop | Action::Files => Vec::new(),
        Action::Exec { command } => line(command),
        Action::Command { line: all, command } => {
            let mut pairs = line(all);
            pairs.extend(of_command(command.as_deref()));
            pairs
        }
        Action::SetVariable { name, value } => vec![("variable", text(name)), ("value", lossy(value))],
        Action::Forward { host, port } => forward(host, *port),
        Action::ForwardSocket { path } => vec![("path", lossy(path))],
        Action::Tunnel { port } => vec![("port", RestrictedExpression::new_long((*port).into()))],
        Action::File { path, .. } => vec![("path", lossy(path))],
        Action::Review { of } | Action::EndSession { of } => {
            vec![("session_of", RestrictedExpression::new_entity_uid(uid("Person", of)?))]
        }
    };
    Ok(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// What is known of a host before anybody has looked its name up.
fn forward(host: &str, port: u32) -> Vec<(&'static str, RestrictedExpression)> {
    let target = TargetHost::parse(host).ok();
    let loopback = target.as_ref().is_some_and(TargetHost::is_node_itself);
    let address = target.and_then(|target| match target {
        TargetHost::Address(address) => Some(("address", RestrictedExpression::new_ip(address.to_string()))),
        TargetHost::Localhost | TargetHost::Name(_) => None,
    });
    let always = [
        ("host", text(host)),
        ("port", RestrictedExpression::new_long(port.into())),
        ("loopback", RestrictedExpression::new_bool(loopback)),
    ];
    always.into_iter().chain(address).collect()
}

/// What is known of a line as a whole.
fn line(line: &[u8]) -> Vec<(&'static str, RestrictedExpression)> {
    vec![("command", lossy(line)), ("sha256", text(&hex::encode(Sha256::digest(line))))]
}

/// What is known of one of its commands. Of a line that was not taken apart nothing is.
fn of_command(command: Option<&Command>) -> Vec<(&'static str, RestrictedExpression)> {
    let set = |texts: &[String]| RestrictedExpression::new_set(texts.iter().map(|one| text(one)));
    let flag = RestrictedExpression::new_bool;
    let Some(command) = command else {
        let nothing = || text("");
        return vec![
            ("known", flag(false)),
            ("literal", flag(false)),
            ("name", nothing()),
            ("words", nothing()),
            ("arguments", set(&[])),
            ("paths", set(&[])),
        ];
    };
    let (transfer, paths) = match &command.transfer {
        Some(Transfer { does, paths }) => (Some(("transfer", text(does))), paths.as_slice()),
        None => (None, [].as_slice()),
    };
    let pairs = [
        ("known", flag(command.opaque.is_none())),
        ("literal", flag(command.literal)),
        ("name", text(&command.name)),
        ("words", text(&command.words)),
        ("arguments", set(&command.arguments)),
        ("paths", set(paths)),
    ];
    pairs.into_iter().chain(transfer).collect()
}

/// An entity of a type of the schema; its name may be anything.
fn uid(of: &str, name: &str) -> Result<EntityUid, FactsError> {
    let of: EntityTypeName = of.parse().map_err(refused)?;
    Ok(EntityUid::from_type_name_and_id(of, EntityId::new(name)))
}

fn text(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

/// What is not UTF-8 stands as U+FFFD, which no policy's text is by chance.
fn lossy(bytes: &[u8]) -> RestrictedExpression {
    RestrictedExpression::new_string(String::from_utf8_lossy(bytes).into_owned())
}

fn refused(error: impl std::fmt::Display) -> FactsError {
    FactsError(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::FileAction;
    use super::super::decision::Policy;
    use super::super::explain::Scenario;
    use super::*;
    use crate::model::{NodeAsked, NodeName, NodeRef, ReasonText};

    #[test]
    fn what_wants_a_second_factor_denies_without_one_and_conditions_see_which_it_was() {
        use crate::identity::Identity;
        use crate::model::RefusalCode;
        use crate::policy::{Decision, Policies, Request};

        let permit = |annotation: &str, when: &str| {
            format!("@id(\"p\") {annotation} permit (principal, action, resource) {when};")
        };
        let seen =
            "when { context.authentication has second_factor && context.authentication.second_factor == \"totp\" }";
        for (text, without) in [
            (permit("@second_factor(\"required\")", ""), Some(RefusalCode::SecondFactorNeeded)),
            (permit("", seen), Some(RefusalCode::NoRule)),
            (permit("", ""), None),
        ] {
            let policies = Policies::new(Policy::for_test(&text));
            let node_name = NodeName::for_test("web-1");
            let node = NodeFacts::named("i-0123456789abcdef0", "web-1").into();
            let decide = |identity: &Identity| {
                let decision = policies.decide(Request {
                    identity,
                    source: std::net::Ipv4Addr::LOCALHOST.into(),
                    node_name: &node_name,
                    node: &node,
                    os_user: None,
                    action: Action::Shell,
                    reason: None,
                });
                match decision {
                    Decision::Allow(_) => None,
                    Decision::Deny(denial) => Some(denial.code),
                }
            };
            assert_eq!(decide(&Identity::for_test("ada")), without, "{text}");
            assert_eq!(decide(&Identity::for_test("ada").with_a_second_factor()), None, "{text}");
            let wanted =
                policies.current().may_want_second_factor(&Identity::for_test("ada"), &NodeAsked::for_test("web-1"));
            assert_eq!(wanted, without == Some(RefusalCode::SecondFactorNeeded), "{text}");
        }
    }

    proptest::proptest! {
        /// Names and tags are other people's to choose: each is what it says, and none is an error.
        #[test]
        fn whatever_things_are_called_it_is_decided_by_that(
            person: String,
            groups in proptest::collection::vec("out|ops|\\PC{0,8}|[\"\\\\\u{0}\n]{0,4}", 0..4),
            node in "x|\\PC{0,16}|[\"\\\\\u{0}\n]{0,4}",
            called in proptest::option::of("x|\\PC{0,16}"),
            tags in proptest::collection::btree_map("env|\\PC{0,16}", "prod|\\PC{0,16}|[\"\\\\\u{0}\n]{0,4}", 0..4),
            user in proptest::option::of("root|\\PC{0,16}"),
            reason: String,
            bytes: Vec<u8>,
            file: bool,
        ) {
            let policy = Policy::for_test(
                "@id(\"all\") permit (principal, action, resource);\n\
                 @id(\"name\") forbid (principal, action, resource) when { resource.name == \"x\" };\n\
                 @id(\"tag\") forbid (principal, action, resource) when { resource.hasTag(\"env\") && resource.getTag(\"env\") == \"prod\" };\n\
                 @id(\"user\") forbid (principal, action, resource) when { context has os_user && context.os_user == \"root\" };\n\
                 @id(\"group\") forbid (principal in Group::\"out\", action, resource);",
            );
            let forbidden = called.as_deref().unwrap_or(&node) == "x"
                || tags.get("env").is_some_and(|value| value == "prod")
                || user.as_deref() == Some("root")
                || groups.iter().any(|group| group == "out");
            let action = match file {
                true => Action::File { action: FileAction::Upload, path: bytes },
                false => Action::Exec { command: bytes },
            };
            let outcome = policy.outcome(&Scenario {
                person,
                groups,
                proof: Default::default(),
                source: std::net::Ipv4Addr::LOCALHOST.into(),
                node_name: NodeName::for_test("web-1"),
                node: NodeFacts { called, tags: Ok(tags), ..NodeFacts::bare(NodeRef::for_test(&node)) }.into(),
                os_user: user,
                second_factor: false,
                reason: ReasonText::new(&reason),
                action,
                at: SystemTime::UNIX_EPOCH,
            });
            proptest::prop_assert_eq!(outcome.outcome.is_err(), forbidden, "{:?}", outcome);
        }
    }
}
