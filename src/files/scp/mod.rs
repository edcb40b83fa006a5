//! SCP: what `scp -O` and older clients speak with a `scp -t` or `scp -f` that they start by exec. Here the gateway is
//! that program; the protocol has no document but OpenSSH's `scp.c`, whose behaviour and messages this follows.
//!
//! ```text
//!   scp -t DIR (sink): the client sends            scp -f PATH (source): the gateway sends
//!     T1763781960 0 1763781960 0\n      times of the next file, with -p
//!     D0755 0 name\n … E\n              a directory and its end, with -r
//!     C0644 1234 name\n bytes \0        a file
//!   and the other side answers each with \0, \x01 message\n (goes on) or \x02 message\n (ends)
//! ```
//!
//! A client that sends an exec line of this form gets it answered here; whatever else begins with `scp` stays an exec.

mod command;
mod glob;
mod sink;
mod source;
#[cfg(test)]
mod tests;
mod wire;

use tokio::io::{AsyncRead, AsyncWrite};

pub use command::{ScpCommand, parse_scp_command};
pub use wire::{Record, parse_record};

use self::wire::Wire;
use super::access::{Access, Refusal};
use super::{FileLedger, FilesError};
use crate::transport::file_service::FileService;

/// Serves one `scp` command to its end and gives its exit code: 0, or 1 where anything was not copied.
pub async fn serve_scp<S>(
    stream: S,
    command: ScpCommand,
    files: FileService,
    ledger: FileLedger,
) -> Result<i32, FilesError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut session = Session { wire: Wire::new(stream), access: Access::new(files, ledger), failures: 0 };
    let served = match command.is_source() {
        true => source::serve(&mut session, &command).await,
        false => sink::serve(&mut session, &command).await,
    };
    match served {
        Ok(()) | Err(End::Over) => Ok(i32::from(session.failures > 0)),
        Err(End::Client(error)) => Err(FilesError::Client(error)),
        Err(End::NodeGone(why)) => {
            let _ = session.wire.fatal(&format!("the connection to the node was lost: {why}")).await;
            Err(FilesError::NodeGone(why))
        }
        Err(End::Evidence(why)) => {
            let _ = session.wire.fatal(&format!("the session ends because it can't be recorded: {why}")).await;
            Err(FilesError::Evidence(why))
        }
    }
}

/// What both directions have.
struct Session<S> {
    wire: Wire<S>,
    access: Access,
    /// Files and directories that were not copied, or not as asked.
    failures: u64,
}

/// Why the whole session ends before its last file.
#[derive(Debug)]
enum End {
    /// Both sides know why: it was said on the wire, or the client said so.
    Over,
    Client(std::io::Error),
    NodeGone(String),
    Evidence(String),
}

impl From<std::io::Error> for End {
    fn from(error: std::io::Error) -> Self {
        Self::Client(error)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// Tells the client that one file failed, and goes on: `scp: PATH: why`.
    async fn warn(&mut self, path: &[u8], why: &str) -> Result<(), End> {
        self.failures += 1;
        self.wire.warning(path, why).await?;
        Ok(())
    }

    /// Tells the client what the node or policy refused, and goes on where that is possible.
    async fn refused(&mut self, path: &[u8], refusal: Refusal) -> Result<(), End> {
        let why = survive(refusal)?;
        self.warn(path, &why).await
    }

    /// Ends with a message about the protocol or the command line.
    async fn give_up<T>(&mut self, why: &str) -> Result<T, End> {
        self.failures += 1;
        self.wire.warning(b"", why).await?;
        Err(End::Over)
    }

    /// Reads the client's answer to a record; false means that it refused this one.
    async fn accepted(&mut self) -> Result<bool, End> {
        match self.wire.response().await? {
            wire::Response::Go => Ok(true),
            wire::Response::Skip => {
                self.failures += 1;
                Ok(false)
            }
            wire::Response::Stop => {
                self.failures += 1;
                Err(End::Over)
            }
        }
    }
}

/// The words of a refusal that concerns one file only.
fn survive(refusal: Refusal) -> Result<String, End> {
    match refusal {
        Refusal::Denied(denial) => Ok(format!("Permission denied: {}", denial.text)),
        Refusal::Node { message, .. } => Ok(message),
        Refusal::NodeGone(why) => Err(End::NodeGone(why)),
        Refusal::Evidence(why) => Err(End::Evidence(why)),
    }
}

/// A path in a directory.
fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = directory.to_vec();
    if !path.is_empty() && path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend(name);
    path
}

fn is_directory(mode: Option<u32>) -> bool {
    mode.is_some_and(|mode| mode & TYPE == DIRECTORY)
}

fn is_regular(mode: Option<u32>) -> bool {
    mode.is_some_and(|mode| mode & TYPE == REGULAR)
}

fn is_link(mode: Option<u32>) -> bool {
    mode.is_some_and(|mode| mode & TYPE == LINK)
}

const TYPE: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const PERMISSIONS: u32 = 0o7777;
/// How deep directories may lie in each other; `scp` itself gives up where a path becomes too long.
const DEEPEST: usize = 256;
/// Bytes in one operation.
const PIECE: usize = 256 * 1024;
