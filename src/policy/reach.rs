//! Whom and which nodes the policies could be about, from their scopes: asked before a node is looked up. It errs on the side
//! of yes, and what it lets through is decided afterwards.

use std::collections::BTreeSet;

use super::action::Action;
use super::decision::Policy;
use super::denial::Denial;
use super::scope::{PolicyScope, Which};
use crate::identity::Identity;
use crate::model::{NodeAsked, NodeForm, NodeName, RealmName};

impl Policy {
    /// Whether any policy could permit this person anything.
    pub fn has_permits(&self, identity: &Identity) -> bool {
        self.permits_anything(identity.person(), identity.groups())
    }

    /// Whether any policy could be about this person and the node that a name may stand for.
    pub fn may_concern(&self, identity: &Identity, node: &NodeAsked) -> bool {
        self.permits_of(identity).any(|scope| could_be_about(scope, node.name()))
            && !self.realms_for(identity, node.realms()).is_empty()
    }

    /// Of these realms, those that could have a node that this person could be permitted to use. Where policies forbid all that are
    /// permitted it is those: what forbids has something to say.
    pub fn realms_for(&self, identity: &Identity, realms: &[RealmName]) -> Vec<RealmName> {
        let usable = self.usable_nodes(identity);
        let permitted: Vec<&RealmName> = realms.iter().filter(|realm| usable.are_permitted_in(realm)).collect();
        let open: Vec<RealmName> = permitted.iter().copied().filter(|realm| usable.may_be_in(realm)).cloned().collect();
        if open.is_empty() { permitted.into_iter().cloned().collect() } else { open }
    }

    /// Whether any policy could permit this person something on the node that a name may stand for, and wants a second factor for it.
    pub fn may_want_second_factor(&self, identity: &Identity, node: &NodeAsked) -> bool {
        let reaches = |scope: &PolicyScope| node.realms().iter().any(|realm| scope.reaches(realm));
        let mut permits = self.permits_of(identity);
        permits.any(|scope| scope.wants_second_factor && reaches(scope) && could_be_about(scope, node.name()))
    }

    /// The refusal that stands whatever node a name turns out to be: whoever may do nothing there does not learn by the
    /// answer whether there is such a node, and nobody looks for one on their behalf.
    pub fn denies_unseen(&self, identity: &Identity, node: &NodeAsked, action: &Action) -> Option<Denial> {
        (!self.may_concern(identity, node))
            .then(|| self.nothing_permits(identity.person(), action, node.written(), None))
    }

    /// The refusal of a name that is no node's, for whom no policy lets use a node by that name, whatever else it is: the
    /// same as for a node of others, or whoever may use one node could ask for the names of all. They were looked for in all of these
    /// realms.
    pub fn denies_unnamed(
        &self,
        identity: &Identity,
        node: &NodeAsked,
        within: &[RealmName],
        action: &Action,
    ) -> Option<Denial> {
        let named = |realm: &RealmName| {
            self.permits_of(identity).filter(|scope| scope.reaches(realm)).any(|scope| {
                let called = |which: &Which| match which {
                    Which::Id(name) | Which::Name(name) => name == node.name().as_str(),
                };
                scope.any_node || scope.nodes.as_ref().is_some_and(|nodes| nodes.iter().any(called))
            })
        };
        (!within.iter().all(named)).then(|| self.nothing_permits(identity.person(), action, node.written(), None))
    }

    /// The ECS tasks that policies name for a person: they are in no list of nodes.
    pub fn tasks_named_for(&self, identity: &Identity) -> BTreeSet<NodeName> {
        let named = self.permits_of(identity).filter_map(|scope| scope.nodes.as_ref()).flatten();
        let names = named.filter_map(|which| match which {
            Which::Id(name) | Which::Name(name) => NodeName::parse(name).ok(),
        });
        names.filter(|name| matches!(name.form(), NodeForm::Task(_))).collect()
    }

    /// Whether any policy could permit somebody anything who is called so, and in these groups.
    pub fn permits_anything(&self, person: &str, groups: &[String]) -> bool {
        self.scopes().iter().any(|scope| scope.permits && scope.concerns(person, groups))
    }

    /// Whether any policy could permit somebody anything.
    pub fn permits_somebody(&self) -> bool {
        self.scopes().iter().any(|scope| scope.permits)
    }

    fn permits_of(&self, identity: &Identity) -> impl Iterator<Item = &PolicyScope> {
        let scopes = self.scopes().iter().filter(|scope| scope.permits);
        scopes.filter(|scope| scope.concerns(identity.person(), identity.groups()))
    }
}

fn could_be_about(scope: &PolicyScope, node: &NodeName) -> bool {
    let Some(nodes) = &scope.nodes else { return true };
    nodes.iter().any(|which| match (which, node.form()) {
        (Which::Name(name), NodeForm::Word(word)) => name == word,
        // a tag, and an id, can be any name's
        (Which::Name(_), _) => true,
        (Which::Id(id), NodeForm::Instance(asked) | NodeForm::Task(asked)) => id == asked,
        // a word, and a tag, can be any id's
        (Which::Id(_), NodeForm::Word(_) | NodeForm::Tag { .. }) => true,
    })
}
