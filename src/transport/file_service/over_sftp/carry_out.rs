//! Operations, one after the other, each as the requests that it takes.

use std::collections::HashMap;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::super::errno::EINVAL;
use super::super::operation::{Answer, Attributes, FileError, Handle, Operation};
use super::super::service::{Call, FileService};
use super::super::sftp::packet::Request;
use super::super::sftp::reply::{BAD_MESSAGE, EOF, Reply};
use super::connection::{Connection, Expect, Why};
use super::error::{check_path, check_text, exists, no_such_file, no_such_handle, node, unsupported};
use super::greeting::{Offers, ask_around, exchange_versions};
use super::listing::entry;
use super::opening::{Open, leads_over_link, not_resolved, one_path};
use crate::policy::Grant;

/// Starts the task behind a [`FileService`] on a stream to a node's `sftp` subsystem. Whoever carries the stream may say in `why`, before it
/// ends, why it does.
pub fn start<S>(grant: Arc<Grant>, stream: S, why: Why) -> FileService
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (operations, calls) = mpsc::channel(16);
    // whoever has an operation under way learns how it ended
    tokio::spawn(async move { serve(calls, stream, why).await });
    FileService { grant, operations, login: None }
}

/// Carries operations out on a stream that speaks SFTP version 3, as its client, until nobody can ask for more: then the
/// stream is ended. The error says why it could not go on; whoever waited has been told so as well.
pub(super) async fn serve<S>(mut calls: mpsc::Receiver<Call>, mut stream: S, carrier: Why) -> Result<(), FileError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let result = match exchange_versions(&mut stream).await {
        Ok((offers, received)) => {
            let (connection, driver) = Connection::new(carrier);
            let left = Notify::new();
            let work = async {
                tokio::join!(carry_out_all(connection, offers, &mut calls, &left), driver.run(stream, received)).0
            };
            let too_late = async {
                left.notified().await;
                tokio::time::sleep(LAST_PATIENCE).await;
            };
            tokio::select! {
                result = work => result,
                () = too_late => Err(FileError::NodeGone("the node's SFTP server does not come to an end".to_owned())),
            }
        }
        Err(why) => Err(FileError::NodeGone(carrier.get().cloned().unwrap_or(why))),
    };
    calls.close();
    if let Err(error) = &result {
        while let Some((_, answer)) = calls.recv().await {
            let _ = answer.send(Err(error.clone()));
        }
    }
    result
}

/// Says `left` when nobody can ask for more: whoever is gone waits for no server.
async fn carry_out_all(
    connection: Connection,
    mut offers: Offers,
    calls: &mut mpsc::Receiver<Call>,
    left: &Notify,
) -> Result<(), FileError> {
    let asked = ask_around(&connection, &mut offers).await;
    if asked.is_err() {
        left.notify_one();
    }
    asked?;
    let mut issuer = Issuer { connection: connection.clone(), offers, open: HashMap::new(), last: 0 };
    // what waits for its answers; the room of the connection bounds what they hold
    let mut finishing = JoinSet::new();
    let mut next = None;
    let result = loop {
        let call = loop {
            // however fast calls come: what has ended is let go, and no more are begun than may wait
            while finishing.try_join_next().is_some() {}
            if finishing.len() < MOST_IN_FLIGHT
                && let Some(call) = next.take()
            {
                break Ok(call);
            }
            tokio::select! {
                biased;
                why = connection.closed() => break Err(FileError::NodeGone(why)),
                Some(_) = finishing.join_next(), if !finishing.is_empty() => {}
                call = calls.recv(), if next.is_none() => next = Some(seen(call, left)),
            }
        };
        let (operation, answer) = match call {
            Ok(Some(call)) => call,
            Ok(None) => break Ok(()),
            Err(gone) => break Err(gone),
        };
        let issuing = issuer.issue(operation);
        tokio::pin!(issuing);
        // one call ahead, so that it is seen when that was the last
        let finish = loop {
            tokio::select! {
                biased;
                finish = &mut issuing => break finish,
                call = calls.recv(), if next.is_none() => next = Some(seen(call, left)),
            }
        };
        let finish = finish.unwrap_or_else(|error| ready(Err(error)).boxed());
        finishing.spawn(async move {
            // whoever stopped waiting does not need it
            let _ = answer.send(finish.await);
        });
    };
    left.notify_one();
    if let (Err(error), Some(Some((_, answer)))) = (&result, next) {
        let _ = answer.send(Err(error.clone()));
    }
    while finishing.join_next().await.is_some() {}
    result
}

/// A call, or that there will be none any more, which is said at once.
fn seen(call: Option<Call>, left: &Notify) -> Option<Call> {
    if call.is_none() {
        left.notify_one();
    }
    call
}

/// What is left of an operation when its requests have been sent: to wait for the answers.
pub(super) type Finish = BoxFuture<'static, Result<Answer, FileError>>;

/// Sends requests, and knows what is open.
pub(super) struct Issuer {
    pub(super) connection: Connection,
    pub(super) offers: Offers,
    pub(super) open: HashMap<u32, Open>,
    pub(super) last: u32,
}

impl Issuer {
    /// Sends what an operation takes. The requests of whatever comes after it are sent after its own.
    async fn issue(&mut self, operation: Operation) -> Result<Finish, FileError> {
        match operation {
            Operation::Open { path, flags, mode } => Ok(at_once(self.open(path, flags, mode).await)),
            Operation::OpenDir { path } => Ok(at_once(self.open_dir(path).await)),
            Operation::Read { handle, offset, length } => self.read(handle, offset, length).await,
            Operation::Write { handle, offset, bytes } => self.write(handle, offset, bytes).await,
            Operation::Copy { handle, offset, length, to, to_offset } => {
                Ok(at_once(self.copy([handle, to], [offset, length, to_offset]).await))
            }
            Operation::Close { handle } => {
                let open = self.open.remove(&handle.0).ok_or_else(no_such_handle)?;
                open.reads_done().await;
                self.ask(Request::Close { handle: open.handle }, Expect::Done).await
            }
            Operation::ReadDir { handle, again } => self.read_dir(handle, again).await,
            Operation::Stat { path } => {
                check_path(&path)?;
                self.ask(Request::Stat { path }, Expect::Attributes).await
            }
            Operation::Lstat { path } => {
                check_path(&path)?;
                self.ask(Request::Lstat { path }, Expect::Attributes).await
            }
            Operation::Fstat { handle } => {
                let handle = self.file(handle)?.handle;
                self.ask(Request::Fstat { handle }, Expect::Attributes).await
            }
            Operation::SetStat { path, attributes } => {
                check_path(&path)?;
                let attributes = changeable(attributes)?;
                self.ask(Request::SetStat { path, attributes }, Expect::Done).await
            }
            Operation::LsetStat { path, attributes } => {
                check_path(&path)?;
                self.need("lsetstat@openssh.com")?;
                let attributes = changeable(attributes)?;
                if attributes.size.is_some() {
                    return Err(node(EINVAL, "Invalid argument"));
                }
                self.ask(Request::LsetStat { path, attributes }, Expect::Done).await
            }
            Operation::FsetStat { handle, attributes } => {
                let (open, attributes) = (self.file(handle)?, changeable(attributes)?);
                open.reads_done().await;
                let handle = open.handle;
                self.ask(Request::FsetStat { handle, attributes }, Expect::Done).await
            }
            Operation::Fsync { handle } => {
                let handle = self.file(handle)?.handle;
                self.need("fsync@openssh.com")?;
                self.ask(Request::Fsync { handle }, Expect::Done).await
            }
            Operation::FileSystemOf { handle } => {
                let handle = self.file(handle)?.handle;
                self.need("fstatvfs@openssh.com")?;
                self.ask(Request::FstatVfs { handle }, Expect::FileSystem).await
            }
            Operation::FileSystem { path } => {
                check_path(&path)?;
                self.need("statvfs@openssh.com")?;
                self.ask(Request::StatVfs { path }, Expect::FileSystem).await
            }
            other => self.issue_on_names(other).await,
        }
    }

    async fn issue_on_names(&mut self, operation: Operation) -> Result<Finish, FileError> {
        match operation {
            Operation::Remove { path } => {
                check_path(&path)?;
                self.ask(Request::Remove { path }, Expect::Done).await
            }
            Operation::RemoveDir { path } => {
                check_path(&path)?;
                self.ask(Request::RemoveDir { path }, Expect::Done).await
            }
            Operation::MakeDir { path, mode } => {
                check_path(&path)?;
                let attributes = Attributes { mode: Some(mode & 0o7777), ..Attributes::default() };
                self.make(path.clone(), Request::MakeDir { path, attributes }).await
            }
            Operation::Symlink { target, path } => {
                check_text(&target)?;
                check_path(&path)?;
                self.make(path.clone(), Request::Symlink { target, path }).await
            }
            Operation::Link { from, to } => {
                check_path(&from)?;
                check_path(&to)?;
                self.need("hardlink@openssh.com")?;
                self.make(to.clone(), Request::HardLink { from, to }).await
            }
            Operation::Rename { from, to, replace } => {
                check_path(&from)?;
                check_path(&to)?;
                match (replace, self.offers.has("posix-rename@openssh.com")) {
                    (true, true) => self.ask(Request::PosixRename { from, to }, Expect::Done).await,
                    // without it, one that would replace something fails
                    _ => self.make(to.clone(), Request::Rename { from, to }).await,
                }
            }
            Operation::ReadLink { path } => {
                check_path(&path)?;
                self.ask(Request::ReadLink { path }, Expect::Target).await
            }
            Operation::RealPath { path } => {
                check_path(&path)?;
                self.resolve(path).await
            }
            Operation::ExpandPath { path } => self.expand(path).await,
            Operation::HomeDirectory { user } => {
                check_text(&user)?;
                self.need("home-directory")?;
                let asked = self.connection.ask(Request::HomeDirectory { user }, Expect::Path).await?;
                let finish = async move {
                    match asked.reply().await {
                        // which is how OpenSSH's server says that there is no such user
                        Err(failure) if failure.is_unnamed() => Err(no_such_file()),
                        other => answer_of(other?),
                    }
                };
                Ok(finish.boxed())
            }
            Operation::NamesOf { users, groups } => {
                self.need("users-groups-by-id@openssh.com")?;
                let expect = Expect::NamesOf(users.len(), groups.len());
                self.ask(Request::NamesOf { users, groups }, expect).await
            }
            Operation::MostOpen { wanted } => {
                let most = self.offers.open.unwrap_or(FEW_OPEN);
                Ok(at_once(Ok(Answer::MostOpen(wanted.min(most)))))
            }
            // the others are no operations on names
            _ => Err(unsupported()),
        }
    }

    /// One request, whose answer is the operation's.
    async fn ask(&self, request: Request, expect: Expect) -> Result<Finish, FileError> {
        let asked = self.connection.ask(request, expect).await?;
        Ok(async move { answer_of(asked.reply().await?) }.boxed())
    }

    /// One that makes a name. That it is there already is among the failures for which the protocol has no number, so it is
    /// looked at.
    async fn make(&self, path: Vec<u8>, request: Request) -> Result<Finish, FileError> {
        let connection = self.connection.clone();
        let asked = connection.ask(request, Expect::Done).await?;
        let finish = async move {
            match asked.reply().await {
                Err(failure) if failure.is_unnamed() => {
                    let is_there = connection.call(Request::Lstat { path }, Expect::Attributes).await.is_ok();
                    Err(if is_there { exists() } else { failure.into() })
                }
                other => answer_of(other?),
            }
        };
        Ok(finish.boxed())
    }

    async fn read_dir(&mut self, handle: Handle, again: bool) -> Result<Finish, FileError> {
        let open = self.open.get(&handle.0).filter(|open| open.is_directory).ok_or_else(no_such_handle)?;
        let handle = match again {
            true => self.open_again(handle).await?,
            false => open.handle.clone(),
        };
        let asked = self.connection.ask(Request::ReadDir { handle }, Expect::Names).await?;
        let finish = async move {
            match asked.reply().await {
                Ok(Reply::Names(names)) => Ok(Answer::Entries(names.into_iter().map(entry).collect())),
                Err(failure) if failure.is(EOF) => Ok(Answer::Entries(Vec::new())),
                other => answer_of(other?),
            }
        };
        Ok(finish.boxed())
    }

    async fn resolve(&self, path: Vec<u8>) -> Result<Finish, FileError> {
        if self.offers.resolves {
            return self.ask(Request::RealPath { path }, Expect::Path).await;
        }
        let must_be_there = path.ends_with(b"/");
        let real = one_path(self.connection.call(Request::RealPath { path }, Expect::Path).await?);
        Ok(at_once(self.without_links(real, must_be_there).await))
    }

    /// The path, of a server that does not resolve links, if there are none in it.
    async fn without_links(&self, real: Vec<u8>, must_be_there: bool) -> Result<Answer, FileError> {
        if leads_over_link(&self.connection, false, &real).await? {
            return Err(not_resolved());
        }
        if must_be_there {
            self.connection.call(Request::Lstat { path: real.clone() }, Expect::Attributes).await?;
        }
        Ok(Answer::Path(real))
    }

    /// The directory that relative paths start from is the user's home.
    async fn expand(&self, path: Vec<u8>) -> Result<Finish, FileError> {
        check_text(&path)?;
        match path.strip_prefix(b"~") {
            None if path.is_empty() => self.resolve(b".".to_vec()).await,
            None => self.resolve(path).await,
            Some([]) => self.resolve(b".".to_vec()).await,
            Some(rest @ [b'/', ..]) => self.resolve([b".", rest].concat()).await,
            Some(_) => {
                self.need("expand-path@openssh.com")?;
                let real = match self.connection.call(Request::ExpandPath { path }, Expect::Path).await {
                    Ok(reply) => one_path(reply),
                    // which is how OpenSSH's server says that there is no such user
                    Err(failure) if failure.is(BAD_MESSAGE) => return Err(no_such_file()),
                    Err(failure) => return Err(failure.into()),
                };
                Ok(at_once(match self.offers.resolves {
                    true => Ok(Answer::Path(real)),
                    false => self.without_links(real, false).await,
                }))
            }
        }
    }

    /// Something open.
    pub(super) fn file(&self, handle: Handle) -> Result<Open, FileError> {
        self.open.get(&handle.0).cloned().ok_or_else(no_such_handle)
    }

    fn need(&self, extension: &str) -> Result<(), FileError> {
        if self.offers.has(extension) { Ok(()) } else { Err(unsupported()) }
    }
}

fn at_once(result: Result<Answer, FileError>) -> Finish {
    ready(result).boxed()
}

fn answer_of(reply: Reply) -> Result<Answer, FileError> {
    match reply {
        Reply::Status(_) => Ok(Answer::Done),
        Reply::Attributes(attributes) => Ok(Answer::Attributes(attributes)),
        Reply::FileSystem(figures) => Ok(Answer::FileSystem(figures)),
        Reply::NamesOf(users, groups) => Ok(Answer::Names([users, groups].concat())),
        names @ Reply::Names(_) => Ok(Answer::Path(one_path(names))),
        // the connection lets nothing pass that was not asked for
        _ => Err(no_such_handle()),
    }
}

/// Attributes to set. The protocol's times have 32 bits; others would become another time.
fn changeable(attributes: Attributes) -> Result<Attributes, FileError> {
    let fits = |time: u64| u32::try_from(time).is_ok();
    match attributes.times {
        Some((accessed, modified)) if !fits(accessed) || !fits(modified) => {
            Err(node(EINVAL, "SFTP has no times before 1970 or after 2106"))
        }
        _ => Ok(attributes),
    }
}

/// How long a server may take to answer what is left when nobody asks any more.
const LAST_PATIENCE: Duration = Duration::from_secs(60);
/// Operations whose answers are waited for at once.
const MOST_IN_FLIGHT: usize = 128;
/// What a server that does not say how many files can be open is believed to be able to.
const FEW_OPEN: u32 = 64;
