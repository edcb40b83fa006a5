//! A caller whose signature was verified, and what it may do.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::USER_AGENT;
use http::request::Parts;
use time::OffsetDateTime;

use super::reply::ApiError;
use crate::emulator::config::SpeaksFor;
use crate::emulator::iam::{Facts, Principal, Question};

/// Where a request came from, kept with each request of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) address: IpAddr,
    /// Over TLS.
    pub(crate) secure: bool,
}

/// A caller whose signature was verified. Only the key store makes one.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(super) principal: Arc<Principal>,
    pub(super) speaks_for: SpeaksFor,
    pub(super) access_key_id: String,
    /// What every policy that is asked knows of this request.
    pub(super) facts: Facts,
}

impl Caller {
    /// What is known of any request of that principal.
    pub(super) fn facts_of(principal: &Principal, region: &str, parts: &Parts) -> Facts {
        facts_of_request(principal.facts(OffsetDateTime::now_utc()), region, parts)
    }

    pub(crate) fn principal(&self) -> &Principal {
        &self.principal
    }

    pub(crate) fn arn(&self) -> &str {
        &self.principal.arn
    }

    pub(crate) fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    pub(crate) fn facts(&self) -> Facts {
        self.facts.clone()
    }

    /// The OS user that the principal's tag names.
    pub(crate) fn run_as(&self) -> Option<&str> {
        self.principal.tags.get("SSMSessionRunAs").map(String::as_str)
    }

    /// Whether the caller may do an action on a resource of which nothing more is known.
    pub(crate) fn may(&self, action: &str, resource: &str) -> Result<(), ApiError> {
        self.may_knowing(action, resource, &self.facts)
    }

    /// The same of something that refusals call otherwise than policies do.
    pub(crate) fn may_called(&self, action: &str, resource: &str, called: &str) -> Result<(), ApiError> {
        let question = Question { action, resource, facts: &self.facts };
        self.principal.may(&question).map_err(|denial| self.denied(action, called, &denial.because(action)))
    }

    /// The same with what is known of the resource and the request, beside the facts of the caller.
    pub(crate) fn may_knowing(&self, action: &str, resource: &str, facts: &Facts) -> Result<(), ApiError> {
        let question = Question { action, resource, facts };
        self.principal.may(&question).map_err(|denial| self.denied(action, resource, &denial.because(action)))
    }

    /// The same of something that has two names: either may be allowed, and neither denied.
    pub(crate) fn may_under_either(&self, action: &str, names: [&str; 2], facts: &Facts) -> Result<(), ApiError> {
        let said = names.map(|resource| {
            let denial = self.principal.may(&Question { action, resource, facts }).err();
            denial.map(|denial| (denial, self.denied(action, resource, &denial.because(action))))
        });
        let explicit = said.iter().flatten().find(|(denial, _)| denial.is_explicit());
        match explicit {
            Some((_, refusal)) => Err(refusal.clone()),
            None => said.into_iter().min_by_key(Option::is_some).flatten().map_or(Ok(()), |(_, refusal)| Err(refusal)),
        }
    }

    /// Whether the key is an agent's.
    pub(crate) fn is_agent(&self) -> bool {
        self.speaks_for != SpeaksFor::Nobody
    }

    /// Whether the caller may do an agent's action for that node.
    pub(crate) fn may_as_agent(&self, action: &str, node: &str) -> Result<(), ApiError> {
        let its_own = match &self.speaks_for {
            SpeaksFor::Nobody => false,
            SpeaksFor::AnyNode => true,
            SpeaksFor::Node(own) => own == node,
        };
        if !its_own {
            let why = format!("because no identity-based policy allows the {action} action");
            return Err(self.denied(action, node, &why));
        }
        self.may(action, "*")
    }

    fn denied(&self, action: &str, resource: &str, why: &str) -> ApiError {
        let arn = self.arn();
        let text = format!("User: {arn} is not authorized to perform: {action} on resource: {resource} {why}");
        ApiError::new("AccessDeniedException", text)
    }
}

/// With what is known of a request, whoever makes it.
pub(crate) fn facts_of_request(facts: Facts, region: &str, parts: &Parts) -> Facts {
    let facts = facts.with("aws:RequestedRegion", region);
    let facts = match parts.extensions.get::<Arrival>() {
        Some(arrival) => facts
            .with("aws:SourceIp", arrival.address.to_string())
            .with("aws:SecureTransport", arrival.secure.to_string()),
        None => facts,
    };
    match parts.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()) {
        Some(agent) => facts.with("aws:UserAgent", agent),
        None => facts,
    }
}
