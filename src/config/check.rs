//! What the types can't say: ranges, names that must exist, keys that must be strong enough.

use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};

use super::policy_files::PolicyFile;
use super::proof_files::ProofFiles;
use super::{Config, Password, Realm, RecordingWish, RoleOfPeople};

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

/// What only the parts that take the values can say of them. The configuration is below those parts, so whoever puts
/// the product together gives their answers.
#[derive(Clone, Copy, Debug)]
pub struct Checks {
    /// Whether somebody may be called so.
    pub person: fn(&str) -> Result<(), Fault>,
    /// A line of `authorized_keys`; two lines of one value are one key.
    pub key: fn(&str) -> Result<Vec<u8>, Fault>,
    /// A line of a `.pub` file, of an authority of certificates.
    pub authority: fn(&str) -> Result<Vec<u8>, Fault>,
    /// Whether a text is a role's ARN.
    pub role: fn(&str) -> Result<(), Fault>,
    /// Whether a realm may be called so.
    pub realm: fn(&str) -> Result<(), Fault>,
    /// Whether a text is an address, or a network of some.
    pub network: fn(&str) -> Result<(), Fault>,
    /// Whether a password can be used: its hash, and where it counts from.
    pub password: fn(&Password) -> Result<(), Fault>,
    /// Whether a variable, or all that begin so, is kept from nodes whatever the configuration says.
    pub never_passes: fn(&str) -> bool,
    /// What there is to say about the policies, for the people of this configuration.
    pub policies: fn(&[PolicyFile], &Config) -> PolicyFindings,
    /// The people who can't log in whatever they prove, by their places in the list.
    pub never_enough: fn(&Config, &ProofFiles) -> Vec<usize>,
    /// The lines of files that prove nothing.
    pub proofs: fn(&Config, &ProofFiles) -> Vec<ProofFault>,
}

/// What is wrong with a line of a file of keys, where the others hold; or with a list of what is revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofFault {
    /// Which of the files.
    pub file: ProofPlace,
    /// Which line, from 1, where it is about one.
    pub line: Option<usize>,
    /// What.
    pub fault: Fault,
}

/// A file, by its place in its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofPlace {
    /// Of keys.
    Keys(usize),
    /// Of what is revoked.
    Revoked(usize),
    /// Of secrets.
    Secrets,
}

/// What there is to say about policies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyFindings {
    /// What is wrong, or odd, with them.
    pub faults: Vec<PolicyFault>,
    /// The people whom none lets do anything, by their places in the list.
    pub unheeded: Vec<usize>,
}

/// What is wrong with a file of policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFault {
    /// Which of them, by its place in the list.
    pub file: usize,
    /// Where in its text.
    pub span: Option<Range<usize>>,
    /// What.
    pub fault: Fault,
    /// It can be used all the same.
    pub is_warning: bool,
}

/// What is wrong with one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// A sentence.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// What stands for every variable.
pub(super) const ANY: &str = "*";

/// Everything wrong with a configuration that parsed.
pub(super) fn check(config: &Config, checks: &Checks) -> Vec<Finding> {
    let mut findings = Findings::default();
    people(config, checks, &mut findings);
    authorities(config, checks, &mut findings);
    variables(config, &mut findings);
    numbers(config, &mut findings);
    evidence_key(config, &mut findings);
    recording(config, &mut findings);
    realms(config, checks, &mut findings);
    proofs(config, &mut findings);
    super::clients::check(config, checks, &mut findings);
    super::oidc::check(config, &mut findings);
    super::iam_keys::check(config, &mut findings);
    super::sinks::check(config, &mut findings);
    if config.lanes.sshd_ports.is_empty() || config.lanes.sshd_ports.contains(&0) {
        let help = "write sshd_ports = [22], or the ports that sshd_config says there; a way to one is a tunnel and no forward";
        findings.add(
            &[Key::Name("lanes"), Key::Name("sshd_ports")],
            "ports of nodes' sshds are needed, from 1",
            Some(help),
        );
    }
    super::sshd::check(config, &mut findings);
    if config.gateway.listen.is_empty() {
        findings.add(&[Key::Name("gateway"), Key::Name("listen")], "an address to listen on is needed", None);
    }
    if config.gateway.host_keys.is_empty() {
        let help = "make one with: ssh-keygen -t ed25519 -N '' -f /etc/portcullis/ssh_host_ed25519_key";
        findings.add(&[Key::Name("gateway"), Key::Name("host_keys")], "a host key is needed", Some(help));
    }
    findings.0
}

#[derive(Debug, Default)]
pub(super) struct Findings(pub(super) Vec<Finding>);

impl Findings {
    pub(super) fn add(&mut self, path: &[Key], message: impl Into<String>, help: Option<&str>) {
        self.0.push(Finding { path: path.to_vec(), message: message.into(), help: help.map(str::to_owned) });
    }

    pub(super) fn fault(&mut self, path: &[Key], fault: Fault) {
        self.0.push(Finding { path: path.to_vec(), message: fault.message, help: fault.help });
    }
}

fn people(config: &Config, checks: &Checks, findings: &mut Findings) {
    let mut names = BTreeSet::new();
    let mut keys = BTreeSet::new();
    for (index, person) in config.people.iter().enumerate() {
        let here = [Key::Name("people"), Key::Index(index)];
        let name_at = [here[0], here[1], Key::Name("name")];
        if let Err(fault) = (checks.person)(&person.name) {
            findings.fault(&name_at, fault);
        } else if !names.insert(&person.name) {
            findings.add(&name_at, format!("`{}` is here twice", person.name), Some("list all keys under one name"));
        }
        for (number, group) in person.groups.iter().enumerate() {
            if group.is_empty() || group.contains(char::is_control) {
                let path = [here[0], here[1], Key::Name("groups"), Key::Index(number)];
                findings.add(&path, "a group needs a name", Some("such as \"developers\""));
            }
        }
        if let Some(password) = &person.password
            && let Err(Fault { message, help }) = (checks.password)(password)
        {
            // without its place: what is drawn there is the file's text, where the password itself may stand by mistake
            findings.add(&[], format!("the password of `{}`: {message}", person.name), help.as_deref());
        }
        for (number, key) in person.keys.iter().enumerate() {
            let key_at = [here[0], here[1], Key::Name("keys"), Key::Index(number)];
            match (checks.key)(key) {
                Err(fault) => findings.fault(&key_at, fault),
                Ok(wire) => {
                    if !keys.insert(wire) {
                        let help = "a key proves who somebody is: one person a key";
                        findings.add(&key_at, "this key is here twice", Some(help));
                    }
                }
            }
        }
    }
}

fn authorities(config: &Config, checks: &Checks, findings: &mut Findings) {
    let (mut names, mut keys) = (BTreeSet::new(), BTreeSet::new());
    for (index, authority) in config.certificate_authorities.iter().enumerate() {
        let here = |name| [Key::Name("certificate_authorities"), Key::Index(index), Key::Name(name)];
        if authority.name.is_empty() || authority.name.contains(char::is_control) {
            findings.add(&here("name"), "an authority needs a name", Some("such as \"people-ca\""));
        } else if !names.insert(&authority.name) {
            findings.add(
                &here("name"),
                format!("`{}` is here twice", authority.name),
                Some("list all keys under one name"),
            );
        }
        for (number, key) in authority.keys.iter().enumerate() {
            let key_at = [&here("keys")[..], &[Key::Index(number)]].concat();
            match (checks.authority)(key) {
                Err(fault) => findings.fault(&key_at, fault),
                Ok(wire) => {
                    if !keys.insert(wire) {
                        findings.add(&key_at, "this key is here twice", Some("a key is that of one authority"));
                    }
                }
            }
        }
        let principals = authority.principals.iter();
        let people = principals.filter_map(|(_, meaning)| meaning.person.as_ref().map(|person| ("principals", person)));
        for (place, person) in
            people.chain(authority.without_principals.iter().map(|person| ("without_principals", person)))
        {
            if let Err(fault) = (checks.person)(person) {
                findings.fault(&here(place), fault);
            }
        }
        for (principal, meaning) in &authority.principals {
            if meaning.person.is_none() && meaning.groups.is_empty() {
                let help = "write { person = \"ada\" }, { groups = [\"developers\"] } or both";
                findings.add(
                    &here("principals"),
                    format!("the principal `{principal}` stands for nothing"),
                    Some(help),
                );
            }
        }
        if authority.longest_hours.is_some_and(|hours| !(1..=876_000).contains(&hours)) {
            findings.add(&here("longest_hours"), "longest_hours is outside 1..=876000", None);
        }
    }
}

/// A star stands at the end of a name's beginning, and nowhere else.
fn variables(config: &Config, findings: &mut Findings) {
    for (index, pattern) in config.environment.accept.iter().enumerate() {
        let beginning = pattern.strip_suffix('*').unwrap_or(pattern);
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let named = !beginning.starts_with(|c: char| c.is_ascii_digit()) && (pattern == ANY || !beginning.is_empty());
        if !named || !beginning.bytes().all(plain) {
            let path = [Key::Name("environment"), Key::Name("accept"), Key::Index(index)];
            let help = "a name of letters, digits and _, or the beginning of one and a * behind it, such as \"LC_*\"";
            findings.add(&path, format!("no variable is called `{pattern}`"), Some(help));
        }
    }
}

/// Sinks get what is in folders, and nothing else.
fn recording(config: &Config, findings: &mut Findings) {
    let evidence = &config.evidence;
    let required = evidence.sinks.sinks().iter().find(|sink| sink.required()).map(|sink| sink.name().to_owned());
    if let (RecordingWish::Journal, Some(sink)) = (evidence.recording, required) {
        let why = format!("the sink {sink} is required, and sessions have no folders that it could get");
        let help = "recording = \"required\", or required = false of the sink";
        findings.add(&[Key::Name("evidence"), Key::Name("recording")], why, Some(help));
    }
}

/// The key that evidence is encrypted with.
fn evidence_key(config: &Config, findings: &mut Findings) {
    let evidence = &config.evidence;
    let at = |name| [Key::Name("evidence"), Key::Name(name)];
    if let Some(url_of) = &evidence.kms_endpoint {
        url(&at("kms_endpoint"), url_of, &["https", "http"], findings);
    }
    let Some(key) = &evidence.kms_key else {
        if evidence.kms_region.is_some() || evidence.kms_endpoint.is_some() {
            let help = "name the key as well: kms_key = \"arn:aws:kms:…\"";
            findings.add(&[Key::Name("evidence")], "evidence is not encrypted: there is no kms_key", Some(help));
        }
        return;
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || ":/_-".contains(c);
    let is_name = key.starts_with("alias/") || (key.starts_with("arn:") && key.contains(":kms:"));
    if !is_name || key.len() > 2048 || !key.chars().all(plain) {
        let help = "an ARN of a key or an alias, such as arn:aws:kms:eu-west-1:123456789012:key/…, or alias/…";
        findings.add(&at("kms_key"), "it is no key of AWS KMS", Some(help));
    }
    // what the account wants of its logs is text that the account's people can read
    if let Some(realm) = config.realms.iter().find(|realm| realm.evidence_replaces_agent_logging) {
        let why =
            format!("the realm {} wants logs of its sessions in the clear, and evidence is encrypted", realm.name);
        let help = "evidence_replaces_agent_logging = false leaves those logs to the agent; without kms_key the gateway delivers them";
        findings.add(&at("kms_key"), why, Some(help));
    }
}

fn numbers(config: &Config, findings: &mut Findings) {
    let limits = &config.limits;
    let lanes = &config.lanes;
    let of = |value: u32| u64::from(value);
    let evidence = &config.evidence;
    let second = &config.second_factor;
    let table: [(&str, &str, u64, RangeInclusive<u64>); 30] = [
        ("limits", "login_seconds", of(limits.login_seconds), 1..=600),
        ("limits", "answer_seconds", of(limits.answer_seconds), 10..=600),
        ("second_factor", "remembered_minutes", of(second.remembered_minutes), 0..=1440),
        ("limits", "auth_attempts", of(limits.auth_attempts), 1..=100),
        ("limits", "connections", of(limits.connections), 1..=1_000_000),
        ("limits", "connections_per_address", of(limits.connections_per_address), 1..=1_000_000),
        ("limits", "unauthenticated", of(limits.unauthenticated), 1..=1_000_000),
        ("limits", "channels", of(limits.channels), 1..=1024),
        ("limits", "connections_per_person", of(limits.connections_per_person), 1..=1_000_000),
        ("limits", "channels_per_person", of(limits.channels_per_person), 1..=1_000_000),
        ("limits", "connections_without_rules", of(limits.connections_without_rules), 1..=1_000_000),
        ("limits", "forwards", of(limits.forwards), 1..=4096),
        ("limits", "forwards_per_person", of(limits.forwards_per_person), 1..=1_000_000),
        ("limits", "channels_without_rules", of(limits.channels_without_rules), 1..=1_000_000),
        ("limits", "buffered_bytes_per_person", limits.buffered_bytes_per_person, 2 << 20..=u64::MAX),
        ("limits", "buffered_bytes", limits.buffered_bytes, 2 << 20..=u64::MAX),
        ("limits", "reason_minutes", of(limits.reason_minutes), 0..=1440),
        ("limits", "keepalive_seconds", of(limits.keepalive_seconds), 0..=3600),
        ("limits", "keepalive_unanswered", of(limits.keepalive_unanswered), 1..=100),
        ("limits", "rekey_bytes", limits.rekey_bytes, 1 << 20..=1 << 30),
        ("limits", "rekey_seconds", of(limits.rekey_seconds), 60..=86_400),
        ("lanes", "frame_bytes", of(lanes.frame_bytes), 256..=65_536),
        ("lanes", "channels_per_node", of(lanes.channels_per_node), 1..=10_000),
        ("lanes", "channels_per_person_on_a_node", of(lanes.channels_per_person_on_a_node), 1..=10_000),
        ("evidence", "max_bytes", evidence.max_bytes, 1 << 20..=u64::MAX),
        ("evidence", "session_bytes", evidence.session_bytes, 1 << 16..=u64::MAX),
        ("evidence", "person_bytes", evidence.person_bytes, 1 << 16..=u64::MAX),
        ("evidence", "stranger_bytes", evidence.stranger_bytes, 1 << 16..=u64::MAX),
        ("evidence", "questions_a_minute", of(evidence.questions_a_minute), 0..=100_000),
        ("lanes", "idle_minutes", of(lanes.idle_minutes), 0..=1440),
    ];
    for (section, key, value, range) in table {
        number(section, key, value, &range, findings);
    }
}

/// A number that has bounds.
pub(super) fn number(
    section: &'static str,
    key: &'static str,
    value: u64,
    range: &RangeInclusive<u64>,
    findings: &mut Findings,
) {
    if !range.contains(&value) {
        let message = format!("{key} = {value} is outside {}..={}", range.start(), range.end());
        findings.add(&[Key::Name(section), Key::Name(key)], message, None);
    }
}

fn realms(config: &Config, checks: &Checks, findings: &mut Findings) {
    if config.realms.is_empty() {
        let help = "write [[realms]] and below it name = \"main\", which is what logins and policies call it";
        findings.add(&[Key::Name("realms")], "an account and region is needed whose nodes are reached", Some(help));
    }
    let mut names = BTreeSet::new();
    for (index, realm) in config.realms.iter().enumerate() {
        let name_at = realm_at(index, &["name"]);
        if let Err(fault) = (checks.realm)(&realm.name) {
            findings.fault(&name_at, fault);
        } else if !names.insert(&realm.name) {
            let help = "a realm is one account and region; give each a name of its own";
            findings.add(&name_at, format!("`{}` is here twice", realm.name), Some(help));
        }
        urls(index, realm, findings);
        roles(index, realm, config.oidc.is_some(), checks, findings);
    }
}

/// The way to a value of a realm.
pub(super) fn realm_at(realm: usize, keys: &[&'static str]) -> Vec<Key> {
    [Key::Name("realms"), Key::Index(realm)].into_iter().chain(keys.iter().map(|key| Key::Name(key))).collect()
}

fn urls(index: usize, realm: &Realm, findings: &mut Findings) {
    let endpoints = &realm.endpoints;
    let urls = [
        (&["endpoints", "ssm"][..], &endpoints.ssm, &["https", "http"][..]),
        (&["endpoints", "sts"][..], &endpoints.sts, &["https", "http"][..]),
        (&["endpoints", "tagging"][..], &endpoints.tagging, &["https", "http"][..]),
        (&["endpoints", "iam"][..], &endpoints.iam, &["https", "http"][..]),
        (&["endpoints", "ssmmessages"][..], &endpoints.ssmmessages, &["wss", "ws"][..]),
        (&["proxy"][..], &realm.proxy, &["http"][..]),
    ];
    for (path, text, schemes) in urls {
        if let Some(text) = text {
            url(&realm_at(index, path), text, schemes, findings);
        }
    }
}

/// A URL of one of these schemes.
pub(super) fn url(path: &[Key], text: &str, schemes: &[&str], findings: &mut Findings) {
    let fine = text
        .parse::<http::Uri>()
        .is_ok_and(|uri| uri.host().is_some() && uri.scheme_str().is_some_and(|scheme| schemes.contains(&scheme)));
    if !fine {
        findings.add(path, format!("`{text}` is no URL that begins with {}://", schemes.join(":// or ")), None);
    }
}

fn proofs(config: &Config, findings: &mut Findings) {
    for (index, rule) in config.proofs.iter().enumerate() {
        let here = [Key::Name("proofs"), Key::Index(index)];
        if rule.people.is_empty() && rule.groups.is_empty() {
            let help = "name people or groups; people = [\"*\"] is everybody";
            findings.add(&here, "these proofs are nobody's", Some(help));
        }
        if rule.enough.is_empty() {
            let help = "name what is enough, such as [\"key and totp\", \"certificate\"]";
            findings.add(&[here[0], here[1], Key::Name("enough")], "nothing is enough", Some(help));
        }
    }
}

/// The way to a role of a realm, and to a value of it.
pub(super) fn role_at(realm: usize, index: usize, key: Option<&'static str>) -> Vec<Key> {
    let role = realm_at(realm, &["roles"]);
    role.into_iter().chain([Key::Index(index)]).chain(key.map(Key::Name)).collect()
}

fn roles(place: usize, realm: &Realm, signs_in: bool, checks: &Checks, findings: &mut Findings) {
    for (index, role) in realm.roles.iter().enumerate() {
        if let Err(fault) = (checks.role)(&role.role) {
            findings.fault(&role_at(place, index, Some("role")), fault);
        }
        if role.people.is_empty() && role.groups.is_empty() {
            let help = "name people or groups; people = [\"*\"] is everybody";
            findings.add(&role_at(place, index, None), "this role is nobody's", Some(help));
        }
        if let Some(first) = &role.web_identity {
            web_identity(role, first, |key| role_at(place, index, Some(key)), signs_in, checks, findings);
        }
        if !(15..=720).contains(&role.minutes) {
            let message = format!("minutes = {} is outside 15..=720", role.minutes);
            findings.add(&role_at(place, index, Some("minutes")), message, None);
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "_+=,.@:/-".contains(c);
        let fine = |id: &String| (2..=1224).contains(&id.len()) && id.chars().all(plain);
        if !role.external_id.as_ref().is_none_or(fine) {
            let message = "an external id is 2 to 1224 letters, digits and characters of _+=,.@:/-";
            findings.add(&role_at(place, index, Some("external_id")), message, None);
        }
    }
}

/// A role that is got by a token of the person's, itself or through another one.
fn web_identity(
    role: &RoleOfPeople,
    first: &str,
    here: impl Fn(&'static str) -> Vec<Key>,
    signs_in: bool,
    checks: &Checks,
    findings: &mut Findings,
) {
    if let Err(fault) = (checks.role)(first) {
        findings.fault(&here("web_identity"), fault);
    }
    if !signs_in {
        let help = "write [oidc], with issuer and client_id, or leave web_identity out";
        findings.add(&here("web_identity"), "nobody has a token for this role: there is no [oidc]", Some(help));
    }
    if first == role.role {
        if role.external_id.is_some() {
            let help = "leave it out; the role's trust policy names the provider, an audience and subjects instead";
            findings.add(&here("external_id"), "a role that is got by a token is told no external id", Some(help));
        }
    } else if role.minutes > 60 {
        let help = "minutes = 60; sessions go on with new credentials";
        let message = "AWS gives a role that another one assumes for an hour at most";
        findings.add(&here("minutes"), message, Some(help));
    }
}
