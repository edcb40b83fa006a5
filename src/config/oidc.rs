//! The types of `[oidc]`, and what can be said of its values.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::{Findings, Key, number, url};
use super::{Combination, Config};

/// An OpenID provider at which people sign in, by the device flow (RFC 8628): they read an address and a code, and sign in with a browser
/// anywhere. For whom that is enough, `[[proofs]]` says, and without a rule there nobody is asked to. A change takes a restart.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Oidc {
    /// The provider, exactly as it calls itself: `https://…`. Its `/.well-known/openid-configuration` says all else.
    pub issuer: String,
    /// What the provider calls this gateway.
    pub client_id: String,
    /// A file with the client's secret, where the provider has given one, for the gateway's user alone.
    #[serde(default)]
    pub client_secret_file: Option<PathBuf>,
    /// What the provider is asked for; `openid` has to be among it.
    #[serde(default = "scopes")]
    pub scopes: Vec<String>,
    /// The claim of the ID token that is the person's name here. Take one that nobody can choose at the provider: `sub`, or `email` of
    /// an organisation's own addresses, which counts only where `email_verified` is true.
    pub name_claim: String,
    /// The claim that has further groups of the person; without it they are in those of `people` alone.
    #[serde(default)]
    pub groups_claim: Option<String>,
    /// Claims that must say this, or have it among others: `{ hd = "example.com" }`, `{ acr = "…" }`.
    #[serde(default)]
    pub required_claims: BTreeMap<String, String>,
    /// Whoever can sign in there is somebody here, also where `people` has nobody of that name.
    #[serde(default)]
    pub unlisted_people: bool,
    /// Minutes within which the provider must have asked the person who they are; it is told so (`max_age`), and must say when it was
    /// (`auth_time`). Without this a session in the person's browser may be of any age.
    #[serde(default)]
    #[schemars(range(min = 1, max = 10_080))]
    pub max_age_minutes: Option<u32>,
    /// Sends a nonce along, which the ID token must say then. Not every provider does so in a device flow.
    #[serde(default)]
    pub nonce: bool,
    /// Minutes for which a sign-in counts, and what it opened goes on. Without this it is as long as the ID token counts (`exp`).
    #[serde(default)]
    #[schemars(range(min = 1, max = 10_080))]
    pub counts_minutes: Option<u32>,
    /// Minutes after which the provider is asked again whether it still stands to a sign-in, where it gave a refresh token (most want
    /// the scope `offline_access` for one). Where it refuses, what the sign-in opened ends.
    #[serde(default = "five")]
    #[schemars(range(min = 1, max = 1440))]
    pub recheck_minutes: u32,
    /// A PEM file with the only certificate authorities to trust for the provider, in place of the system's.
    #[serde(default)]
    pub ca_bundle: Option<PathBuf>,
    /// `http://host:port` of the proxy to the provider; without it, HTTPS_PROXY and NO_PROXY.
    #[serde(default)]
    pub proxy: Option<String>,
    /// People who sign in at once. Never more than half of `limits.unauthenticated`.
    #[serde(default = "thirty_two")]
    #[schemars(range(min = 1, max = 1000))]
    pub pending: u32,
    /// The same from one address.
    #[serde(default = "eight")]
    #[schemars(range(min = 1, max = 1000))]
    pub pending_per_address: u32,
    /// Sign-ins that may begin in a minute, since anybody can begin one. One address may begin a fifth of them.
    #[serde(default = "sixty")]
    #[schemars(range(min = 1, max = 10_000))]
    pub starts_a_minute: u32,
}

fn scopes() -> Vec<String> {
    vec!["openid".to_owned()]
}

fn five() -> u32 {
    5
}

fn eight() -> u32 {
    8
}

fn thirty_two() -> u32 {
    32
}

fn sixty() -> u32 {
    60
}

impl Combination {
    /// Whether it takes a sign-in.
    pub(super) fn signs_in(self) -> bool {
        match self {
            Self::Oidc | Self::KeyAndOidc | Self::CertificateAndOidc | Self::OidcAndTotp => true,
            Self::Key | Self::Certificate | Self::KeyAndTotp | Self::CertificateAndTotp => false,
            Self::Password | Self::PasswordAndTotp => false,
        }
    }

    /// Whether a sign-in comes first, so that nobody needs a key.
    pub(super) fn begins_with_sign_in(self) -> bool {
        matches!(self, Self::Oidc | Self::OidcAndTotp)
    }
}

impl Config {
    /// Whether somebody may log in without a key.
    pub(super) fn sign_in_may_come_first(&self) -> bool {
        let mut combinations = self.proofs.iter().flat_map(|rule| &rule.enough);
        self.oidc.is_some() && combinations.any(|combination| combination.begins_with_sign_in())
    }
}

/// What is wrong with it.
pub(super) fn check(config: &Config, findings: &mut Findings) {
    let Some(oidc) = &config.oidc else {
        for (index, rule) in config.proofs.iter().enumerate() {
            if let Some(number) = rule.enough.iter().position(|combination| combination.signs_in()) {
                let path = [Key::Name("proofs"), Key::Index(index), Key::Name("enough"), Key::Index(number)];
                findings.add(
                    &path,
                    "nobody can sign in: there is no [oidc]",
                    Some("write it, with issuer and client_id"),
                );
            }
        }
        return;
    };
    let here = |name| [Key::Name("oidc"), Key::Name(name)];
    if !is_issuer(&oidc.issuer) {
        let message = format!("`{}` is no URL that begins with https:// and has neither `?` nor `#`", oidc.issuer);
        findings.add(&here("issuer"), message, Some("http:// is taken of loopback alone"));
    }
    let texts = [("client_id", &oidc.client_id), ("name_claim", &oidc.name_claim)];
    for (name, text) in texts.into_iter().chain(oidc.groups_claim.iter().map(|claim| ("groups_claim", claim))) {
        if text.is_empty() || text.len() > 256 || text.contains(char::is_control) {
            findings.add(&here(name), format!("{name} is 1 to 256 characters"), None);
        }
    }
    for (number, scope) in oidc.scopes.iter().enumerate() {
        // RFC 6749, section 3.3
        let plain = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
        if scope.is_empty() || !scope.bytes().all(plain) {
            let path = [Key::Name("oidc"), Key::Name("scopes"), Key::Index(number)];
            findings.add(&path, format!("`{scope}` is no scope"), Some("one word a scope"));
        }
    }
    if !oidc.scopes.iter().any(|scope| scope == "openid") {
        findings.add(&here("scopes"), "without the scope `openid` the provider gives no ID token", Some("add it"));
    }
    if let Some(proxy) = &oidc.proxy {
        url(&here("proxy"), proxy, &["http"], findings);
    }
    let numbers = [
        ("max_age_minutes", oidc.max_age_minutes, 1..=10_080),
        ("counts_minutes", oidc.counts_minutes, 1..=10_080),
        ("recheck_minutes", Some(oidc.recheck_minutes), 1..=1440),
        ("pending", Some(oidc.pending), 1..=1000),
        ("pending_per_address", Some(oidc.pending_per_address), 1..=1000),
        ("starts_a_minute", Some(oidc.starts_a_minute), 1..=10_000),
    ];
    for (name, value, range) in numbers {
        if let Some(value) = value {
            number("oidc", name, u64::from(value), &range, findings);
        }
    }
}

/// OpenID Connect Discovery 1.0, section 4: `https`, without a query and a fragment. Plain on this machine, for tests.
fn is_issuer(url: &str) -> bool {
    let Ok(uri) = url.parse::<http::Uri>() else { return false };
    let host = uri.host().unwrap_or_default();
    let local = ["localhost", "127.0.0.1", "[::1]"].contains(&host);
    let secure = uri.scheme_str() == Some("https") || (uri.scheme_str() == Some("http") && local);
    secure && !host.is_empty() && !url.contains(['?', '#', '@'])
}

/// What is probably not meant.
pub(super) fn warnings(config: &Config, findings: &mut Findings) {
    let Some(oidc) = &config.oidc else { return };
    if !config.proofs.iter().flat_map(|rule| &rule.enough).any(|combination| combination.signs_in()) {
        let help = "say for whom a sign-in is enough: [[proofs]] with enough = [\"oidc\"]";
        findings.add(&[Key::Name("oidc")], "nobody signs in: no [[proofs]] name `oidc`", Some(help));
    }
    let changeable = ["preferred_username", "name", "nickname", "given_name"];
    if changeable.contains(&oidc.name_claim.as_str()) {
        let message = format!("`{}` is a claim that people can often change at the provider", oidc.name_claim);
        let help = "whoever changes it to another's name is that person here; `sub` and verified addresses are safer";
        findings.add(&[Key::Name("oidc"), Key::Name("name_claim")], message, Some(help));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "issuer = \"https://id.example.com\"\nclient_id = \"gate\"\nname_claim = \"email\"\n";

    fn found(oidc: &str, proofs: &str) -> Vec<String> {
        let config: Config = toml::from_str(&format!("[oidc]\n{oidc}\n{proofs}")).unwrap();
        let (mut wrong, mut odd) = (Findings::default(), Findings::default());
        check(&config, &mut wrong);
        warnings(&config, &mut odd);
        wrong.0.into_iter().chain(odd.0).map(|finding| finding.message).collect()
    }

    const ENOUGH: &str = "[[proofs]]\npeople = [\"*\"]\nenough = [\"oidc\"]";

    #[test]
    fn what_is_wrong_with_a_provider_is_said() {
        assert_eq!(found(LEAST, ENOUGH), Vec::<String>::new());
        for (line, said) in [
            ("scopes = [\"email\"]", "without the scope `openid`"),
            ("scopes = [\"openid email\"]", "`openid email` is no scope"),
            ("recheck_minutes = 0", "recheck_minutes = 0 is outside"),
            ("max_age_minutes = 0", "max_age_minutes = 0 is outside"),
            ("groups_claim = \"\"", "groups_claim is 1 to 256"),
            ("proxy = \"socks5://p\"", "`socks5://p` is no URL"),
        ] {
            let found = found(&format!("{LEAST}{line}"), ENOUGH);
            assert!(found[0].starts_with(said), "{found:?}");
        }
        for issuer in ["http://id.example.com", "id.example.com", "https://id.example.com?x", "https://a@b", "ftp://x"]
        {
            let text = LEAST.replace("https://id.example.com", issuer);
            assert!(found(&text, ENOUGH)[0].contains("is no URL that begins with https://"), "{issuer}");
        }
        assert!(found(&LEAST.replace("https://id.example.com", "http://127.0.0.1:3000/x"), ENOUGH).is_empty());
        assert!(found(LEAST, "")[0].starts_with("nobody signs in"));
        assert!(found(&LEAST.replace("email", "preferred_username"), ENOUGH)[0].contains("people can often change"));
        let none: Config = toml::from_str(ENOUGH).unwrap();
        let mut findings = Findings::default();
        check(&none, &mut findings);
        assert!(findings.0[0].message.contains("there is no [oidc]"));
    }

    #[test]
    fn the_sample_names_every_key() {
        let text = include_str!("../../config/gateway.toml");
        let config: Config = toml::from_str(&format!("[oidc]\n{LEAST}")).unwrap();
        let keys = serde_json::to_value(config.oidc).unwrap();
        for key in keys.as_object().unwrap().keys() {
            let named = text.lines().any(|line| line.trim_start_matches(['#', ' ']).starts_with(&format!("{key} =")));
            assert!(named, "config/gateway.toml does not explain oidc.{key}");
        }
    }
}
