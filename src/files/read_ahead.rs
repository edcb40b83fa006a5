//! Reads of one open file, a little ahead of a client that reads in sequence.
//!
//! ```text
//!   client's requests     |--32K--|--32K--|--32K--|            next
//!   chunks asked for      |------------256K-----------|--------256K--------|-------- …
//!                                                      └──── depth: 0, then doubling to 2 MiB ────┘
//! ```
//!
//! Fewer and larger operations cost the node less, and what is on its way before the client asks costs no round trip.
//! Chunks live only while the client goes on reading in sequence: any write of the same session, a jump, or a second of
//! silence drops them, and the end of the file is answered from a chunk at most once, so that a client which follows a
//! growing file sees it grow.

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
    /// How far ahead of `next` chunks are asked for.
    depth: u64,
    /// Requests in sequence so far.
    streak: u32,
    last_request: Instant,
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

type Data = Shared<BoxFuture<'static, Result<Bytes, Refusal>>>;

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
    pub(super) fn new(room: Arc<Semaphore>) -> Self {
        Self { chunks: VecDeque::new(), next: 0, depth: 0, streak: 0, last_request: Instant::now(), room }
    }

    /// Forgets what was read ahead: it may no longer be what the file holds.
    pub(super) fn clear(&mut self) {
        self.chunks.clear();
    }

    /// Issues what a request needs and is not yet on its way, and something more where that is likely to be asked next.
    pub(super) async fn read(&mut self, files: &FileService, handle: Handle, offset: u64, length: u32) -> Reading {
        let length = length.min(LARGEST_READ);
        let end = offset.saturating_add(u64::from(length));
        if self.last_request.elapsed() > STALE || self.chunks.iter().any(Chunk::failed) {
            self.clear();
        }
        self.last_request = Instant::now();
        let known = self.chunks.iter().any(|chunk| chunk.offset <= offset && offset < chunk.end());
        if !known && offset != self.next {
            (self.streak, self.depth, self.next) = (0, 0, end);
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
            (self.streak, self.depth, self.next) = (0, 0, end);
            self.clear();
        } else {
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
        self.depth = (self.depth * 2).clamp(u64::from(FIRST_CHUNK), DEPTH);
        loop {
            let asked = self.chunks.back().map_or(self.next, Chunk::end);
            if asked >= self.next.saturating_add(self.depth) {
                return;
            }
            let length = self.chunk_length(length);
            let Some(room) = self.take_room(length) else { return };
            let data = ask(files, handle, asked, length).await;
            self.chunks.push_back(Chunk { offset: asked, length, data, _room: Some(room) });
        }
    }

    /// A multiple of what the client asks for, so that most requests lie within one chunk.
    fn chunk_length(&self, request: u32) -> u32 {
        let wanted = if self.streak == 0 { FIRST_CHUNK } else { CHUNK };
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

    /// Whether it has come, and the file ends in it before this offset.
    fn ends_before(&self, offset: u64) -> bool {
        matches!(self.data.peek(), Some(Ok(bytes)) if self.offset.saturating_add(bytes.len() as u64) < offset)
    }

    fn short(&self) -> bool {
        self.ends_before(self.end())
    }

    fn failed(&self) -> bool {
        matches!(self.data.peek(), Some(Err(_)))
    }
}

impl Reading {
    /// The bytes; fewer than asked for, or none, at the end of the file.
    pub(super) async fn bytes(self) -> Result<Bytes, Refusal> {
        let mut joined = BytesMut::new();
        let single = self.parts.len() == 1;
        for part in self.parts {
            let bytes = match part.data.await {
                Ok(bytes) => bytes,
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
    let data = async move {
        match answer(answering).await? {
            Answer::Bytes(bytes) if bytes.len() <= length as usize => Ok(bytes),
            _ => Err(Refusal::nonsense()),
        }
    };
    data.boxed().shared()
}

/// What the first read of a file asks for: most files end in it.
const FIRST_CHUNK: u32 = 64 * 1024;
/// What later ones ask for.
const CHUNK: u32 = 256 * 1024;
/// How far ahead of the client.
const DEPTH: u64 = 2 * 1024 * 1024;
/// For all files of a session.
const ROOM: usize = 6 * 1024 * 1024;
/// After this long without a request, what was read ahead is too old.
const STALE: Duration = Duration::from_secs(1);

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
        let mut ahead = ReadAhead::new(room());
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
        let mut ahead = ReadAhead::new(room());
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
        let mut ahead = ReadAhead::new(room());
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
        let mut ahead = ReadAhead::new(room());
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
}
