//! What policy decided about: what was allowed and begins, what was refused, and what is to be looked at at once.

use std::net::SocketAddr;

use uuid::Uuid;

use super::event::ByHop;
use super::fields::Fields;
use super::redaction::Redaction;
use super::variables::variable;
use crate::identity::{Acting, CertificateFacts, SecondFactorFacts, SignInFacts};
use crate::model::{NodeFacts, NodeRef, RefusalCode};
use crate::policy::JudgedCommand;

/// `session.opened`
#[derive(Clone, Copy, Debug)]
pub struct SessionOpened<'a> {
    /// The SSH connection.
    pub connection: Uuid,
    /// The hop that this came by, where it came by one.
    pub hop: Option<ByHop>,
    /// The client's address.
    pub source: SocketAddr,
    /// Who.
    pub person: &'a str,
    /// The groups that they were in.
    pub groups: &'a [String],
    /// How that was proved.
    pub proof: &'a str,
    /// The second factor, where there was one.
    pub second_factor: Option<SecondFactorFacts>,
    /// The certificate, where it was one.
    pub certificate: Option<&'a CertificateFacts>,
    /// The sign-in at a provider, where there was one.
    pub sign_in: Option<&'a SignInFacts>,
    /// Whether it was a security key that knew who touched it.
    pub user_verified: bool,
    /// The node, with what was known of it.
    pub node: &'a NodeFacts,
    /// The node as the person wrote it.
    pub node_name: &'a str,
    /// The operating-system user; none means the agent's own.
    pub os_user: Option<&'a str>,
    /// The policies that allowed it.
    pub policy: &'a str,
    /// The hash of the policies in force.
    pub policy_set: &'a str,
    /// What was allowed.
    pub action: &'a str,
    /// Where it leads, where the action is a forward.
    pub forward: Option<(&'a str, u32)>,
    /// The socket's path, where it is a forward to one.
    pub socket: Option<&'a [u8]>,
    /// The command, where the action is one.
    pub command: Option<&'a [u8]>,
    /// What is not kept of it.
    pub redaction: &'a Redaction,
    /// Of command lines no more is kept than a hash.
    pub hashed: bool,
    /// What its commands were judged as, where they were looked at.
    pub commands: &'a [JudgedCommand],
    /// Why, as the person said.
    pub reason: Option<&'a str>,
    /// Whether a terminal was asked for.
    pub pty: bool,
    /// The variables that the client has set for it.
    pub variables: &'a [(String, Vec<u8>)],
    /// What the client asked for, and as which command line, where its proof starts something else.
    pub original: Option<(&'static str, Option<&'a [u8]>)>,
    /// What AWS is told of the person; nothing where it sees the gateway.
    pub acting: Option<&'a Acting>,
}

/// `channel.refused`
#[derive(Clone, Copy, Debug)]
pub struct ChannelRefused<'a> {
    /// The client's address.
    pub source: SocketAddr,
    /// The SSH user name, as sent.
    pub login: &'a str,
    /// Who, where that was proved.
    pub person: Option<&'a str>,
    /// What was asked for: `Shell on web-1`, `forwarding to db:5432`.
    pub asked: &'a str,
    /// Why, for programs.
    pub code: RefusalCode,
    /// The sentence the person got.
    pub reason: &'a str,
    /// The policies that refused it, and the hash of those in force; none where it was not policy.
    pub policy: Option<(&'a str, &'a str)>,
    /// What policy was asked about, where it knew the node.
    pub decided: Option<DecidedOn<'a>>,
}

/// What a refusal was decided from, beside who and from where: enough to ask again.
#[derive(Clone, Copy, Debug)]
pub struct DecidedOn<'a> {
    /// The groups that the person was in.
    pub groups: &'a [String],
    /// How it was proved who they are.
    pub proof: &'a str,
    /// The certificate, where it was one.
    pub certificate: Option<&'a CertificateFacts>,
    /// The sign-in at a provider, where there was one.
    pub sign_in: Option<&'a SignInFacts>,
    /// Whether it was a security key that knew who touched it.
    pub user_verified: bool,
    /// The node, with what was known of it.
    pub node: &'a NodeFacts,
    /// The node as the person wrote it.
    pub node_name: &'a str,
    /// The operating-system user; none means the agent's own.
    pub os_user: Option<&'a str>,
    /// The second factor, where there was one.
    pub second_factor: Option<SecondFactorFacts>,
    /// What was asked for.
    pub action: &'a str,
    /// The command, where the action is one.
    pub command: Option<&'a [u8]>,
    /// What is not kept of it.
    pub redaction: &'a Redaction,
    /// Why, as the person said.
    pub given_reason: Option<&'a str>,
}

/// `alert.raised`
#[derive(Clone, Copy, Debug)]
pub struct AlertRaised<'a> {
    /// The policy whose `@alert` it is.
    pub policy: &'a str,
    /// What it says.
    pub text: &'a str,
    /// Who did what it permits.
    pub person: &'a str,
    /// Where.
    pub node: &'a NodeRef,
    /// Where, as the person wrote it.
    pub node_name: &'a str,
    /// Why, as the person said.
    pub reason: Option<&'a str>,
}

/// `reason.asked`
#[derive(Clone, Copy, Debug)]
pub struct ReasonAsked<'a> {
    /// The client's address.
    pub source: SocketAddr,
    /// The SSH user name, as sent.
    pub login: &'a str,
    /// Who was asked.
    pub person: &'a str,
    /// For what.
    pub asked: &'a str,
    /// Which policy wants to know.
    pub policy: &'a str,
    /// What it wants, in its words.
    pub wanted: &'a str,
    /// What they said; none where they said nothing.
    pub answer: Option<&'a str>,
}

/// `session.judged`
#[derive(Clone, Copy, Debug)]
pub struct SessionJudged<'a> {
    /// The person's groups by now.
    pub groups: &'a [String],
    /// The hash of the policies by which it goes on.
    pub policy_set: &'a str,
}

impl ReasonAsked<'_> {
    pub(super) fn write(&self, to: &mut Fields) {
        to.text("source", &self.source.to_string());
        to.text("login", self.login);
        to.text("person", self.person);
        to.text("asked", self.asked);
        to.text("policy", self.policy);
        to.text("wanted", self.wanted);
        to.maybe("answer", self.answer);
    }
}

impl SessionJudged<'_> {
    pub(super) fn write(&self, to: &mut Fields) {
        to.names("groups", self.groups);
        to.text("policy_set", self.policy_set);
    }
}

impl ChannelRefused<'_> {
    pub(super) fn write(&self, to: &mut Fields) {
        to.text("source", &self.source.to_string());
        to.text("login", self.login);
        to.maybe("person", self.person);
        to.text("asked", self.asked);
        to.text("code", self.code.name());
        to.text("reason", self.reason);
        if let Some((policy, set)) = self.policy {
            to.text("policy", policy);
            to.text("policy_set", set);
        }
        if let Some(decided) = &self.decided {
            decided.write(to);
        }
    }
}

impl DecidedOn<'_> {
    fn write(&self, to: &mut Fields) {
        to.names("groups", self.groups);
        to.proof(self.proof, self.second_factor, self.certificate, self.user_verified);
        to.sign_in(self.sign_in);
        write_node(self.node, self.node_name, to);
        to.maybe("os_user", self.os_user);
        to.text("action", self.action);
        to.maybe("given_reason", self.given_reason);
        write_command(self.command, self.redaction, to);
    }
}

impl SessionOpened<'_> {
    pub(super) fn write(&self, to: &mut Fields) {
        to.text("connection", &self.connection.to_string());
        to.hop(self.hop);
        to.text("source", &self.source.to_string());
        to.text("person", self.person);
        to.names("groups", self.groups);
        to.proof(self.proof, self.second_factor, self.certificate, self.user_verified);
        to.sign_in(self.sign_in);
        write_node(self.node, self.node_name, to);
        to.maybe("os_user", self.os_user);
        to.text("policy", self.policy);
        to.text("policy_set", self.policy_set);
        to.text("action", self.action);
        if let Some((host, port)) = self.forward {
            to.text("host", host);
            to.value("port", port);
        }
        to.maybe("path", self.socket.map(String::from_utf8_lossy).as_deref());
        to.maybe("reason", self.reason);
        self.write_acting(to);
        to.value("pty", self.pty);
        if !self.variables.is_empty() {
            to.list("variables", self.variables.iter().map(variable));
        }
        match self.command {
            Some(command) if self.hashed => to.digest_of("command_sha256", command),
            command => write_command(command, self.redaction, to),
        }
        if let Some((action, command)) = self.original {
            to.text("original_action", action);
            match command {
                Some(command) if self.hashed => to.digest_of("original_command_sha256", command),
                command => {
                    let text = command.map(String::from_utf8_lossy);
                    to.maybe("original_command", text.as_deref().map(|text| self.redaction.text(text)).as_deref());
                }
            }
        }
        if !self.commands.is_empty() && !self.hashed {
            to.list("commands", self.commands.iter().map(judged));
        }
    }

    fn write_acting(&self, to: &mut Fields) {
        let Some(acting) = self.acting else { return to.text("aws_identity", "gateway") };
        to.text("aws_identity", "person");
        to.text("aws_role", acting.role.arn.as_str());
        to.text("aws_session_name", &acting.session_name);
        to.maybe("aws_web_identity", acting.role.web_identity.as_ref().map(|first| first.as_str()));
        to.maybe("aws_source_identity", acting.seen_as());
        to.names("aws_left_out", &acting.left_out);
    }
}

/// One command of a line, with what permits it.
fn judged(command: &JudgedCommand) -> Fields {
    let mut fields = Fields::new();
    fields.text("name", &command.name);
    fields.value("known", command.unknown.is_none());
    fields.maybe("why", command.unknown.as_deref());
    fields.text("policy", &command.policy());
    fields
}

impl AlertRaised<'_> {
    pub(super) fn write(&self, to: &mut Fields) {
        to.text("policy", self.policy);
        to.text("alert", self.text);
        to.text("person", self.person);
        write_node_ref(self.node, to);
        to.text("node_name", self.node_name);
        to.maybe("reason", self.reason);
    }
}

/// A node as it was asked about. Where its tags are not in there, they were not known, or too many to be kept.
fn write_node(node: &NodeFacts, name: &str, to: &mut Fields) {
    write_node_ref(&node.node, to);
    to.text("node_name", name);
    to.maybe("node_called", node.called.as_deref());
    to.maybe("node_platform", node.platform.as_deref());
    if let Ok(tags) = &node.tags {
        to.map("node_tags", tags);
    }
}

fn write_node_ref(node: &NodeRef, to: &mut Fields) {
    to.text("node", &node.id.0);
    to.text("realm", node.realm.as_str());
}

fn write_command(command: Option<&[u8]>, redaction: &Redaction, to: &mut Fields) {
    if let Some(command) = command {
        to.text("command", &redaction.text(&String::from_utf8_lossy(command)));
        to.digest_of("command_sha256", command);
    }
}
