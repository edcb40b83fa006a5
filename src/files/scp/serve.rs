//! One `scp` command, from its line to its exit code.

use tokio::io::{AsyncRead, AsyncWrite};

use super::command::ScpCommand;
use super::session::{End, Session};
use super::{sink, source};
use crate::files::access::Access;
use crate::files::{FileLedger, FilesError};
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
    let mut session = Session::new(stream, Access::new(files, ledger));
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
