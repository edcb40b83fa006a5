//! Reads of an open file, a little ahead of a client that reads in sequence.
//!
//! ```text
//!   client's requests     |--32K--|--32K--|--32K--|            next
//!   chunks asked for      |------------256K-----------|--------256K--------|-------- …
//!                                                      └──── reach: as far as the client comes in time, 2 MiB at most ────┘
//! ```
//!
//! Fewer and larger operations cost the node less, and what is on its way before the client asks costs no round trip.
//!
//! **How old an answer may be.** OpenSSH's server reads a file when it is asked to, and so must we but for a moment: what has
//! arrived from the node longer ago than the reader allows is asked for again, and the reach halves, so that a slow client is
//! not read ahead of further than it comes in time. Any change that the session itself makes drops all chunks, and the end of
//! the file is answered from a chunk at most once, so that a client which follows a growing file sees it grow.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::access::{Refusal, answer};
use crate::transport::file_service::{Answer, FileService, Handle, LARGEST_READ, Operation};

/// The chunks of one open file.
#[derive(Debug)]
pub(super) struct ReadAhead {
    chunks: VecDeque<Chunk>,
    /// Where the next request starts if the client reads in sequence.
    next: u64,
    /// How far ahead of `next` chunks are asked for. It doubles up to `threshold` and grows by what is asked for from there.
    reach: u64,
    threshold: u64,
    /// Requests in sequence so far.
    streak: u32,
    last_request: Instant,
    /// How long what has come may be given to the client.
    fresh: Duration,
    /// Bytes that all files of the session together may have asked for ahead.
    room: Arc<Semaphore>,
}

#[derive(Debug)]
struct Chunk {
    offset: u64,
    length: u32,
    data: Data,
    _room: Option<OwnedSemaphorePermit>,
}

type Data = Shared<BoxFuture<'static, Result<Arrived, Refusal>>>;

#[derive(Clone, Debug)]
struct Arrived {
    bytes: Bytes,
    at: Instant,
}

/// One request's bytes, on their way.
#[derive(Debug)]
pub(super) struct Reading {
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    data: Data,
    skip: usize,
    take: usize,
}

/// The room that [`ReadAhead`]s share.
pub(super) fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(ROOM))
}

impl ReadAhead {
    pub(super) fn new(room: Arc<Semaphore>, fresh: Duration) -> Self {
        let (chunks, last_request) = (VecDeque::new(), Instant::now());
        Self { chunks, next: 0, reach: FIRST_REACH, threshold: DEPTH, streak: 0, last_request, fresh, room }
    }

    /// Forgets what was read ahead: it may no longer be what the file holds.
    pub(super) fn clear(&mut self) {
        self.chunks.clear();
    }

    /// Issues what a request needs and is not yet on its way, and something more where that is likely to be asked next.
    pub(super) async fn read(&mut self, files: &FileService, handle: Handle, offset: u64, length: u32) -> Reading {
        let length = length.min(LARGEST_READ);
        let end = offset.saturating_add(u64::from(length));
        // of nothing there is nothing to keep, and where no file can be the node says so
        if length == 0 || end == u64::MAX {
            let data = ask(files, handle, offset, length).await;
            return Reading { parts: vec![Part { data, skip: 0, take: length as usize }] };
        }
        let in_time = std::mem::replace(&mut self.last_request, Instant::now()).elapsed() <= self.fresh;
        if self.chunks.iter().any(Chunk::failed) {
            self.clear();
        }
        let covers = |chunk: &Chunk| chunk.offset < end && offset < chunk.end();
        if self.chunks.iter().any(|chunk| covers(chunk) && chunk.is_older_than(self.fresh)) {
            self.threshold = self.reach / 2;
            self.reach = self.threshold;
            self.clear();
        }
        let known = self.chunks.iter().any(|chunk| chunk.offset <= offset && offset < chunk.end());
        if !known && offset != self.next {
            (self.streak, self.reach, self.next) = (0, FIRST_REACH, end);
            self.clear();
            let data = ask(files, handle, offset, length).await;
            return Reading { parts: vec![Part { data, skip: 0, take: length as usize }] };
        }
        if !known {
            self.clear();
        }
        while self.chunks.front().is_some_and(|chunk| chunk.end() <= offset) {
            self.chunks.pop_front();
        }
        let (parts, ended) = self.collect(files, handle, offset, end).await;
        self.next = self.next.max(end);
        self.streak = self.streak.saturating_add(1);
        if ended {
            (self.streak, self.next) = (0, end);
            self.clear();
        } else {
            // for who takes longer than an answer may be old, nothing ahead will be in time
            if in_time && self.streak > 1 {
                let grown = if self.reach < self.threshold { self.reach * 2 } else { self.reach + u64::from(length) };
                self.reach = grown.min(DEPTH);
            }
            self.extend(files, handle, length).await;
        }
        Reading { parts }
    }

    /// The parts of `offset..end`, issuing what is missing; and whether the file is known to end before `end`.
    async fn collect(&mut self, files: &FileService, handle: Handle, offset: u64, end: u64) -> (Vec<Part>, bool) {
        let mut parts = Vec::new();
        let mut position = offset;
        while position < end {
            let found = self.chunks.iter().position(|chunk| chunk.offset <= position && position < chunk.end());
            let index = match found {
                Some(index) => index,
                None => {
                    let missing = u32::try_from(end - position).unwrap_or(LARGEST_READ);
                    let length = self.chunk_length(missing);
                    let (length, room) = match self.take_room(length) {
                        Some(room) => (length, Some(room)),
                        None => (missing, None),
                    };
                    let data = ask(files, handle, position, length).await;
                    self.chunks.push_back(Chunk { offset: position, length, data, _room: room });
                    self.chunks.len() - 1
                }
            };
            let chunk = &self.chunks[index];
            let stop = chunk.end().min(end);
            let skip = usize::try_from(position - chunk.offset).unwrap_or(usize::MAX);
            let take = usize::try_from(stop - position).unwrap_or(usize::MAX);
            parts.push(Part { data: chunk.data.clone(), skip, take });
            if chunk.ends_before(stop) {
                return (parts, true);
            }
            position = stop;
        }
        (parts, false)
    }

    async fn extend(&mut self, files: &FileService, handle: Handle, length: u32) {
        if self.streak < 2 || self.chunks.iter().any(Chunk::short) {
            return;
        }
        loop {
            let asked = self.chunks.back().map_or(self.next, Chunk::end);
            let chunk = self.chunk_length(length);
            // whole chunks only: what is asked for in bits is no less work than if the client asked itself
            if asked.saturating_add(u64::from(chunk)) > self.next.saturating_add(self.reach) {
                return;
            }
            let Some(room) = self.take_room(chunk) else { return };
            let data = ask(files, handle, asked, chunk).await;
            self.chunks.push_back(Chunk { offset: asked, length: chunk, data, _room: Some(room) });
        }
    }

    /// A multiple of what the client asks for, so that most requests lie within one chunk.
    fn chunk_length(&self, request: u32) -> u32 {
        let most = if self.streak == 0 { FIRST_CHUNK } else { CHUNK };
        let wanted = u32::try_from(self.reach).unwrap_or(most).min(most);
        let request = request.max(1);
        (wanted / request * request).max(request)
    }

    fn take_room(&self, bytes: u32) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).try_acquire_many_owned(bytes).ok()
    }
}

impl Chunk {
    fn end(&self) -> u64 {
        self.offset.saturating_add(u64::from(self.length))
    }

    /// What has come, if it has.
    fn came(&self) -> Option<Result<Arrived, Refusal>> {
        self.data.clone().now_or_never()
    }

    fn is_older_than(&self, age: Duration) -> bool {
        matches!(self.came(), Some(Ok(arrived)) if arrived.at.elapsed() > age)
    }

    /// Whether it has come, and the file ends in it before this offset.
    fn ends_before(&self, offset: u64) -> bool {
        let came = |arrived: &Arrived| self.offset.saturating_add(arrived.bytes.len() as u64) < offset;
        matches!(self.came(), Some(Ok(arrived)) if came(&arrived))
    }

    fn short(&self) -> bool {
        self.ends_before(self.end())
    }

    fn failed(&self) -> bool {
        matches!(self.came(), Some(Err(_)))
    }
}

impl Reading {
    /// The bytes; fewer than asked for, or none, at the end of the file.
    pub(super) async fn bytes(self) -> Result<Bytes, Refusal> {
        let mut joined = BytesMut::new();
        let single = self.parts.len() == 1;
        for part in self.parts {
            let bytes = match part.data.await {
                Ok(arrived) => arrived.bytes,
                Err(refusal) if joined.is_empty() => return Err(refusal),
                Err(_) => break,
            };
            let start = part.skip.min(bytes.len());
            let stop = part.skip.saturating_add(part.take).min(bytes.len());
            if single {
                return Ok(bytes.slice(start..stop));
            }
            joined.extend_from_slice(&bytes[start..stop]);
            if stop - start < part.take {
                break;
            }
        }
        Ok(joined.freeze())
    }
}

async fn ask(files: &FileService, handle: Handle, offset: u64, length: u32) -> Data {
    let answering = files.issue(Operation::Read { handle, offset, length }).await;
    // a task of its own, so that the time of its arrival is known though nobody waits for it yet
    let arrival = tokio::spawn(async move { (answer(answering).await, Instant::now()) });
    let data = async move {
        let gone = || Refusal::NodeGone("the session is ending".to_owned());
        let (result, at) = arrival.await.map_err(|_| gone())?;
        match result? {
            Answer::Bytes(bytes) if bytes.len() <= length as usize => Ok(Arrived { bytes, at }),
            _ => Err(Refusal::nonsense()),
        }
    };
    data.boxed().shared()
}

/// How long SFTP gives what has come: a client reads when it asks, but for this.
pub(super) const FRESH: Duration = Duration::from_millis(40);
/// The same where the server reads the whole file for itself and the client's taking it is all that takes time, as in SCP.
pub(super) const WHILE_TAKEN: Duration = Duration::from_secs(1);
/// What the first read of a file asks for: most files end in it.
const FIRST_CHUNK: u32 = 64 * 1024;
const FIRST_REACH: u64 = 64 * 1024;
/// What later ones ask for.
const CHUNK: u32 = 256 * 1024;
/// How far ahead of the client.
const DEPTH: u64 = 2 * 1024 * 1024;
/// For all files of a session.
const ROOM: usize = 6 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::transport::file_service::{Call, FileError};

    /// A file of `size` bytes, byte n being n mod 251, that counts the operations.
    fn file(size: u64) -> (FileService, mpsc::UnboundedReceiver<(u64, u32)>) {
        let (operations, mut calls) = mpsc::channel::<Call>(64);
        let (log, seen) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some((operation, answer)) = calls.recv().await {
                let Operation::Read { offset, length, .. } = operation else { panic!("{operation:?}") };
                let _ = log.send((offset, length));
                let stop = size.min(offset + u64::from(length));
                let bytes: Vec<u8> = (offset..stop).map(|n| (n % 251) as u8).collect();
                let _ = answer.send(Ok::<_, FileError>(Answer::Bytes(bytes.into())));
            }
        });
        (FileService::for_test(operations), seen)
    }

    async fn read(ahead: &mut ReadAhead, files: &FileService, offset: u64, length: u32) -> Bytes {
        ahead.read(files, Handle(1), offset, length).await.bytes().await.unwrap()
    }

    #[tokio::test]
    async fn a_sequence_of_small_reads_becomes_few_large_ones() {
        let (files, mut seen) = file(4 << 20);
        let mut ahead = ReadAhead::new(room(), WHILE_TAKEN);
        let mut offset = 0;
        while offset < 4 << 20 {
            let bytes = read(&mut ahead, &files, offset, 32 * 1024).await;
            assert_eq!(bytes.len(), 32 * 1024);
            assert!(bytes.iter().zip(offset..).all(|(&byte, n)| byte == (n % 251) as u8));
            offset += 32 * 1024;
        }
        let mut operations = 0;
        while seen.try_recv().is_ok() {
            operations += 1;
        }
        assert!(operations < 30, "{operations} operations for 128 requests");
    }

    #[tokio::test]
    async fn a_small_file_and_its_end_cost_one_operation() {
        let (files, mut seen) = file(1000);
        let mut ahead = ReadAhead::new(room(), WHILE_TAKEN);
        assert_eq!(read(&mut ahead, &files, 0, 32 * 1024).await.len(), 1000);
        assert_eq!(read(&mut ahead, &files, 1000, 32 * 1024 - 1000).await.len(), 0);
        assert_eq!(seen.try_recv(), Ok((0, 64 * 1024)));
        assert!(seen.try_recv().is_err());
        // the end is looked for anew from then on
        assert_eq!(read(&mut ahead, &files, 1000, 32 * 1024).await.len(), 0);
        assert!(seen.try_recv().is_ok());
    }

    #[tokio::test]
    async fn jumps_are_read_exactly_and_only_as_asked() {
        let (files, mut seen) = file(1 << 20);
        let mut ahead = ReadAhead::new(room(), WHILE_TAKEN);
        for offset in [900_000, 5, 500_000, 100] {
            let bytes = read(&mut ahead, &files, offset, 10).await;
            assert!(bytes.iter().zip(offset..).all(|(&byte, n)| byte == (n % 251) as u8));
            assert_eq!(seen.try_recv(), Ok((offset, 10)));
        }
        assert!(seen.try_recv().is_err());
    }

    #[tokio::test]
    async fn what_lies_across_chunks_is_joined_and_ends_at_the_end() {
        let size = 1_000_003;
        let (files, _seen) = file(size);
        let mut ahead = ReadAhead::new(room(), WHILE_TAKEN);
        let mut offset = 0;
        loop {
            let bytes = read(&mut ahead, &files, offset, 30_001).await;
            assert!(bytes.iter().zip(offset..).all(|(&byte, n)| byte == (n % 251) as u8));
            offset += bytes.len() as u64;
            if bytes.is_empty() {
                break;
            }
        }
        assert_eq!(offset, size);
    }

    /// A file that grows by a byte whenever it is read.
    fn growing() -> (FileService, mpsc::UnboundedReceiver<(u64, u32)>) {
        let (operations, mut calls) = mpsc::channel::<Call>(64);
        let (log, seen) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut version = 0_u8;
            while let Some((operation, answer)) = calls.recv().await {
                let Operation::Read { offset, length, .. } = operation else { panic!("{operation:?}") };
                let _ = log.send((offset, length));
                version = version.wrapping_add(1);
                let _ = answer.send(Ok::<_, FileError>(Answer::Bytes(vec![version; length as usize].into())));
            }
        });
        (FileService::for_test(operations), seen)
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_a_while_ago_is_read_again_and_a_slow_client_is_not_read_ahead_of() {
        let (files, mut seen) = growing();
        let mut ahead = ReadAhead::new(room(), FRESH);
        let mut asked = 0;
        let mut answered = 0;
        for number in 0..200_u64 {
            answered += read(&mut ahead, &files, number * 4096, 4096).await.len();
            // a client that takes longer for each piece than an answer may be old
            tokio::time::advance(FRESH + Duration::from_millis(1)).await;
        }
        while let Ok((_, length)) = seen.try_recv() {
            asked += length as usize;
        }
        assert_eq!(answered, 200 * 4096);
        assert!(asked < 2 * answered, "{asked} bytes were read for {answered}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_never_older_than_it_may_be() {
        let (files, mut seen) = growing();
        let mut ahead = ReadAhead::new(room(), FRESH);
        assert_eq!(read(&mut ahead, &files, 0, 10).await[0], 1);
        tokio::time::advance(FRESH).await;
        assert_eq!(read(&mut ahead, &files, 10, 10).await[0], 1, "from the first chunk, in time");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(read(&mut ahead, &files, 20, 10).await[0], 2);
        // nor is the end of a file kept
        assert!(seen.try_recv().is_ok());
    }

    #[tokio::test]
    async fn nothing_is_asked_for_as_well() {
        let (files, mut seen) = file(10);
        let mut ahead = ReadAhead::new(room(), FRESH);
        assert!(read(&mut ahead, &files, 1 << 63, 0).await.is_empty());
        assert_eq!(seen.try_recv(), Ok((1 << 63, 0)));
    }
}
