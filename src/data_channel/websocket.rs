//! Dialling a data channel's websocket: TCP (perhaps through a proxy), TLS, upgrade; limits on everything that a peer
//! could make large.
//!
//! Which URL may be dialled and what its headers are is decided before this, by whoever makes the request: the gateway
//! for a client, the embedded agent for itself.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::{Error as WsError, protocol::WebSocketConfig};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async_with_config};

use super::error::DialError;
use super::proxy::ProxyRules;

/// What a dial gives.
pub type Socket = WebSocketStream<Stream>;

/// What a websocket runs on.
pub type Stream = MaybeTlsStream<TcpStream>;

/// From the first packet to the accepted upgrade.
const DIAL_TIMEOUT: Duration = Duration::from_secs(15);

/// No frame of the protocol is near this size.
const MAX_MESSAGE: usize = 1 << 20;

/// Small, because there are two for every session, and idle ones have them as well: the crate's own default is 128 KiB, taken at once.
const READ_BUFFER: usize = 8 * 1024;

/// How much is gathered before a write without a flush.
const WRITE_BUFFER: usize = 64 * 1024;

/// Dials websockets. Cheap to clone.
#[derive(Clone)]
pub struct Dialer {
    shared: Arc<Shared>,
}

struct Shared {
    proxies: ProxyRules,
    /// In place of the system's certificate authorities.
    roots: Option<Vec<CertificateDer<'static>>>,
    /// Made at the first `wss://`: reading the system's certificates takes milliseconds that a plain one need not spend.
    tls: OnceLock<Result<Arc<rustls::ClientConfig>, DialError>>,
}

impl Dialer {
    /// A dialer that trusts the certificate authorities in `ca_bundle` (PEM), or the system's if there is none.
    pub fn new(ca_bundle: Option<&[u8]>, proxies: ProxyRules) -> Result<Self, DialError> {
        let roots = ca_bundle.map(parse_roots).transpose()?;
        Ok(Self { shared: Arc::new(Shared { proxies, roots, tls: OnceLock::new() }) })
    }

    /// Opens the websocket that `request` names; its headers are sent as they are.
    pub async fn dial(&self, request: http::Request<()>) -> Result<Socket, DialError> {
        let secure = request.uri().scheme_str() == Some("wss");
        let host = request.uri().host().unwrap_or_default().to_owned();
        let port = request.uri().port_u16().unwrap_or(if secure { 443 } else { 80 });
        match tokio::time::timeout(DIAL_TIMEOUT, self.dial_once(request, secure, &host, port)).await {
            Ok(result) => result,
            Err(_) => Err(DialError::Network(format!(
                "{host}:{port} did not open the data channel's websocket within {} s",
                DIAL_TIMEOUT.as_secs()
            ))),
        }
    }

    async fn dial_once(
        &self,
        request: http::Request<()>,
        secure: bool,
        host: &str,
        port: u16,
    ) -> Result<Socket, DialError> {
        let stream = self.connect(secure, host, port).await?;
        let dialled = client_async_with_config(request, stream, Some(websocket_config())).await;
        dialled.map(|(socket, _)| socket).map_err(|error| explain(error, host, port))
    }

    /// Connects to `host:port`, through the proxy if there is one, with TLS if it must be.
    ///
    /// # Errors
    ///
    /// Whatever kept the connection from being there, and trusted; it is not bounded in time.
    pub async fn connect(&self, secure: bool, host: &str, port: u16) -> Result<Stream, DialError> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        // Before anything goes out: without trust there is nothing to say.
        let tls = if secure { Some(TlsConnector::from(self.tls()?)) } else { None };
        let stream = match self.shared.proxies.proxy_for(secure, host) {
            Some(proxy) => {
                let (proxy_host, proxy_port) = proxy.address();
                let mut stream = connect(proxy_host, proxy_port).await?;
                proxy.tunnel(&mut stream, host, port).await?;
                stream
            }
            None => connect(bare, port).await?,
        };
        let Some(tls) = tls else { return Ok(MaybeTlsStream::Plain(stream)) };
        let name = ServerName::try_from(bare.to_owned())
            .map_err(|_| DialError::Tls(format!("{host} is no name that a certificate can be for")))?;
        let secured = tls.connect(name, stream).await;
        secured.map(MaybeTlsStream::Rustls).map_err(|error| explain(WsError::Io(error), host, port))
    }

    fn tls(&self) -> Result<Arc<rustls::ClientConfig>, DialError> {
        self.shared.tls.get_or_init(|| client_tls(self.shared.roots.as_deref())).clone()
    }
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").field("proxies", &self.shared.proxies).finish_non_exhaustive()
    }
}

/// The limits of every data channel's websocket, on either end.
pub fn websocket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(WRITE_BUFFER + MAX_MESSAGE + 1024)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, DialError> {
    let stream = TcpStream::connect((host, port))
        .await
        .map_err(|error| DialError::Network(format!("could not connect to {host}:{port}: {error}")))?;
    // Keystrokes must not wait for acknowledgements.
    stream.set_nodelay(true).map_err(|error| DialError::Network(format!("{host}:{port}: {error}")))?;
    Ok(stream)
}

fn client_tls(own: Option<&[CertificateDer<'static>]>) -> Result<Arc<rustls::ClientConfig>, DialError> {
    let mut roots = rustls::RootCertStore::empty();
    match own {
        Some(own) => roots.add_parsable_certificates(own.iter().cloned()),
        None => roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
    };
    if roots.is_empty() {
        return Err(DialError::Tls(
            "no certificate authority is trusted here: install the ca-certificates package or set AWS_CA_BUNDLE".into(),
        ));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| DialError::Tls(format!("TLS can't be set up: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn parse_roots(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, DialError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(DialError::Tls("the CA bundle holds no certificate in PEM form".into())),
    }
}

fn explain(error: WsError, host: &str, port: u16) -> DialError {
    match error {
        WsError::Http(response) => DialError::Refused { host: host.to_owned(), status: response.status().as_u16() },
        // rustls reports through the stream, so a bad certificate arrives as an input/output error.
        WsError::Io(error) if is_tls(&error) => DialError::Tls(format!(
            "{host}:{port} is not who it must be, or TLS failed: {error}; a private CA belongs in AWS_CA_BUNDLE"
        )),
        WsError::Tls(error) => DialError::Tls(format!("{host}:{port}: TLS failed: {error}")),
        WsError::Io(error) => DialError::Network(format!("the connection to {host}:{port} broke: {error}")),
        other => DialError::Network(format!("{host}:{port} did not open a websocket: {other}")),
    }
}

fn is_tls(error: &std::io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

    use super::*;

    async fn dial_against(answer: &'static str) -> Result<Socket, DialError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            let _ = stream.read(&mut request).await;
        });
        let dialer = Dialer::new(None, ProxyRules::default()).unwrap();
        let request = format!("ws://{address}/v1/data-channel/x").into_client_request().unwrap();
        let result = dialer.dial(request).await;
        server.abort();
        result
    }

    #[tokio::test]
    async fn a_refused_upgrade_tells_its_status() {
        let error = dial_against("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await.unwrap_err();
        assert!(matches!(error, DialError::Refused { status: 403, .. }), "{error}");
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let answer = "HTTP/1.1 302 Found\r\nlocation: ws://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
        let error = dial_against(answer).await.unwrap_err();
        assert!(matches!(error, DialError::Refused { status: 302, .. }), "{error}");
    }

    #[tokio::test]
    async fn nobody_there_is_a_network_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let dialer = Dialer::new(None, ProxyRules::default()).unwrap();
        let error = dialer.dial(format!("ws://{address}/x").into_client_request().unwrap()).await.unwrap_err();
        assert!(matches!(error, DialError::Network(_)), "{error}");
    }

    #[tokio::test]
    async fn only_a_trusted_certificate_is_accepted() {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if let Ok(stream) = acceptor.accept(stream).await {
                    tokio_tungstenite::accept_async(stream).await.unwrap();
                }
            }
        });
        let url = format!("wss://localhost:{port}/v1/data-channel/x");
        let stranger = Dialer::new(None, ProxyRules::default()).unwrap();
        let error = stranger.dial(url.as_str().into_client_request().unwrap()).await.unwrap_err();
        assert!(matches!(error, DialError::Tls(_)), "{error}");
        let friend = Dialer::new(Some(made.cert.pem().as_bytes()), ProxyRules::default()).unwrap();
        friend.dial(url.as_str().into_client_request().unwrap()).await.unwrap();
        // The name must be the certificate's, whoever signed it.
        let other = format!("wss://[::1]:{port}/").into_client_request().unwrap();
        assert!(friend.dial(other).await.is_err());
        server.abort();
    }

    #[tokio::test]
    async fn a_proxy_carries_the_websocket() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = format!("http://bob:pw@{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            tokio_tungstenite::accept_async(stream).await.unwrap();
            String::from_utf8(request).unwrap()
        });
        let dialer = Dialer::new(None, ProxyRules::only(&proxy).unwrap()).unwrap();
        // A name that only the proxy knows.
        dialer.dial("ws://messages.invalid:81/x".into_client_request().unwrap()).await.unwrap();
        let request = server.await.unwrap();
        assert!(request.starts_with("CONNECT messages.invalid:81 HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("\r\nProxy-Authorization: Basic Ym9iOnB3\r\n"), "{request}");
    }

    #[test]
    fn a_ca_bundle_without_a_certificate_is_refused() {
        assert!(matches!(Dialer::new(Some(b"nothing"), ProxyRules::default()), Err(DialError::Tls(_))));
    }
}
