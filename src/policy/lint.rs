//! Policies that say less than they seem to: what is valid, and probably not meant.
//!
//! Two policies are compared by their texts: by whom and where they are written for, and by their conditions, taken apart at
//! `&&`. So what is told here is so; what is not told may still be.

use std::collections::BTreeSet;

use cedar_policy::pst::{
    ActionConstraint, BinaryOp, Clause, Effect, Expr, PrincipalConstraint, ResourceConstraint, Template, Var,
};
use cedar_policy::{Entities, EntityId, EntityTypeName, EntityUid};

use super::action::{Action, FileAction};
use super::decision::Policy;
use super::scope::{looks_at, mentions};
use super::usable::OPENING;

/// Something that is probably not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// The policy that it is about.
    pub(super) policy: String,
    pub(super) message: String,
    pub(super) help: &'static str,
}

/// A policy, as far as two can be compared.
struct Rule {
    id: String,
    permits: bool,
    principal: PrincipalConstraint,
    resource: ResourceConstraint,
    /// Each action by itself, no group.
    actions: BTreeSet<&'static str>,
    /// None is named.
    any_action: bool,
    /// What must hold, all of it.
    when: Vec<Expr>,
    unless: Vec<Expr>,
    /// It obliges to something, so it says more than that it permits.
    obliges: bool,
}

impl Policy {
    /// What is odd about these policies beside each other, in their order by name.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let actions = self.actions();
        let rules: Vec<Rule> = self.policies().filter_map(|policy| Rule::of(policy, actions)).collect();
        let mut found = Vec::new();
        for rule in &rules {
            let others = || rules.iter().filter(|other| other.id != rule.id);
            found.extend(rule.is_never(others()));
            found.extend(rule.says_nothing_more(others()));
            found.extend(rule.is_void_beside_a_shell(others()));
            found.extend(rule.lacks_its_other_half(&rules));
            found.extend(rule.is_an_open_door());
            found.extend(rule.lets_past_the_record(others()));
            found.extend(rule.trusts_names());
        }
        found.sort_by(|a, b| (&a.policy, &a.message).cmp(&(&b.policy, &b.message)));
        found
    }
}

impl Rule {
    fn of(policy: &cedar_policy::Policy, entities: &Entities) -> Option<Self> {
        let obliges = policy.annotations().any(|(name, _)| !["id", "message", "record"].contains(&name));
        let id = policy.id().to_string();
        let policy = policy.to_pst().ok()?;
        let policy = policy.body();
        let (mut when, mut unless) = (Vec::new(), Vec::new());
        for clause in policy.clauses() {
            match clause {
                Clause::When(condition) => all_of(condition, &mut when),
                Clause::Unless(condition) => unless.push(condition.as_ref().clone()),
            }
        }
        Some(Self {
            id,
            permits: policy.effect == Effect::Permit,
            principal: policy.principal.clone(),
            resource: policy.resource.clone(),
            actions: actions_of(policy, entities),
            any_action: matches!(policy.action, ActionConstraint::Any),
            when,
            unless,
            obliges,
        })
    }

    fn finding(&self, message: String, help: &'static str) -> Finding {
        Finding { policy: self.id.clone(), message, help }
    }

    /// Something forbids whenever it would permit.
    fn is_never<'a>(&self, mut others: impl Iterator<Item = &'a Self>) -> Option<Finding> {
        let by = others.find(|other| self.permits && !other.permits && other.covers(self))?;
        let message = format!("`{}` never permits anything: `{}` forbids all of it", self.id, by.id);
        Some(self.finding(message, "what forbids wins; take one of them out, or narrow what forbids"))
    }

    /// Another one says the same of more.
    fn says_nothing_more<'a>(&self, mut others: impl Iterator<Item = &'a Self>) -> Option<Finding> {
        if self.permits && self.obliges {
            // all that permit oblige, so it does make a difference
            return None;
        }
        let twin = |other: &Self| self.covers(other) && (!other.permits || !other.obliges);
        let covering = |other: &&Self| {
            // of two that say the same, the later by name
            other.permits == self.permits && other.covers(self) && (!twin(other) || other.id < self.id)
        };
        let by = others.find(covering)?;
        let verb = if self.permits { "permits" } else { "forbids" };
        let message = format!("`{}` {verb} nothing that `{}` does not", self.id, by.id);
        Some(self.finding(message, "take it out, or take what it says out of the other one"))
    }

    /// It is particular about files or commands, and the same people have a shell there.
    fn is_void_beside_a_shell<'a>(&self, others: impl Iterator<Item = &'a Self>) -> Option<Finding> {
        let files = self.actions.iter().any(|action| is_file_action(action));
        let shell = ["Shell", "Exec"].iter().any(|action| self.actions.contains(action));
        let of_files = files && !shell && (!self.permits || self.looks(&["path"]));
        let of_commands = !self.permits && self.actions.contains("Command") && !self.actions.contains("Shell");
        if !of_files && !of_commands {
            return None;
        }
        let mut open = others.filter(|other| other.permits && other.actions.contains("Shell"));
        let by = open.find(|other| other.is_for_the_same(self))?;
        let (what, verb) = if of_files { ("files", "a file") } else { ("commands", "a command") };
        let message =
            format!("`{}` is particular about {what}, and `{}` permits the same people a shell there", self.id, by.id);
        let help = match verb {
            "a file" => {
                "whoever has a shell reads and writes whatever its user may: permit no Shell, or see this as a guard-rail only"
            }
            _ => "what is typed into a shell is asked about nowhere: permit no Shell, or see this as a guard-rail only",
        };
        Some(self.finding(message, help))
    }

    /// It permits one thing that is of no use without another, which nobody permits.
    fn lacks_its_other_half(&self, rules: &[Self]) -> Option<Finding> {
        let has = |action: &str| {
            let mut permitting = rules.iter().filter(|rule| rule.permits && rule.actions.contains(action));
            permitting.any(|rule| rule.may_be_for_the_same(self))
        };
        let does = |action: &str| self.permits && self.actions.contains(action);
        let any_file = || self.permits && self.actions.iter().any(|action| is_file_action(action));
        let (half, other, help) = match () {
            () if does("Exec") && !has("Command") => {
                ("a line", "any command in it", "a line needs both: action in Action::\"Commands\" is both")
            }
            () if does("Command") && !has("Exec") => {
                ("commands", "a line of them (Exec)", "a line needs both: action in Action::\"Commands\" is both")
            }
            () if any_file() && !has("Files") => (
                "operations on files",
                "a session of files (Files)",
                "Files opens the session in which they are asked for",
            ),
            () if does("RunAs") && !OPENING.iter().any(|action| has(action)) => {
                ("being a user", "anything to be done there", "RunAs is asked besides what somebody wants to do")
            }
            () if does("SetVariable") && !has("Shell") && !has("Exec") => {
                ("variables", "a shell or a line to set them for", "SetVariable is asked besides Shell and Exec")
            }
            () => return None,
        };
        Some(self.finding(format!("`{}` permits {half}, and nothing permits the same people {other}", self.id), help))
    }

    fn is_an_open_door(&self) -> Option<Finding> {
        let somewhere = self.looks(&["host"]) || self.looks(&["loopback"]) || self.looks(&["address"]);
        if self.permits && self.actions.contains("Forward") && !(somewhere && self.looks(&["port"])) {
            let message = format!("`{}` permits forwards to whatever the node can reach", self.id);
            let help = "whoever is behind the node is reached as from the node: say which context.port, and which context.host, \
                 context.address or context.loopback";
            return Some(self.finding(message, help));
        }
        let sockets = self.permits && self.actions.contains("ForwardSocket") && !self.looks(&["path"]);
        sockets.then(|| {
            let message = format!("`{}` permits whatever socket the agent's user can open", self.id);
            self.finding(message, "/run/docker.sock makes root of whoever reaches it: say which context.path")
        })
    }

    /// It permits tunnels without saying so.
    fn lets_past_the_record<'a>(&self, mut others: impl Iterator<Item = &'a Self>) -> Option<Finding> {
        let forbidden = |other: &Self| {
            let everywhere = is_anybody(&other.principal) && is_anywhere(&other.resource);
            let always = other.when.is_empty() && other.unless.is_empty();
            !other.permits && everywhere && always && other.actions.contains("Tunnel")
        };
        let lets = self.permits && self.any_action && !others.any(forbidden);
        lets.then(|| {
            let message = format!("`{}` permits every action, and so tunnels to the node's own sshd", self.id);
            let help = "nobody sees what is done by a tunnel: name the actions (Action::\"Sessions\", Action::\"Hop\", …), or forbid \
                 Action::\"Tunnel\" besides";
            self.finding(message, help)
        })
    }

    /// A name is that of what runs others, too.
    fn trusts_names(&self) -> Option<Finding> {
        let trusts = self.permits
            && self.actions.contains("Command")
            && self.looks(&["name"])
            && !self.looks(&["known"])
            && !self.looks(&["words"]);
        trusts.then(|| {
            let message = format!("`{}` permits commands by name, whether or not they run others", self.id);
            self.finding(
                message,
                "`find -exec` and `sudo` have a name as well: ask for context.known, or for context.words",
            )
        })
    }

    fn looks(&self, attributes: &[&str]) -> bool {
        self.when.iter().chain(&self.unless).any(|condition| looks_at(condition, attributes))
    }

    /// Whenever the other one applies, this one does.
    fn covers(&self, other: &Self) -> bool {
        let who = is_anybody(&self.principal) || self.principal == other.principal;
        let place = is_anywhere(&self.resource) || self.resource == other.resource;
        who && place
            && self.actions.is_superset(&other.actions)
            && self.when.iter().all(|condition| other.when.contains(condition))
            && self.unless.iter().all(|condition| other.unless.contains(condition))
    }

    /// The other one is written for the same people and nodes, or for some or more of them.
    fn is_for_the_same(&self, other: &Self) -> bool {
        let who = is_anybody(&self.principal) || is_anybody(&other.principal) || self.principal == other.principal;
        let place = is_anywhere(&self.resource) || is_anywhere(&other.resource) || self.resource == other.resource;
        let about = |rule: &Self| -> Vec<Expr> {
            let about = |condition: &&Expr| mentions(condition, &Var::Resource) || mentions(condition, &Var::Principal);
            rule.when.iter().filter(about).cloned().collect()
        };
        let (mine, others) = (about(self), about(other));
        let within = |a: &[Expr], b: &[Expr]| a.iter().all(|condition| b.contains(condition));
        who && place && (within(&mine, &others) || within(&others, &mine))
    }

    /// It can't be told that they are for different people; two groups are taken for two sets of people.
    fn may_be_for_the_same(&self, other: &Self) -> bool {
        let one = |principal: &PrincipalConstraint| matches!(principal, PrincipalConstraint::Eq(_));
        let (mine, others) = (&self.principal, &other.principal);
        let alike = (one(mine) && one(others)) || (is_group(mine) && is_group(others));
        !alike || mine == others
    }
}

/// What must hold for a condition to, taken apart at `&&`.
fn all_of(condition: &Expr, into: &mut Vec<Expr>) {
    match condition {
        Expr::BinaryOp { op: BinaryOp::And, left, right } => {
            all_of(left, into);
            all_of(right, into);
        }
        other => into.push(other.clone()),
    }
}

fn actions_of(policy: &Template, entities: &Entities) -> BTreeSet<&'static str> {
    let all = Action::NAMES.into_iter().chain(FileAction::ALL.map(FileAction::name));
    let of = |name: &str| {
        let of: EntityTypeName = "Action".parse().ok()?;
        Some(EntityUid::from_type_name_and_id(of, EntityId::new(name)))
    };
    let is = |named: &str, action: &str| {
        let (Some(named_uid), Some(uid)) = (of(named), of(action)) else { return false };
        named == action || entities.is_ancestor_of(&named_uid, &uid)
    };
    all.filter(|action| match &policy.action {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(named) => named.eid.as_ref() as &str == *action,
        ActionConstraint::In(named) => named.iter().any(|named| is(named.eid.as_ref(), action)),
    })
    .collect()
}

fn is_file_action(action: &str) -> bool {
    FileAction::ALL.iter().any(|of_files| of_files.name() == action)
}

fn is_anybody(principal: &PrincipalConstraint) -> bool {
    matches!(principal, PrincipalConstraint::Any | PrincipalConstraint::Is(_))
}

fn is_group(principal: &PrincipalConstraint) -> bool {
    matches!(principal, PrincipalConstraint::In(_) | PrincipalConstraint::IsIn(..))
}

fn is_anywhere(resource: &ResourceConstraint) -> bool {
    matches!(resource, ResourceConstraint::Any | ResourceConstraint::Is(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(policies: &str) -> Vec<String> {
        Policy::for_test(policies).findings().into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn what_says_less_than_it_seems_to_is_told() {
        let devs = "@id(\"devs\") permit (principal in Group::\"dev\", action in Action::\"Sessions\", resource) when { resource.name like \"web-*\" };";
        for (more, expected) in [
            (
                "@id(\"no-etc\") forbid (principal, action == Action::\"Upload\", resource) when { context.path like \"/etc/*\" };",
                &["`no-etc` is particular about files, and `devs` permits the same people a shell there"][..],
            ),
            (
                "@id(\"logs\") permit (principal in Group::\"dev\", action == Action::\"Download\", resource)\n\
                 when { resource.name like \"web-*\" && context.path like \"/var/log/*\" };",
                &[
                    "`logs` is particular about files, and `devs` permits the same people a shell there",
                    "`logs` permits nothing that `devs` does not",
                ],
            ),
            (
                "@id(\"no-rm\") forbid (principal in Group::\"dev\", action == Action::\"Command\", resource) when { context.name == \"rm\" };",
                &["`no-rm` is particular about commands, and `devs` permits the same people a shell there"],
            ),
            (
                "@id(\"never\") permit (principal in Group::\"ops\", action == Action::\"Shell\", resource) when { resource.name == \"x\" };\n\
                 @id(\"shut\") forbid (principal, action == Action::\"Shell\", resource) when { resource.name == \"x\" };",
                &["`never` never permits anything: `shut` forbids all of it"],
            ),
            (
                "@id(\"door\") permit (principal in Group::\"dev\", action == Action::\"Forward\", resource) when { context.port == 22 };",
                &["`door` permits forwards to whatever the node can reach"],
            ),
            (
                "@id(\"line\") permit (principal in Group::\"ops\", action == Action::\"Exec\", resource);",
                &["`line` permits a line, and nothing permits the same people any command in it"],
            ),
            (
                "@id(\"find\") permit (principal in Group::\"ops\", action == Action::\"Command\", resource) when { context.name == \"find\" };",
                &[
                    "`find` permits commands by name, whether or not they run others",
                    "`find` permits commands, and nothing permits the same people a line of them (Exec)",
                ],
            ),
            (
                "@id(\"up\") permit (principal in Group::\"ops\", action == Action::\"Upload\", resource);",
                &["`up` permits operations on files, and nothing permits the same people a session of files (Files)"],
            ),
            (
                "@id(\"as\") permit (principal in Group::\"ops\", action == Action::\"RunAs\", resource);",
                &["`as` permits being a user, and nothing permits the same people anything to be done there"],
            ),
            // the same people elsewhere, others, and what makes a difference by what it obliges to
            (
                "@id(\"logs\") permit (principal in Group::\"dev\", action in Action::\"ReadFiles\", resource)\n\
                 when { resource.name like \"db-*\" && (!(context has path) || context.path like \"/var/log/*\") };\n\
                 @id(\"strict\") @max_duration(\"1h\") permit (principal in Group::\"dev\", action == Action::\"Shell\", resource)\n\
                 when { resource.name like \"web-*\" };",
                &[],
            ),
        ] {
            assert_eq!(found(&format!("{devs}\n{more}")), expected, "{more}");
        }
    }

    #[test]
    fn what_permits_every_action_permits_tunnels_unless_they_are_forbidden() {
        let tells = |more: &str| {
            let all = "@id(\"all\") permit (principal in Group::\"ops\", action, resource);";
            found(&format!("{all}\n{more}"))
                .iter()
                .any(|told| told.contains("`all` permits every action, and so tunnels"))
        };
        let forbid =
            |when: &str| format!("@id(\"no\") forbid (principal, action == Action::\"Tunnel\", resource){when};");
        assert!(tells("") && tells(&forbid(" when { resource.name == \"x\" }")));
        assert!(!tells(&forbid("")));
        let named = "@id(\"t\") permit (principal, action == Action::\"Tunnel\", resource);";
        assert_eq!(found(named), [""; 0], "it says so");
    }

    #[test]
    fn of_two_that_say_the_same_one_is_told() {
        let twice = |name: &str| format!("@id(\"{name}\") permit (principal, action == Action::\"Shell\", resource);");
        assert_eq!(found(&(twice("a") + &twice("b"))), ["`b` permits nothing that `a` does not"]);
    }
}
