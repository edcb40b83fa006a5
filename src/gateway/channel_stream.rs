//! A channel as one stream of bytes, for what speaks a protocol of its own over it (SFTP, SCP).
//!
//! Reading takes from the inbox, so the client's window grows as bytes are taken. Shutting it down sends nothing: the
//! status, the EOF and the close that end a channel have an order, which is the channel's business.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::client_channel::ClientChannel;
use super::inbox::Inbox;

/// Bytes from and to the client.
pub(super) struct ChannelStream {
    inbox: Arc<Inbox>,
    writer: Pin<Box<dyn AsyncWrite + Send + Sync>>,
}

impl ChannelStream {
    pub(super) fn new(client: &ClientChannel) -> Self {
        Self { inbox: client.inbox.clone(), writer: Box::pin(client.writer.make_writer()) }
    }
}

impl AsyncRead for ChannelStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(bytes) = ready!(self.inbox.poll_next(cx, buf.remaining())) {
            buf.put_slice(&bytes);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ChannelStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if self.inbox.is_gone() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.writer.as_mut().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
