//! Which nodes somebody could be permitted to use, whatever they ask for there and how: for lists of nodes, and for what is
//! said of them. It decides nothing.
//!
//! A policy's conditions are evaluated with what is known beforehand, the person and the node; whatever else they look at
//! (the time, a reason, a path) may be either:
//!
//! ```text
//!  resource.hasTag("env") && resource.getTag("env") == "dev" && context.reason like "INC-*"
//!           true          &&              true               &&        maybe             = maybe: could be used
//! ```

use std::collections::BTreeSet;

use cedar_policy::pst::{
    ActionConstraint, BinaryOp, Clause, Effect, EntityOrSlot, EntityUID, Expr, Literal, PatternElem,
    PrincipalConstraint, ResourceConstraint, Template, UnaryOp, Var,
};
use cedar_policy::{Entities, EntityId, EntityTypeName, EntityUid};

use super::decision::Policy;
use crate::identity::Identity;
use crate::model::{NodeFacts, NodeTags, RealmName, wildcard};

/// What a session is opened by: who may do none of these there has nothing to do with a node.
pub(super) const OPENING: [&str; 7] = ["Shell", "Exec", "Files", "Forward", "ForwardSocket", "Hop", "Tunnel"];

/// A policy that is about some of what opens sessions.
#[derive(Clone, Debug)]
pub(super) struct Opener {
    body: Template,
    /// By their places in [`OPENING`].
    actions: BTreeSet<usize>,
}

/// What the policies say of one person.
#[derive(Debug)]
pub struct UsableNodes<'a> {
    person: &'a str,
    groups: &'a [String],
    openers: Vec<&'a Opener>,
}

/// The node that is asked about.
#[derive(Clone, Copy)]
enum Which<'a> {
    One(&'a NodeFacts),
    /// Any of a realm.
    AnyIn(&'a RealmName),
}

/// Whether something holds, as far as that can be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Truth {
    Yes,
    No,
    Maybe,
}

/// What an expression comes to.
#[derive(Clone, Debug, PartialEq)]
enum Value<'a> {
    Truth(Truth),
    Text(&'a str),
    Person(&'a str),
    Group(&'a str),
    Node(&'a str),
    Set(Vec<Value<'a>>),
    Unknown,
}

impl Policy {
    /// The nodes that a person could be permitted to use.
    pub fn usable_nodes<'a>(&'a self, identity: &'a Identity) -> UsableNodes<'a> {
        let (person, groups) = (identity.person(), identity.groups());
        let asked = UsableNodes { person, groups, openers: Vec::new() };
        let concerns = |opener: &&Opener| asked.principal(&opener.body.principal) != Truth::No;
        let openers = self.openers().iter().filter(concerns).collect();
        UsableNodes { openers, ..asked }
    }
}

impl Opener {
    pub(super) fn of(body: &Template, actions: &Entities) -> Option<Self> {
        let about = |name: &str| match &body.action {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(action) => action.eid == name,
            ActionConstraint::In(groups) => {
                groups.iter().any(|group| group.eid == name || within(name, group, actions))
            }
        };
        let about: BTreeSet<usize> =
            (0..OPENING.len()).filter(|place| OPENING.get(*place).is_some_and(|name| about(name))).collect();
        (!about.is_empty()).then(|| Self { body: body.clone(), actions: about })
    }
}

/// Whether an action of the schema is in a group of it.
fn within(action: &str, group: &EntityUID, actions: &Entities) -> bool {
    let uid = |name: &str| {
        let of: EntityTypeName = "Action".parse().ok()?;
        Some(EntityUid::from_type_name_and_id(of, EntityId::new(name)))
    };
    uid(action).zip(uid(&group.eid)).is_some_and(|(action, group)| actions.is_ancestor_of(&group, &action))
}

impl UsableNodes<'_> {
    /// Whether the person could be permitted to open something there.
    pub fn has(&self, node: &NodeFacts) -> bool {
        self.could_open(Which::One(node))
    }

    /// Whether there may be a node in a realm that they could be permitted to use.
    pub fn may_be_in(&self, realm: &RealmName) -> bool {
        self.could_open(Which::AnyIn(realm))
    }

    /// The same, whatever forbids it.
    pub fn are_permitted_in(&self, realm: &RealmName) -> bool {
        let permits = |opener: &&Opener| {
            opener.body.effect == Effect::Permit && self.applies(opener, Which::AnyIn(realm)) != Truth::No
        };
        self.openers.iter().any(permits)
    }

    fn could_open(&self, node: Which<'_>) -> bool {
        let said: Vec<(&Opener, Truth)> =
            self.openers.iter().map(|opener| (*opener, self.applies(opener, node))).collect();
        (0..OPENING.len()).any(|action| {
            let about = || said.iter().filter(|(opener, _)| opener.actions.contains(&action));
            let permits =
                |(opener, truth): &&(&Opener, Truth)| opener.body.effect == Effect::Permit && *truth != Truth::No;
            let forbids =
                |(opener, truth): &&(&Opener, Truth)| opener.body.effect == Effect::Forbid && *truth == Truth::Yes;
            about().any(|said| permits(&said)) && !about().any(|said| forbids(&said))
        })
    }

    /// Whether a policy's scope and conditions are met.
    fn applies(&self, opener: &Opener, node: Which<'_>) -> Truth {
        let scope = self.principal(&opener.body.principal).and(|| resource(&opener.body.resource, node));
        opener.body.clauses().iter().fold(scope, |so_far, clause| {
            so_far.and(|| match clause {
                Clause::When(condition) => self.evaluate(condition, node).truth(),
                Clause::Unless(condition) => self.evaluate(condition, node).truth().not(),
            })
        })
    }

    fn principal(&self, constraint: &PrincipalConstraint) -> Truth {
        match constraint {
            PrincipalConstraint::Any | PrincipalConstraint::Is(_) => Truth::Yes,
            PrincipalConstraint::Eq(EntityOrSlot::Entity(uid))
            | PrincipalConstraint::In(EntityOrSlot::Entity(uid))
            | PrincipalConstraint::IsIn(_, EntityOrSlot::Entity(uid)) => {
                self.is_in(&Value::Person(self.person), &entity(uid))
            }
            _ => Truth::Maybe,
        }
    }

    /// `left in right`, as it is for people, groups and nodes.
    fn is_in(&self, left: &Value<'_>, right: &Value<'_>) -> Truth {
        match (left, right) {
            (_, Value::Set(all)) => Truth::any(all.iter().map(|one| self.is_in(left, one))),
            (Value::Unknown, _) | (_, Value::Unknown) => Truth::Maybe,
            (Value::Person(person), Value::Group(group)) if *person == self.person => {
                self.groups.iter().any(|name| name == group).into()
            }
            (left, right) => (left == right).into(),
        }
    }

    fn evaluate<'b>(&'b self, expr: &'b Expr, node: Which<'b>) -> Value<'b> {
        match expr {
            Expr::Literal(Literal::Bool(value)) => Value::Truth((*value).into()),
            Expr::Literal(Literal::String(text)) => Value::Text(text),
            Expr::Literal(Literal::EntityUID(uid)) => entity(uid),
            Expr::Var(Var::Principal) => Value::Person(self.person),
            Expr::Var(Var::Resource) => node.value(),
            Expr::Set(items) => Value::Set(items.iter().map(|item| self.evaluate(item, node)).collect()),
            Expr::UnaryOp { op: UnaryOp::Not, expr } => Value::Truth(self.evaluate(expr, node).truth().not()),
            Expr::BinaryOp { op, left, right } => self.of_two(*op, left, right, node),
            Expr::GetAttr { expr, attr } if is_resource(expr) => node.attribute(attr),
            Expr::HasAttr { expr, attrs } if is_resource(expr) && attrs.len() == 1 => {
                Value::Truth(node.has_attribute(attrs.first()))
            }
            Expr::Like { expr, pattern } => match self.evaluate(expr, node) {
                Value::Text(text) => Value::Truth(matches(text, pattern).into()),
                _ => Value::Unknown,
            },
            Expr::IfThenElse { cond, then_expr, else_expr } => match self.evaluate(cond, node).truth() {
                Truth::Yes => self.evaluate(then_expr, node),
                Truth::No => self.evaluate(else_expr, node),
                Truth::Maybe => Value::Unknown,
            },
            _ => Value::Unknown,
        }
    }

    fn of_two<'b>(&'b self, op: BinaryOp, left: &'b Expr, right: &'b Expr, node: Which<'b>) -> Value<'b> {
        let value = |expr: &'b Expr| self.evaluate(expr, node);
        let truth = match op {
            BinaryOp::And => value(left).truth().and(|| value(right).truth()),
            BinaryOp::Or => value(left).truth().not().and(|| value(right).truth().not()).not(),
            BinaryOp::Eq => value(left).equals(&value(right)),
            BinaryOp::NotEq => value(left).equals(&value(right)).not(),
            BinaryOp::In => self.is_in(&value(left), &value(right)),
            BinaryOp::Contains => match value(left) {
                Value::Set(all) => Truth::any(all.iter().map(|one| one.equals(&value(right)))),
                _ => Truth::Maybe,
            },
            BinaryOp::HasTag if is_resource(left) => match (node.tags(), value(right)) {
                (Some(tags), Value::Text(key)) => tags.contains_key(key).into(),
                _ => Truth::Maybe,
            },
            BinaryOp::GetTag if is_resource(left) => {
                return match (node.tags(), value(right)) {
                    (Some(tags), Value::Text(key)) => tags.get(key).map_or(Value::Unknown, |tag| Value::Text(tag)),
                    _ => Value::Unknown,
                };
            }
            _ => Truth::Maybe,
        };
        Value::Truth(truth)
    }
}

impl<'a> Which<'a> {
    fn facts(self) -> Option<&'a NodeFacts> {
        match self {
            Self::One(facts) => Some(facts),
            Self::AnyIn(_) => None,
        }
    }

    fn value(self) -> Value<'a> {
        self.facts().map_or(Value::Unknown, |facts| Value::Node(&facts.node.id.0))
    }

    fn realm(self) -> &'a RealmName {
        match self {
            Self::One(facts) => &facts.node.realm,
            Self::AnyIn(realm) => realm,
        }
    }

    fn tags(self) -> Option<&'a NodeTags> {
        self.facts().and_then(|facts| facts.tags.as_ref().ok())
    }

    fn attribute(self, name: &str) -> Value<'a> {
        match (name, self.facts()) {
            ("realm", _) => Value::Text(self.realm().as_str()),
            ("name", Some(facts)) if facts.is_name_known() => Value::Text(facts.name()),
            ("platform", Some(facts)) => facts.platform.as_deref().map_or(Value::Unknown, Value::Text),
            _ => Value::Unknown,
        }
    }

    fn has_attribute(self, name: &str) -> Truth {
        match (name, self.facts()) {
            ("realm" | "name", _) => Truth::Yes,
            ("platform", Some(facts)) => facts.platform.is_some().into(),
            ("platform", None) => Truth::Maybe,
            _ => Truth::No,
        }
    }
}

fn resource(constraint: &ResourceConstraint, node: Which<'_>) -> Truth {
    match constraint {
        ResourceConstraint::Any | ResourceConstraint::Is(_) => Truth::Yes,
        ResourceConstraint::Eq(EntityOrSlot::Entity(uid))
        | ResourceConstraint::In(EntityOrSlot::Entity(uid))
        | ResourceConstraint::IsIn(_, EntityOrSlot::Entity(uid)) => node.value().equals(&entity(uid)),
        _ => Truth::Maybe,
    }
}

fn entity(uid: &EntityUID) -> Value<'_> {
    match uid.ty.0.id.as_str() {
        "Person" => Value::Person(&uid.eid),
        "Group" => Value::Group(&uid.eid),
        "Node" => Value::Node(&uid.eid),
        _ => Value::Unknown,
    }
}

fn is_resource(expr: &Expr) -> bool {
    matches!(expr, Expr::Var(Var::Resource))
}

/// Whether a text is of a pattern in which a wildcard stands for anything.
fn matches(text: &str, pattern: &[PatternElem]) -> bool {
    let text: Vec<char> = text.chars().collect();
    let takes = |part: &PatternElem, letter: &char| matches!(part, PatternElem::Char(wanted) if wanted == letter);
    wildcard::fits(pattern, &text, |part| matches!(part, PatternElem::Wildcard), takes)
}

impl Truth {
    fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Maybe => Self::Maybe,
        }
    }

    fn and(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::No => Self::No,
            Self::Yes => other(),
            Self::Maybe if other() == Self::No => Self::No,
            Self::Maybe => Self::Maybe,
        }
    }

    fn any(mut all: impl Iterator<Item = Self>) -> Self {
        all.try_fold(Self::No, |so_far, one| match one {
            Self::Yes => None,
            Self::Maybe => Some(Self::Maybe),
            Self::No => Some(so_far),
        })
        .unwrap_or(Self::Yes)
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

impl Value<'_> {
    fn truth(&self) -> Truth {
        match self {
            Value::Truth(truth) => *truth,
            _ => Truth::Maybe,
        }
    }

    fn equals(&self, other: &Self) -> Truth {
        match (self, other) {
            (Value::Unknown, _) | (_, Value::Unknown) => Truth::Maybe,
            (Value::Truth(one), Value::Truth(other)) if *one == Truth::Maybe || *other == Truth::Maybe => Truth::Maybe,
            // what is in them may not be known
            (Value::Set(_), Value::Set(_)) => Truth::Maybe,
            (one, other) => (one == other).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> NodeFacts {
        NodeFacts { platform: Some("Linux".to_owned()), ..NodeFacts::named("i-0123456789abcdef0", "web-1") }
            .tagged("env", "dev")
    }

    fn usable_by(policies: &str, node: &NodeFacts) -> bool {
        let policy = Policy::for_test(policies);
        let ada = Identity::for_test_in("ada", &["ops"]);
        policy.usable_nodes(&ada).has(node)
    }

    fn usable_when(condition: &str, node: &NodeFacts) -> bool {
        usable_by(&format!("@id(\"p\") permit (principal, action, resource) when {{ {condition} }};"), node)
    }

    #[test]
    fn what_the_node_is_decides_and_what_is_not_known_yet_does_not() {
        for (condition, usable) in [
            ("resource.hasTag(\"env\") && resource.getTag(\"env\") == \"dev\"", true),
            ("resource.hasTag(\"env\") && resource.getTag(\"env\") == \"prod\"", false),
            ("resource.hasTag(\"team\") && resource.getTag(\"team\") == \"x\"", false),
            ("!resource.hasTag(\"env\")", false),
            ("resource.hasTag(\"env\") && [\"dev\", \"test\"].contains(resource.getTag(\"env\"))", true),
            ("resource.hasTag(\"env\") && resource.getTag(\"env\") like \"d*v\"", true),
            ("resource.name like \"web-*\" && context has reason && context.reason like \"INC-*\"", true),
            ("resource.name like \"db-*\" && context has reason", false),
            ("resource.name == \"db-1\" || context.weekday == 7", true),
            ("if resource.name == \"web-1\" then false else true", false),
            ("resource has platform && resource.platform == \"Windows\"", false),
            ("resource == Node::\"i-0123456789abcdef0\" && principal in [Group::\"qa\", Group::\"ops\"]", true),
            ("principal == Person::\"bob\"", false),
            ("[\"a\", \"b\"].contains(resource.name) != true", true),
        ] {
            assert_eq!(usable_when(condition, &node()), usable, "{condition}");
        }
    }

    fn may_be_in(realm: &str, policies: &str) -> bool {
        let ada = Identity::for_test_in("ada", &["ops"]);
        Policy::for_test(policies).usable_nodes(&ada).may_be_in(&RealmName::of_test(realm))
    }

    #[test]
    fn a_realm_is_looked_into_where_a_node_of_it_could_be_used() {
        let all = "@id(\"all\") permit (principal, action, resource);\n";
        for (policies, dev, prod) in [
            ("".to_owned(), false, false),
            (all.to_owned(), true, true),
            (
                "@id(\"p\") permit (principal, action, resource) when { resource.realm == \"dev\" };".to_owned(),
                true,
                false,
            ),
            (
                "@id(\"p\") permit (principal, action, resource) when { resource.name == \"web-1\" };".to_owned(),
                true,
                true,
            ),
            (
                "@id(\"p\") permit (principal, action, resource)\n\
                 when { [\"dev\"].contains(resource.realm) || (resource.hasTag(\"x\") && context.weekday == 1) };"
                    .to_owned(),
                true,
                true,
            ),
            ("@id(\"p\") permit (principal == Person::\"bob\", action, resource);".to_owned(), false, false),
            (
                format!("{all}@id(\"f\") forbid (principal, action, resource) when {{ resource.realm == \"prod\" }};"),
                true,
                false,
            ),
            (
                format!(
                    "{all}@id(\"f\") forbid (principal, action == Action::\"Shell\", resource) unless {{ resource.realm == \"dev\" }};"
                ),
                true,
                true,
            ),
            (
                format!(
                    "{all}@id(\"f\") forbid (principal, action, resource) unless {{ resource.realm like \"d*\" }};"
                ),
                true,
                false,
            ),
            (
                "@id(\"p\") permit (principal, action, resource == Node::\"i-1\");"
                    .replace("i-1", "i-0123456789abcdef0"),
                true,
                true,
            ),
        ] {
            assert_eq!((may_be_in("dev", &policies), may_be_in("prod", &policies)), (dev, prod), "{policies}");
            let node = node().within("prod");
            assert!(!usable_by(&policies, &node) || prod, "{policies}");
        }
    }

    #[test]
    fn what_could_not_be_read_may_be_anything() {
        let unknown = NodeFacts { tags: Err("no".to_owned()), called: None, ..node() };
        for condition in ["resource.hasTag(\"env\") && resource.getTag(\"env\") == \"x\"", "resource.name == \"db\""] {
            assert!(usable_when(condition, &unknown), "{condition}");
        }
    }

    #[test]
    fn what_opens_nothing_makes_no_node_usable_and_what_surely_forbids_takes_it_away() {
        let all = "@id(\"all\") permit (principal, action, resource);\n";
        let forbid = |scope: &str, when: &str| format!("{all}@id(\"f\") forbid ({scope}) when {{ {when} }};");
        let prod = "resource.hasTag(\"env\") && resource.getTag(\"env\") == \"dev\"";
        assert!(!usable_by("@id(\"p\") permit (principal, action == Action::\"RunAs\", resource);", &node()));
        assert!(usable_by("@id(\"p\") permit (principal, action in Action::\"BrowseFiles\", resource);", &node()));
        assert!(!usable_by(&forbid("principal, action, resource", prod), &node()));
        assert!(usable_by(&forbid("principal, action == Action::\"Shell\", resource", prod), &node()));
        assert!(usable_by(&forbid("principal, action, resource", "context.weekday > 5"), &node()));
        assert!(usable_by(&forbid("principal == Person::\"bob\", action, resource", "true"), &node()));
    }

    /// Whether ada may have a shell there, who is in ops and gives a reason.
    fn shell(policies: &str, node: &NodeFacts) -> bool {
        let scenario = super::super::Scenario {
            person: "ada".to_owned(),
            groups: vec!["ops".to_owned()],
            proof: Default::default(),
            source: std::net::Ipv4Addr::LOCALHOST.into(),
            node_name: crate::model::NodeName::for_test("web-1"),
            node: node.clone().into(),
            os_user: None,
            second_factor: false,
            reason: crate::model::ReasonText::new("INC-1"),
            action: super::super::Action::Shell,
            at: std::time::SystemTime::UNIX_EPOCH,
        };
        Policy::for_test(policies).outcome(&scenario).outcome.is_ok()
    }

    const CONDITIONS: [&str; 19] = [
        "resource.hasTag(\"env\") && resource.getTag(\"env\") == \"dev\"",
        "resource.hasTag(\"env\") && resource.getTag(\"env\") != \"prod\"",
        "resource.hasTag(\"env\") && [\"dev\", \"test\"].contains(resource.getTag(\"env\"))",
        "resource.hasTag(\"team\")",
        "resource.name like \"web-*\"",
        "[\"db-1\", \"web-1\"].contains(resource.name)",
        "resource.name == \"db-1\"",
        "resource has platform && resource.platform == \"Linux\"",
        "resource == Node::\"i-0123456789abcdef0\"",
        "resource in [Node::\"i-00000000000000002\", Node::\"i-00000000000000003\"]",
        "principal == Person::\"ada\"",
        "principal in Group::\"ops\"",
        "principal in [Group::\"dev\", Group::\"qa\"]",
        "context has reason && context.reason like \"INC-*\"",
        "context.weekday > 5",
        "if resource.name == \"web-1\" then context.weekday == 4 else true",
        "resource.realm == \"test\"",
        "[\"dev\", \"prod\"].contains(resource.realm)",
        "resource has platform && resource.realm like \"t*\"",
    ];

    proptest::proptest! {
        /// What is said of nodes errs on the side of yes.
        #[test]
        fn what_cedar_permits_is_always_usable(
            conditions in proptest::collection::vec((0..CONDITIONS.len(), proptest::bool::ANY, proptest::bool::ANY), 1..6),
            forbidden in proptest::collection::vec(0..CONDITIONS.len(), 0..2),
            unless in proptest::option::of(0..CONDITIONS.len()),
        ) {
            let all = conditions.iter().fold(String::new(), |so_far, (which, not, or)| {
                let join = if so_far.is_empty() { "" } else if *or { " || " } else { " && " };
                format!("{so_far}{join}{}({})", if *not { "!" } else { "" }, CONDITIONS[*which])
            });
            let unless = unless.map(|which| format!(" unless {{ {} }}", CONDITIONS[which])).unwrap_or_default();
            let forbids = forbidden.iter().enumerate().map(|(n, which)| {
                format!("@id(\"f{n}\") forbid (principal, action, resource) when {{ {} }};\n", CONDITIONS[*which])
            });
            let policies =
                format!("{}@id(\"p\") permit (principal, action, resource) when {{ {all} }}{unless};", forbids.collect::<String>());
            if shell(&policies, &node()) {
                proptest::prop_assert!(usable_by(&policies, &node()), "{policies}");
                proptest::prop_assert!(may_be_in("test", &policies), "{policies}");
            }
        }

        /// Patterns are Cedar's: what it says of a name is what is said here.
        #[test]
        fn patterns_match_as_cedar_s_do(pattern in "[ab*]{0,6}", name in "[ab]{1,6}") {
            let policies = format!("@id(\"p\") permit (principal, action, resource) when {{ resource.name like \"{pattern}\" }};");
            let facts = NodeFacts::named("i-1", &name);
            proptest::prop_assert_eq!(usable_by(&policies, &facts), shell(&policies, &facts));
        }
    }
}
