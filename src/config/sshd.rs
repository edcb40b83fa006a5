//! `[sshd]`: nodes that are reached by their own sshd.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::{Findings, Key, realm_at};
use super::{Config, Rung};

/// How nodes' own sshds are reached, over Session Manager's port session for SSH: for nodes on which no helper of the gateway's runs.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sshd {
    /// What the gateway logs in with there. Without it no node is reached so. `user-ca` is a certificate for a minute or two by the
    /// gateway's user CA, which nodes trust by `TrustedUserCAKeys`; `portcullis user-ca` prints the line.
    pub credential: Option<SshdCredential>,
    /// The user of the node where a login names none: an sshd knows no session without one. Without it such logins are refused there.
    pub user: Option<String>,
    /// The port that it listens on, on the node.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: u16,
    /// The user CA's private key; `user-ca-key` beside the evidence directory where it is not said. It is made where there is none, with its
    /// public half in `<user_ca>.pub`; gateways of a fleet have the same.
    pub user_ca: Option<PathBuf>,
    /// Files of `known_hosts` lines by which nodes are known: by id, `<id>.<realm>` or Name tag. `@cert-authority` lines are for a host CA
    /// of theirs. They are read for each connection, and while one can't be, there is none.
    pub known_hosts: Vec<PathBuf>,
    /// What becomes of a node of which no line is known: it is known from then on by what it showed (`remember`), or refused (`refuse`).
    pub unknown_host_keys: UnknownHostKeys,
    /// Where it is noted what nodes showed first; `node-host-keys` beside the evidence directory where it is not said.
    pub host_keys: Option<PathBuf>,
}

/// What the gateway logs in with on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SshdCredential {
    /// A certificate by the gateway's user CA.
    UserCa,
}

/// What becomes of a node of which nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnknownHostKeys {
    /// It is known from then on by what it showed.
    #[default]
    Remember,
    /// Nothing is sent there.
    Refuse,
}

impl Default for Sshd {
    fn default() -> Self {
        Self {
            credential: None,
            user: None,
            port: 22,
            user_ca: None,
            known_hosts: Vec::new(),
            unknown_host_keys: UnknownHostKeys::default(),
            host_keys: None,
        }
    }
}

impl Config {
    /// Where the user CA's key is.
    pub fn user_ca_path(&self) -> PathBuf {
        self.sshd.user_ca.clone().unwrap_or_else(|| self.evidence.directory.with_file_name("user-ca-key"))
    }

    /// Where nodes' own sshds listen, that at which they are reached among them: a way there is a tunnel.
    pub fn all_sshd_ports(&self) -> Vec<u16> {
        let reached = self.sshd.credential.is_some().then_some(self.sshd.port);
        let others = self.lanes.sshd_ports.iter().copied().filter(|port| Some(*port) != reached);
        reached.into_iter().chain(others).collect()
    }

    /// Where it is noted what nodes' sshds showed first; nothing is taken on trust without it.
    pub fn node_host_keys_path(&self) -> Option<PathBuf> {
        let beside = || self.evidence.directory.with_file_name("node-host-keys");
        let remembers = self.sshd.unknown_host_keys == UnknownHostKeys::Remember;
        remembers.then(|| self.sshd.host_keys.clone().unwrap_or_else(beside))
    }
}

/// A rung that needs a credential has one, and a user is one.
pub(super) fn check(config: &Config, findings: &mut Findings) {
    let sshd = &config.sshd;
    let at = |key| [Key::Name("sshd"), Key::Name(key)];
    if sshd.port == 0 {
        findings.add(&at("port"), "port = 0 is outside 1..=65535", None);
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let fine = |user: &String| (1..=32).contains(&user.len()) && user.chars().all(plain) && !user.starts_with('-');
    if !sshd.user.as_ref().is_none_or(fine) {
        let help = "such as \"ec2-user\"";
        findings.add(&at("user"), "a user of a node is 1 to 32 letters, digits, `.`, `-` and `_`", Some(help));
    }
    if sshd.credential.is_some() {
        return;
    }
    let help = "write credential = \"user-ca\" below [sshd]";
    let message = "nodes are to be reached by their own sshd, and there is nothing to log in with there";
    if config.lanes.rung == Some(Rung::Sshd) {
        findings.add(&[Key::Name("lanes"), Key::Name("rung")], message, Some(help));
    }
    for (index, _) in config.realms.iter().enumerate().filter(|(_, realm)| realm.via == Some(Rung::Sshd)) {
        findings.add(&realm_at(index, &["via"]), message, Some(help));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_gateway_reaches_an_sshd_nobody_is_forwarded() {
        let mut config = Config::default();
        config.lanes.sshd_ports = vec![22, 2222];
        config.sshd.port = 2200;
        assert_eq!(config.all_sshd_ports(), [22, 2222]);
        config.sshd.credential = Some(SshdCredential::UserCa);
        assert_eq!(config.all_sshd_ports(), [2200, 22, 2222]);
        config.sshd.port = 22;
        assert_eq!(config.all_sshd_ports(), [22, 2222]);
    }
}
