//! Who may use again what carries something already: the same person, as the same role and the same user of the node, for the same
//! reason.

use crate::identity::ActsAs;
use crate::model::NodeRef;
use crate::policy::Grant;

/// What those have in common who may share lanes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sharing {
    node: NodeRef,
    person: String,
    role: Option<String>,
    os_user: Option<String>,
    reason: Option<String>,
}

impl Sharing {
    pub(super) fn of(grant: &Grant) -> Self {
        let identity = grant.identity();
        let role = match identity.acts_as(&grant.node().realm) {
            ActsAs::Role(role) => Some(role.arn.to_string()),
            _ => None,
        };
        Self {
            node: grant.node().clone(),
            person: identity.person().to_owned(),
            role,
            os_user: grant.os_user().map(str::to_owned),
            reason: grant.reason().map(|reason| reason.as_str().to_owned()),
        }
    }
}
