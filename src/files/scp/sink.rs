//! `scp -t`: files come from the client.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::command::ScpCommand;
use super::glob;
use super::session::{DEEPEST, End, PIECE, Session, join, survive};
use super::wire::{Record, RecordError};
use crate::files::access::{Answering, Refusal, answer};
use crate::files::mode::{PERMISSIONS, is_directory, is_regular};
use crate::files::open_file::OpenFile;
use crate::transport::file_service::{Attributes, OpenFlags, Operation};

/// Where what comes next goes.
struct Level {
    target: Vec<u8>,
    is_directory: bool,
    /// What the directory gets once all that is in it has come.
    finally: Attributes,
}

pub(super) async fn serve<S>(session: &mut Session<S>, command: &ScpCommand) -> Result<(), End>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut levels = vec![top_level(session, command).await?];
    let mut times = None;
    let mut first = true;
    session.wire.ok().await?;
    loop {
        let record = match session.wire.record().await? {
            // directories that nobody ended have come as well
            None => {
                while levels.len() > 1
                    && let Some(level) = levels.pop()
                {
                    finish_directory(session, &level).await?;
                }
                return Ok(());
            }
            Some(Ok(record)) => record,
            // what a shell said in the place of the other side
            Some(Err(RecordError::NoRecord(line))) if first => {
                let text = line.split(|&byte| byte == 0).next().unwrap_or_default();
                return session.give_up(&String::from_utf8_lossy(text)).await;
            }
            Some(Err(wrong)) => return session.give_up(&wrong.to_string()).await,
        };
        first = false;
        let Some(level) = levels.last() else { return Ok(()) };
        match record {
            Record::Warning => session.failures += 1,
            Record::Fatal => {
                session.failures += 1;
                return Err(End::Over);
            }
            Record::Times { modified, accessed } => {
                // a time that no `time_t` holds is none
                times = i64::try_from(modified.max(accessed)).is_ok().then_some((accessed, modified));
                session.wire.ok().await?;
            }
            Record::End => match levels.pop().filter(|_| !levels.is_empty()) {
                Some(level) => end_directory(session, level).await?,
                None => {
                    session.wire.ok().await?;
                    return Ok(());
                }
            },
            Record::Directory { mode, name } => {
                if !command.is_recursive() {
                    return session.give_up("protocol error: received directory without -r").await;
                }
                if levels.len() > DEEPEST {
                    return session.give_up("directories lie too deep in each other").await;
                }
                let path = level.path(&name);
                let mode = granted(command, mode);
                match begin_directory(session, command, &path, mode).await {
                    Ok(mode) => {
                        // where it fails, the times are the next one's
                        let finally = Attributes { times: times.take(), mode, ..Attributes::default() };
                        levels.push(Level { target: path, is_directory: true, finally });
                        session.wire.ok().await?;
                    }
                    Err(refusal) => session.refused(&path, refusal).await?,
                }
            }
            Record::File { mode, size, name } => {
                let path = level.path(&name);
                let mode = Some(granted(command, mode));
                let attributes = Attributes { mode, times, size: Some(size), ..Attributes::default() };
                if take_file(session, command, &path, attributes).await? {
                    times = None;
                }
            }
        }
    }
}

/// What of a mode is for the file: who does not ask for modes (`-p`) gets no set-user-id and no sticky bit either, as in
/// OpenSSH 10.3 and its predecessors that were mended for it.
fn granted(command: &ScpCommand, mode: u32) -> u32 {
    if command.preserves() { mode } else { mode & 0o777 }
}

impl Level {
    fn path(&self, name: &[u8]) -> Vec<u8> {
        match self.is_directory {
            // with a slash even where one is there, as in the messages of OpenSSH's
            true if self.target.ends_with(b"/") && self.target.len() > 1 => [&self.target, &b"/"[..], name].concat(),
            true => join(&self.target, name),
            false => self.target.clone(),
        }
    }
}

async fn top_level<S>(session: &mut Session<S>, command: &ScpCommand) -> Result<Level, End>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let Some(word) = command.paths().first() else { return session.give_up("there is no target").await };
    let target = match glob::expand(&session.access, word).await {
        Ok(mut paths) if paths.len() == 1 => paths.pop().unwrap_or_default(),
        Ok(_) => return session.give_up("ambiguous target").await,
        Err(refusal) => {
            session.refused(&word.bytes, refusal).await?;
            return Err(End::Over);
        }
    };
    let found = session.access.start(Operation::Stat { path: target.clone() }).await.await;
    let is_directory = match found.and_then(Refusal::attributes) {
        Ok(attributes) => is_directory(attributes.mode),
        Err(refusal) => {
            let why = survive(refusal)?;
            if command.wants_directory() {
                session.warn(&target, &why).await?;
                return Err(End::Over);
            }
            false
        }
    };
    if command.wants_directory() && !is_directory {
        session.warn(&target, "Not a directory").await?;
        return Err(End::Over);
    }
    Ok(Level { target, is_directory, finally: Attributes::default() })
}

/// Makes a directory where there is none yet, writable for now; gives the mode it is to have at its end, if that is
/// another.
async fn begin_directory<S>(
    session: &Session<S>,
    command: &ScpCommand,
    path: &[u8],
    mode: u32,
) -> Result<Option<u32>, Refusal> {
    let (access, preserve) = (&session.access, command.preserves());
    let stat = Operation::Stat { path: path.to_vec() };
    match access.start(Operation::MakeDir { path: path.to_vec(), mode: mode | 0o700 }).await.await {
        Ok(_) if preserve => Ok(Some(mode)),
        Ok(_) if mode & 0o700 == 0o700 => Ok(None),
        Ok(_) => {
            let made = Refusal::attributes(access.start(stat).await.await?)?;
            Ok(made.mode.map(|made| made & PERMISSIONS & !(0o700 & !mode)))
        }
        Err(Refusal::Node { errno: EEXIST, message }) => {
            let found = match access.start(stat).await.await {
                Ok(answer) => Refusal::attributes(answer)?,
                // a link that leads nowhere
                Err(Refusal::Node { .. }) => return Err(Refusal::Node { errno: EEXIST, message }),
                Err(refusal) => return Err(refusal),
            };
            match is_directory(found.mode) {
                true => Ok(preserve.then_some(mode)),
                false => Err(Refusal::Node { errno: ENOTDIR, message: "Not a directory".to_owned() }),
            }
        }
        Err(refusal) => Err(refusal),
    }
}

async fn end_directory<S>(session: &mut Session<S>, level: Level) -> Result<(), End>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    match finish_directory(session, &level).await? {
        Some(why) => session.warn(&level.target, &format!("set times and mode: {why}")).await,
        None => Ok(session.wire.ok().await?),
    }
}

/// Gives a directory the mode and the times that it is to have; in words what went wrong.
async fn finish_directory<S>(session: &Session<S>, level: &Level) -> Result<Option<String>, End> {
    if level.finally == Attributes::default() {
        return Ok(None);
    }
    let operation = Operation::SetStat { path: level.target.clone(), attributes: level.finally };
    match session.access.start(operation).await.await {
        Ok(_) => Ok(None),
        Err(refusal) => Ok(Some(survive(refusal)?)),
    }
}

/// Takes a file; whether all went well.
async fn take_file<S>(
    session: &mut Session<S>,
    command: &ScpCommand,
    path: &[u8],
    attributes: Attributes,
) -> Result<bool, End>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let flags = OpenFlags { write: true, create: true, ..OpenFlags::default() };
    // before it is opened and so made; the node answers in order
    let before = session.access.start(Operation::Stat { path: path.to_vec() }).await;
    // writable for as long as it takes
    let mode = attributes.mode.map(|mode| mode | 0o200);
    let file = match session.access.start_open(path.to_vec(), flags, mode).await.await {
        Ok(file) => file,
        Err(refusal) => return session.refused(path, refusal).await.map(|()| false),
    };
    let is_new = before.await.is_err();
    let (mut trouble, word) = match take_content(session, command, &file, attributes, is_new).await {
        Ok(done) => done,
        Err(end) => match session.access.abandon(&file).await {
            Err(Refusal::Evidence(why)) => return Err(End::Evidence(why)),
            _ => return Err(end),
        },
    };
    let closing = session.access.start_close(&file).await;
    if let Err(refusal) = session.access.finish_close(&file, closing).await {
        let why = survive(refusal)?;
        trouble.get_or_insert(why);
    }
    word?;
    match &trouble {
        Some(why) => session.warn(path, why).await?,
        None => session.wire.ok().await?,
    }
    Ok(trouble.is_none())
}

/// Takes the bytes that were announced, whatever becomes of them, and the client's word on what it sent; in words what went
/// wrong, and that word.
async fn take_content<S>(
    session: &mut Session<S>,
    command: &ScpCommand,
    file: &OpenFile,
    attributes: Attributes,
    is_new: bool,
) -> Result<(Option<String>, Result<bool, End>), End>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let files = session.access.files.clone();
    let found = files.issue(Operation::Fstat { handle: file.handle }).await;
    session.wire.ok().await?;
    let size = attributes.size.unwrap_or_default();
    let mut writes = Writes { file, on_their_way: VecDeque::new(), trouble: None };
    let mut offset = 0;
    while offset < size {
        let wanted = usize::try_from(size - offset).unwrap_or(PIECE).min(PIECE);
        let bytes = match session.wire.content(wanted).await {
            Ok(bytes) if !bytes.is_empty() => bytes,
            ended => {
                // the node writes what it was sent, and the record says how much that was
                writes.settle(0).await?;
                if let Err(gone) = ended {
                    return Err(End::Client(gone));
                }
                // it may still read
                return session.give_up("Broken pipe").await;
            }
        };
        let length = bytes.len() as u64;
        if writes.trouble.is_none()
            && let Err(refusal) = session.access.may_upload(file, length).await
        {
            writes.trouble = Some(survive(refusal)?);
        }
        if writes.trouble.is_none() {
            let operation = Operation::Write { handle: file.handle, offset, bytes: bytes.clone() };
            writes.on_their_way.push_back((offset, bytes, files.issue(operation).await));
            writes.settle(WRITES - 1).await?;
        }
        offset += length;
    }
    writes.settle(0).await?;
    // comes before ours; where it is none, the file gets no times
    let word = session.accepted().await;
    let attributes = Attributes { times: attributes.times.filter(|_| word.is_ok()), ..attributes };
    let trouble = match (answer(found).await.and_then(Refusal::attributes), writes.trouble) {
        (_, Some(why)) => Some(why),
        (Ok(found), None) => finish(session, command, file, found, attributes, is_new).await?,
        (Err(refusal), None) => Some(survive(refusal)?),
    };
    Ok((trouble, word))
}

/// Gives a file its size, and with `-p` its mode and times; in words what went wrong.
async fn finish<S>(
    session: &Session<S>,
    command: &ScpCommand,
    file: &OpenFile,
    found: Attributes,
    wanted: Attributes,
    is_new: bool,
) -> Result<Option<String>, End> {
    let mode = wanted.mode.unwrap_or_default() & PERMISSIONS;
    let mode = match command.preserves() {
        true => Some(mode),
        // what the node's umask left of it, less the permission that was lent for writing
        false if is_new && mode & 0o200 == 0 => found.mode.map(|found| found & PERMISSIONS & !0o200),
        false => None,
    };
    // nothing is written of an empty file, and it is of now nevertheless
    let is_cut = |size| found.size.is_none_or(|found| found > size) || size == 0 && !is_new;
    let changes = Attributes {
        size: wanted.size.filter(|&size| is_regular(found.mode) && is_cut(size)),
        mode,
        times: wanted.times,
        owner: None,
    };
    if changes == Attributes::default() {
        return Ok(None);
    }
    let operation = Operation::FsetStat { handle: file.handle, attributes: changes };
    match session.access.start_on(file, operation).await.await {
        Ok(_) => Ok(None),
        Err(refusal) => Ok(Some(format!("set size, mode or times: {}", survive(refusal)?))),
    }
}

/// The writes of one file that the node has not confirmed yet.
struct Writes<'a> {
    file: &'a OpenFile,
    on_their_way: VecDeque<(u64, Bytes, Answering)>,
    /// Why no more are issued.
    trouble: Option<String>,
}

impl Writes<'_> {
    /// Waits until at most `left` are unconfirmed.
    async fn settle(&mut self, left: usize) -> Result<(), End> {
        while self.on_their_way.len() > left
            && let Some((offset, bytes, answering)) = self.on_their_way.pop_front()
        {
            match answer(answering).await {
                Ok(_) => self.file.count_written(offset, &bytes),
                Err(refusal) => {
                    let why = survive(refusal)?;
                    self.trouble.get_or_insert(why);
                }
            }
        }
        Ok(())
    }
}

/// Writes on their way at once: 2 MiB.
const WRITES: usize = 8;
const EEXIST: i32 = 17;
const ENOTDIR: i32 = 20;
