//! What a node's sshd has said on one channel and nobody has taken yet.
//!
//! ```text
//!   connection's task ──data, exit, end──▶ ┌ chunks, no more than the window ┐ ──▶ the channel's task
//!    (never waits)                         └ and what comes once             ┘
//! ```

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};

use crate::model::Exit;

/// Chunks that are kept apart; of a server that sends a byte at a time they are merged.
const MAX_CHUNKS: usize = 1024;

/// More answers than this are to nothing that was asked.
const MAX_REPLIES: usize = 512;

/// Which of a channel's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// One thing that it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// It has done what was asked for, or has not.
    Reply(bool),
    Data(Stream, Bytes),
    /// The first one counts. Data that came before it comes before it here.
    Exit(Exit),
    /// Nothing more comes.
    Closed,
    /// Nor of any other channel: the connection is over.
    Lost(String),
}

#[derive(Debug, Default)]
pub(super) struct Inbox(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    replies: VecDeque<bool>,
    chunks: VecDeque<(Stream, Bytes)>,
    /// Bytes that are no stream's: taken at once.
    skipped: usize,
    exit: Option<Exit>,
    has_exited: bool,
    closed: bool,
    lost: Option<String>,
    waker: Option<Waker>,
}

impl Inbox {
    pub(super) fn data(&self, stream: Stream, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        self.change(|inner| {
            inner.chunks.push_back((stream, Bytes::copy_from_slice(data)));
            if inner.chunks.len() >= MAX_CHUNKS {
                inner.merge();
            }
        });
    }

    /// Bytes of a stream that nobody knows.
    pub(super) fn skip(&self, bytes: usize) {
        self.change(|inner| inner.skipped += bytes);
    }

    pub(super) fn reply(&self, done: bool) {
        self.change(|inner| {
            if inner.replies.len() < MAX_REPLIES {
                inner.replies.push_back(done);
            }
        });
    }

    pub(super) fn exit(&self, exit: Exit) {
        self.change(|inner| {
            if !std::mem::replace(&mut inner.has_exited, true) {
                inner.exit = Some(exit);
            }
        });
    }

    pub(super) fn close(&self) {
        self.change(|inner| inner.closed = true);
    }

    pub(super) fn lose(&self, why: &str) {
        self.change(|inner| inner.lost = inner.lost.take().or_else(|| Some(why.to_owned())));
    }

    /// The next word, and how many bytes nobody needed to take meanwhile.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<(Word, usize)> {
        let mut inner = self.lock();
        let skipped = std::mem::take(&mut inner.skipped);
        let word = inner.next();
        match word {
            Some(word) => Poll::Ready((word, skipped)),
            None if skipped > 0 => Poll::Ready((Word::Data(Stream::Stderr, Bytes::new()), skipped)),
            None => {
                inner.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        let waker = {
            let mut inner = self.lock();
            change(&mut inner);
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn next(&mut self) -> Option<Word> {
        if let Some(done) = self.replies.pop_front() {
            return Some(Word::Reply(done));
        }
        if let Some((stream, bytes)) = self.chunks.pop_front() {
            return Some(Word::Data(stream, bytes));
        }
        if let Some(exit) = self.exit.take() {
            return Some(Word::Exit(exit));
        }
        if self.closed {
            return Some(Word::Closed);
        }
        self.lost.clone().map(Word::Lost)
    }

    /// Each stream's chunks become one.
    fn merge(&mut self) {
        let (mut stdout, mut stderr) = (BytesMut::new(), BytesMut::new());
        for (stream, bytes) in self.chunks.drain(..) {
            match stream {
                Stream::Stdout => stdout.extend_from_slice(&bytes),
                Stream::Stderr => stderr.extend_from_slice(&bytes),
            }
        }
        let both = [(Stream::Stdout, stdout), (Stream::Stderr, stderr)];
        self.chunks.extend(both.into_iter().filter(|(_, bytes)| !bytes.is_empty()).map(|(s, b)| (s, b.freeze())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(inbox: &Inbox) -> Vec<Word> {
        let mut context = Context::from_waker(Waker::noop());
        let mut words = Vec::new();
        while let Poll::Ready((word, _)) = inbox.poll_next(&mut context) {
            let is_last = matches!(word, Word::Closed | Word::Lost(_));
            words.push(word);
            if is_last {
                break;
            }
        }
        words
    }

    #[test]
    fn what_was_said_comes_before_the_end_and_the_first_end_counts() {
        let inbox = Inbox::default();
        inbox.reply(true);
        inbox.data(Stream::Stdout, b"out");
        inbox.exit(Exit::Code(3));
        inbox.data(Stream::Stderr, b"err");
        inbox.exit(Exit::Code(0));
        inbox.close();
        inbox.lose("gone");
        let data = |stream, text: &'static str| Word::Data(stream, text.into());
        let expected = [
            Word::Reply(true),
            data(Stream::Stdout, "out"),
            data(Stream::Stderr, "err"),
            Word::Exit(Exit::Code(3)),
            Word::Closed,
        ];
        assert_eq!(words(&inbox), expected);
    }

    #[test]
    fn a_byte_at_a_time_costs_no_more_than_bytes_do() {
        let inbox = Inbox::default();
        for n in 0..50_000_u32 {
            let stream = if n % 2 == 0 { Stream::Stdout } else { Stream::Stderr };
            inbox.data(stream, &[n.to_be_bytes()[3]]);
            inbox.reply(true);
            inbox.data(stream, b"");
        }
        assert!(inbox.lock().chunks.len() <= MAX_CHUNKS && inbox.lock().replies.len() <= MAX_REPLIES);
        inbox.close();
        let of = |wanted| {
            let bytes = words(&inbox).into_iter().filter_map(move |word| match word {
                Word::Data(stream, bytes) if stream == wanted => Some(bytes),
                _ => None,
            });
            bytes.flatten().collect::<Vec<u8>>()
        };
        let expected: Vec<u8> = (0..50_000_u32).filter(|n| n % 2 == 0).map(|n| n.to_be_bytes()[3]).collect();
        assert_eq!(of(Stream::Stdout), expected);
    }
}
