//! One client's SFTP session: the half that issues what the client asks, and the start and end of both.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::answering::{Coming, Ready, answer_all};
use super::gather::{Flight, Flights, Gather};
use super::listing::{self, Directory};
use super::table::{MOST_HANDLES, OpenEntry, Table};
use crate::files::access::{Access, Pending, Refusal, answer};
use crate::files::mode::PERMISSIONS;
use crate::files::open_file::OpenFile;
use crate::files::read_ahead::{self, FRESH, ReadAhead};
use crate::files::{FileLedger, FilesError};
use crate::policy::FileAction;
use crate::transport::file_service::sftp::packet::{
    LARGEST_DATA, LARGEST_PACKET, Malformed, Packet, Request, decode, next_frame,
};
use crate::transport::file_service::sftp::reply::{Limits, Reply, Status};
use crate::transport::file_service::{Answer, Attributes, FileService, LONGEST_LISTING, Operation};

/// Serves one client until it closes its side. Returns an error where the session could not be served to its end; what
/// the client left open is closed either way, and recorded as unfinished.
pub async fn serve_sftp<S>(stream: S, files: FileService, ledger: FileLedger) -> Result<(), FilesError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (reader, writer) = tokio::io::split(stream);
    let access = Access::new(files, ledger);
    let table = Arc::new(Table::default());
    let (replies, coming) = mpsc::channel(QUEUE);
    let (went, gone) = watch::channel(false);
    let issuer = Issuer {
        access: access.clone(),
        table: Arc::clone(&table),
        greeted: false,
        gather: None,
        flights: Arc::default(),
        room: Arc::new(Semaphore::new(ROOM)),
        ahead: read_ahead::room(),
        listings: listing::room(),
        changes: 0,
        replies,
        gone,
    };
    // whatever ends the issuing, what was issued is waited for
    let issuing = issuer.run(reader).map(Ok);
    let ended = tokio::try_join!(issuing, answer_all(&access, coming, writer, went)).and_then(|(issued, ())| issued);
    for entry in table.take_all() {
        match access.abandon(&entry.file).await {
            Err(Refusal::Evidence(why)) => return ended.and(Err(FilesError::Evidence(why))),
            _ => continue,
        }
    }
    ended
}

/// The half that reads the client and issues operations, in order.
struct Issuer {
    access: Access,
    table: Arc<Table>,
    /// Whether `SSH_FXP_INIT` has come: it comes first, and once (the draft, section 4).
    greeted: bool,
    gather: Option<Gather>,
    flights: Arc<Flights>,
    /// Bytes that requests without a written reply may take.
    room: Arc<Semaphore>,
    ahead: Arc<Semaphore>,
    listings: Arc<Semaphore>,
    /// How often the client has changed something, so that no older list of a directory is given to it.
    changes: u64,
    replies: mpsc::Sender<Coming>,
    /// Whether the client takes no more answers.
    gone: watch::Receiver<bool>,
}

impl Issuer {
    async fn run<R: AsyncRead + Unpin>(mut self, mut reader: R) -> Result<(), FilesError> {
        let mut received = BytesMut::new();
        loop {
            while let Some(frame) = next_frame(&mut received).map_err(protocol)? {
                if *self.gone.borrow() {
                    return Ok(());
                }
                self.packet(frame).await?;
            }
            received.reserve(RECEIVE);
            let read = tokio::select! {
                biased;
                // first of all: whoever takes no more answers gets nothing done on the node any more
                _ = self.gone.changed() => return Ok(()),
                // before the flush: what the client goes on with may join what is gathered
                read = reader.read_buf(&mut received) => read?,
                // the client pauses: hand on what it wrote, unless the node is busy with more anyway
                () = self.flights.below(BUSY), if self.gather.is_some() => {
                    self.flush().await?;
                    continue;
                }
            };
            if read == 0 {
                return self.flush().await;
            }
        }
    }

    async fn packet(&mut self, frame: Bytes) -> Result<(), FilesError> {
        let (id, request) = match decode(frame) {
            Ok(Packet::Init { .. }) if !self.greeted => {
                self.greeted = true;
                let room = self.room(0).await?;
                return self.reply(0, Reply::version(), room).await;
            }
            Ok(Packet::Request { id, request }) if self.greeted => (id, request),
            Err(Malformed { id: Some(id), what }) if self.greeted => {
                self.flush().await?;
                let room = self.room(0).await?;
                return self.reply(id, Reply::Status(Status::bad_message(what)), room).await;
            }
            Err(malformed) => return Err(protocol(malformed)),
            Ok(_) => return Err(protocol(Malformed { id: None, what: "SSH_FXP_INIT not once and first" })),
        };
        match request {
            Request::Write { handle, offset, data } => self.write(id, &handle, offset, data).await,
            other => {
                self.flush().await?;
                self.request(id, other).await
            }
        }
    }

    async fn write(&mut self, id: u32, handle: &Bytes, offset: u64, data: Bytes) -> Result<(), FilesError> {
        let room = self.room(data.len()).await?;
        let Some(entry) = self.table.file(handle) else {
            self.flush().await?;
            return self.reply(id, Reply::Status(Status::failure(NO_HANDLE)), room).await;
        };
        if let Err(refusal) = self.access.may_upload(&entry.file, data.len() as u64).await {
            self.flush().await?;
            return self.send(Coming { work: refused(id, refusal), room: vec![room] }).await;
        }
        match &mut self.gather {
            Some(gather) if gather.takes(&entry, offset, &data) => gather.add(id, data, room),
            _ => {
                self.flush().await?;
                self.gather = Some(Gather::new(entry, id, offset, data, room));
            }
        }
        if self.gather.as_ref().is_some_and(Gather::is_full) {
            self.flush().await?;
        }
        Ok(())
    }

    /// Issues the writes that were gathered.
    async fn flush(&mut self) -> Result<(), FilesError> {
        let Some(mut gather) = self.gather.take() else { return Ok(()) };
        self.changes += 1;
        self.forget_read_ahead().await;
        let bytes = gather.bytes();
        let Gather { entry, offset, ids, room, .. } = gather;
        let flight = self.flights.start();
        let operation = Operation::Write { handle: entry.file.handle, offset, bytes: bytes.clone() };
        let answering = self.access.files.issue(operation).await;
        let work = async move {
            let result = answer(answering).await;
            landed(flight);
            Ready::Written { ids, entry, offset, bytes, result }
        };
        self.send(Coming { work: work.boxed(), room }).await
    }

    async fn request(&mut self, id: u32, request: Request) -> Result<(), FilesError> {
        if changes(&request) {
            self.changes += 1;
        }
        let takes = match &request {
            Request::Read { length, .. } => (*length).min(LARGEST_DATA) as usize,
            Request::ReadDir { .. } => LONGEST_LISTING,
            _ => 0,
        };
        let room = self.room(takes).await?;
        let handle = match &request {
            Request::Close { handle }
            | Request::Read { handle, .. }
            | Request::Fstat { handle }
            | Request::FsetStat { handle, .. }
            | Request::ReadDir { handle }
            | Request::FstatVfs { handle }
            | Request::Fsync { handle }
            | Request::CopyData { from: handle, .. } => Some(handle),
            _ => None,
        };
        let work = match handle.map(|handle| self.table.entry(handle)) {
            Some(Some(entry)) => self.on_handle(id, entry, request).await,
            // the numbers of OpenSSH's server, which are not the same for all
            Some(None) => match request {
                Request::Close { .. } | Request::Fsync { .. } => no_such_handle(id),
                _ => at_once(id, Reply::Status(Status::failure(NO_HANDLE))),
            },
            None => self.on_path(id, request).await,
        };
        self.send(Coming { work, room: vec![room] }).await
    }

    async fn on_handle(&mut self, id: u32, entry: Arc<OpenEntry>, request: Request) -> BoxFuture<'static, Ready> {
        let handle = entry.file.handle;
        let is_file = entry.directory.is_none();
        match request {
            Request::Close { handle: number } => {
                self.table.remove(&number);
                let closing = self.access.start_close(&entry.file).await;
                async move { Ready::Closed { id, entry, closing: closing.arrived().await } }.boxed()
            }
            Request::ReadDir { .. } if !is_file => {
                if let Err(refusal) = self.access.may_still(&entry.file, FileAction::List).await {
                    return refused(id, refusal);
                }
                let files = self.access.files.clone();
                if let Some(directory) = &entry.directory {
                    // now, in the order of requests
                    directory.lock().await.prepare(&files, handle, self.changes).await;
                }
                let work = async move {
                    let Some(directory) = &entry.directory else { return Ok(Reply::Status(Status::end_of_file())) };
                    let names = directory.lock().await.next(&files, handle).await?;
                    Ok(match names.is_empty() {
                        true => Reply::Status(Status::end_of_file()),
                        false => Reply::Names(names),
                    })
                };
                ready(id, work.boxed(), Ok)
            }
            Request::Fsync { .. } if !is_file => no_such_handle(id),
            Request::Read { offset, length, .. } if is_file => {
                if let Err(refusal) = self.access.may_still(&entry.file, FileAction::Download).await {
                    return refused(id, refusal);
                }
                let length = length.min(LARGEST_DATA);
                let reading = entry.ahead.lock().await.read(&self.access.files, handle, offset, length).await;
                async move { Ready::Data { id, offset, asked: length, result: reading.bytes().await, entry } }.boxed()
            }
            Request::Fstat { .. } if is_file => {
                let answer = self.access.start_on(&entry.file, Operation::Fstat { handle }).await;
                ready(id, answer, attributes)
            }
            Request::FsetStat { attributes, .. } if is_file => {
                self.forget_read_ahead().await;
                let attributes = permissions_only(attributes);
                done(id, self.access.start_on(&entry.file, Operation::FsetStat { handle, attributes }).await)
            }
            Request::Fsync { .. } => done(id, self.access.start_on(&entry.file, Operation::Fsync { handle }).await),
            Request::FstatVfs { .. } if is_file => {
                let answer = self.access.start_on(&entry.file, Operation::FileSystemOf { handle }).await;
                ready(id, answer, file_system)
            }
            Request::CopyData { offset, length, to, to_offset, .. } if is_file => {
                let to = self.table.file(&to).filter(|to| !entry.file.is_called_like(&to.file));
                let Some(to) = to else {
                    return at_once(id, Reply::Status(Status::failure("not from one file to another")));
                };
                self.forget_read_ahead().await;
                // what comes behind it waits, as if the node did it in one go
                let copied = self.access.copy(&entry.file, &to.file, offset, length, to_offset).await;
                let reply = copied.map(|copied| Reply::Status(copied_status(length, copied)));
                async move { Ready::Reply { id, result: reply } }.boxed()
            }
            _ => at_once(id, Reply::Status(Status::failure("the handle is not open for that"))),
        }
    }

    async fn on_path(&mut self, id: u32, request: Request) -> BoxFuture<'static, Ready> {
        let access = self.access.clone();
        match request {
            Request::Open { path, flags, attributes } => {
                if flags.truncate {
                    self.forget_read_ahead().await;
                }
                let mode = attributes.mode.map(|mode| mode & PERMISSIONS);
                let opening = access.start_open(path, flags, mode).await;
                self.opening(id, opening, false)
            }
            Request::OpenDir { path } => {
                let opening = access.start_open_dir(path).await;
                self.opening(id, opening, true)
            }
            Request::Stat { path } => ready(id, access.start(Operation::Stat { path }).await, attributes),
            Request::Lstat { path } => ready(id, access.start(Operation::Lstat { path }).await, attributes),
            Request::SetStat { path, attributes } => {
                self.forget_read_ahead().await;
                let attributes = permissions_only(attributes);
                done(id, access.start(Operation::SetStat { path, attributes }).await)
            }
            Request::LsetStat { path, attributes } => {
                let attributes = permissions_only(attributes);
                done(id, access.start(Operation::LsetStat { path, attributes }).await)
            }
            Request::Remove { path } => done(id, access.start(Operation::Remove { path }).await),
            Request::MakeDir { path, attributes } => {
                let mode = attributes.mode.unwrap_or(0o777) & PERMISSIONS;
                done(id, access.start(Operation::MakeDir { path, mode }).await)
            }
            Request::RemoveDir { path } => done(id, access.start(Operation::RemoveDir { path }).await),
            Request::RealPath { path } => {
                let path = if path.is_empty() { b".".to_vec() } else { path };
                ready(id, access.start(Operation::RealPath { path }).await, path_reply)
            }
            Request::ExpandPath { path } => ready(id, access.start(Operation::ExpandPath { path }).await, path_reply),
            Request::HomeDirectory { user } => {
                let home = access.start(Operation::HomeDirectory { user }).await.map(|home| match home {
                    Err(Refusal::Node { .. }) => Ok(Reply::Status(Status::failure("there is no such user"))),
                    other => other.and_then(path_reply),
                });
                ready(id, home.boxed(), Ok)
            }
            Request::NamesOf { users, groups } if users.len() + groups.len() <= MOST_NAMES => {
                let count = users.len();
                let names = access.start(Operation::NamesOf { users, groups }).await;
                let names = names.map(move |names| names.and_then(|names| names_reply(names, count)));
                ready(id, names.boxed(), Ok)
            }
            Request::NamesOf { .. } => at_once(id, Reply::Status(Status::bad_message("so many names at once"))),
            Request::ReadLink { path } => ready(id, access.start(Operation::ReadLink { path }).await, path_reply),
            Request::Rename { from, to } => {
                done(id, access.start(Operation::Rename { from, to, replace: false }).await)
            }
            Request::PosixRename { from, to } => {
                done(id, access.start(Operation::Rename { from, to, replace: true }).await)
            }
            Request::Symlink { target, path } => done(id, access.start(Operation::Symlink { target, path }).await),
            Request::HardLink { from, to } => done(id, access.start(Operation::Link { from, to }).await),
            Request::StatVfs { path } => ready(id, access.start(Operation::FileSystem { path }).await, file_system),
            // about no file, so there is nothing to judge or to record
            Request::Limits => {
                let asked = access.files.issue(Operation::MostOpen { wanted: MOST_HANDLES }).await;
                ready(id, answer(asked).boxed(), limits)
            }
            _ => at_once(id, Reply::Status(Status::unsupported())),
        }
    }

    /// Gives what has been opened a number.
    fn opening(&self, id: u32, opening: Pending<OpenFile>, is_directory: bool) -> BoxFuture<'static, Ready> {
        let (access, table, ahead) = (self.access.clone(), Arc::clone(&self.table), Arc::clone(&self.ahead));
        let (changes, listings) = (self.changes, Arc::clone(&self.listings));
        let work = async move {
            let file = opening.await?;
            let directory = match is_directory {
                true => Some(Directory::opened(&access.files, file.handle, changes, listings).await),
                false => None,
            };
            let directory = directory.map(tokio::sync::Mutex::new);
            let ahead = tokio::sync::Mutex::new(ReadAhead::new(ahead, FRESH));
            let entry = Arc::new(OpenEntry { file, ahead, directory });
            match table.insert(&entry) {
                Some(number) => Ok(Reply::Handle(Bytes::copy_from_slice(&number.to_be_bytes()))),
                None => {
                    access.abandon(&entry.file).await?;
                    Ok(Reply::Status(Status::failure("too many files are open")))
                }
            }
        };
        ready(id, work.boxed(), Ok)
    }

    /// What was read ahead may be about to change.
    async fn forget_read_ahead(&self) {
        for entry in self.table.all() {
            entry.ahead.lock().await.clear();
        }
    }

    /// Waits until a request that takes this much may go on.
    async fn room(&mut self, bytes: usize) -> Result<OwnedSemaphorePermit, FilesError> {
        let bytes = u32::try_from(bytes.clamp(LEAST_ROOM, ROOM)).unwrap_or(u32::MAX);
        if let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(bytes) {
            return Ok(room);
        }
        // what is gathered holds room itself
        self.flush().await?;
        Arc::clone(&self.room).acquire_many_owned(bytes).await.map_err(|_| ended())
    }

    async fn reply(&mut self, id: u32, reply: Reply, room: OwnedSemaphorePermit) -> Result<(), FilesError> {
        self.send(Coming { work: at_once(id, reply), room: vec![room] }).await
    }

    async fn send(&mut self, coming: Coming) -> Result<(), FilesError> {
        self.replies.send(coming).await.map_err(|_| ended())
    }
}

fn ready<T: 'static>(
    id: u32,
    pending: Pending<T>,
    reply: fn(T) -> Result<Reply, Refusal>,
) -> BoxFuture<'static, Ready> {
    pending.map(move |result| Ready::Reply { id, result: result.and_then(reply) }).boxed()
}

fn done(id: u32, pending: Pending<Answer>) -> BoxFuture<'static, Ready> {
    ready(id, pending, |_| Ok(Reply::Status(Status::ok())))
}

fn at_once(id: u32, reply: Reply) -> BoxFuture<'static, Ready> {
    async move { Ready::Reply { id, result: Ok(reply) } }.boxed()
}

fn refused(id: u32, refusal: Refusal) -> BoxFuture<'static, Ready> {
    std::future::ready(Ready::Reply { id, result: Err(refusal) }).boxed()
}

fn attributes(answer: Answer) -> Result<Reply, Refusal> {
    Refusal::attributes(answer).map(Reply::Attributes)
}

fn path_reply(answer: Answer) -> Result<Reply, Refusal> {
    Refusal::path(answer).map(Reply::path)
}

fn names_reply(answer: Answer, users: usize) -> Result<Reply, Refusal> {
    match answer {
        Answer::Names(mut names) if names.len() >= users => {
            let groups = names.split_off(users);
            Ok(Reply::NamesOf(names, groups))
        }
        _ => Err(Refusal::nonsense()),
    }
}

fn no_such_handle(id: u32) -> BoxFuture<'static, Ready> {
    at_once(id, Reply::Status(Status::no_such_file(NO_HANDLE)))
}

/// Whether the client may find the node other than before.
fn changes(request: &Request) -> bool {
    match request {
        Request::Open { flags, .. } => flags.create || flags.truncate,
        Request::SetStat { .. }
        | Request::FsetStat { .. }
        | Request::LsetStat { .. }
        | Request::Remove { .. }
        | Request::MakeDir { .. }
        | Request::RemoveDir { .. }
        | Request::Rename { .. }
        | Request::PosixRename { .. }
        | Request::Symlink { .. }
        | Request::HardLink { .. }
        | Request::CopyData { .. } => true,
        _ => false,
    }
}

/// How a copy has ended that met with no error: less than was asked for is the end of the file, which OpenSSH's server,
/// copying in pieces, tells only if it has met it before the last one.
fn copied_status(asked: u64, copied: u64) -> Status {
    let seen = copied.div_ceil(COPY_PIECE).saturating_add(1).saturating_mul(COPY_PIECE);
    match asked == 0 || asked <= seen {
        true => Status::ok(),
        false => Status::end_of_file(),
    }
}

fn file_system(answer: Answer) -> Result<Reply, Refusal> {
    match answer {
        Answer::FileSystem(figures) => Ok(Reply::FileSystem(figures)),
        _ => Err(Refusal::nonsense()),
    }
}

fn limits(answer: Answer) -> Result<Reply, Refusal> {
    match answer {
        Answer::MostOpen(most) => Ok(Reply::Limits(Limits {
            packet: LARGEST_PACKET as u64,
            read: u64::from(LARGEST_DATA),
            write: u64::from(LARGEST_DATA),
            open: u64::from(most.min(MOST_HANDLES)),
        })),
        _ => Err(Refusal::nonsense()),
    }
}

/// A mode to set, without the file's type, which some clients send along.
fn permissions_only(attributes: Attributes) -> Attributes {
    Attributes { mode: attributes.mode.map(|mode| mode & PERMISSIONS), ..attributes }
}

fn landed(_: Flight) {}

fn protocol(malformed: Malformed) -> FilesError {
    FilesError::Protocol { protocol: "SFTP", what: malformed.what.to_owned() }
}

fn ended() -> FilesError {
    FilesError::NodeGone("the session is ending".to_owned())
}

const NO_HANDLE: &str = "there is no such handle, or it was not opened for that";
/// Of how many users and groups the names are asked for at once.
const MOST_NAMES: usize = 4096;
/// How much OpenSSH's server copies at a time (`process_extended_copy_data`).
const COPY_PIECE: u64 = 64 * 1024;
/// Replies on their way between the halves.
const QUEUE: usize = 16;
/// Bytes of requests whose replies are not written yet.
const ROOM: usize = 4 * 1024 * 1024;
/// What a request takes at least.
const LEAST_ROOM: usize = 4 * 1024;
/// Unanswered writes that keep the node busy while more are gathered.
const BUSY: usize = 2;
/// Room for one read of the stream.
const RECEIVE: usize = 64 * 1024;
