//! What the SSH library calls for a connection to a node's sshd. It never waits for a channel: what is said on one goes into its inbox.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use russh::client::{ChannelOpenHandle, DisconnectReason, Handler, Msg, Session};
use russh::keys::PublicKeyOrCertificate;
use russh::{Channel, ChannelId, Sig};
use tokio::sync::watch;

use super::error::{LONGEST, SshdError};
use super::host_key::{HostKeyRules, HostNames, Known, known_by};
use super::inbox::{Inbox, Stream};
use crate::model::{Exit, plain_text_up_to};
use crate::transport::plain_port::Ended;

/// The library's end of a connection.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) rules: Arc<HostKeyRules>,
    pub(super) known: Known,
    pub(super) node: HostNames,
    pub(super) shared: Arc<Shared>,
}

/// What both ends of a connection have.
#[derive(Debug, Default)]
pub(super) struct Shared {
    inboxes: Mutex<HashMap<ChannelId, Arc<Inbox>>>,
    /// By what the node was known.
    host_key: Mutex<Option<String>>,
    /// Why it is over, when it is.
    ended: watch::Sender<Option<String>>,
    /// What what carries it says of that.
    carrier: Ended,
}

impl Shared {
    pub(super) fn over(carrier: Ended) -> Self {
        Self { carrier, ..Self::default() }
    }

    /// The inbox of a channel that the node has confirmed.
    pub(super) fn inbox(&self, id: ChannelId) -> Option<Arc<Inbox>> {
        self.inboxes().get(&id).cloned()
    }

    /// Nobody takes anything of a channel any more.
    pub(super) fn forget(&self, id: ChannelId) {
        self.inboxes().remove(&id);
    }

    pub(super) fn host_key(&self) -> String {
        self.host_key.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
    }

    /// Why it is over, where it is.
    pub(super) fn ended(&self) -> Option<String> {
        self.ended.borrow().clone()
    }

    /// The connection is over.
    pub(super) fn end(&self, why: &str) {
        let why = self.carrier.lost().unwrap_or(why);
        self.ended.send_if_modified(|ended| ended.is_none() && ended.replace(why.to_owned()).is_none());
        let why = self.ended().unwrap_or_default();
        self.inboxes().values().for_each(|inbox| inbox.lose(&why));
    }

    fn inboxes(&self) -> MutexGuard<'_, HashMap<ChannelId, Arc<Inbox>>> {
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with(&self, id: ChannelId, tell: impl FnOnce(&Inbox)) {
        if let Some(inbox) = self.inbox(id) {
            tell(&inbox);
        }
    }
}

/// However the library's task ends.
impl Drop for Client {
    fn drop(&mut self) {
        self.shared.end("it has ended");
    }
}

/// A node opens no channel here: each is refused by letting go of its handle.
macro_rules! refuse {
    ($($name:ident($($argument:ident: $kind:ty),*);)*) => {$(
        async fn $name(
            &mut self,
            _: Channel<Msg>,
            $($argument: $kind,)*
            reply: ChannelOpenHandle,
            _: &mut Session,
        ) -> Result<(), SshdError> {
            drop(reply);
            Ok(())
        }
    )*};
}

impl Handler for Client {
    type Error = SshdError;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, SshdError> {
        self.rules.judge(&self.known, &self.node, shown).await?;
        *self.shared.host_key.lock().unwrap_or_else(PoisonError::into_inner) = Some(known_by(shown));
        Ok(true)
    }

    async fn channel_open_confirmation(
        &mut self,
        id: ChannelId,
        _: u32,
        _: u32,
        _: &mut Session,
    ) -> Result<(), SshdError> {
        // before anything else can be said on it
        self.shared.inboxes().insert(id, Arc::default());
        Ok(())
    }

    async fn data(&mut self, id: ChannelId, data: &[u8], _: &mut Session) -> Result<(), SshdError> {
        self.shared.with(id, |inbox| inbox.data(Stream::Stdout, data));
        Ok(())
    }

    async fn extended_data(&mut self, id: ChannelId, kind: u32, data: &[u8], _: &mut Session) -> Result<(), SshdError> {
        self.shared.with(id, |inbox| match kind {
            STDERR => inbox.data(Stream::Stderr, data),
            _ => inbox.skip(data.len()),
        });
        Ok(())
    }

    async fn exit_status(&mut self, id: ChannelId, status: u32, _: &mut Session) -> Result<(), SshdError> {
        self.shared.with(id, |inbox| inbox.exit(Exit::Code(status)));
        Ok(())
    }

    async fn exit_signal(
        &mut self,
        id: ChannelId,
        signal: Sig,
        core_dumped: bool,
        _: &str,
        _: &str,
        _: &mut Session,
    ) -> Result<(), SshdError> {
        let name = plain_text_up_to(LONGEST_SIGNAL, &signal_name(&signal));
        self.shared.with(id, |inbox| inbox.exit(Exit::Signal { name, core_dumped }));
        Ok(())
    }

    async fn channel_success(&mut self, id: ChannelId, _: &mut Session) -> Result<(), SshdError> {
        self.shared.with(id, |inbox| inbox.reply(true));
        Ok(())
    }

    async fn channel_failure(&mut self, id: ChannelId, _: &mut Session) -> Result<(), SshdError> {
        self.shared.with(id, |inbox| inbox.reply(false));
        Ok(())
    }

    async fn channel_close(&mut self, id: ChannelId, _: &mut Session) -> Result<(), SshdError> {
        self.shared.with(id, Inbox::close);
        Ok(())
    }

    refuse! {
        server_channel_open_forwarded_tcpip(_1: &str, _2: u32, _3: &str, _4: u32);
        server_channel_open_forwarded_streamlocal(_1: &str);
        server_channel_open_agent_forward();
        server_channel_open_session();
        server_channel_open_direct_tcpip(_1: &str, _2: u32, _3: &str, _4: u32);
        server_channel_open_direct_streamlocal(_1: &str);
        server_channel_open_x11(_1: &str, _2: u32);
    }

    async fn disconnected(&mut self, reason: DisconnectReason<SshdError>) -> Result<(), SshdError> {
        match reason {
            DisconnectReason::ReceivedDisconnect(said) => {
                let words = plain_text_up_to(LONGEST, &said.message);
                self.shared.end(&format!("the node's sshd hung up: {words}"));
                Ok(())
            }
            DisconnectReason::Error(error) => {
                let why = match &error {
                    SshdError::Lost(why) => why.clone(),
                    other => other.to_string(),
                };
                self.shared.end(&why);
                Err(error)
            }
        }
    }
}

/// `SSH_EXTENDED_DATA_STDERR` (RFC 4254, section 5.2).
const STDERR: u32 = 1;

/// Longer than any signal's name.
const LONGEST_SIGNAL: usize = 32;

fn signal_name(signal: &Sig) -> String {
    match signal {
        Sig::Custom(name) => name.clone(),
        known => format!("{known:?}"),
    }
}
