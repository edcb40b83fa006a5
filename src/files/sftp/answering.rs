//! The half of a session that answers.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, StreamExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use super::table::OpenEntry;
use crate::files::FilesError;
use crate::files::access::{Access, Closing, Refusal};
use crate::transport::file_service::Answer;
use crate::transport::file_service::sftp::reply::{Reply, Status};

/// A reply that is on its way, and the room its request takes until it is written.
pub(super) struct Coming {
    pub(super) work: BoxFuture<'static, Ready>,
    pub(super) room: Vec<OwnedSemaphorePermit>,
}

/// What has come of a request, to be counted and encoded in the order of requests.
pub(super) enum Ready {
    Reply { id: u32, result: Result<Reply, Refusal> },
    Data { id: u32, entry: Arc<OpenEntry>, offset: u64, asked: u32, result: Result<Bytes, Refusal> },
    Written { ids: Vec<u32>, entry: Arc<OpenEntry>, offset: u64, bytes: Bytes, result: Result<Answer, Refusal> },
    Closed { id: u32, entry: Arc<OpenEntry>, closing: Closing },
}

/// The half that answers: in the order of requests, which is the order in which the node carries them out. Once the
/// client takes no more answers it says so to the other half, and goes on only to count and record: what was issued, the
/// node carries out all the same.
pub(super) async fn answer_all<W: AsyncWrite + Unpin>(
    access: &Access,
    mut coming: mpsc::Receiver<Coming>,
    mut writer: W,
    gone: watch::Sender<bool>,
) -> Result<(), FilesError> {
    let mut waiting = FuturesOrdered::new();
    let mut out = BytesMut::new();
    // whether the other half may still issue something
    let mut open = true;
    // how the client ended, once it has: from then on nothing is written, and all the rest is still counted
    let mut ended = Ok(());
    loop {
        let first = tokio::select! {
            biased;
            // what is ready goes out before more is waited for: the client waits for it, and its room is given back
            Some(ready) = waiting.next(), if !waiting.is_empty() => ready,
            next = coming.recv(), if open && waiting.len() < WAITING => {
                match next {
                    Some(Coming { work, room }) => waiting.push_back(work.map(move |ready| (ready, room))),
                    None => open = false,
                }
                continue;
            }
            else => return ended,
        };
        // whatever else is there already goes out with it
        let mut rooms = Vec::new();
        let mut next = Some(first);
        let mut fatal = None;
        while let Some((ready, room)) = next {
            fatal = put(access, ready, ended.is_ok(), &mut out).await;
            rooms.push(room);
            if fatal.is_some() || out.len() >= SEND {
                break;
            }
            next = waiting.next().now_or_never().flatten();
        }
        if ended.is_ok() {
            ended = write(&mut writer, &out).await.map_err(FilesError::Client);
            if ended.is_err() {
                gone.send_replace(true);
            }
        }
        match out.capacity() > 2 * SEND {
            true => out = BytesMut::new(),
            false => out.clear(),
        }
        if let Some(error) = fatal {
            return Err(error);
        }
    }
}

async fn write<W: AsyncWrite + Unpin>(writer: &mut W, bytes: &[u8]) -> io::Result<()> {
    writer.write_all(bytes).await?;
    writer.flush().await
}

/// Counts and encodes one result; an error is one that the session does not survive.
async fn put(access: &Access, ready: Ready, client_is_there: bool, out: &mut BytesMut) -> Option<FilesError> {
    let (ids, result) = match ready {
        Ready::Reply { id, result } => (vec![id], result),
        Ready::Data { id, entry, offset, asked, result } => {
            let reply = result.map(|bytes| {
                // what nobody takes was not transferred
                if client_is_there {
                    entry.file.count_read(offset, &bytes);
                }
                // who asked for nothing has got it, and did not learn of an end
                match bytes.is_empty() && asked > 0 {
                    true => Reply::Status(Status::end_of_file()),
                    false => Reply::Data(bytes),
                }
            });
            (vec![id], reply)
        }
        Ready::Written { ids, entry, offset, bytes, result } => {
            let reply = result.and_then(|_| {
                entry.file.count_written(offset, &bytes);
                entry.file.truncated()?;
                Ok(Reply::Status(Status::ok()))
            });
            (ids, reply)
        }
        Ready::Closed { id, entry, closing } => {
            let reply = access.finish_close(&entry.file, closing).await.map(|()| Reply::Status(Status::ok()));
            (vec![id], reply)
        }
    };
    let (reply, fatal) = match result {
        Ok(reply) => (reply, None),
        Err(refusal) => (Reply::Status(Status::from(&refusal)), fatal(refusal)),
    };
    for id in ids {
        reply.put(id, out);
    }
    fatal
}

fn fatal(refusal: Refusal) -> Option<FilesError> {
    match refusal {
        Refusal::NodeGone(why) => Some(FilesError::NodeGone(why)),
        Refusal::Evidence(why) => Some(FilesError::Evidence(why)),
        Refusal::Denied(_) | Refusal::Node { .. } => None,
    }
}

/// Replies that are waited for at once.
const WAITING: usize = 64;
/// Bytes that are written together, if there are so many.
const SEND: usize = 256 * 1024;
