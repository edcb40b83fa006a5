//! Channels over the embedded service and its agent: the lanes as the product uses them, with the faults the service can
//! make.

use std::ffi::OsString;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use portcullis_protocol::payload::PayloadType;
use portcullis_protocol::{Message, MessageType};

use super::{EmbeddedService, NODE};
use crate::backend::aws::AwsBackend;
use crate::backend::preferences::{self, Preferences};
use crate::backend::{Directory as _, Realms};
use crate::emulator::agent::Fidelity;
use crate::emulator::faults::{Effect, End, FrameFault, Frames};
use crate::evidence::SessionRecord;
use crate::model::{RealmName, WindowSize};
use crate::policy::{Action, Grant};
use crate::transport::file_service::FileService;
use crate::transport::relay::Relay;
use crate::transport::{
    ChannelSetup, Herald, OpenChannel, PtyRequest, Transport, TransportError, TransportOptions, documents,
};

/// A service, a node and a transport.
pub(crate) struct EmbeddedTransport {
    pub(crate) service: EmbeddedService,
    pub(crate) backend: AwsBackend,
    pub(crate) transport: Transport,
}

impl EmbeddedTransport {
    pub(crate) async fn fast() -> Self {
        Self::new(Fidelity::Fast, TransportOptions::default()).await
    }

    pub(crate) async fn new(fidelity: Fidelity, options: TransportOptions) -> Self {
        Self::under("{}", fidelity, options).await
    }

    /// One in an account with these inputs in its preferences.
    pub(crate) async fn under(inputs: &str, fidelity: Fidelity, options: TransportOptions) -> Self {
        Self::to(EmbeddedService::builder().with_fidelity(fidelity).start().await, inputs, options).await
    }

    /// One to this service.
    pub(crate) async fn to(service: EmbeddedService, inputs: &str, options: TransportOptions) -> Self {
        let backend = AwsBackend::new(RealmName::for_test(), service.aws_options()).await.unwrap();
        let preferences = format!(r#"{{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{inputs}}}"#);
        backend.put_document(preferences::DOCUMENT, &preferences).await.unwrap();
        for (name, content) in documents(&Preferences::of_account(&backend).await.unwrap()) {
            backend.put_document(name, &content).await.unwrap();
        }
        let shared = Arc::new(backend.clone());
        let transport = Transport::new(&Realms::for_test(shared.clone()), shared, options);
        Self { service, backend, transport }
    }

    /// From the first word of a lane's command on, nothing that the node says arrives. Before that a session begins as
    /// ever: without its handshake the agent would give it up. Tells when the node has begun to say something.
    pub(crate) fn silence(&self) -> Arc<Once> {
        let faults = self.service.faults();
        let drop = FrameFault {
            session: None,
            towards: Some(End::Client),
            frames: Frames::Stream,
            percent: 100.0,
            effect: Effect::Drop,
        };
        let begun = Arc::new(Once::new());
        let watched = begun.clone();
        let tapped = self.service.faults().tap(Box::new(move |_, towards, frame| {
            let Ok(message) = Message::decode(frame.clone()) else { panic!("a frame that is none was relayed") };
            let begins = message.payload_type.is_some_and(PayloadType::is_handshake);
            if towards == End::Client && message.kind == MessageType::OutputStreamData && !begins {
                begun.call_once(|| faults.inject(drop.clone()));
            }
        }));
        assert!(tapped);
        watched
    }

    pub(crate) async fn exec(&self, command: &str, stdin_closed: bool) -> Result<OpenChannel, TransportError> {
        let grant = Grant::for_test(NODE, Action::Exec { command: command.as_bytes().to_vec() });
        let setup = ChannelSetup { stdin_closed, ..ChannelSetup::default() };
        self.transport.open(grant, SessionRecord::for_test().lanes(), setup, Herald::default()).await
    }

    /// A shell on a terminal.
    pub(crate) async fn shell(&self) -> Result<OpenChannel, TransportError> {
        let pty = PtyRequest {
            term: "dumb".to_owned(),
            size: WindowSize { cols: 80, rows: 24, x_pixels: 0, y_pixels: 0 },
            modes: Vec::new(),
        };
        let setup = ChannelSetup { pty: Some(pty), ..ChannelSetup::default() };
        self.transport
            .open(Grant::for_test(NODE, Action::Shell), SessionRecord::for_test().lanes(), setup, Herald::default())
            .await
    }

    /// A file service on the node.
    pub(crate) async fn files(&self) -> FileService {
        let grant = Grant::for_test(NODE, Action::Files);
        self.transport.open_files(grant, SessionRecord::for_test().lanes(), Herald::default()).await.unwrap()
    }

    /// A relay on the node.
    pub(crate) async fn relay(&self) -> Relay {
        let grant = Grant::for_test(NODE, Action::Forward { host: "127.0.0.1".to_owned(), port: 80 });
        self.transport.open_relay(grant, SessionRecord::for_test().lanes(), Herald::default()).await.unwrap()
    }

    /// What the helpers have left in their directory.
    pub(crate) async fn litter(&self) -> Vec<OsString> {
        let until = Instant::now() + Duration::from_secs(40);
        loop {
            let run = std::fs::read_dir(self.service.runtime_directory()).unwrap();
            let left: Vec<_> = run.map(|entry| entry.unwrap().file_name()).collect();
            if left.is_empty() || Instant::now() > until {
                return left;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
