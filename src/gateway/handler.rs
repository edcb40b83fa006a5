//! The library's callbacks. All of them run in the task that reads the connection's socket, so none waits for
//! anything; and each request is answered here, because a late answer is lost.

use std::time::SystemTime;

use bytes::Bytes;
use russh::client::GexParams;
use russh::kex::dh::groups::DhGroup;
use russh::server::{
    Auth, ChannelOpenHandle, Handler, Msg, NotServed, PublicKeyOffer, Response, Session, VerifiedCertificate,
    VerifiedPublicKey,
};
use russh::{Channel, ChannelId, Disconnect, Names, Pty, Sig};

use zeroize::Zeroizing;

use super::algorithms;
use super::auth::{certificate, publickey};
use super::connection::Connection;
use super::environment::Verdict;
use super::forward::{self, PROHIBITED, RESOURCE_SHORTAGE, Wanted};
use super::preauth_stream::Reached;
use crate::config::Algorithms;
use crate::identity::{KeyFingerprint, Login, LoginError, Proved, Unproved};
use crate::model::{ClientFacts, Negotiated, ReasonText, RefusalCode, WindowSize, plain_text_up_to};
use crate::session::RequestKind;
use crate::transport::PtyRequest;

/// Answers one client.
#[derive(Debug)]
pub(super) struct ClientHandler(pub(super) Connection);

/// It takes ChaCha20-Poly1305, or CBC with a MAC over what is encrypted, and not what makes those safe.
const NO_STRICT_EXCHANGE: &str = "this client knows no strict key exchange, so whoever is between could take messages out unnoticed (Terrapin, CVE-2023-48795); update it, or choose another cipher (ssh -c aes256-gcm@openssh.com)";
const NO_FORWARDING: &str = "this gateway opens no such channel towards anybody; nothing is forwarded from it";
const NO_NODE: &str =
    "this login names no node, so there is none to forward through: put the node before the '@', ssh <node>@<gateway>";
const NO_REMOTE_FORWARDING: &str = "portcullis: remote forwarding (-R) is refused; the session goes on without it";
const NO_FORWARDED: &str = "nothing is forwarded from the node to the client, so nothing can end";
const NO_AGENT: &str = "portcullis: agent forwarding (-A) is refused; the session goes on without it";
/// What `ssh -v` shows where the status will be a 0 that nobody knows to be true.
const NO_STATUS: &str = "this kind of session has no exit status; 0 stands for it";
const NO_X11: &str = "portcullis: X11 forwarding (-X) is refused; the session goes on without it";

const NO_VARIABLE: &str = "it is not among the variables that clients may set here, or came after the start";
const NO_REASON: &str = "portcullis: what PORTCULLIS_REASON says is not taken: a reason is 1 to 256 characters, none of them a control character";
pub(super) const NO_FORWARDING_BY_KEY: &str = "what you logged in with may not forward: the key's line says no-port-forwarding, or the certificate does not say permit-port-forwarding";
const NO_TERMINAL_BY_KEY: &str =
    "what was logged in with has no terminal: the key's line says no-pty, or the certificate does not say permit-pty";

/// OpenSSH's client says so when it can show no more output (its PROTOCOL, section 2.1); it expects no answer.
const END_OF_WRITE: &str = "eow@openssh.com";

/// What clients send that ask for nothing: to learn whether the other end still answers (OpenSSH), or how much data is on
/// its way, or to say that they open one channel only (PuTTY). Each gets the answer that it expects.
const PROBES: [&str; 4] = [
    "keepalive@openssh.com",
    "keepalive@putty.projects.tartarus.org",
    "winadj@putty.projects.tartarus.org",
    "simple@putty.projects.tartarus.org",
];

/// The longest `TERM` that goes to a node, which is longer than any that terminfo has.
const LONGEST_TERM: usize = 64;

/// The longest name of a signal that goes to a node; those of RFC 4254, section 6.9, have at most four letters.
const LONGEST_SIGNAL: usize = 16;

impl Handler for ClientHandler {
    type Error = russh::Error;

    async fn authentication_banner(&mut self) -> Result<Option<String>, Self::Error> {
        // whoever hops has seen it
        Ok(self.0.shared.settings.banner.clone().filter(|_| !self.0.is_inside()))
    }

    async fn negotiated(&mut self, names: &Names, session: &mut Session) -> Result<(), Self::Error> {
        if algorithms::could_be_robbed(names) {
            self.0.attempts.refuse(RefusalCode::ClientTooOld, NO_STRICT_EXCHANGE);
            session.disconnect(Disconnect::KeyExchangeFailed, NO_STRICT_EXCHANGE, "en")?;
        }
        Ok(())
    }

    async fn lookup_dh_gex_group(&mut self, asked: &GexParams) -> Result<Option<DhGroup>, Self::Error> {
        Ok(algorithms::group(asked))
    }

    /// Each attempt, whatever its method, before anything comes of it. What has no callback below is refused by the library.
    async fn auth_requested(&mut self, user: &str, method: &str) -> Result<(), Self::Error> {
        self.0.reached(Reached::Asking);
        self.0.attempts.request(user, method);
        Ok(())
    }

    async fn auth_publickey_unreadable(&mut self, _: &str, algorithm: &str) -> Result<(), Self::Error> {
        self.0.attempts.unreadable(algorithm);
        Ok(())
    }

    /// Which every client begins with, to learn what there is (RFC 4252, section 5.2). Inside a hop nothing has to be proved.
    async fn auth_none(&mut self, user: &str) -> Result<Auth, Self::Error> {
        match self.0.is_inside() {
            true => Ok(self.0.let_in_by_hop(user)),
            false => Ok(Auth::Reject { proceed_with_methods: Some(self.0.methods()), partial_success: false }),
        }
    }

    /// Inside a hop of clients that offer what they have without asking first, and nobody looks at it.
    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        match self.0.is_inside() {
            true => Ok(self.0.let_in_by_hop(user)),
            false => Ok(self.0.password(user, Zeroizing::new(password.to_owned())).await),
        }
    }

    /// Only asks whether a signature is worth making (RFC 4252, section 7).
    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, Self::Error> {
        if self.0.is_inside() {
            return Ok(Auth::Accept);
        }
        let wire = publickey::wire_form(offer.public_key).unwrap_or_default();
        self.0.attempts.offer(KeyFingerprint::of(&wire));
        if let Err(weak) = publickey::strong(offer.public_key, offer.algorithm, self.0.algorithms) {
            self.0.attempts.refuse(RefusalCode::KeyTooWeak, weak.to_string());
            return Ok(refuse());
        }
        let (people, source, now) = (self.0.shared.people.current(), self.0.source.ip(), SystemTime::now());
        let would_do = match offer.certificate.map(certificate::read) {
            None => people.would_prove(&wire, source, now),
            Some(Ok(certificate)) => people.would_certify(&certificate, Login::parse(user).ok().as_ref(), source, now),
            Some(Err(error)) => {
                self.0.attempts.refuse(RefusalCode::CertificateNotTaken, error.to_string());
                return Ok(refuse());
            }
        };
        if let Err(why) = would_do {
            return Ok(self.unproved(&why));
        }
        self.0.reached(Reached::KnownKey);
        self.0.attempts.known_key();
        Ok(Auth::Accept)
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        if self.0.is_inside() {
            return Ok(self.0.let_in_by_hop(user));
        }
        let login = Login::parse(user);
        let (people, source, now) = (self.0.shared.people.current(), self.0.source.ip(), SystemTime::now());
        let identity = publickey::verified(key, self.0.algorithms)
            .map(|verified| people.identify(&verified, login.as_ref().ok(), source, now));
        Ok(self.proved(user, identity, login))
    }

    async fn auth_verified_certificate(
        &mut self,
        user: &str,
        certificate: VerifiedCertificate<'_>,
    ) -> Result<Auth, Self::Error> {
        if self.0.is_inside() {
            return Ok(self.0.let_in_by_hop(user));
        }
        let login = Login::parse(user);
        let (people, source, now) = (self.0.shared.people.current(), self.0.source.ip(), SystemTime::now());
        let identity = certificate::verified(certificate, self.0.algorithms)
            .map(|verified| people.identify_certified(&verified, login.as_ref().ok(), source, now));
        Ok(self.proved(user, identity, login))
    }

    /// After what has proved the first half of somebody, to sign in, or for a password.
    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _: &str,
        answers: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        // whoever is inside is asked for what is missing of them, and never who they are
        if self.0.is_inside() && !self.0.is_half_way(user) {
            return Ok(self.0.let_in_by_hop(user));
        }
        let text = |answer: Bytes| String::from_utf8_lossy(&answer).into_owned();
        Ok(self.0.ask(user, answers.map(|answers| answers.map(text).collect())).await)
    }

    /// One that would do, were it what it says.
    async fn auth_certificate_invalid(&mut self, _: &str, why: &str) -> Result<(), Self::Error> {
        self.0.attempts.refuse(RefusalCode::CertificateNotTaken, why);
        Ok(())
    }

    async fn auth_succeeded(&mut self, session: &mut Session) -> Result<(), Self::Error> {
        self.0.let_in(client_facts(session, self.0.algorithms));
        if learns_host_keys(session.remote_sshid()) {
            session.announce_host_keys()?;
        }
        Ok(())
    }

    async fn not_served(&mut self, what: NotServed<'_>) -> Result<(), Self::Error> {
        if let NotServed::ChannelRequest(id, END_OF_WRITE) = what
            && let Some(inbox) = self.0.inbox(id)
        {
            inbox.close_output();
            return Ok(());
        }
        let none = "this gateway has no such thing";
        let (kind, name, why) = match what {
            NotServed::Channel(name) => ("channel", name, none),
            NotServed::ChannelRequest(_, name) | NotServed::GlobalRequest(name) => ("request", name, none),
            NotServed::Unreadable(_, name) => {
                ("request", name, "a part of it is no text, or no list of terminal modes")
            }
        };
        if !PROBES.contains(&name) {
            self.0.note_refusal(&format!("{kind} {name}"), RefusalCode::RequestNotServed, why);
        }
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        if let Err(ended) = self.0.may_open_sessions() {
            let reason = ended.to_string();
            forward::refuse(reply, PROHIBITED, &reason).await;
            return Ok(());
        }
        match self.0.admit(channel, session.handle()) {
            Ok(()) => reply.accept().await,
            Err(full) => {
                let reason = full.to_string();
                self.0.note_refusal("session channel", RefusalCode::TooManyChannels, &reason);
                forward::refuse(reply, RESOURCE_SHORTAGE, &reason).await;
            }
        }
        Ok(())
    }

    /// Through the node that the login names; without one it is a hop to another, which is served elsewhere.
    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        if let Some(to) = self.0.hop_to(host, port) {
            self.0.open_hop(channel, to, reply, session.handle()).await;
            return Ok(());
        }
        self.open_forward(Wanted::Port { host, port }, channel, reply, session).await
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        path: &str,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let wanted = Wanted::Socket(path);
        if !self.0.names_a_node() {
            self.0.note_refusal(&wanted.to_string(), RefusalCode::ForwardingNotServed, NO_NODE);
            forward::refuse(reply, PROHIBITED, NO_NODE).await;
            return Ok(());
        }
        self.open_forward(wanted, channel, reply, session).await
    }

    async fn channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.0.note_refusal("X11 channel", RefusalCode::ForwardingNotServed, NO_FORWARDING);
        forward::refuse(reply, PROHIBITED, NO_FORWARDING).await;
        Ok(())
    }

    async fn channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.0.note_refusal("forwarded channel", RefusalCode::ForwardingNotServed, NO_FORWARDING);
        forward::refuse(reply, PROHIBITED, NO_FORWARDING).await;
        Ok(())
    }

    /// Never waits: the inbox is bounded by the window that the client was given (RFC 4254, section 5.2).
    async fn data(&mut self, id: ChannelId, data: &Bytes, _: &mut Session) -> Result<(), Self::Error> {
        if let Some(inbox) = self.0.inbox(id) {
            inbox.push(data.clone());
        }
        Ok(())
    }

    /// The client sends no more; what runs goes on, as does its output (RFC 4254, section 5.3).
    async fn channel_eof(&mut self, id: ChannelId, _: &mut Session) -> Result<(), Self::Error> {
        if let Some(inbox) = self.0.inbox(id) {
            inbox.eof();
        }
        Ok(())
    }

    async fn channel_close(&mut self, id: ChannelId, _: &mut Session) -> Result<(), Self::Error> {
        self.0.close(id);
        Ok(())
    }

    /// RFC 4254, section 6.2. One terminal, and before anything runs on the channel.
    async fn pty_request(
        &mut self,
        id: ChannelId,
        term: &str,
        cols: u32,
        rows: u32,
        x_pixels: u32,
        y_pixels: u32,
        modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.0.terminal();
        let pty = PtyRequest {
            term: term.to_owned(),
            size: window_size(cols, rows, x_pixels, y_pixels),
            // TTY_OP_END (RFC 4254, section 8) stands for the codes that the library does not know
            modes: modes
                .iter()
                .filter(|(code, _)| *code as u8 != Pty::TTY_OP_END as u8)
                .map(|&(code, value)| (code as u8, value))
                .collect(),
        };
        let plain =
            term.len() <= LONGEST_TERM && term.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-._".contains(&b));
        if !self.0.restrictions().lets_have_terminal() {
            // OpenSSH's client says so, and goes on without one unless its person has asked for it
            self.0.note_refusal("terminal", RefusalCode::TakenByTheKey, NO_TERMINAL_BY_KEY);
            return answer(session, id, false);
        }
        let accepted = match self.0.channel(id) {
            Some(channel) if plain && channel.writer.is_some() && channel.setup.pty.is_none() => {
                channel.setup.pty = Some(pty);
                true
            }
            _ => false,
        };
        if !accepted {
            let why = "a channel has one terminal, asked for before the start, with a TERM as terminfo has them";
            self.0.note_refusal("terminal", RefusalCode::RequestOutOfPlace, why);
        }
        answer(session, id, accepted)
    }

    /// RFC 4254, section 6.4, which warns of variables that nobody looks at.
    async fn env_request(
        &mut self,
        id: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let shared = self.0.shared.clone();
        let mut why = NO_VARIABLE;
        let accepted = match self.0.channel(id) {
            Some(channel) if channel.writer.is_some() => {
                let env = &mut channel.setup.env;
                match shared.environment.judge(name, value, env) {
                    Verdict::Node => {
                        channel.held.add(name.len() + value.len());
                        env.retain(|(known, _)| known != name);
                        env.push((name.to_owned(), value.as_bytes().to_owned()));
                        true
                    }
                    Verdict::Reason => {
                        channel.reason = ReasonText::new(value);
                        if channel.reason.is_none() {
                            why = NO_REASON;
                        }
                        channel.reason.is_some()
                    }
                    Verdict::Refused => false,
                }
            }
            _ => false,
        };
        if !accepted {
            if why == NO_REASON {
                // whoever set it believes that it was said
                self.0.notice(NO_REASON);
            }
            self.0.note_refusal(&format!("variable {name}"), RefusalCode::VariableNotAccepted, why);
        }
        answer(session, id, accepted)
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        // now and not beside the status: only a callback can send such a message
        if self.0.shell_has_no_status(id) {
            session.debug(false, NO_STATUS, "en")?;
        }
        self.start(id, RequestKind::Shell, session)
    }

    async fn exec_request(&mut self, id: ChannelId, command: &[u8], session: &mut Session) -> Result<(), Self::Error> {
        self.start(id, RequestKind::Exec(command.to_vec()), session)
    }

    async fn subsystem_request(&mut self, id: ChannelId, name: &str, session: &mut Session) -> Result<(), Self::Error> {
        if name == "sftp" {
            return self.start(id, RequestKind::Sftp, session);
        }
        self.0.note_refusal(&format!("subsystem {name}"), RefusalCode::SubsystemNotServed, "only sftp is served");
        let sentence = format!("portcullis: the subsystem {name} is not served here, only sftp");
        match self.0.decline(id, sentence, session.handle()) {
            true => Ok(()),
            false => answer(session, id, false),
        }
    }

    /// RFC 4254, section 6.7.
    async fn window_change_request(
        &mut self,
        id: ChannelId,
        cols: u32,
        rows: u32,
        x_pixels: u32,
        y_pixels: u32,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let size = window_size(cols, rows, x_pixels, y_pixels);
        let accepted = match self.0.channel(id) {
            Some(channel) if channel.writer.is_some() => match &mut channel.setup.pty {
                Some(pty) => {
                    pty.size = size;
                    true
                }
                None => false,
            },
            Some(channel) => {
                channel.inbox.resize(size);
                true
            }
            None => false,
        };
        if !accepted {
            let why = "a size is a terminal's, and none was asked for on this channel";
            self.0.note_refusal("window size", RefusalCode::RequestOutOfPlace, why);
        }
        answer(session, id, accepted)
    }

    async fn signal(&mut self, id: ChannelId, signal: Sig, session: &mut Session) -> Result<(), Self::Error> {
        let name = signal_name(&signal);
        // RFC 4254, section 6.9 names thirteen; others are somebody's extension and go along if they look like a name
        let plain = (1..=LONGEST_SIGNAL).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        let running = self.0.channel(id).is_some_and(|channel| channel.writer.is_none());
        if plain
            && running
            && let Some(inbox) = self.0.inbox(id)
        {
            inbox.signal(name);
        }
        if !(plain && running) {
            let why = "signals go to what runs on the channel, by the names of RFC 4254";
            self.0.note_refusal("signal", RefusalCode::RequestOutOfPlace, why);
        }
        answer(session, id, plain && running)
    }

    /// RFC 4335. A pseudo-terminal has no line that could be broken: Linux takes a break on one and does nothing, and OpenSSH's
    /// server says that it is done.
    async fn break_request(&mut self, id: ChannelId, _: u32, session: &mut Session) -> Result<(), Self::Error> {
        let on_terminal = self.0.runs_on_terminal(id);
        if !on_terminal {
            let why = "a break is a terminal's, on which something runs";
            self.0.note_refusal("break", RefusalCode::RequestOutOfPlace, why);
        }
        answer(session, id, on_terminal)
    }

    async fn agent_request(&mut self, _: ChannelId, session: &mut Session) -> Result<bool, Self::Error> {
        self.refuse_offer("agent forwarding", NO_AGENT, session)?;
        Ok(false)
    }

    async fn x11_request(
        &mut self,
        id: ChannelId,
        _: bool,
        _: &str,
        _: &str,
        _: u32,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.refuse_offer("X11 forwarding", NO_X11, session)?;
        answer(session, id, false)
    }

    async fn tcpip_forward(
        &mut self,
        address: &str,
        port: &mut u32,
        session: &mut Session,
    ) -> Result<bool, Self::Error> {
        self.refuse_feature(&format!("remote forwarding of {address}:{port}"), NO_REMOTE_FORWARDING, session)?;
        Ok(false)
    }

    /// Nothing is forwarded, so there is nothing to take back (RFC 4254, section 7.1).
    async fn cancel_tcpip_forward(&mut self, address: &str, port: u32, _: &mut Session) -> Result<bool, Self::Error> {
        let asked = format!("end of remote forwarding of {address}:{port}");
        self.0.note_refusal(&asked, RefusalCode::ForwardingNotServed, NO_FORWARDED);
        Ok(false)
    }

    async fn cancel_streamlocal_forward(&mut self, path: &str, _: &mut Session) -> Result<bool, Self::Error> {
        let asked = format!("end of remote forwarding of {path}");
        self.0.note_refusal(&asked, RefusalCode::ForwardingNotServed, NO_FORWARDED);
        Ok(false)
    }

    /// OpenSSH's client says so when it will open no further session on the connection.
    async fn no_more_sessions(&mut self, _: &mut Session) -> Result<(), Self::Error> {
        self.0.promise_no_more_sessions();
        Ok(())
    }

    async fn streamlocal_forward(&mut self, path: &str, session: &mut Session) -> Result<bool, Self::Error> {
        self.refuse_feature(&format!("remote forwarding of {path}"), NO_REMOTE_FORWARDING, session)?;
        Ok(false)
    }
}

impl ClientHandler {
    /// Lets somebody in whose signature was good, or does not.
    fn proved(
        &mut self,
        user: &str,
        proved: Option<Result<Proved, Unproved>>,
        login: Result<Login, LoginError>,
    ) -> Auth {
        // what was proved under another name, or by another key, is over
        self.0.pending = None;
        match proved.map(|proved| proved.map(|proved| self.0.ask_besides(proved, login.as_ref().ok()))) {
            Some(Ok(Proved::Half(half))) => self.0.half_way(user, login, half),
            Some(Ok(Proved::Enough(identity))) => {
                // a login that can't be read is refused in words, on the channel, once we know whom we talk to
                self.0.logged_in(identity, login);
                Auth::Accept
            }
            Some(Err(why)) => self.unproved(&why),
            None => {
                self.0.attempts.refuse(RefusalCode::KeyTooWeak, "the signature is too weak to prove anything");
                refuse()
            }
        }
    }

    /// The log has why; the client learns nothing.
    fn unproved(&mut self, why: &Unproved) -> Auth {
        self.0.attempts.refuse(why.code(), why.to_string());
        refuse()
    }

    /// Confirms (RFC 4254, section 6.5) and starts; what goes wrong later is told on the channel's stderr and by its exit status.
    fn start(&mut self, id: ChannelId, kind: RequestKind, session: &mut Session) -> Result<(), russh::Error> {
        // confirmed first, so that no byte of output can overtake the confirmation
        let free = self.0.channel(id).is_some_and(|channel| channel.writer.is_some());
        if free && let Some(inbox) = self.0.inbox(id) {
            // in this order OpenSSH's own server does it
            session.grow_window(id, inbox.widen(self.0.first_window()))?;
        }
        answer(session, id, free)?;
        if free {
            self.0.start(id, kind, session.handle());
        } else {
            let (asked, why) = (format!("second {}", kind.action().name()), "a channel runs one program");
            self.0.note_refusal(&asked, RefusalCode::RequestOutOfPlace, why);
        }
        Ok(())
    }

    /// A forward through the login's node.
    async fn open_forward(
        &mut self,
        wanted: Wanted<'_>,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        if !self.0.restrictions().lets_forward() {
            self.0.note_refusal(&wanted.to_string(), RefusalCode::TakenByTheKey, NO_FORWARDING_BY_KEY);
            forward::refuse(reply, PROHIBITED, NO_FORWARDING_BY_KEY).await;
            return Ok(());
        }
        if let Err(ended) = self.0.may_open() {
            forward::refuse(reply, PROHIBITED, &ended.to_string()).await;
            return Ok(());
        }
        if let Some((reply, code, why)) = self.0.open_forward(wanted, channel, reply, session.handle()) {
            forward::refuse(reply, code, &why).await;
        }
        Ok(())
    }

    /// Something that a client offers with every session, from its configuration and mostly without its person's knowing:
    /// what refuses it must not stand on the stderr of every command. `ssh -v` shows it, and the event log has it.
    fn refuse_offer(&mut self, asked: &str, text: &'static str, session: &mut Session) -> Result<(), russh::Error> {
        self.0.note_refusal(asked, RefusalCode::ForwardingNotServed, text);
        // RFC 4253, section 11.3: not one that is always to be displayed
        session.debug(false, text, "en")
    }

    /// Something that was asked for and is refused while the session goes on: a line for a person, a message for `ssh -v`.
    fn refuse_feature(&mut self, asked: &str, text: &'static str, session: &mut Session) -> Result<(), russh::Error> {
        self.0.note_refusal(asked, RefusalCode::ForwardingNotServed, text);
        self.0.notice(text);
        session.debug(true, text, "en")
    }
}

fn answer(session: &mut Session, id: ChannelId, accepted: bool) -> Result<(), russh::Error> {
    if accepted { session.channel_success(id) } else { session.channel_failure(id) }
}

fn refuse() -> Auth {
    Auth::Reject { proceed_with_methods: None, partial_success: false }
}

fn window_size(cols: u32, rows: u32, x_pixels: u32, y_pixels: u32) -> WindowSize {
    let small = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
    WindowSize { cols: small(cols), rows: small(rows), x_pixels: small(x_pixels), y_pixels: small(y_pixels) }
}

fn signal_name(signal: &Sig) -> String {
    match signal {
        Sig::Custom(name) => name.clone(),
        known => format!("{known:?}"),
    }
}

/// Whether a client does something with the host keys that it is told (`UpdateHostKeys`). Others would throw them away, and some of
/// the oldest hang up for a request that they do not know.
fn learns_host_keys(identification: &[u8]) -> bool {
    [&b"SSH-2.0-OpenSSH_"[..], b"SSH-2.0-AsyncSSH_"].iter().any(|known| identification.starts_with(known))
}

/// What the client calls itself, and what the last key exchange agreed on.
fn client_facts(session: &Session, profile: Algorithms) -> ClientFacts {
    let version = plain_text_up_to(LONGEST_VERSION, &String::from_utf8_lossy(session.remote_sshid()));
    let algorithms = session.negotiated().map(|names| Negotiated {
        profile: profile.name(),
        kex: names.kex.as_ref().to_owned(),
        host_key: names.key.to_string(),
        cipher: names.cipher.as_ref().to_owned(),
        // a cipher that authenticates takes none, whatever was agreed on (RFC 5647, section 5.1)
        mac: match names.cipher.as_ref() {
            cipher if cipher.contains("gcm") || cipher.contains("poly1305") => String::new(),
            _ => names.client_mac.as_ref().to_owned(),
        },
    });
    ClientFacts { version: (!version.is_empty()).then_some(version), algorithms }
}

/// The longest line that a client may begin with, but for its end (RFC 4253, section 4.2).
const LONGEST_VERSION: usize = 253;
