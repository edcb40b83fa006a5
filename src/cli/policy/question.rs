//! A question to the policies, as flags or in a file of scenarios: the same words for both.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Deserializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::source::People;
use crate::identity::{CertificateFacts, SignInFacts};
use crate::model::{NodeFacts, NodeName, NodeRef, NodeTags, RealmName, ReasonText, TargetHost};
use crate::policy::{Action, FileAction, Scenario, SupposedProof};

/// Who, where, as whom, what, why, from where and when.
#[derive(Clone, Debug, Deserialize, clap::Args)]
#[serde(deny_unknown_fields)]
pub(in crate::cli) struct Question {
    /// Who asks
    #[arg(long, value_name = "NAME")]
    person: String,
    /// A group that they are in; without any, those that the configuration has them in. May be given again
    #[arg(long = "group", value_name = "NAME")]
    #[serde(default)]
    groups: Vec<String>,
    /// The node's name
    #[arg(long, value_name = "NAME")]
    node: String,
    /// The node's id, where policies name it
    #[arg(long, value_name = "ID")]
    node_id: Option<String>,
    /// The realm that the node is in; without it the configuration's, where that has one only
    #[arg(long, value_name = "NAME")]
    realm: Option<String>,
    /// A tag of the node's, as in env=prod. May be given again
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = tag)]
    #[serde(default, deserialize_with = "tags")]
    tags: Vec<(String, String)>,
    /// The node's platform: Linux, Windows, MacOS
    #[arg(long, value_name = "NAME")]
    platform: Option<String>,
    /// The operating-system user that they ask for; without it, the agent's own
    #[arg(long, value_name = "NAME")]
    os_user: Option<String>,
    /// They have logged in with a second factor
    #[arg(long)]
    #[serde(default)]
    second_factor: bool,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// The fingerprint of the key that they prove themselves by
    #[arg(long, value_name = "SHA256:…")]
    key: Option<String>,
    /// By a security key that asks for a PIN or a finger
    #[arg(long)]
    #[serde(default)]
    user_verified: bool,
    /// By a certificate, with this key id; may be empty
    #[arg(long, value_name = "KEY-ID")]
    certificate: Option<String>,
    /// With a certificate: its authority, as the configuration calls it
    #[arg(long, value_name = "NAME", requires = "certificate")]
    authority: Option<String>,
    /// With a certificate: the fingerprint of its authority's key
    #[arg(long, value_name = "SHA256:…", requires = "certificate")]
    authority_key: Option<String>,
    /// With a certificate: the principal that stands for the person
    #[arg(long, value_name = "NAME", requires = "certificate")]
    principal: Option<String>,
    /// With a certificate: its number
    #[arg(long, value_name = "NUMBER", requires = "certificate")]
    serial: Option<u64>,
    /// With a certificate: until when it counts
    #[arg(long, value_name = "TIME", requires = "certificate")]
    valid_before: Option<String>,
    /// By a sign-in at this OpenID provider
    #[arg(long, value_name = "ISSUER")]
    oidc: Option<String>,
    /// With a sign-in: whom the provider knows them as
    #[arg(long, value_name = "SUBJECT", requires = "oidc")]
    subject: Option<String>,
    /// With a sign-in: the class of authentication that it says
    #[arg(long, value_name = "ACR", requires = "oidc")]
    acr: Option<String>,
    /// With a sign-in: by what (pwd, otp, hwk, …). May be given again
    #[arg(long, value_name = "AMR", requires = "oidc")]
    #[serde(default)]
    amr: Vec<String>,
    /// With a sign-in: when the provider asked them [default: the time of the question]
    #[arg(long, value_name = "TIME", requires = "oidc")]
    signed_in_at: Option<String>,
    /// The address that they connect from [default: 127.0.0.1]
    #[arg(long, value_name = "IP")]
    source: Option<IpAddr>,
    /// When, as in 2026-11-27T12:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// What, as policies call it: Shell, Exec, Files, Download, …
    #[arg(value_name = "ACTION")]
    action: String,
    /// With Exec: the command line
    #[arg(long, value_name = "LINE")]
    command: Option<String>,
    /// With an action on a file, or with ForwardSocket: its path
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// With Review and EndSession: whose session it is
    #[arg(long, value_name = "NAME")]
    session_of: Option<String>,
    /// With SetVariable: its name
    #[arg(long, value_name = "NAME")]
    variable: Option<String>,
    /// With SetVariable: its value
    #[arg(long, value_name = "TEXT")]
    value: Option<String>,
    /// With Forward: the host
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// With Forward: its port; with Tunnel: that of the node's own sshd
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
}

/// A node's id where nobody gives one: of the form of one, and no node's.
const NO_ID: &str = "i-00000000000000000";

/// A realm's name where nobody gives one, which is none's.
const NO_REALM: &str = "no-realm-was-given";

impl Question {
    /// The question, or the sentence that says what is wrong with it.
    pub(super) fn scenario(&self, people: &People, only_realm: Option<&RealmName>) -> Result<Scenario, String> {
        let groups = match self.groups.as_slice() {
            [] => people.get(&self.person).cloned(),
            groups => Some(groups.to_vec()),
        };
        let mut groups = groups.unwrap_or_default();
        groups.sort();
        groups.dedup();
        let reason = match &self.reason {
            None => None,
            Some(text) => {
                Some(ReasonText::new(text).ok_or("a reason is 1 to 256 characters, none of them a control character")?)
            }
        };
        let realm = self.realm.as_deref().or(only_realm.map(RealmName::as_str)).unwrap_or(NO_REALM);
        let realm = RealmName::parse(realm).map_err(|error| format!("`{realm}` is no realm: {error}"))?;
        let at = self.at.as_deref().map(time).transpose()?.unwrap_or_else(SystemTime::now);
        Ok(Scenario {
            person: self.person.clone(),
            groups,
            proof: self.proof(at)?,
            source: self.source.unwrap_or(Ipv4Addr::LOCALHOST.into()),
            node_name: NodeName::parse(&self.node).map_err(|error| error.to_string())?,
            node: Arc::new(NodeFacts {
                node: NodeRef::new(&realm, self.node_id.as_deref().unwrap_or(NO_ID)),
                called: Some(self.node.clone()),
                platform: self.platform.clone(),
                address: None,
                tags: Ok(self.tags.iter().cloned().collect()),
            }),
            os_user: self.os_user.clone(),
            second_factor: self.second_factor,
            reason,
            action: self.action()?,
            at,
        })
    }

    /// How they prove who they are.
    fn proof(&self, now: SystemTime) -> Result<SupposedProof, String> {
        let certificate = match &self.certificate {
            Some(key_id) => Some(CertificateFacts {
                key_id: key_id.clone(),
                serial: self.serial.unwrap_or_default(),
                authority: self.authority.clone(),
                authority_key: self.authority_key.clone().unwrap_or_default(),
                principal: self.principal.clone(),
                valid_before: self.valid_before.as_deref().map(time).transpose()?,
            }),
            None => {
                let of_one = [&self.authority, &self.authority_key, &self.principal, &self.valid_before];
                if of_one.iter().any(|fact| fact.is_some()) || self.serial.is_some() {
                    return Err("what is said of a certificate is said with its key id: `certificate`".to_owned());
                }
                None
            }
        };
        let sign_in = match &self.oidc {
            Some(issuer) => Some(SignInFacts {
                issuer: issuer.clone(),
                subject: self.subject.clone().unwrap_or_default(),
                at: self.signed_in_at.as_deref().map(time).transpose()?.unwrap_or(now),
                acr: self.acr.clone(),
                amr: self.amr.clone(),
            }),
            None => {
                let of_one = [&self.subject, &self.acr, &self.signed_in_at];
                if of_one.iter().any(|fact| fact.is_some()) || !self.amr.is_empty() {
                    return Err("what is said of a sign-in is said with its provider: `oidc`".to_owned());
                }
                None
            }
        };
        Ok(SupposedProof { key: self.key.clone(), user_verified: self.user_verified, certificate, sign_in })
    }

    /// When, where that was said.
    pub(super) fn at(&self) -> Option<&str> {
        self.at.as_deref()
    }

    fn action(&self) -> Result<Action, String> {
        let with = |value: &Option<String>, name: &str| {
            value.clone().ok_or_else(|| format!("{} is asked with {name}", self.action))
        };
        Ok(match self.action.as_str() {
            "Shell" => Action::Shell,
            "Files" => Action::Files,
            "Hop" => Action::Hop,
            "Tunnel" => Action::Tunnel { port: self.port.ok_or("Tunnel is asked with a port")?.into() },
            "RunAs" => Action::RunAs,
            "Review" => Action::Review { of: with(&self.session_of, "whose session it is (session_of)")? },
            "EndSession" => Action::EndSession { of: with(&self.session_of, "whose session it is (session_of)")? },
            "Exec" => Action::Exec { command: with(&self.command, "a command")?.into_bytes() },
            "SetVariable" => Action::SetVariable {
                name: with(&self.variable, "a variable")?,
                value: self.value.clone().unwrap_or_default().into_bytes(),
            },
            "Forward" => Action::Forward {
                host: host(&with(&self.host, "a host and a port")?)?,
                port: self.port.ok_or("Forward is asked with a host and a port")?.into(),
            },
            "ForwardSocket" => Action::ForwardSocket { path: with(&self.path, "a path")?.into_bytes() },
            name => match FileAction::ALL.into_iter().find(|action| action.name() == name) {
                Some(action) => Action::File { action, path: with(&self.path, "a path")?.into_bytes() },
                None => return Err(unknown(name)),
            },
        })
    }
}

/// As the gateway asks about it.
fn host(text: &str) -> Result<String, String> {
    match TargetHost::parse(text) {
        Ok(host) => Ok(host.to_string()),
        Err(why) => Err(format!("nobody is led to `{text}`, whatever the policies say: {why}")),
    }
}

fn time(text: &str) -> Result<SystemTime, String> {
    let time = OffsetDateTime::parse(text, &Rfc3339);
    time.map(Into::into).map_err(|_| format!("`{text}` is no time: write it as in 2026-11-27T12:00:00Z"))
}

/// `KEY=VALUE`.
fn tag(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a tag is KEY=VALUE, as in env=prod")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// `tags = { env = "prod" }`
fn tags<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, String)>, D::Error> {
    NodeTags::deserialize(from).map(|tags| tags.into_iter().collect())
}

fn unknown(name: &str) -> String {
    if name == "Command" {
        return "the commands of a line are asked about with it: Exec --command LINE".to_owned();
    }
    let others = Action::NAMES.into_iter().filter(|name| *name != "Command");
    let all: Vec<&str> = others.chain(FileAction::ALL.map(FileAction::name)).collect();
    let near = all.iter().min_by_key(|known| strsim::levenshtein(name, known));
    match near.filter(|known| strsim::levenshtein(name, known) <= known.len().div_ceil(3)) {
        Some(near) => format!("there is no action `{name}`; did you mean `{near}`?"),
        None => format!("there is no action `{name}`; there is {}", all.join(", ")),
    }
}
