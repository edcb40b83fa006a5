//! One session's way to the message service: the first websocket with StartSession's token, every later one with a fresh
//! token from ResumeSession; each dial with a checked URL and a new signature.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use portcullis_protocol::open::{OpenDataChannel, Token};
use tokio::net::TcpStream;
use tokio_tungstenite::MaybeTlsStream;
use uuid::Uuid;

use super::error::{Kind, explain, kind};
use super::persons::Caller;
use super::shared::Inner;
use super::sign::upgrade_request;
use crate::backend::BackendError;
use crate::data_channel::{CLIENT_VERSION, ConnectError, ConnectFuture, Connected, Connector, DialError, Finish};
use crate::model::SessionId;

/// Connects one session.
pub(super) struct AwsConnector {
    inner: Arc<Inner>,
    caller: Caller,
    session: SessionId,
    /// Stays the same through every resume.
    client_id: Uuid,
    way: Mutex<Way>,
}

#[derive(Clone)]
struct Way {
    url: String,
    /// Not used up yet.
    token: Option<Token>,
}

impl AwsConnector {
    pub(super) fn new(inner: Arc<Inner>, caller: Caller, session: SessionId, url: String, token: Token) -> Self {
        let way = Mutex::new(Way { url, token: Some(token) });
        Self { inner, caller, session, client_id: Uuid::new_v4(), way }
    }

    async fn dial(&self) -> Result<Connected<MaybeTlsStream<TcpStream>>, ConnectError> {
        let way = self.way.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (url, token) = match way.token {
            Some(token) => (way.url, token),
            None => self.resume(way.url).await?,
        };
        let clients = &self.inner.clients;
        let uri = clients.origin.check(&url).map_err(|error| ConnectError::Permanent(error.to_string()))?;
        let credentials = self.caller.credentials(clients).await;
        let credentials = credentials.map_err(|error| ConnectError::Transient(error.to_string()))?;
        let request = upgrade_request(&uri, &clients.region, &credentials, SystemTime::now())
            .map_err(|error| ConnectError::Permanent(error.to_string()))?;
        let socket = match clients.dialer.dial(request).await {
            Ok(socket) => socket,
            Err(error) => return Err(self.explain_dial(&error).await),
        };
        let open = OpenDataChannel::client(Uuid::new_v4(), token, self.client_id, CLIENT_VERSION).encode();
        *self.way.lock().unwrap_or_else(PoisonError::into_inner) = Way { url, token: None };
        Ok(Connected { socket, open })
    }

    async fn resume(&self, known_url: String) -> Result<(String, Token), ConnectError> {
        let ended =
            || ConnectError::SessionEnded(format!("the session {} has ended and can't be resumed", self.session));
        let clients = &self.inner.clients;
        let (config, _) =
            self.caller.config(clients).await.map_err(|error| ConnectError::Transient(error.to_string()))?;
        let call = clients.ssm.resume_session().session_id(&self.session.0);
        let answer = call.customize().config_override(config).send().await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let context = self.caller.call(clients, "ResumeSession", &self.session.0);
                if kind(&error) == Kind::Credentials {
                    self.caller.forget(clients).await;
                }
                return Err(match kind(&error) {
                    Kind::NoSuchThing => ended(),
                    Kind::Denied | Kind::BadParameters => ConnectError::Permanent(explain(context, &error).to_string()),
                    // Credentials may be renewed meanwhile: they often end in the hour in which the socket is closed.
                    _ => ConnectError::Transient(explain(context, &error).to_string()),
                });
            }
        };
        // No token: the session has timed out. AWS's client reads only the token, so a missing URL means the old one.
        let token = answer.token_value.filter(|token| !token.is_empty()).ok_or_else(ended)?;
        Ok((answer.stream_url.filter(|url| !url.is_empty()).unwrap_or(known_url), Token::new(token)))
    }

    async fn explain_dial(&self, error: &DialError) -> ConnectError {
        match error {
            DialError::Refused { status: 401 | 403, .. } => {
                let clients = &self.inner.clients;
                self.caller.forget(clients).await;
                let whose = self.caller.whose();
                let operator = format!("{error}; grant {OPEN_DATA_CHANNEL} to {whose}, and check the clock");
                clients.refusals.note(OPEN_DATA_CHANNEL, &operator);
                let denied = BackendError::Denied { call: OPEN_DATA_CHANNEL.to_owned(), operator };
                ConnectError::Transient(denied.to_string())
            }
            DialError::Refused { status: 400..=499, .. } => {
                // the token is of no more use; whether the session is over is what ResumeSession knows
                self.way.lock().unwrap_or_else(PoisonError::into_inner).token = None;
                ConnectError::Transient(error.to_string())
            }
            DialError::Tls(text) => ConnectError::Permanent(text.clone()),
            other => ConnectError::Transient(other.to_string()),
        }
    }
}

/// The permission to connect a websocket to a session's data channel, as policies name it.
const OPEN_DATA_CHANNEL: &str = "ssmmessages:OpenDataChannel";

impl Connector for AwsConnector {
    type Io = MaybeTlsStream<TcpStream>;

    fn connect(self: Arc<Self>) -> ConnectFuture<Self::Io> {
        Box::pin(async move { self.dial().await })
    }

    fn finish(self: Arc<Self>, how: Finish) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            if how == Finish::Abandoned
                && let Err(error) = self.inner.terminate(&self.caller, &self.session).await
            {
                tracing::warn!(session = %self.session, %error, "a session was not terminated");
            }
        })
    }
}
