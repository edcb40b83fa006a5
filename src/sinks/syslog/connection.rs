//! A connection to a server, over TLS.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::SyslogConfig;
use crate::error::{Failure, SinkError};

/// How long a connection may take to stand, and a write to be taken.
const PATIENCE: Duration = Duration::from_secs(30);

/// What makes connections.
pub(crate) struct Connector {
    tls: TlsConnector,
    host: String,
    port: u16,
    name: ServerName<'static>,
}

impl Connector {
    pub(crate) fn new(config: &SyslogConfig) -> Result<Self, SinkError> {
        let wrong = |why: String| SinkError::Configuration(format!("the sink {}: {why}", config.name));
        let mut roots = RootCertStore::empty();
        match &config.ca_file {
            Some(file) => {
                for certificate in certificates(file).map_err(wrong)? {
                    roots.add(certificate).map_err(|error| wrong(format!("{}: {error}", file.display())))?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        if roots.is_empty() {
            return Err(wrong("there is no authority to verify the server by; name one in ca_file".to_owned()));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let tls = tls.map_err(|error| wrong(error.to_string()))?.with_root_certificates(roots);
        let tls = match (&config.certificate_file, &config.key_file) {
            (Some(certificate), Some(key)) => {
                // what is wrong with a key is told without the key
                let private = PrivateKeyDer::from_pem_file(key)
                    .map_err(|_| wrong(format!("{} has no private key in PEM that can be read", key.display())))?;
                let own = certificates(certificate).map_err(wrong)?;
                tls.with_client_auth_cert(own, private).map_err(|error| wrong(error.to_string()))?
            }
            _ => tls.with_no_client_auth(),
        };
        let name = ServerName::try_from(config.host.clone());
        let name = name.map_err(|_| wrong(format!("{:?} is no name of a host", config.host)))?;
        let tls = TlsConnector::from(Arc::new(tls));
        Ok(Self { tls, host: config.host.clone(), port: config.port, name })
    }

    pub(crate) async fn connect(&self) -> Result<Connection, Failure> {
        let on = format!("the syslog server {}:{}", self.host, self.port);
        let failed = |why: String| Failure::Sink(format!("{on} {why}"));
        let late = |_| failed(format!("did not answer in {} seconds", PATIENCE.as_secs()));
        let tcp = timeout(PATIENCE, TcpStream::connect((self.host.as_str(), self.port))).await.map_err(late)?;
        let tcp = tcp.map_err(|error| failed(format!("can't be reached: {error}")))?;
        let tls = timeout(PATIENCE, self.tls.connect(self.name.clone(), tcp)).await.map_err(late)?;
        let tls = tls.map_err(|error| failed(format!("and the gateway agree on no TLS: {error}")))?;
        let (mut reader, writer) = tokio::io::split(tls);
        let (ended, closed) = oneshot::channel();
        // a server says nothing; what it says all the same is not kept, and its end is noticed before the next message
        let watcher = tokio::spawn(async move {
            let mut buffer = [0; 256];
            while reader.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
            let _ = ended.send(());
        });
        Ok(Connection { writer, closed, watcher: watcher.abort_handle(), on })
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let read = read.map_err(|error| format!("{} can't be read: {error}", file.display()))?;
    if read.is_empty() { Err(format!("{} has no certificate in PEM", file.display())) } else { Ok(read) }
}

/// One that stands, as far as anybody knows.
pub(crate) struct Connection {
    writer: WriteHalf<TlsStream<TcpStream>>,
    closed: oneshot::Receiver<()>,
    watcher: tokio::task::AbortHandle,
    on: String,
}

impl Connection {
    /// Whether the server has closed it.
    pub(crate) fn is_closed(&mut self) -> bool {
        !matches!(self.closed.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    }

    /// Until the server closes it.
    pub(crate) async fn closed(&mut self) {
        if !self.watcher.is_finished() {
            let _ = (&mut self.closed).await;
        }
    }

    pub(crate) fn lost(&self) -> Failure {
        Failure::Sink(format!("{} closed the connection", self.on))
    }

    pub(crate) async fn write(&mut self, frames: &[u8]) -> Result<(), Failure> {
        if self.is_closed() {
            return Err(self.lost());
        }
        let written = timeout(PATIENCE, async {
            self.writer.write_all(frames).await?;
            self.writer.flush().await
        });
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure::Sink(format!("{} takes no more: {error}", self.on))),
            Err(_) => Err(Failure::Sink(format!("{} took nothing for {} seconds", self.on, PATIENCE.as_secs()))),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}
