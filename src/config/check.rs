//! What the types can't say: ranges, names that must exist, keys that must be strong enough.

use std::collections::BTreeSet;

use super::Config;

/// One step towards a value in the file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Key {
    Name(&'static str),
    Index(usize),
}

/// Something wrong with a value.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) path: Vec<Key>,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// The actions that a rule may name.
const ACTIONS: [&str; 4] = ["Shell", "Exec", "Files", "*"];

/// The key types that a person may have.
const KEY_TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// Everything wrong with a configuration that parsed.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    people(config, &mut findings);
    rules(config, &mut findings);
    numbers(config, &mut findings);
    realm(config, &mut findings);
    if config.gateway.listen.is_empty() {
        findings.add(&[Key::Name("gateway"), Key::Name("listen")], "an address to listen on is needed", None);
    }
    if config.gateway.host_keys.is_empty() {
        let help = "make one with: ssh-keygen -t ed25519 -N '' -f /etc/portcullis/ssh_host_ed25519_key";
        findings.add(&[Key::Name("gateway"), Key::Name("host_keys")], "a host key is needed", Some(help));
    }
    findings.0
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, path: &[Key], message: impl Into<String>, help: Option<&str>) {
        self.0.push(Finding { path: path.to_vec(), message: message.into(), help: help.map(str::to_owned) });
    }
}

fn people(config: &Config, findings: &mut Findings) {
    let mut names = BTreeSet::new();
    let mut keys = BTreeSet::new();
    for (index, person) in config.people.iter().enumerate() {
        let here = [Key::Name("people"), Key::Index(index)];
        let name_at = [here[0], here[1], Key::Name("name")];
        if person.name.is_empty() || person.name == "*" || person.name.chars().any(char::is_control) {
            findings.add(&name_at, "a person needs a name", None);
        } else if !names.insert(&person.name) {
            findings.add(&name_at, format!("`{}` is here twice", person.name), Some("list all keys under one name"));
        }
        for (number, key) in person.keys.iter().enumerate() {
            let key_at = [here[0], here[1], Key::Name("keys"), Key::Index(number)];
            let mut fields = key.split_whitespace();
            let kind = fields.next().unwrap_or_default();
            let blob = fields.next().unwrap_or_default();
            if !KEY_TYPES.contains(&kind) {
                let help = "a public key as in authorized_keys, without options: ssh-ed25519, ecdsa-sha2-nistp256/384/521 \
                            or ssh-rsa of 2048 bits and more";
                findings.add(&key_at, format!("`{kind}` is no key type that may log in"), Some(help));
            } else if let Err(problem) = key_blob(kind, blob) {
                findings.add(&key_at, problem, Some("copy the whole line of the .pub file"));
            } else if !keys.insert(blob) {
                findings.add(&key_at, "this key is here twice", Some("a key proves who somebody is: one person a key"));
            }
        }
    }
}

/// A blob must be base64, name the same type as the line does and, for RSA, be long enough.
fn key_blob(kind: &str, blob: &str) -> Result<(), &'static str> {
    use base64::Engine as _;
    const BROKEN: &str = "this public key is damaged";
    let bytes = base64::engine::general_purpose::STANDARD.decode(blob).map_err(|_| BROKEN)?;
    let (name, rest) = ssh_string(&bytes).ok_or(BROKEN)?;
    if name != kind.as_bytes() {
        return Err(BROKEN);
    }
    if kind == "ssh-rsa" {
        let (_exponent, rest) = ssh_string(rest).ok_or(BROKEN)?;
        let (modulus, _) = ssh_string(rest).ok_or(BROKEN)?;
        let bits = modulus.len().saturating_sub(usize::from(modulus.first() == Some(&0))) * 8;
        if !(2048..=8192).contains(&bits) {
            return Err("an RSA key needs 2048 to 8192 bits");
        }
    }
    Ok(())
}

fn ssh_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}

fn rules(config: &Config, findings: &mut Findings) {
    let mut names = BTreeSet::new();
    for (index, rule) in config.rules.iter().enumerate() {
        let at = |key| [Key::Name("rules"), Key::Index(index), Key::Name(key)];
        if rule.name.is_empty() || rule.name == "default" {
            findings.add(&at("name"), "a rule needs a name of its own (`default` is the refusal's)", None);
        } else if !names.insert(&rule.name) {
            findings.add(&at("name"), format!("two rules are called `{}`", rule.name), None);
        }
        for (number, person) in rule.people.iter().enumerate() {
            if person != "*" && !config.people.iter().any(|known| known.name == *person) {
                let path = [Key::Name("rules"), Key::Index(index), Key::Name("people"), Key::Index(number)];
                findings.add(&path, format!("nobody is called `{person}`"), Some("add them under [[people]]"));
            }
        }
        for (number, action) in rule.actions.iter().enumerate() {
            if !ACTIONS.contains(&action.as_str()) {
                let path = [Key::Name("rules"), Key::Index(index), Key::Name("actions"), Key::Index(number)];
                findings.add(&path, format!("`{action}` is no action"), Some("the actions are Shell, Exec and Files"));
            }
        }
        for (key, list) in [("people", &rule.people), ("nodes", &rule.nodes), ("actions", &rule.actions)] {
            if list.is_empty() {
                findings.add(&at(key), format!("this rule allows nothing: `{key}` is empty"), None);
            }
        }
    }
}

fn numbers(config: &Config, findings: &mut Findings) {
    let limits = &config.limits;
    let lanes = &config.lanes;
    let of = |value: u32| u64::from(value);
    let table: [(&str, &str, u64, std::ops::RangeInclusive<u64>); 14] = [
        ("limits", "login_seconds", of(limits.login_seconds), 1..=600),
        ("limits", "auth_attempts", of(limits.auth_attempts), 1..=100),
        ("limits", "connections", of(limits.connections), 1..=1_000_000),
        ("limits", "connections_per_address", of(limits.connections_per_address), 1..=1_000_000),
        ("limits", "unauthenticated", of(limits.unauthenticated), 1..=1_000_000),
        ("limits", "channels", of(limits.channels), 1..=1024),
        ("limits", "keepalive_seconds", of(limits.keepalive_seconds), 0..=3600),
        ("limits", "keepalive_unanswered", of(limits.keepalive_unanswered), 1..=100),
        ("limits", "rekey_bytes", limits.rekey_bytes, 1 << 20..=1 << 30),
        ("limits", "rekey_seconds", of(limits.rekey_seconds), 60..=86_400),
        ("lanes", "frame_bytes", of(lanes.frame_bytes), 256..=65_536),
        ("lanes", "channels_per_node", of(lanes.channels_per_node), 1..=10_000),
        ("evidence", "max_bytes", config.evidence.max_bytes, 1 << 20..=u64::MAX),
        ("lanes", "idle_minutes", of(lanes.idle_minutes), 0..=1440),
    ];
    for (section, key, value, range) in table {
        if !range.contains(&value) {
            let message = format!("{key} = {value} is outside {}..={}", range.start(), range.end());
            findings.add(&[Key::Name(section), Key::Name(key)], message, None);
        }
    }
}

fn realm(config: &Config, findings: &mut Findings) {
    let endpoints = &config.realm.endpoints;
    let urls = [
        (&["realm", "endpoints", "ssm"][..], &endpoints.ssm, &["https", "http"][..]),
        (&["realm", "endpoints", "ssmmessages"][..], &endpoints.ssmmessages, &["wss", "ws"][..]),
        (&["realm", "proxy"][..], &config.realm.proxy, &["http"][..]),
    ];
    for (path, url, schemes) in urls {
        let path: Vec<Key> = path.iter().map(|name| Key::Name(name)).collect();
        let Some(url) = url else { continue };
        let fine = url
            .parse::<http::Uri>()
            .is_ok_and(|uri| uri.host().is_some() && uri.scheme_str().is_some_and(|scheme| schemes.contains(&scheme)));
        if !fine {
            findings.add(&path, format!("`{url}` is no URL that begins with {}://", schemes.join(":// or ")), None);
        }
    }
}
