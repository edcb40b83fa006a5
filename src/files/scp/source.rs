//! `scp -f`: files go to the client.

use std::collections::VecDeque;

use tokio::io::{AsyncRead, AsyncWrite};

use super::command::ScpCommand;
use super::glob;
use super::session::{DEEPEST, End, PIECE, Session, join, survive};
use super::wire::record_name;
use crate::files::access::Refusal;
use crate::files::mode::{PERMISSIONS, is_directory, is_link, is_regular};
use crate::files::open_file::OpenFile;
use crate::files::read_ahead::{self, ReadAhead};
use crate::model::ShellWord;
use crate::policy::FileAction;
use crate::transport::file_service::{Attributes, Entry, OpenFlags, Operation};

/// What is still to be sent, innermost last.
enum Step {
    /// What a path leads to; its attributes if they are known and it is no link.
    Path { path: Vec<u8>, known: Option<Attributes>, depth: usize },
    /// The names in a directory, one by one.
    Names { directory: Vec<u8>, entries: VecDeque<Entry>, held: usize, depth: usize },
}

impl Step {
    /// What it has taken of [`glob::MOST_HELD`].
    fn held(&self) -> usize {
        match self {
            Self::Path { .. } => 0,
            Self::Names { held, .. } => *held,
        }
    }
}

pub(super) async fn serve<S>(session: &mut Session<S>, command: &ScpCommand) -> Result<(), End>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    if !session.accepted().await? {
        return Ok(());
    }
    for word in command.paths() {
        for mut path in expand(session, word).await? {
            while path.len() > 1 && path.last() == Some(&b'/') {
                path.pop();
            }
            send_tree(session, command, path).await?;
        }
    }
    Ok(())
}

async fn expand<S>(session: &mut Session<S>, word: &ShellWord) -> Result<Vec<Vec<u8>>, End>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    match glob::expand(&session.access, word).await {
        Ok(paths) => Ok(paths),
        Err(refusal) => {
            session.refused(&word.bytes, refusal).await?;
            Ok(Vec::new())
        }
    }
}

/// Sends a file, or a directory and all that is in it.
async fn send_tree<S>(session: &mut Session<S>, command: &ScpCommand, path: Vec<u8>) -> Result<(), End>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut steps = vec![Step::Path { path, known: None, depth: 0 }];
    while let Some(step) = steps.pop() {
        match step {
            Step::Path { path, known, depth } => {
                let attributes = match known {
                    Some(attributes) => attributes,
                    None => match stat(session, &path).await {
                        Ok(attributes) => attributes,
                        Err(refusal) => {
                            session.refused(&path, refusal).await?;
                            continue;
                        }
                    },
                };
                if is_regular(attributes.mode) {
                    send_file(session, command, &path).await?;
                } else if is_directory(attributes.mode) && command.is_recursive() {
                    if depth >= DEEPEST {
                        session.warn(&path, "directories lie too deep in each other").await?;
                    } else if steps.iter().map(Step::held).sum::<usize>() > glob::MOST_HELD {
                        session.refused(&path, glob::too_many()).await?;
                    } else if let Some(entries) = begin_directory(session, command, &path, &attributes).await? {
                        let held = entries.iter().map(glob::cost).sum();
                        steps.push(Step::Names { directory: path, entries: entries.into(), held, depth });
                    }
                } else {
                    session.warn(&path, "not a regular file").await?;
                }
            }
            Step::Names { directory, mut entries, held, depth } => match entries.pop_front() {
                Some(entry) => {
                    let path = join(&directory, &entry.name);
                    let known = (!is_link(entry.attributes.mode)).then_some(entry.attributes);
                    steps.push(Step::Names { directory, entries, held, depth });
                    steps.push(Step::Path { path, known, depth: depth + 1 });
                }
                None => {
                    session.wire.send(b"E\n").await?;
                    session.accepted().await?;
                }
            },
        }
    }
    Ok(())
}

async fn stat<S>(session: &Session<S>, path: &[u8]) -> Result<Attributes, Refusal> {
    let operation = Operation::Stat { path: path.to_vec() };
    Refusal::attributes(session.access.start(operation).await.await?)
}

/// Announces a directory and lists it; `None` if it is not to be sent.
async fn begin_directory<S>(
    session: &mut Session<S>,
    command: &ScpCommand,
    path: &[u8],
    attributes: &Attributes,
) -> Result<Option<Vec<Entry>>, End>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let listed = match session.access.start_open_dir(path.to_vec()).await.await {
        Ok(open) => glob::entries(&session.access, &open).await,
        Err(refusal) => Err(refusal),
    };
    let entries = match listed {
        Ok(entries) => entries,
        Err(refusal) => {
            session.refused(path, refusal).await?;
            return Ok(None);
        }
    };
    match announce(session, command, b'D', path, attributes, 0).await? {
        true => Ok(Some(entries)),
        false => Ok(None),
    }
}

/// Sends the records in front of a file or directory; false if the client does not want it.
async fn announce<S>(
    session: &mut Session<S>,
    command: &ScpCommand,
    kind: u8,
    path: &[u8],
    attributes: &Attributes,
    size: u64,
) -> Result<bool, End>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    if command.preserves()
        && let Some((accessed, modified)) = attributes.times
    {
        // a time before 1970, which the record has no way to say, is its beginning (`do_times` of `scp.c`)
        let [modified, accessed] = [modified, accessed].map(|time| i64::try_from(time).unwrap_or(0));
        session.wire.send(format!("T{modified} 0 {accessed} 0\n").as_bytes()).await?;
        if !session.accepted().await? {
            return Ok(false);
        }
    }
    let mode = attributes.mode.unwrap_or_default() & SENT_MODE;
    let mut line = format!("{}{mode:04o} {size} ", char::from(kind)).into_bytes();
    line.extend(record_name(last_component(path)));
    line.push(b'\n');
    session.wire.send(&line).await?;
    session.accepted().await
}

async fn send_file<S>(session: &mut Session<S>, command: &ScpCommand, path: &[u8]) -> Result<(), End>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let flags = OpenFlags { read: true, ..OpenFlags::default() };
    let file = match session.access.start_open(path.to_vec(), flags, None).await.await {
        Ok(file) => file,
        Err(refusal) => return session.refused(path, refusal).await,
    };
    match send_content(session, command, path, &file).await {
        Ok(()) => {
            let closing = session.access.start_close(&file).await;
            match session.access.finish_close(&file, closing).await {
                Ok(()) => Ok(()),
                // the client has it all
                Err(refusal) => survive(refusal).map(drop),
            }
        }
        Err(end) => match session.access.abandon(&file).await {
            Err(Refusal::Evidence(why)) => Err(End::Evidence(why)),
            _ => Err(end),
        },
    }
}

async fn send_content<S>(
    session: &mut Session<S>,
    command: &ScpCommand,
    path: &[u8],
    file: &OpenFile,
) -> Result<(), End>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let files = session.access.files.clone();
    let attributes = session.access.start_on(file, Operation::Fstat { handle: file.handle }).await;
    let attributes = match attributes.await.and_then(Refusal::attributes) {
        Ok(attributes) if is_regular(attributes.mode) => attributes,
        Ok(_) => return session.warn(path, "not a regular file").await,
        Err(refusal) => return session.refused(path, refusal).await,
    };
    let size = attributes.size.unwrap_or_default();
    let mut ahead = ReadAhead::new(read_ahead::room(), read_ahead::WHILE_TAKEN);
    // on its way while the client thinks about the name
    let mut first = match size {
        0 => None,
        _ => Some(ahead.read(&files, file.handle, 0, piece(size)).await),
    };
    if !announce(session, command, b'C', path, &attributes, size).await? {
        return Ok(());
    }
    let mut offset = 0;
    let mut trouble = None;
    while offset < size && trouble.is_none() {
        if let Err(refusal) = session.access.may_still(file, FileAction::Download).await {
            trouble = Some(survive(refusal)?);
            continue;
        }
        let reading = match first.take() {
            Some(reading) => reading,
            None => ahead.read(&files, file.handle, offset, piece(size - offset)).await,
        };
        match reading.bytes().await {
            Ok(bytes) if !bytes.is_empty() => {
                file.count_read(offset, &bytes);
                session.wire.send(&bytes).await?;
                offset += bytes.len() as u64;
            }
            Ok(_) => trouble = Some("the file became shorter while it was sent".to_owned()),
            Err(refusal) => trouble = Some(survive(refusal)?),
        }
    }
    // the size is promised: what can't be read is made up for, and the client told that it is worthless
    while offset < size {
        let length = piece(size - offset);
        session.wire.send(&vec![0; length as usize]).await?;
        offset += u64::from(length);
    }
    match trouble {
        Some(why) => session.warn(path, &why).await?,
        None => session.wire.ok().await?,
    }
    session.accepted().await.map(drop)
}

/// As much of `rest` as goes into one operation.
fn piece(rest: u64) -> u32 {
    u32::try_from(rest.min(PIECE as u64)).unwrap_or(u32::MAX)
}

/// The sticky bit does not travel (`FILEMODEMASK` of `scp.c`).
const SENT_MODE: u32 = PERMISSIONS & !0o1000;

fn last_component(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&byte| byte != b'/').map_or(path.len(), |last| last + 1);
    let start = path[..end].iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    &path[start..end]
}
