//! What happens to the configuration: the gateway's own events, which are nobody's part of the log.

use super::fields::Fields;

/// `configuration.loaded`
#[derive(Clone, Copy, Debug)]
pub struct ConfigurationLoaded<'a> {
    /// What had it read: `start`, `change` of a file, `signal`, `iam`.
    pub cause: &'static str,
    /// The hash of the policies in force.
    pub policy_set: &'a str,
    /// The hash of who may log in, with their groups.
    pub people_set: &'a str,
    /// The hash of the policies before.
    pub before: Option<&'a str>,
    /// How many policies they are.
    pub policies: usize,
    /// How many people may log in.
    pub people: usize,
    /// Sections that have changed and take a restart.
    pub waiting: &'a [String],
    /// How many sessions were ended because of it.
    pub ended: usize,
}

/// `configuration.refused`
#[derive(Clone, Copy, Debug)]
pub struct ConfigurationRefused<'a> {
    /// What had it read: `change` of a file, `signal`.
    pub cause: &'static str,
    /// The hash of the policies that stay in force.
    pub policy_set: &'a str,
    /// What is wrong.
    pub reason: &'a str,
}

impl ConfigurationLoaded<'_> {
    pub(super) fn write(&self, to: &mut Fields) {
        to.text("cause", self.cause);
        to.text("policy_set", self.policy_set);
        to.text("people_set", self.people_set);
        to.maybe("before", self.before);
        to.value("policies", self.policies);
        to.value("people", self.people);
        to.names("waiting", self.waiting);
        to.value("ended", self.ended);
    }
}

impl ConfigurationRefused<'_> {
    pub(super) fn write(&self, to: &mut Fields) {
        to.text("cause", self.cause);
        to.text("policy_set", self.policy_set);
        to.text("reason", self.reason);
    }
}
