//! Who asks, and about which node: what a decision is made from besides the action.

use std::net::IpAddr;

use super::decision::Request;
use crate::identity::Identity;
use crate::model::{NodeId, NodeName, ReasonText};

/// Somebody who asks: proved in a [`Request`], or only thought of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking<'a> {
    pub(super) person: &'a str,
    pub(super) groups: &'a [String],
    /// The kind of proof.
    pub(super) proof: &'a str,
    /// Who has proved it; none where that is only thought of.
    pub(super) identity: Option<&'a Identity>,
    pub(super) source: IpAddr,
    pub(super) node_name: &'a NodeName,
    pub(super) node: &'a NodeId,
    pub(super) called: Option<&'a str>,
    pub(super) os_user: Option<&'a str>,
    pub(super) reason: Option<&'a ReasonText>,
}

impl<'a> Request<'a> {
    pub(super) fn asking(&self) -> Asking<'a> {
        Asking {
            person: self.identity.person(),
            groups: self.identity.groups(),
            proof: self.identity.method(),
            identity: Some(self.identity),
            source: self.source,
            node_name: self.node_name,
            node: self.node,
            called: self.called,
            os_user: self.os_user,
            reason: self.reason,
        }
    }
}
