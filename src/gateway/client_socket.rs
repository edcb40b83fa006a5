//! A client's TCP connection.
//!
//! Clients leave Nagle's algorithm on until they know what the connection is for (OpenSSH's does), so the second of two
//! small packets waits for the acknowledgement of the first. A server that has just spoken delays that by 40 ms (RFC 1122,
//! section 4.2.3.2), for an answer that it may ride on: in the key exchange there is none. So until the login
//! acknowledgements go at once.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::preauth_stream::Progress;

pub(super) struct ClientSocket {
    tcp: TcpStream,
    progress: Arc<Progress>,
}

impl ClientSocket {
    pub(super) fn new(tcp: TcpStream, progress: Arc<Progress>) -> Self {
        // keystrokes must not wait for each other
        let _ = tcp.set_nodelay(true);
        Self { tcp, progress }
    }

    /// The kernel forgets it whenever we send (tcp(7), `TCP_QUICKACK`).
    fn acknowledge_at_once(&self) {
        #[cfg(target_os = "linux")]
        if !self.progress.is_logged_in() {
            let _ = self.tcp.set_quickack(true);
        }
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.tcp).poll_write(cx, buf))?;
        self.acknowledge_at_once();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// Whether the kernel would acknowledge at once after both have spoken in turns, as at the start of a key exchange.
    async fn acknowledges_at_once(logged_in: bool) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let progress = Arc::<Progress>::default();
        if logged_in {
            progress.logged_in();
        }
        let mut server = ClientSocket::new(listener.accept().await.unwrap().0, progress);
        let mut packet = [0; 64];
        for _ in 0..4 {
            client.write_all(&packet).await.unwrap();
            server.read_exact(&mut packet).await.unwrap();
            server.write_all(&packet).await.unwrap();
            client.read_exact(&mut packet).await.unwrap();
        }
        server.tcp.quickack().unwrap()
    }

    #[tokio::test]
    async fn until_the_login_the_client_waits_for_no_acknowledgement() {
        assert!(acknowledges_at_once(false).await);
        assert!(!acknowledges_at_once(true).await, "the kernel delays nothing, so this test shows nothing");
    }
}
