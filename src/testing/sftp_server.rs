//! A node's own SFTP server: OpenSSH's, as a process of its own.

use std::path::Path;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};
use std::{fs, io};

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::EmbeddedTransport;
use crate::policy::{Action, Grant};
use crate::transport::file_service::{FileService, over_sftp};

/// The process, as a stream. It ends with it.
#[derive(Debug)]
pub(crate) struct SftpServer {
    input: ChildStdin,
    output: ChildStdout,
    child: Child,
}

/// What there is in OpenSSH's server beyond the protocol.
const EXTENSIONS: &str = "posix-rename,statvfs,fstatvfs,hardlink,fsync,lsetstat,limits,expand-path,copy-data,\
    home-directory,users-groups-by-id";

impl SftpServer {
    /// One whose relative paths start at `home`.
    pub(crate) fn at(home: &Path) -> Self {
        Self::with(home, &[])
    }

    /// One that has the protocol alone, as small servers do.
    pub(crate) fn without_extensions(home: &Path) -> Self {
        Self::with(home, &["-P", EXTENSIONS])
    }

    fn with(home: &Path, options: &[&str]) -> Self {
        let programs = ["/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server"];
        let program = programs.iter().find(|path| fs::exists(path).unwrap()).expect("OpenSSH's sftp-server");
        let mut command = Command::new(program);
        command.arg("-d").arg(home).args(options).env("TZ", "UTC");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        Self { input: child.stdin.take().unwrap(), output: child.stdout.take().unwrap(), child }
    }

    /// Its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// The file service through it.
    pub(crate) fn service(self) -> FileService {
        over_sftp::start(Grant::for_test("web-1", Action::Files).into(), self, over_sftp::Why::default())
    }
}

impl AsyncRead for SftpServer {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_read(cx, buf)
    }
}

impl AsyncWrite for SftpServer {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.input).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_shutdown(cx)
    }
}

/// The ways to a node's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// The helper, over lanes.
    Helper,
    /// The node's own SFTP server.
    Sftp,
    /// The same without OpenSSH's extensions.
    PlainSftp,
}

impl Carrier {
    /// A service of this kind, with the home that a test looks at and what must outlive it.
    pub(crate) async fn service(self) -> (TempDir, FileService, Option<EmbeddedTransport>) {
        let home = tempfile::tempdir().unwrap();
        match self {
            Self::Helper => {
                let embedded = EmbeddedTransport::fast().await;
                let files = embedded.files().await;
                (home, files, Some(embedded))
            }
            Self::Sftp => {
                let files = SftpServer::at(home.path()).service();
                (home, files, None)
            }
            Self::PlainSftp => {
                let files = SftpServer::without_extensions(home.path()).service();
                (home, files, None)
            }
        }
    }
}

/// A module of tests for each carrier, so that a failure names it.
macro_rules! every_carrier {
    ($($property:ident)*) => {
        every_carrier!(@helper Helper $($property)*);
        every_carrier!(@sftp Sftp $($property)*);
        every_carrier!(@plain_sftp PlainSftp $($property)*);
    };
    (@$module:ident $kind:ident $($property:ident)*) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $property() {
                    super::$property(crate::testing::Carrier::$kind).await;
                }
            )*
        }
    };
}

pub(crate) use every_carrier;
