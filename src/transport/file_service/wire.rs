//! The gateway's end of the file service: operations become requests on the helper's input, answers come back on its
//! output. Many may be in flight; the helper answers in order.
//!
//! ```text
//!  request:  | length u32 | id u32 | operation u8 | arguments … |
//!  answer:   | length u32 | id u32 | errno u32    | result …    |    a text is its length (u32) and its bytes
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::sync::{mpsc, oneshot};

use super::code::Code;
use super::operation::{
    Answer, Attributes, Entry, FileError, FileSystem, Handle, LONGEST_LISTING, OpenFlags, Opened, Operation,
};
use super::service::{Call, FileService};
use crate::model::plain_text_up_to;
use crate::policy::Grant;
use crate::transport::channel::{Delivery, Input, Out};

/// Starts the task behind a [`FileService`].
pub(in crate::transport) fn start(
    grant: Arc<Grant>,
    input: Input,
    deliveries: mpsc::Receiver<Delivery>,
) -> FileService {
    let (operations, calls) = mpsc::channel(16);
    tokio::spawn(run(input, deliveries, calls));
    FileService { grant, operations, login: None }
}

type Waiting = (u32, Expect, oneshot::Sender<Result<Answer, FileError>>);

async fn run(input: Input, mut deliveries: mpsc::Receiver<Delivery>, mut calls: mpsc::Receiver<Call>) {
    let mut waiting: VecDeque<Waiting> = VecDeque::new();
    let mut inbox = BytesMut::new();
    let mut outgoing: Option<Bytes> = None;
    let mut next: u32 = 0;
    let mut open = true;
    let why = loop {
        tokio::select! {
            delivery = deliveries.recv() => match delivery {
                Some(Delivery::Out(Out::Stdout(bytes))) => {
                    inbox.extend_from_slice(&bytes);
                    if let Err(why) = answer_all(&mut inbox, &mut waiting) {
                        break why;
                    }
                }
                Some(Delivery::Out(Out::Stderr(_) | Out::Exit(_) | Out::Notice(_))) => {}
                Some(Delivery::Failed(error)) => break error.to_string(),
                None => break "it has ended".to_owned(),
            },
            sent = async {
                match &outgoing {
                    Some(bytes) => input.send(bytes.clone()).await,
                    None => std::future::pending().await,
                }
            } => match sent {
                Ok(()) => outgoing = None,
                Err(gone) => break last_words(&mut deliveries).await.unwrap_or_else(|| gone.to_string()),
            },
            call = calls.recv(), if open && outgoing.is_none() && waiting.len() < MOST_IN_FLIGHT => match call {
                Some((operation, answer)) => {
                    next = next.wrapping_add(1);
                    let (request, expect) = encode(next, &operation);
                    outgoing = Some(request);
                    waiting.push_back((next, expect, answer));
                }
                None => {
                    open = false;
                    // the last holder of the service has gone: the helper closes what is open and leaves
                    if input.eof().await.is_err() {
                        break "it has ended".to_owned();
                    }
                }
            },
        }
    };
    for (_, _, answer) in waiting {
        // whoever stopped waiting does not need the reason
        let _ = answer.send(Err(FileError::NodeGone(why.clone())));
    }
    calls.close();
    while let Some((_, answer)) = calls.recv().await {
        let _ = answer.send(Err(FileError::NodeGone(why.clone())));
    }
}

/// Why the lanes have ended, if they say so.
async fn last_words(deliveries: &mut mpsc::Receiver<Delivery>) -> Option<String> {
    while let Some(delivery) = deliveries.recv().await {
        if let Delivery::Failed(error) = delivery {
            return Some(error.to_string());
        }
    }
    None
}

/// What an operation's answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    Nothing,
    Opened,
    Bytes,
    Attributes,
    Entries,
    Path,
    FileSystem,
    Copied,
    Names,
    MostOpen,
}

fn answer_all(inbox: &mut BytesMut, waiting: &mut VecDeque<Waiting>) -> Result<(), String> {
    while inbox.len() >= 4 {
        let mut length = [0; 4];
        length.copy_from_slice(&inbox[..4]);
        let length = u32::from_be_bytes(length) as usize;
        if !(8..=LONGEST_ANSWER).contains(&length) {
            return Err("the node's file service sent an answer of an impossible length".to_owned());
        }
        if inbox.len() < 4 + length {
            inbox.reserve(4 + length - inbox.len());
            return Ok(());
        }
        let mut answer = inbox.split_to(4 + length).freeze();
        answer.advance(4);
        let (id, errno) = (answer.get_u32(), answer.get_u32());
        let Some((expected, expect, sender)) = waiting.pop_front() else {
            return Err("the node's file service answered what was not asked".to_owned());
        };
        if expected != id {
            return Err("the node's file service answered out of order".to_owned());
        }
        let result = if errno == 0 {
            Ok(parse(expect, answer).ok_or("the node's file service sent a malformed answer")?)
        } else {
            let message = plain_text_up_to(200, &String::from_utf8_lossy(&answer));
            Err(FileError::Node { errno: i32::try_from(errno).unwrap_or(i32::MAX), message })
        };
        let _ = sender.send(result);
    }
    Ok(())
}

fn parse(expect: Expect, mut body: Bytes) -> Option<Answer> {
    Some(match expect {
        Expect::Nothing => Answer::Done,
        Expect::Bytes => Answer::Bytes(body),
        Expect::Path => Answer::Path(body.to_vec()),
        Expect::Opened => {
            let handle = Handle(body.try_get_u32().ok()?);
            Answer::Opened(Opened { handle, real_path: text(&mut body)?.to_vec() })
        }
        Expect::Attributes => Answer::Attributes(attributes(&mut body)?),
        // whoever asked keeps it until a client takes it
        Expect::Entries if body.len() > LONGEST_LISTING => return None,
        Expect::Entries => {
            let count = body.try_get_u32().ok()?;
            let mut entries = Vec::new();
            for _ in 0..count {
                let name = text(&mut body)?.to_vec();
                let attributes = attributes(&mut body)?;
                let links = body.try_get_u32().ok()?;
                let owner = String::from_utf8_lossy(&text(&mut body)?).into_owned();
                let group = String::from_utf8_lossy(&text(&mut body)?).into_owned();
                entries.push(Entry { name, attributes, links, owner_names: (owner, group) });
            }
            Answer::Entries(entries)
        }
        Expect::FileSystem => {
            let mut fields = [0; 11];
            for field in &mut fields {
                *field = body.try_get_u64().ok()?;
            }
            Answer::FileSystem(FileSystem { fields })
        }
        Expect::Copied => Answer::Copied(body.try_get_u64().ok()?),
        Expect::Names => {
            let mut names = Vec::new();
            while !body.is_empty() {
                names.push(text(&mut body)?.to_vec());
            }
            Answer::Names(names)
        }
        Expect::MostOpen => Answer::MostOpen(body.try_get_u32().ok()?),
    })
}

fn text(body: &mut Bytes) -> Option<Bytes> {
    let length = body.try_get_u32().ok()? as usize;
    (length <= body.len()).then(|| body.split_to(length))
}

fn attributes(body: &mut Bytes) -> Option<Attributes> {
    Some(Attributes {
        size: Some(body.try_get_u64().ok()?),
        owner: Some((body.try_get_u32().ok()?, body.try_get_u32().ok()?)),
        mode: Some(body.try_get_u32().ok()?),
        times: Some((body.try_get_u64().ok()?, body.try_get_u64().ok()?)),
    })
}

pub(super) fn encode(id: u32, operation: &Operation) -> (Bytes, Expect) {
    let mut body = BytesMut::with_capacity(64);
    // the length, which is known at the end, and the code
    body.put_u32(0);
    body.put_u32(id);
    body.put_u8(0);
    let code = put_arguments(&mut body, operation);
    let length = u32::try_from(body.len() - 4).unwrap_or(u32::MAX);
    body[..4].copy_from_slice(&length.to_be_bytes());
    body[8] = code as u8;
    (body.freeze(), code.expects())
}

fn put_arguments(body: &mut BytesMut, operation: &Operation) -> Code {
    match operation {
        Operation::Open { path, flags, mode } => {
            put_text(body, path);
            body.put_u32(flag_bits(*flags));
            body.put_u32(mode.unwrap_or(u32::MAX));
            Code::Open
        }
        Operation::Read { handle, offset, length } => {
            body.put_u32(handle.0);
            body.put_u64(*offset);
            body.put_u32(*length);
            Code::Read
        }
        Operation::Write { handle, offset, bytes } => {
            body.put_u32(handle.0);
            body.put_u64(*offset);
            body.put_slice(bytes);
            Code::Write
        }
        Operation::Close { handle } => put_handle(body, *handle, Code::Close),
        Operation::Stat { path } => put_path(body, path, Code::Stat),
        Operation::Lstat { path } => put_path(body, path, Code::Lstat),
        Operation::Fstat { handle } => put_handle(body, *handle, Code::Fstat),
        Operation::SetStat { path, attributes } => {
            put_text(body, path);
            put_attributes(body, attributes, Code::SetStat)
        }
        Operation::FsetStat { handle, attributes } => {
            body.put_u32(handle.0);
            put_attributes(body, attributes, Code::FsetStat)
        }
        Operation::OpenDir { path } => put_path(body, path, Code::OpenDir),
        Operation::ReadDir { handle, again } => {
            body.put_u32(handle.0);
            body.put_u32(u32::from(*again));
            Code::ReadDir
        }
        Operation::Remove { path } => put_path(body, path, Code::Remove),
        Operation::MakeDir { path, mode } => {
            put_text(body, path);
            body.put_u32(*mode);
            Code::MakeDir
        }
        Operation::RemoveDir { path } => put_path(body, path, Code::RemoveDir),
        Operation::RealPath { path } => put_path(body, path, Code::RealPath),
        Operation::Rename { from, to, replace } => {
            put_text(body, from);
            put_text(body, to);
            body.put_u32(u32::from(*replace));
            Code::Rename
        }
        Operation::ReadLink { path } => put_path(body, path, Code::ReadLink),
        Operation::Symlink { target, path } => {
            put_text(body, target);
            put_path(body, path, Code::Symlink)
        }
        Operation::Link { from, to } => {
            put_text(body, from);
            put_path(body, to, Code::Link)
        }
        Operation::Fsync { handle } => put_handle(body, *handle, Code::Fsync),
        Operation::FileSystem { path } => put_path(body, path, Code::FileSystem),
        Operation::LsetStat { path, attributes } => {
            put_text(body, path);
            put_attributes(body, attributes, Code::LsetStat)
        }
        Operation::ExpandPath { path } => put_path(body, path, Code::ExpandPath),
        Operation::FileSystemOf { handle } => put_handle(body, *handle, Code::FileSystemOf),
        Operation::Copy { handle, offset, length, to, to_offset } => {
            body.put_u32(handle.0);
            body.put_u64(*offset);
            body.put_u64(*length);
            body.put_u32(to.0);
            body.put_u64(*to_offset);
            Code::Copy
        }
        Operation::HomeDirectory { user } => put_path(body, user, Code::HomeDirectory),
        Operation::NamesOf { users, groups } => {
            body.put_u32(u32::try_from(users.len()).unwrap_or(u32::MAX));
            for number in users.iter().chain(groups) {
                body.put_u32(*number);
            }
            Code::NamesOf
        }
        Operation::MostOpen { wanted } => {
            body.put_u32(*wanted);
            Code::MostOpen
        }
    }
}

fn put_text(body: &mut BytesMut, text: &[u8]) {
    body.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
    body.put_slice(text);
}

fn put_path(body: &mut BytesMut, path: &[u8], code: Code) -> Code {
    put_text(body, path);
    code
}

fn put_handle(body: &mut BytesMut, handle: Handle, code: Code) -> Code {
    body.put_u32(handle.0);
    code
}

/// Mask (1 size, 2 owner, 4 mode, 8 times) and then every field, whether it counts or not.
fn put_attributes(body: &mut BytesMut, attributes: &Attributes, code: Code) -> Code {
    let bit = |present: bool, bit: u32| if present { bit } else { 0 };
    let (owner, times) = (attributes.owner.unwrap_or_default(), attributes.times.unwrap_or_default());
    body.put_u32(
        bit(attributes.size.is_some(), 1)
            | bit(attributes.owner.is_some(), 2)
            | bit(attributes.mode.is_some(), 4)
            | bit(attributes.times.is_some(), 8),
    );
    body.put_u64(attributes.size.unwrap_or_default());
    body.put_u32(owner.0);
    body.put_u32(owner.1);
    body.put_u32(attributes.mode.unwrap_or_default());
    body.put_u64(times.0);
    body.put_u64(times.1);
    code
}

fn flag_bits(flags: OpenFlags) -> u32 {
    let OpenFlags { read, write, append, create, truncate, exclusive } = flags;
    [read, write, append, create, truncate, exclusive]
        .into_iter()
        .enumerate()
        .map(|(bit, set)| u32::from(set) << bit)
        .sum()
}

/// How many operations are on their way at once.
const MOST_IN_FLIGHT: usize = 128;
const LONGEST_ANSWER: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn expect() -> impl Strategy<Value = Expect> {
        prop_oneof![
            Just(Expect::Nothing),
            Just(Expect::Opened),
            Just(Expect::Bytes),
            Just(Expect::Attributes),
            Just(Expect::Entries),
            Just(Expect::Path),
            Just(Expect::FileSystem),
            Just(Expect::Copied),
            Just(Expect::Names),
        ]
    }

    fn answered(expect: Expect, pieces: &[&[u8]]) -> (Result<(), String>, Option<Result<Answer, FileError>>) {
        let (sender, mut receiver) = oneshot::channel();
        let mut waiting = VecDeque::from([(1, expect, sender)]);
        let mut inbox = BytesMut::new();
        let mut result = Ok(());
        for piece in pieces {
            inbox.extend_from_slice(piece);
            result = answer_all(&mut inbox, &mut waiting);
            if result.is_err() {
                break;
            }
        }
        (result, receiver.try_recv().ok())
    }

    #[test]
    fn an_error_is_the_node_s_own() {
        let answer = [&[0, 0, 0, 10, 0, 0, 0, 1, 0, 0, 0, 13][..], b"no"].concat();
        let (result, answer) = answered(Expect::Path, &[&answer]);
        assert_eq!(result, Ok(()));
        assert_eq!(answer, Some(Err(FileError::Node { errno: 13, message: "no".into() })));
    }

    #[test]
    fn an_answer_to_nothing_is_the_end() {
        assert!(answered(Expect::Nothing, &[&[0, 0, 0, 8, 0, 0, 0, 2, 0, 0, 0, 0]]).0.is_err());
        assert!(answered(Expect::Nothing, &[&[0, 0, 0, 7, 0, 0, 0, 1]]).0.is_err());
        assert!(answered(Expect::Opened, &[&[0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0]]).0.is_err());
    }

    #[test]
    fn a_listing_has_a_length_that_can_be_kept() {
        // no entries, and what stands behind them
        let listing = |length: usize| {
            let mut answer = u32::try_from(8 + length).unwrap().to_be_bytes().to_vec();
            answer.extend([0, 0, 0, 1, 0, 0, 0, 0]);
            answer.resize(4 + 8 + length, 0);
            answered(Expect::Entries, &[&answer]).0
        };
        assert_eq!(listing(LONGEST_LISTING), Ok(()));
        assert!(listing(LONGEST_LISTING + 1).is_err());
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(expect in expect(), body in proptest::collection::vec(any::<u8>(), 0..200), cut in 1usize..20) {
            let length = u32::try_from(body.len() + 8).unwrap();
            let answer = [&length.to_be_bytes()[..], &1u32.to_be_bytes(), &0u32.to_be_bytes(), &body].concat();
            let pieces: Vec<&[u8]> = answer.chunks(cut).collect();
            let (whole, cut) = (answered(expect, &[&answer]), answered(expect, &pieces));
            prop_assert_eq!(whole, cut);
            let _ = answered(expect, &[&body]);
        }
    }
}
