//! How clients reach the gateway, and what is spoken with which of them: types of `[gateway]`, and what can be said of their values.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::{Checks, Findings, Key};
use super::{Config, Gateway};

/// Which algorithms are spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithms {
    /// ML-KEM with X25519, and X25519; ChaCha20-Poly1305, AES-GCM and AES-CTR, authenticated as encrypted.
    #[default]
    Modern,
    /// Besides, NIST's curves, also in the host key, group 14 and MACs before the encryption, for older clients: JSch, libssh2
    /// before 1.11 (and curl, PHP and the like with it).
    Compatible,
    /// Besides, SHA-1 in the key exchange, in signatures and MACs, group exchange and AES-CBC, for clients of before 2014; and
    /// without ChaCha20-Poly1305, which those of before 2024 choose and can't have in safety (Terrapin).
    Legacy,
}

impl Algorithms {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Modern, Self::Compatible, Self::Legacy];

    /// As the configuration and evidence have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Modern => "modern",
            Self::Compatible => "compatible",
            Self::Legacy => "legacy",
        }
    }
}

/// Other algorithms for some clients.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlgorithmsFor {
    /// Which.
    pub algorithms: Algorithms,
    /// The addresses and networks that these clients come from, such as `192.0.2.0/24`; without it, any.
    #[serde(default)]
    pub from: Vec<String>,
    /// The addresses of `listen` that they come to; without it, any.
    #[serde(default)]
    pub listen: Vec<SocketAddr>,
}

/// Balancers in front of the gateway, which say by version 2 of the PROXY protocol who has connected to them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyProtocol {
    /// Their addresses and networks. From there every connection must begin with such a header, and from nowhere else may one. Whoever
    /// is listed can say of anybody that they come from anywhere.
    pub from: Vec<String>,
}

/// What is wrong with these.
pub(super) fn check(config: &Config, checks: &Checks, findings: &mut Findings) {
    let Gateway { listen, algorithms_for, proxy_protocol, .. } = &config.gateway;
    let balancers = [Key::Name("gateway"), Key::Name("proxy_protocol")];
    networks(&balancers, &proxy_protocol.from, checks, findings);
    for (number, network) in proxy_protocol.from.iter().enumerate() {
        // the checks have said what is no network; these are two
        if network.trim_end().ends_with("/0") {
            let at = [&balancers[..], &[Key::Name("from"), Key::Index(number)]].concat();
            let help = "name the balancers' own addresses or networks";
            findings.add(&at, "everybody could say that they come from anywhere", Some(help));
        }
    }
    for (index, some) in algorithms_for.iter().enumerate() {
        let here = [Key::Name("gateway"), Key::Name("algorithms_for"), Key::Index(index)];
        if some.from.is_empty() && some.listen.is_empty() {
            let help = "name networks, as in from = [\"192.0.2.0/24\"], or addresses of listen; algorithms of [gateway] is for everybody";
            findings.add(&here, "these algorithms are nobody's", Some(help));
        }
        networks(&here, &some.from, checks, findings);
        for (number, address) in some.listen.iter().enumerate() {
            if !listen.contains(address) {
                let at = [&here[..], &[Key::Name("listen"), Key::Index(number)]].concat();
                let help = "write it as it stands in listen of [gateway], or add it there";
                findings.add(&at, format!("the gateway does not listen on {address}"), Some(help));
            }
        }
    }
}

/// A list of networks, in `from` of what is here.
pub(super) fn networks(here: &[Key], from: &[String], checks: &Checks, findings: &mut Findings) {
    for (number, network) in from.iter().enumerate() {
        if let Err(fault) = (checks.network)(network) {
            findings.fault(&[here, &[Key::Name("from"), Key::Index(number)]].concat(), fault);
        }
    }
}

/// What is odd about them.
pub(super) fn warnings(config: &Config, found: &mut Findings) {
    let gateway = &config.gateway;
    let at = |name| [Key::Name("gateway"), Key::Name(name)];
    let legacy = Algorithms::Legacy;
    if gateway.algorithms == legacy {
        let help = "name the networks of the clients that need it in [[gateway.algorithms_for]], and leave it out here";
        let message =
            "everybody may speak SHA-1 and CBC with this gateway, and whoever is between them may choose that";
        found.add(&at("algorithms"), message, Some(help));
    }
    let is_spoken = gateway.algorithms == legacy || gateway.algorithms_for.iter().any(|some| some.algorithms == legacy);
    if !gateway.legacy_host_keys.is_empty() && !is_spoken {
        let help = "write algorithms = \"legacy\" into [[gateway.algorithms_for]] for whom they are, or leave them out";
        found.add(&at("legacy_host_keys"), "these keys are shown to nobody: legacy is nobody's", Some(help));
    }
}
