//! Reads, writes and copies: in pieces that the node's server takes, on their way together.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;

use super::super::errno::{EBADF, EINVAL, EIO, EISDIR};
use super::super::operation::{Answer, Attributes, FileError, Handle, LARGEST_READ};
use super::super::sftp::packet::Request;
use super::super::sftp::reply::{EOF, Reply};
use super::carry_out::{Finish, Issuer};
use super::connection::{Asked, Connection, Expect};
use super::error::{Failure, no_such_handle, node, unsupported};
use super::opening::{DIRECTORY, REGULAR, is_of};

/// A piece of a read.
struct Piece {
    offset: u64,
    length: u32,
    asked: Asked,
}

impl Issuer {
    pub(super) async fn read(&self, handle: Handle, offset: u64, length: u32) -> Result<Finish, FileError> {
        let open = self.file(handle)?;
        let length = length.min(LARGEST_READ);
        offset.checked_add(u64::from(length)).ok_or_else(nowhere)?;
        let mut pieces = Vec::new();
        let mut at = 0;
        // of nothing there is one, to see whether the offset can be
        while pieces.is_empty() || at < length {
            let piece = self.offers.read.min(length - at);
            let request = Request::Read { handle: open.handle.clone(), offset: offset + u64::from(at), length: piece };
            let asked = self.connection.ask(request, Expect::Data(piece)).await?;
            pieces.push(Piece { offset: offset + u64::from(at), length: piece, asked });
            at += piece;
        }
        let ends_short = open.is_sized && self.offers.states_limits;
        // what may be asked for yet belongs before the operations behind it
        let reading = if ends_short { None } else { Some(Arc::clone(&open.reading).read_owned().await) };
        let again = reading.is_some().then(|| self.connection.clone());
        let finish = async move {
            let bytes = gather(pieces, again, open.handle).await?;
            drop(reading);
            Ok(Answer::Bytes(bytes))
        };
        Ok(finish.boxed())
    }

    pub(super) async fn write(&self, handle: Handle, offset: u64, bytes: Bytes) -> Result<Finish, FileError> {
        let open = self.file(handle)?;
        open.reads_done().await;
        offset.checked_add(bytes.len() as u64).ok_or_else(nowhere)?;
        let most = self.offers.write as usize;
        let mut asked = Vec::new();
        let mut at = 0;
        while asked.is_empty() || at < bytes.len() {
            let data = bytes.slice(at..bytes.len().min(at + most));
            let (handle, offset) = (open.handle.clone(), offset + at as u64);
            at += data.len();
            asked.push(self.connection.ask(Request::Write { handle, offset, data }, Expect::Done).await?);
        }
        let finish = async move {
            for one in asked {
                one.reply().await?;
            }
            Ok(Answer::Done)
        };
        Ok(finish.boxed())
    }

    /// By the server itself. It does not tell how much it has copied, so it is asked for as much as there is, and the file is
    /// looked at afterwards. Within one file OpenSSH's server copies nothing.
    pub(super) async fn copy(
        &self,
        [handle, to]: [Handle; 2],
        [offset, length, to_offset]: [u64; 3],
    ) -> Result<Answer, FileError> {
        let (from, to) = (self.file(handle)?, self.file(to)?);
        if !self.offers.has("copy-data") {
            return Err(unsupported());
        }
        to.reads_done().await;
        let found = self.fstat(&from.handle).await?;
        let size = found.size.unwrap_or_default();
        if is_of(&found, DIRECTORY) {
            return Err(node(EISDIR, "Is a directory"));
        }
        if !from.flags.read {
            return Err(node(EBADF, "Bad file descriptor"));
        }
        if size == 0 && !from.is_sized && !self.is_empty(&from.handle).await? {
            // what has no size but can be read, as the files of /proc
            return Err(unsupported());
        }
        let length = length.min(size.saturating_sub(offset));
        if length == 0 {
            return Ok(Answer::Copied(0));
        }
        if !to.flags.write {
            return Err(node(EBADF, "Bad file descriptor"));
        }
        let start = if to.flags.append { self.fstat(&to.handle).await?.size.unwrap_or_default() } else { to_offset };
        let end = start.checked_add(length).ok_or_else(nowhere)?;
        let request = Request::CopyData { from: from.handle, offset, length, to: to.handle.clone(), to_offset };
        match self.connection.call(request, Expect::Done).await {
            Ok(_) => {}
            Err(failure) if failure.is(EOF) => return Err(node(EIO, "the file became shorter while it was copied")),
            Err(failure) => return Err(failure.into()),
        }
        // OpenSSH's server calls it a success as well when the last piece could not be read or written
        let made = self.fstat(&to.handle).await?;
        match is_of(&made, REGULAR) && made.size.is_none_or(|size| size < end) {
            true => Err(node(EIO, "the node's SFTP server has not copied all of it")),
            false => Ok(Answer::Copied(length)),
        }
    }

    async fn fstat(&self, handle: &Bytes) -> Result<Attributes, FileError> {
        match self.connection.call(Request::Fstat { handle: handle.clone() }, Expect::Attributes).await? {
            Reply::Attributes(found) => Ok(found),
            // the connection lets nothing else pass
            _ => Err(no_such_handle()),
        }
    }

    async fn is_empty(&self, handle: &Bytes) -> Result<bool, FileError> {
        let request = Request::Read { handle: handle.clone(), offset: 0, length: 1 };
        match self.connection.call(request, Expect::Data(1)).await {
            Err(failure) if failure.is(EOF) => Ok(true),
            other => Ok(other.map(|_| false)?),
        }
    }
}

/// The bytes up to the first piece that met the end. Where a piece that came short may go on (`again`), the rest of it is
/// asked for until there is none.
async fn gather(pieces: Vec<Piece>, again: Option<Connection>, handle: Bytes) -> Result<Bytes, FileError> {
    let mut whole = Gathered::default();
    for Piece { offset, length, asked } in pieces {
        let (reply, mut room) = asked.reply_in_room().await;
        let mut got = data(reply)?;
        let mut read: u32 = 0;
        loop {
            let Some(bytes) = got.take() else { return Ok(whole.bytes()) };
            // no answer is longer than what was asked for
            read = read.saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
            let ended = bytes.is_empty();
            whole.add(bytes);
            if read >= length {
                break;
            }
            let Some(connection) = again.as_ref().filter(|_| !ended) else { return Ok(whole.bytes()) };
            let left = length - read;
            let request = Request::Read { handle: handle.clone(), offset: offset + u64::from(read), length: left };
            let (reply, same) = connection.ask_in(room, request, Expect::Data(left)).await?.reply_in_room().await;
            room = same;
            got = data(reply)?;
        }
    }
    Ok(whole.bytes())
}

/// The bytes of an answer; none at the end of the file.
fn data(reply: Result<Reply, Failure>) -> Result<Option<Bytes>, FileError> {
    match reply {
        Ok(Reply::Data(bytes)) => Ok(Some(bytes)),
        Ok(_) => Err(no_such_handle()),
        Err(failure) if failure.is(EOF) => Ok(None),
        Err(failure) => Err(failure.into()),
    }
}

/// Pieces in a row; a single one is not copied.
#[derive(Default)]
struct Gathered {
    first: Bytes,
    joined: BytesMut,
}

impl Gathered {
    fn add(&mut self, bytes: Bytes) {
        match (self.first.is_empty(), self.joined.is_empty()) {
            (true, true) => self.first = bytes,
            (_, true) => {
                self.joined.reserve(self.first.len() + bytes.len());
                self.joined.extend_from_slice(&self.first);
                self.joined.extend_from_slice(&bytes);
            }
            (_, false) => self.joined.extend_from_slice(&bytes),
        }
    }

    fn bytes(self) -> Bytes {
        if self.joined.is_empty() { self.first } else { self.joined.freeze() }
    }
}

fn nowhere() -> FileError {
    node(EINVAL, "Invalid argument")
}
