//! Requests and their answers on one stream. What is on its way is bounded: a request takes its part of the room, by the bytes
//! that it and its answer may have, until whoever asked has taken the answer.
//!
//! What the server sends is not trusted: an answer to nothing, of the wrong kind, longer than what was asked for or
//! malformed is the end of the connection, and everybody who waits learns why.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::super::operation::LONGEST_LISTING;
use super::super::sftp::encode::put;
use super::super::sftp::packet::{Malformed, Packet, Request, next_frame};
use super::super::sftp::reply::{Name, OK, Reply};
use super::super::sftp::reply_decode::{Extended, decode_reply};
use super::error::{Failure, LONGEST_PATH};

/// Where requests go. Clones share one stream.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    requests: mpsc::Sender<Outgoing>,
    room: Arc<Semaphore>,
    why: Why,
}

/// Why there are no more answers, once it is known. Whoever carries the stream may say so first.
pub type Why = Arc<OnceLock<String>>;

/// The other end of a [`Connection`], which carries it all.
#[derive(Debug)]
pub(super) struct Driver {
    outgoing: mpsc::Receiver<Outgoing>,
    why: Why,
}

/// What an answer must be, if it is no refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    Done,
    Handle,
    /// So many bytes at most.
    Data(u32),
    Names,
    /// One absolute path.
    Path,
    /// One path of any kind, as a link has it.
    Target,
    Attributes,
    FileSystem,
    Limits,
    /// Of so many users and groups.
    NamesOf(usize, usize),
}

#[derive(Debug)]
struct Outgoing {
    request: Request,
    waiting: Waiting,
}

#[derive(Debug)]
struct Waiting {
    expect: Expect,
    answer: oneshot::Sender<Result<Reply, Failure>>,
    _room: Room,
}

/// Kept by what waits for the answer and by whoever is to take it.
pub(super) type Room = Arc<OwnedSemaphorePermit>;

/// A request that is on its way.
#[derive(Debug)]
pub(super) struct Asked {
    answer: oneshot::Receiver<Result<Reply, Failure>>,
    room: Room,
    why: Why,
}

impl Connection {
    pub(super) fn new(why: Why) -> (Self, Driver) {
        let (requests, outgoing) = mpsc::channel(16);
        let room = Arc::new(Semaphore::new(ROOM));
        (Self { requests, room, why: Arc::clone(&why) }, Driver { outgoing, why })
    }

    /// Sends a request when there is room for it.
    pub(super) async fn ask(&self, request: Request, expect: Expect) -> Result<Asked, Failure> {
        let takes = match (&request, expect) {
            (Request::Write { data, .. }, _) => data.len(),
            (_, Expect::Data(most)) => most as usize,
            (_, Expect::Names) => LONGEST_LISTING,
            (_, Expect::NamesOf(users, groups)) => (users + groups) * 64,
            _ => 0,
        };
        let takes = u32::try_from(takes.clamp(LEAST_ROOM, ROOM)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(takes).await.map_err(|_| gone(&self.why))?;
        self.ask_in(Arc::new(room), request, expect).await
    }

    /// The same in the room of a request that has been answered and took no less.
    pub(super) async fn ask_in(&self, room: Room, request: Request, expect: Expect) -> Result<Asked, Failure> {
        let (sender, answer) = oneshot::channel();
        let waiting = Waiting { expect, answer: sender, _room: Arc::clone(&room) };
        self.requests.send(Outgoing { request, waiting }).await.map_err(|_| gone(&self.why))?;
        Ok(Asked { answer, room, why: Arc::clone(&self.why) })
    }

    /// Asks and waits.
    pub(super) async fn call(&self, request: Request, expect: Expect) -> Result<Reply, Failure> {
        self.ask(request, expect).await?.reply().await
    }

    /// Waits until there are no more answers.
    pub(super) async fn closed(&self) -> String {
        self.requests.closed().await;
        said(&self.why)
    }
}

impl Asked {
    pub(super) async fn reply(self) -> Result<Reply, Failure> {
        self.reply_in_room().await.0
    }

    /// The answer, and the room in which more may be asked.
    pub(super) async fn reply_in_room(self) -> (Result<Reply, Failure>, Room) {
        let reply = self.answer.await.unwrap_or_else(|_| Err(gone(&self.why)));
        (reply, self.room)
    }
}

impl Driver {
    /// Carries requests and answers until all that hold the connection are gone, or the server breaks it.
    pub(super) async fn run<S: AsyncRead + AsyncWrite>(mut self, stream: S, received: BytesMut) {
        let (reader, writer) = tokio::io::split(stream);
        let waiting = Mutex::new(Table::default());
        let why = tokio::select! {
            why = read_all(reader, received, &waiting) => why,
            why = write_all(writer, &mut self.outgoing, &waiting) => match why {
                Some(why) => why,
                None => return,
            },
        };
        // said before anybody learns that there is no answer
        let _ = self.why.set(why);
    }
}

/// Requests without an answer, by their numbers.
#[derive(Debug, Default)]
struct Table {
    waiting: HashMap<u32, Waiting>,
    last: u32,
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends without a reason when nobody can ask any more.
async fn write_all<W: AsyncWrite + Unpin>(
    mut writer: W,
    outgoing: &mut mpsc::Receiver<Outgoing>,
    table: &Mutex<Table>,
) -> Option<String> {
    let mut out = BytesMut::new();
    while let Some(first) = outgoing.recv().await {
        let mut next = Some(first);
        while let Some(Outgoing { request, waiting }) = next {
            let id = {
                let mut table = lock(table);
                table.last = table.last.wrapping_add(1);
                let id = table.last;
                // there are far fewer than numbers
                table.waiting.insert(id, waiting);
                id
            };
            put(&Packet::Request { id, request }, &mut out);
            // what is there already goes out with it
            next = if out.len() < SEND { outgoing.try_recv().ok() } else { None };
        }
        let sent = async {
            writer.write_all(&out).await?;
            writer.flush().await
        };
        if let Err(error) = sent.await {
            return Some(error.to_string());
        }
        match out.capacity() > 4 * SEND {
            true => out = BytesMut::new(),
            false => out.clear(),
        }
    }
    // the server closes what is open and leaves
    let _ = writer.shutdown().await;
    None
}

async fn read_all<R: AsyncRead + Unpin>(mut reader: R, mut received: BytesMut, table: &Mutex<Table>) -> String {
    loop {
        loop {
            match next_frame(&mut received) {
                Ok(Some(frame)) => {
                    if let Err(what) = take(frame, table) {
                        return format!("the node's SFTP server sent {what}");
                    }
                }
                Ok(None) => break,
                Err(Malformed { what, .. }) => return format!("the node's SFTP server sent {what}"),
            }
        }
        received.reserve(RECEIVE);
        match reader.read_buf(&mut received).await {
            Ok(0) => return "the node's SFTP server has ended".to_owned(),
            Ok(_) => {}
            Err(error) => return error.to_string(),
        }
    }
}

/// Gives an answer to whoever asked.
fn take(frame: Bytes, table: &Mutex<Table>) -> Result<(), &'static str> {
    let asked = |id: u32| match lock(table).waiting.get(&id)?.expect {
        Expect::FileSystem => Some(Extended::FileSystem),
        Expect::Limits => Some(Extended::Limits),
        Expect::NamesOf(..) => Some(Extended::NamesOf),
        _ => None,
    };
    let (id, reply) = decode_reply(frame, asked).map_err(|malformed| malformed.what)?;
    let waiting = lock(table).waiting.remove(&id).ok_or("an answer to what was not asked")?;
    let result = match reply {
        Reply::Status(status) if status.code == OK && waiting.expect != Expect::Done => {
            return Err("a success in the place of what was asked for");
        }
        Reply::Status(status) if status.code != OK => Err(Failure::Status(status)),
        reply if fits(&reply, waiting.expect) => Ok(reply),
        _ => return Err("another answer than was asked for"),
    };
    // whoever stopped waiting does not need it
    let _ = waiting.answer.send(result);
    Ok(())
}

fn fits(reply: &Reply, expect: Expect) -> bool {
    match (reply, expect) {
        (Reply::Status(_), Expect::Done)
        | (Reply::Attributes(_), Expect::Attributes)
        | (Reply::FileSystem(_), Expect::FileSystem)
        | (Reply::Limits(_), Expect::Limits) => true,
        (Reply::Handle(handle), Expect::Handle) => handle.len() <= LONGEST_HANDLE,
        (Reply::Data(bytes), Expect::Data(most)) => bytes.len() <= most as usize,
        (Reply::NamesOf(users, groups), Expect::NamesOf(of_users, of_groups)) => {
            users.len() == of_users && groups.len() == of_groups
        }
        (Reply::Names(names), Expect::Names) => {
            let length = |name: &Name| name.name.len() + name.long_name.len();
            names.iter().map(length).sum::<usize>() <= LONGEST_LISTING
        }
        (Reply::Names(names), Expect::Path | Expect::Target) => match &names[..] {
            [name] => {
                (1..=LONGEST_PATH).contains(&name.name.len())
                    && !name.name.contains(&0)
                    && (expect == Expect::Target || name.name[0] == b'/')
            }
            _ => false,
        },
        _ => false,
    }
}

fn said(why: &Why) -> String {
    why.get().cloned().unwrap_or_else(|| "it has ended".to_owned())
}

fn gone(why: &Why) -> Failure {
    Failure::Gone(said(why))
}

/// Bytes of requests and answers that may be on their way.
const ROOM: usize = 8 * 1024 * 1024;
/// What a request takes at least, so that there are never more than 512.
const LEAST_ROOM: usize = 16 * 1024;
/// The draft, section 6.2.
const LONGEST_HANDLE: usize = 256;
/// From so many bytes on, requests that wait go with the next write.
const SEND: usize = 64 * 1024;
/// Room for one read of the stream.
const RECEIVE: usize = 64 * 1024;
