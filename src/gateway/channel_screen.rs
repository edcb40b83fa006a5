//! A channel as a screen: what evidence is shown on, and the keys of whoever watches.

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::client_channel::ClientChannel;
use crate::audit::{Asked, Keys, Kind, Screen, Trouble};
use crate::model::{WindowSize, plain_text};

/// What a client may send that has keys only to give.
const KEYS_WINDOW: u32 = 4096;

/// A client's channel, with a terminal or without.
pub(super) struct ChannelScreen<'a> {
    client: &'a ClientChannel,
    size: Option<WindowSize>,
    keys: Keys,
    /// The client sends nothing more.
    silent: bool,
}

impl<'a> ChannelScreen<'a> {
    /// On this channel; `size` is its terminal's, where it has one.
    pub(super) fn new(client: &'a ClientChannel, size: Option<WindowSize>) -> Self {
        client.inbox.open_window(KEYS_WINDOW);
        Self { client, size, keys: Keys::default(), silent: false }
    }

    async fn put(&self, bytes: Bytes) -> Result<(), Trouble> {
        let gone = || Trouble::new(Kind::Gone, "the client is gone");
        tokio::select! {
            biased;
            shown = self.client.stdout(bytes) => shown.map_err(|_| gone()),
            () = self.client.inbox.gone() => Err(gone()),
        }
    }
}

impl Screen for ChannelScreen<'_> {
    fn print<'a>(&'a mut self, text: &'a str) -> BoxFuture<'a, Result<(), Trouble>> {
        let lines: String = text.lines().map(|line| format!("{line}{}", self.client.newline)).collect();
        Box::pin(async { self.put(lines.into()).await })
    }

    fn show(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), Trouble>> {
        Box::pin(async { self.put(bytes).await })
    }

    fn note<'a>(&'a mut self, text: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let _ = self.client.tell(&plain_text(text)).await;
        })
    }

    fn asked(&mut self) -> BoxFuture<'_, Asked> {
        Box::pin(async {
            loop {
                let byte = tokio::select! {
                    biased;
                    () = self.client.inbox.gone() => return Asked::Quit,
                    byte = self.client.typed(), if !self.silent => byte,
                };
                match byte {
                    // without a terminal there are no keys, whatever is sent
                    Some(byte) if self.size.is_some() => {
                        if let Some(asked) = self.keys.take(byte) {
                            return asked;
                        }
                    }
                    Some(_) => {}
                    None => self.silent = true,
                }
            }
        })
    }

    fn width(&self) -> usize {
        self.size.filter(|size| size.cols >= 40).map_or(usize::MAX, |size| size.cols.into())
    }

    fn is_terminal(&self) -> bool {
        self.size.is_some()
    }
}
