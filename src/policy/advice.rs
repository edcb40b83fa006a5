//! Who and which groups there are, and what is probably not meant by a policy that names others.

use std::collections::BTreeSet;

use cedar_policy::EntityUid;

use super::obligations::nearest;
use crate::model::{NodeForm, NodeName};

/// The people and groups that a configuration has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// People's names.
    pub people: BTreeSet<String>,
    /// The groups that they are in.
    pub groups: BTreeSet<String>,
    /// Whether people come whom it does not name, by certificates.
    pub others_come: bool,
    /// The realms; without any, nothing is said of those that policies name.
    pub realms: BTreeSet<String>,
}

/// What is wrong, or odd, about an entity that a policy names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Doubt {
    pub(super) message: String,
    pub(super) help: String,
    /// There is something that is written almost so.
    is_near: bool,
    /// It can never be what was meant.
    pub(super) is_wrong: bool,
}

/// What there is to say about an entity that stands in a policy.
pub(super) fn doubt(uid: &EntityUid, named: &Named) -> Option<Doubt> {
    let id = uid.id().unescaped();
    let among = |known: &BTreeSet<String>, message: String| {
        let names: Vec<&str> = known.iter().map(String::as_str).collect();
        let near = nearest(id, &names);
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => "there is nobody".to_owned(),
            None => format!("there is {}", names.join(", ")),
        };
        (!known.contains(id)).then_some(Doubt { message, help, is_near: near.is_some(), is_wrong: false })
    };
    match uid.type_name().basename() {
        "Person" => {
            among(&named.people, format!("nobody is called `{id}`")).filter(|doubt| doubt.is_near || !named.others_come)
        }
        // groups may be there for people who are to come: only what looks like a slip of the pen is told
        "Group" => among(&named.groups, format!("nobody is in a group `{id}`")).filter(|doubt| doubt.is_near),
        "Node" if !is_id(id) => Some(Doubt {
            message: format!("`{id}` is no node's id, so this is no node"),
            help: format!("an id is i-…, mi-… or ecs:…; by its name it is: when {{ resource.name == \"{id}\" }}"),
            is_near: false,
            is_wrong: true,
        }),
        _ => None,
    }
}

/// What there is to say about a realm that stands in a policy.
pub(super) fn doubt_of_realm(name: &str, named: &Named) -> Option<Doubt> {
    if named.realms.is_empty() || named.realms.contains(name) {
        return None;
    }
    let names: Vec<&str> = named.realms.iter().map(String::as_str).collect();
    let near = nearest(name, &names);
    let help = near.map_or_else(|| format!("there is {}", names.join(", ")), |near| format!("did you mean `{near}`?"));
    let message = format!("no realm is called `{name}`");
    Some(Doubt { message, help, is_near: near.is_some(), is_wrong: false })
}

fn is_id(text: &str) -> bool {
    NodeName::parse(text).is_ok_and(|name| matches!(name.form(), NodeForm::Instance(_) | NodeForm::Task(_)))
}
