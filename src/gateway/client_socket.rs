//! A client's TCP connection.
//!
//! Clients leave Nagle's algorithm on until they know what the connection is for (OpenSSH's does), so the second of two
//! small packets waits for the acknowledgement of the first. A server that has just spoken delays that by 40 ms (RFC 1122,
//! section 4.2.3.2), for an answer that it may ride on: in the key exchange there is none. So until the login
//! acknowledgements go at once.
//!
//! After it the one of a small packet goes when that has been read and nothing was sent upon it: nothing answers the end of a channel, and a
//! client that says EOF and close and opens the next one would wait twice; nor does anything answer a few bytes of input and their EOF.
//! Where somebody types it does not: an echo answers each key, and a client with a terminal has Nagle's algorithm off by then.

use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::preauth_stream::Progress;

/// The largest packet that is worth an acknowledgement of its own. Of large ones the kernel acknowledges every second anyway.
const SMALL: usize = 256;

pub(super) struct ClientSocket {
    tcp: TcpStream,
    progress: Arc<Progress>,
    /// A small packet has been read, and nothing was sent since.
    unanswered: bool,
}

impl ClientSocket {
    pub(super) fn new(tcp: TcpStream, progress: Arc<Progress>) -> Self {
        // keystrokes must not wait for each other
        let _ = tcp.set_nodelay(true);
        Self { tcp, progress, unanswered: false }
    }

    /// Sends what acknowledgement is due. The kernel forgets it whenever we send (tcp(7), `TCP_QUICKACK`).
    fn acknowledge_at_once(&self) {
        #[cfg(target_os = "linux")]
        let _ = self.tcp.set_quickack(true);
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // whoever reads again has dealt with what came before
        if mem::take(&mut self.unanswered) && !self.progress.has_terminal() {
            self.acknowledge_at_once();
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.tcp).poll_read(cx, buf))?;
        self.unanswered = (1..=SMALL).contains(&(buf.filled().len() - before));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.tcp).poll_write(cx, buf))?;
        self.unanswered = false;
        if !self.progress.is_logged_in() {
            self.acknowledge_at_once();
        }
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
    use std::time::{Duration, Instant};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// A client and its socket after both have spoken in turns, as at the start of a key exchange.
    async fn in_turns(logged_in: bool) -> (TcpStream, ClientSocket, Arc<Progress>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let progress = Arc::<Progress>::default();
        if logged_in {
            progress.logged_in();
        }
        let mut server = ClientSocket::new(listener.accept().await.unwrap().0, progress.clone());
        let mut packet = [0; 64];
        for _ in 0..4 {
            client.write_all(&packet).await.unwrap();
            server.read_exact(&mut packet).await.unwrap();
            server.write_all(&packet).await.unwrap();
            client.read_exact(&mut packet).await.unwrap();
        }
        (client, server, progress)
    }

    /// Whether the kernel would acknowledge at once.
    async fn acknowledges_at_once(logged_in: bool) -> bool {
        in_turns(logged_in).await.1.tcp.quickack().unwrap()
    }

    #[tokio::test]
    async fn until_the_login_the_client_waits_for_no_acknowledgement() {
        assert!(acknowledges_at_once(false).await);
        assert!(!acknowledges_at_once(true).await, "the kernel delays nothing, so this test shows nothing");
    }

    /// How long a client with Nagle's algorithm waits with its second packet, where nothing answers the first.
    async fn second_packet(terminal: bool) -> Duration {
        let (mut client, mut server, progress) = in_turns(true).await;
        if terminal {
            progress.terminal();
        }
        let mut packet = [0; 64];
        let began = Instant::now();
        client.write_all(&packet).await.unwrap();
        client.write_all(&packet).await.unwrap();
        server.read_exact(&mut packet).await.unwrap();
        server.read_exact(&mut packet).await.unwrap();
        began.elapsed()
    }

    #[tokio::test]
    async fn the_end_of_a_channel_is_acknowledged_at_once() {
        // the kernel delays by at least 40 ms; of several some may be late because the machine is
        let (mut typed, mut not) = (Duration::MAX, Duration::MAX);
        for _ in 0..5 {
            typed = typed.min(second_packet(true).await);
            not = not.min(second_packet(false).await);
        }
        assert!(not < Duration::from_millis(30), "{not:?}");
        assert!(typed > Duration::from_millis(30), "the kernel delays nothing, so this test shows nothing: {typed:?}");
    }
}
