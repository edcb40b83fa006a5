//! What both directions of a copy have: the wire, the files, and how a failure is told and survived.

use tokio::io::{AsyncRead, AsyncWrite};

use super::wire::{Response, Wire};
use crate::files::access::{Access, Refusal};

/// What both directions have.
pub(super) struct Session<S> {
    pub(super) wire: Wire<S>,
    pub(super) access: Access,
    /// Files and directories that were not copied, or not as asked.
    pub(super) failures: u64,
}

/// Why the whole session ends before its last file.
#[derive(Debug)]
pub(super) enum End {
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
    pub(super) fn new(stream: S, access: Access) -> Self {
        Self { wire: Wire::new(stream), access, failures: 0 }
    }

    /// Tells the client that one file failed, and goes on: `scp: PATH: why`.
    pub(super) async fn warn(&mut self, path: &[u8], why: &str) -> Result<(), End> {
        self.failures += 1;
        self.wire.warning(path, why).await?;
        Ok(())
    }

    /// Tells the client what the node or policy refused, and goes on where that is possible.
    pub(super) async fn refused(&mut self, path: &[u8], refusal: Refusal) -> Result<(), End> {
        let why = survive(refusal)?;
        self.warn(path, &why).await
    }

    /// Ends with a message about the protocol or the command line.
    pub(super) async fn give_up<T>(&mut self, why: &str) -> Result<T, End> {
        self.failures += 1;
        self.wire.message(why.as_bytes()).await?;
        Err(End::Over)
    }

    /// Reads the client's answer to a record; false means that it refused this one.
    pub(super) async fn accepted(&mut self) -> Result<bool, End> {
        match self.wire.response().await? {
            Response::Go => Ok(true),
            Response::Skip => {
                self.failures += 1;
                Ok(false)
            }
            Response::Stop => {
                self.failures += 1;
                Err(End::Over)
            }
        }
    }
}

/// The words of a refusal that concerns one file only.
pub(super) fn survive(refusal: Refusal) -> Result<String, End> {
    match refusal {
        Refusal::Denied(denial) => Ok(format!("Permission denied: {}", denial.text)),
        Refusal::Node { message, .. } => Ok(message),
        Refusal::NodeGone(why) => Err(End::NodeGone(why)),
        Refusal::Evidence(why) => Err(End::Evidence(why)),
    }
}

/// A path in a directory.
pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = directory.to_vec();
    if !path.is_empty() && path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend(name);
    path
}

/// How deep directories may lie in each other; `scp` itself gives up where a path becomes too long.
pub(super) const DEEPEST: usize = 256;
/// Bytes in one operation.
pub(super) const PIECE: usize = 256 * 1024;
