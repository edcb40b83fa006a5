//! Who asks, and about which node: what a decision is made from besides the action.

use std::net::IpAddr;
use std::sync::Arc;

use super::decision::Request;
use crate::identity::CertificateFacts;
use crate::identity::Identity;
use crate::identity::SignInFacts;
use crate::model::{NodeFacts, NodeName, ReasonText};

/// Somebody who asks: proved in a [`Request`], or only thought of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking<'a> {
    pub(super) person: &'a str,
    pub(super) groups: &'a [String],
    pub(super) proof: ProofOf<'a>,
    /// The kind of second factor, where there was one.
    pub(super) second_factor: Option<&'static str>,
    pub(super) source: IpAddr,
    pub(super) node_name: &'a NodeName,
    pub(super) node: &'a Arc<NodeFacts>,
    pub(super) os_user: Option<&'a str>,
    pub(super) reason: Option<&'a ReasonText>,
}

/// What says who they are, as policies may look at it.
#[derive(Clone, Copy, Debug)]
pub(super) enum ProofOf<'a> {
    /// Somebody has proved it.
    Identity(&'a Identity),
    /// Nobody has: it is only thought of.
    Supposed(&'a SupposedProof),
}

/// A proof that nobody has given, for a question that nobody asks. It proves nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SupposedProof {
    /// The fingerprint of the key, `SHA256:…`.
    pub key: Option<String>,
    /// It is a security key that knew who touched it.
    pub user_verified: bool,
    /// The certificate, where it would be one.
    pub certificate: Option<CertificateFacts>,
    /// The sign-in at a provider, where there would be one.
    pub sign_in: Option<SignInFacts>,
}

impl SupposedProof {
    /// Which second factor it would be, where there would be one.
    pub(super) fn second_factor(&self) -> &'static str {
        if self.sign_in.is_some() && self.key.is_some() { "oidc" } else { "totp" }
    }
}

impl<'a> ProofOf<'a> {
    /// The kind of proof.
    pub(super) fn method(self) -> &'a str {
        match self {
            Self::Identity(identity) => identity.method(),
            Self::Supposed(SupposedProof { certificate: Some(_), .. }) => "certificate",
            Self::Supposed(SupposedProof { sign_in: Some(_), key: None, .. }) => "oidc",
            Self::Supposed(_) => "publickey",
        }
    }

    pub(super) fn key(self) -> Option<String> {
        match self {
            Self::Identity(identity) => identity.key().map(ToString::to_string),
            Self::Supposed(proof) => proof.key.clone(),
        }
    }

    pub(super) fn user_verified(self) -> bool {
        match self {
            Self::Identity(identity) => identity.user_verified(),
            Self::Supposed(proof) => proof.user_verified,
        }
    }

    pub(super) fn certificate(self) -> Option<&'a CertificateFacts> {
        match self {
            Self::Identity(identity) => identity.certificate(),
            Self::Supposed(proof) => proof.certificate.as_ref(),
        }
    }

    pub(super) fn sign_in(self) -> Option<&'a SignInFacts> {
        match self {
            Self::Identity(identity) => identity.sign_in(),
            Self::Supposed(proof) => proof.sign_in.as_ref(),
        }
    }
}

/// What somebody gives who asks, and that what permits may want.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given<'a> {
    /// Where to, for the sentence that says what is missing.
    pub(super) node_name: &'a NodeName,
    pub(super) reason: Option<&'a ReasonText>,
    pub(super) second_factor: bool,
}

impl<'a> Asking<'a> {
    pub(super) fn given(&self) -> Given<'a> {
        Given { node_name: self.node_name, reason: self.reason, second_factor: self.second_factor.is_some() }
    }
}

impl<'a> Request<'a> {
    pub(super) fn asking(&self) -> Asking<'a> {
        Asking {
            person: self.identity.person(),
            groups: self.identity.groups(),
            proof: ProofOf::Identity(self.identity),
            second_factor: self.identity.second_factor().map(|facts| facts.kind),
            source: self.source,
            node_name: self.node_name,
            node: self.node,
            os_user: self.os_user,
            reason: self.reason,
        }
    }
}
