//! What can be said of a policy before anybody asks: whom and which nodes it could be about, and whether it looks at paths.
//! From its scope and from what must hold of `principal` and `resource` at the top of its conditions. Never too little: where
//! it can't be seen, everybody and every node.

use std::cell::RefCell;
use std::collections::BTreeSet;

use cedar_policy::pst::{
    ActionConstraint, BinaryOp, Clause, Effect, EntityOrSlot, EntityUID, Expr, Literal, PrincipalConstraint,
    ResourceConstraint, Template, Var,
};

use crate::model::{NodeFacts, RealmName};

/// What a policy could be about.
#[derive(Clone, Debug)]
pub(super) struct PolicyScope {
    pub(super) permits: bool,
    /// None: anybody.
    people: Option<BTreeSet<Whom>>,
    /// None: any node.
    pub(super) nodes: Option<BTreeSet<Which>>,
    /// None: any realm.
    realms: Option<BTreeSet<String>>,
    /// Whatever node of these realms it is, it makes no difference.
    pub(super) any_node: bool,
    pub(super) looks_at_path: bool,
    /// It looks at a tag of the node, or might.
    pub(super) looks_at_tags: bool,
    /// It looks at the node's name, or might.
    pub(super) looks_at_name: bool,
    /// It could be about a command of a line, and looks at what command it is.
    pub(super) looks_at_command: bool,
    /// What it permits it permits with a second factor; of its annotations, and not of its text.
    pub(super) wants_second_factor: bool,
}

/// Somebody, or a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whom {
    Person(String),
    Group(String),
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Which {
    Id(String),
    Name(String),
}

impl PolicyScope {
    pub(super) fn of(policy: &Template) -> Self {
        let scope_people = match &policy.principal {
            PrincipalConstraint::Eq(EntityOrSlot::Entity(uid))
            | PrincipalConstraint::In(EntityOrSlot::Entity(uid))
            | PrincipalConstraint::IsIn(_, EntityOrSlot::Entity(uid)) => Some(whom(uid).into_iter().collect()),
            _ => None,
        };
        let scope_nodes = match &policy.resource {
            ResourceConstraint::Eq(EntityOrSlot::Entity(uid))
            | ResourceConstraint::In(EntityOrSlot::Entity(uid))
            | ResourceConstraint::IsIn(_, EntityOrSlot::Entity(uid)) => Some(which(uid).into_iter().collect()),
            _ => None,
        };
        let conditions = || {
            policy.clauses().iter().filter_map(|clause| match clause {
                Clause::When(condition) => Some(condition.as_ref()),
                // what must not hold says little about what may
                Clause::Unless(_) => None,
            })
        };
        let any_clause = |looks: &dyn Fn(&Expr) -> bool| {
            policy.clauses().iter().any(|clause| match clause {
                Clause::When(condition) | Clause::Unless(condition) => looks(condition),
            })
        };
        let open = matches!(policy.resource, ResourceConstraint::Any | ResourceConstraint::Is(_));
        let realms = conditions().find_map(|condition| wanted(condition, &realm_in));
        let only_the_realm = realms.is_some() && !any_clause(&looks_at_node);
        let any_node = open && (only_the_realm || !any_clause(&|condition| mentions(condition, &Var::Resource)));
        Self {
            permits: policy.effect == Effect::Permit,
            people: scope_people.or_else(|| conditions().find_map(|condition| wanted(condition, &person_in))),
            nodes: scope_nodes.or_else(|| conditions().find_map(|condition| wanted(condition, &node_in))),
            realms,
            any_node,
            looks_at_path: any_clause(&|condition| looks_at(condition, &["path"])),
            looks_at_tags: any_clause(&looks_at_tags),
            looks_at_name: any_clause(&looks_at_name),
            looks_at_command: could_be_about_a_command(&policy.action)
                && any_clause(&|condition| looks_at(condition, &OF_A_COMMAND)),
            // an annotation, which whoever compiles it has read
            wants_second_factor: false,
        }
    }

    /// Whether it could be about a node of a realm.
    pub(super) fn reaches(&self, realm: &RealmName) -> bool {
        self.realms.as_ref().is_none_or(|realms| realms.contains(realm.as_str()))
    }

    /// Whether it could be about this node.
    pub(super) fn could_be_about(&self, node: &NodeFacts) -> bool {
        let is = |which: &Which| match which {
            Which::Id(id) => *id == node.node.id.0,
            // whose name is not known may have this one
            Which::Name(name) => !node.is_name_known() || name == node.name(),
        };
        self.reaches(&node.node.realm) && self.nodes.as_ref().is_none_or(|nodes| nodes.iter().any(is))
    }

    /// Whether it could be about somebody.
    pub(super) fn concerns(&self, person: &str, groups: &[String]) -> bool {
        self.people.as_ref().is_none_or(|people| {
            people.iter().any(|whom| match whom {
                Whom::Person(name) => name == person,
                Whom::Group(name) => groups.contains(name),
            })
        })
    }
}

fn whom(uid: &EntityUID) -> Option<Whom> {
    let name = uid.eid.to_string();
    match uid.ty.0.id.as_str() {
        "Person" => Some(Whom::Person(name)),
        "Group" => Some(Whom::Group(name)),
        _ => None,
    }
}

fn which(uid: &EntityUID) -> Option<Which> {
    (uid.ty.0.id.as_str() == "Node").then(|| Which::Id(uid.eid.to_string()))
}

/// The realms that are named anywhere in a policy.
pub(super) fn realms_named(policy: &Template) -> BTreeSet<String> {
    let found = RefCell::new(BTreeSet::new());
    for clause in policy.clauses().iter() {
        let (Clause::When(condition) | Clause::Unless(condition)) = clause;
        any_part(condition, |part| {
            found.borrow_mut().extend(realm_in(part).into_iter().flatten());
            None
        });
    }
    found.into_inner()
}

/// The values of which one must be the case for an expression to hold; none where that can't be seen.
fn wanted<T: Ord>(expr: &Expr, leaf: &dyn Fn(&Expr) -> Option<BTreeSet<T>>) -> Option<BTreeSet<T>> {
    match expr {
        Expr::BinaryOp { op: BinaryOp::And, left, right } => wanted(left, leaf).or_else(|| wanted(right, leaf)),
        Expr::BinaryOp { op: BinaryOp::Or, left, right } => {
            let (mut left, right) = (wanted(left, leaf)?, wanted(right, leaf)?);
            left.extend(right);
            Some(left)
        }
        other => leaf(other),
    }
}

/// `principal == …`, `principal in …`, `[…].contains(principal)`.
fn person_in(expr: &Expr) -> Option<BTreeSet<Whom>> {
    entities(expr, &Var::Principal).map(|uids| uids.into_iter().filter_map(whom).collect())
}

/// The same of `resource`, and of `resource.name`.
fn node_in(expr: &Expr) -> Option<BTreeSet<Which>> {
    if let Some(uids) = entities(expr, &Var::Resource) {
        return Some(uids.into_iter().filter_map(which).collect());
    }
    attribute_in(expr, "name").map(|names| names.into_iter().map(Which::Name).collect())
}

/// The same of `resource.realm`.
fn realm_in(expr: &Expr) -> Option<BTreeSet<String>> {
    attribute_in(expr, "realm")
}

/// The texts of which an attribute of the resource must be one.
fn attribute_in(expr: &Expr, attribute: &str) -> Option<BTreeSet<String>> {
    let text = |expr: &Expr| match expr {
        Expr::Literal(Literal::String(text)) => Some(text.to_string()),
        _ => None,
    };
    let Expr::BinaryOp { op, left, right } = expr else { return None };
    match (op, left.as_ref(), right.as_ref()) {
        (BinaryOp::Eq, found, other) | (BinaryOp::Eq, other, found) if is_attribute(found, attribute) => {
            Some(BTreeSet::from([text(other)?]))
        }
        (BinaryOp::Contains, Expr::Set(texts), found) if is_attribute(found, attribute) => {
            texts.iter().map(|one| text(one)).collect()
        }
        _ => None,
    }
}

fn is_attribute(expr: &Expr, name: &str) -> bool {
    matches!(expr, Expr::GetAttr { expr, attr } if attr == name && is(expr, &Var::Resource))
}

fn is(expr: &Expr, var: &Var) -> bool {
    matches!(expr, Expr::Var(found) if found == var)
}

/// The entities of which the variable must be one, or in one.
fn entities<'a>(expr: &'a Expr, var: &Var) -> Option<Vec<&'a EntityUID>> {
    let Expr::BinaryOp { op, left, right } = expr else { return None };
    let listed = match (op, left.as_ref(), right.as_ref()) {
        (BinaryOp::Eq | BinaryOp::In, subject, other) if is(subject, var) => other,
        (BinaryOp::Eq, other, subject) | (BinaryOp::Contains, other, subject) if is(subject, var) => other,
        _ => return None,
    };
    let one = |expr: &'a Expr| match expr {
        Expr::Literal(Literal::EntityUID(uid)) => Some(uid),
        _ => None,
    };
    match listed {
        Expr::Set(items) => items.iter().map(|item| one(item)).collect(),
        single => one(single).map(|uid| vec![uid]),
    }
}

/// Whether some part of it does; `does` says so of a part, or leaves that to the parts of it.
fn any_part(expr: &Expr, does: impl Fn(&Expr) -> Option<bool>) -> bool {
    expr.reduce(&does, &|a, b| a || b, false)
}

pub(super) fn mentions(expr: &Expr, var: &Var) -> bool {
    any_part(expr, |expr| is(expr, var).then_some(true))
}

/// Whether it asks anything of the node but its realm.
fn looks_at_node(expr: &Expr) -> bool {
    any_part(expr, |expr| match expr {
        realm if is_attribute(realm, "realm") => Some(false),
        Expr::Var(Var::Resource) => Some(true),
        _ => None,
    })
}

fn looks_at_tags(expr: &Expr) -> bool {
    any_part(expr, |expr| {
        matches!(expr, Expr::BinaryOp { op: BinaryOp::GetTag | BinaryOp::HasTag, .. }).then_some(true)
    })
}

fn looks_at_name(expr: &Expr) -> bool {
    any_part(expr, |expr| match expr {
        Expr::GetAttr { expr, attr } if attr == "name" => Some(!is(expr, &Var::Context)),
        _ => None,
    })
}

/// What is known of a command of a line, and of nothing else.
const OF_A_COMMAND: [&str; 7] = ["known", "literal", "name", "words", "arguments", "transfer", "paths"];

fn could_be_about_a_command(action: &ActionConstraint) -> bool {
    let may_be = |uid: &EntityUID| ["Command", "Commands", "Sessions"].contains(&uid.eid.to_string().as_str());
    match action {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(uid) => may_be(uid),
        ActionConstraint::In(uids) => uids.iter().any(may_be),
    }
}

/// Whether one of these of the context is looked at, or might be.
pub(super) fn looks_at(expr: &Expr, attributes: &[&str]) -> bool {
    any_part(expr, |expr| match expr {
        Expr::GetAttr { expr, attr } if is(expr, &Var::Context) => Some(attributes.contains(&attr.as_str())),
        // that there is one says nothing of it, but for what only some have
        Expr::HasAttr { expr, attrs } if is(expr, &Var::Context) => {
            Some(attributes.contains(&"transfer") && attrs.iter().any(|attr| attr.as_str() == "transfer"))
        }
        // the context as a value: what is in it may be compared with it
        Expr::Var(Var::Context) => Some(true),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> PolicyScope {
        let policy = cedar_policy::Policy::parse(None, text).unwrap_or_else(|error| panic!("{text}: {error}"));
        PolicyScope::of(policy.to_pst().unwrap().body())
    }

    fn when(condition: &str) -> PolicyScope {
        scope(&format!("permit (principal, action, resource) when {{ {condition} }};"))
    }

    #[test]
    fn whom_a_policy_could_be_about_is_in_its_scope_or_at_the_top_of_its_conditions() {
        let ada = |scope: &PolicyScope| (scope.concerns("ada", &[]), scope.concerns("bob", &["dev".to_owned()]));
        for (scope, expected) in [
            (scope("permit (principal, action, resource);"), (true, true)),
            (scope("permit (principal == Person::\"ada\", action, resource);"), (true, false)),
            (scope("permit (principal in Group::\"dev\", action, resource);"), (false, true)),
            (when("[Person::\"ada\", Person::\"eve\"].contains(principal)"), (true, false)),
            (when("principal in [Person::\"ada\", Group::\"ops\"] && context.time == context.time"), (true, false)),
            (when("principal == Person::\"ada\" || principal in Group::\"dev\""), (true, true)),
            (when("principal == Person::\"eve\" || context.port == 22"), (true, true)),
            (when("!(principal == Person::\"ada\")"), (true, true)),
        ] {
            assert_eq!(ada(&scope), expected, "{scope:?}");
        }
        let unless = scope("permit (principal, action, resource) unless { principal == Person::\"ada\" };");
        assert_eq!(ada(&unless), (true, true), "what must not hold is not looked at");
    }

    #[test]
    fn which_nodes_is_seen_in_the_same_places() {
        let nodes = |scope: PolicyScope| scope.nodes.map(|nodes| nodes.into_iter().collect::<Vec<_>>());
        let name = |name: &str| Which::Name(name.to_owned());
        let id = Which::Id("i-0123456789abcdef0".to_owned());
        assert_eq!(nodes(when("resource.name == \"web-1\"")), Some(vec![name("web-1")]));
        assert_eq!(nodes(when("[\"a\", \"b\"].contains(resource.name)")), Some(vec![name("a"), name("b")]));
        let either = "resource == Node::\"i-0123456789abcdef0\" || resource.name == \"a\"";
        assert_eq!(nodes(when(either)), Some(vec![id.clone(), name("a")]));
        assert_eq!(
            nodes(scope("permit (principal, action, resource == Node::\"i-0123456789abcdef0\");")),
            Some(vec![id])
        );
        for open in ["resource.name like \"web-*\"", "resource.name == context.reason", "\"a\" == \"a\""] {
            assert_eq!(nodes(when(open)), None, "{open}");
        }
    }

    #[test]
    fn where_any_node_will_do_is_seen() {
        let of = |realms: &[&str]| Some(realms.iter().map(|&realm| realm.to_owned()).collect());
        for (condition, realms, any) in [
            ("context.weekday == 1", None, true),
            ("resource.realm == \"dev\"", of(&["dev"]), true),
            ("[\"dev\", \"test\"].contains(resource.realm) && context.weekday == 1", of(&["dev", "test"]), true),
            ("resource.realm == \"dev\" || \"test\" == resource.realm", of(&["dev", "test"]), true),
            ("resource.realm == \"dev\" && resource.name like \"web-*\"", of(&["dev"]), false),
            ("resource.realm == \"dev\" || resource.hasTag(\"x\")", None, false),
            ("resource.realm like \"d*\"", None, false),
            ("!(resource.realm == \"prod\")", None, false),
        ] {
            let scope = when(condition);
            assert_eq!((scope.realms, scope.any_node), (realms, any), "{condition}");
        }
        let one = scope("permit (principal, action, resource == Node::\"i-1\") when { resource.realm == \"dev\" };");
        assert!(!one.any_node);
        let unless = "permit (principal, action, resource) when { resource.realm == \"dev\" } unless { resource.hasTag(\"x\") };";
        assert!(!scope(unless).any_node);
    }

    #[test]
    fn a_look_at_the_path_is_seen_wherever_it_is() {
        for (condition, looks) in [
            ("context.path like \"/etc/*\"", true),
            ("if context has path then [context.path].contains(\"/x\") else false", true),
            ("context == {\"path\": \"/x\"}", true),
            ("!(context has path)", false),
            ("context.reason == \"path\"", false),
        ] {
            assert_eq!(when(condition).looks_at_path, looks, "{condition}");
        }
    }

    #[test]
    fn who_looks_into_a_line_is_seen() {
        for (action, condition, looks) in [
            ("action", "context.name == \"ls\"", true),
            ("action == Action::\"Command\"", "context.known", true),
            ("action in Action::\"Commands\"", "!context.literal", true),
            ("action in [Action::\"Shell\", Action::\"Sessions\"]", "context.arguments.contains(\"-f\")", true),
            ("action in Action::\"Commands\"", "context == context", true),
            ("action in Action::\"Commands\"", "context has transfer", true),
            // the line as a whole is no look into it, nor is what is no command's
            ("action in Action::\"Commands\"", "context.command == \"ls\"", false),
            ("action in Action::\"Commands\"", "context has name && resource.name == \"x\"", false),
            ("action == Action::\"Exec\"", "context.name == \"ls\"", false),
            ("action in Action::\"ReadFiles\"", "context.paths.isEmpty()", false),
        ] {
            let scope = scope(&format!("permit (principal, {action}, resource) when {{ {condition} }};"));
            assert_eq!(scope.looks_at_command, looks, "{action} when {condition}");
        }
        let unless = scope("forbid (principal, action, resource) unless { context.known };");
        assert!(unless.looks_at_command);
    }

    #[test]
    fn which_nodes_it_could_be_about_is_seen_and_never_too_few() {
        let (web, db) = (NodeFacts::named("i-1", "web-1"), NodeFacts::named("i-2", "db-1"));
        let nobody_knows = NodeFacts { called: None, tags: Err("AWS is silent".to_owned()), ..web.clone() };
        for (condition, here, there, unnamed) in [
            ("resource.name == \"web-1\"", true, false, true),
            ("resource.name == \"db-1\"", false, true, true),
            ("resource == Node::\"i-1\"", true, false, true),
            ("resource.name == \"web-1\" || context has reason", true, true, true),
            ("resource.getTag(\"env\") == \"prod\"", true, true, true),
        ] {
            let scope = when(condition);
            let told = [&web, &db, &nobody_knows].map(|node| scope.could_be_about(node));
            assert_eq!(told, [here, there, unnamed], "{condition}");
        }
    }
}
