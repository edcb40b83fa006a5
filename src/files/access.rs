//! The one way to the node's files: every operation is resolved, decided, carried out and recorded here.
//!
//! Starting an operation and waiting for it are two steps, so that a server can issue what its client sends in order and
//! without waiting, and answer as the node does. Where the grant looks at paths ([`Scope::Paths`]) the path is resolved
//! first, and the operation is carried out on the resolved path. An open is judged again there on what the node's kernel says
//! it opened, and nothing is emptied before that: `truncate` is carried out after the judgement. What is left is a race
//! with somebody who can move directories on the node between the question and a removal, rename or the like; they could
//! have done those themselves.
//!
//! What is open is judged again by the policies and for the person that there are then: each read, write and piece of a listing or a copy
//! is asked about, from memory. What was asked of the node before that is still answered.
//!
//! What changes the node is in the record before the node is asked for it, so that no way in which a session may end (a
//! client that hangs up, a full disk, a killed gateway) leaves a change without a trace.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::ledger::{FileEvent, FileLedger, Outcome};
use super::open_file::{Judged, OpenFile, Progress};
use super::paths::{Place, asks, changes, changes_names, event_of, places, split};
use crate::policy::{Action, Denial, FileAction, Scope, Terms};
use crate::transport::file_service::errno::{EINVAL, ENAMETOOLONG};
use crate::transport::file_service::{Answer, Attributes, FileError, FileService, OpenFlags, Operation};

/// The files of one node, for one client.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) files: FileService,
    ledger: FileLedger,
    uploaded: Arc<Mutex<Uploaded>>,
}

/// What was uploaded in the session by the leave of each policy that limits it.
#[derive(Debug, Default)]
struct Uploaded {
    bytes: BTreeMap<String, u64>,
    /// It is in the record that it was too much.
    said: bool,
}

/// An operation that has been issued, and what will come of it.
pub(super) type Pending<T> = BoxFuture<'static, Result<T, Refusal>>;

/// An answer that is on its way from the node.
pub(super) type Answering = oneshot::Receiver<Result<Answer, FileError>>;

/// Why an operation was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Policy refused.
    Denied(Denial),
    /// The node's kernel refused.
    Node { errno: i32, message: String },
    /// The node can't be reached, or talks nonsense; nothing more will work.
    NodeGone(String),
    /// It can't be recorded; nothing more may be done.
    Evidence(String),
}

/// How a file is emptied that was opened to be, once it is known what was opened.
#[derive(Clone, Copy, Debug)]
enum Emptying {
    /// By what is open.
    Open,
    /// By its name: it was opened for reading, which `open(2)` empties all the same.
    Named,
}

/// A close that has been issued.
#[derive(Debug)]
pub(super) struct Closing {
    size: Option<Answering>,
    closed: Answering,
}

impl Uploaded {
    /// Counts so many more bytes by the leave of these policies; or says which one does not let so many.
    fn add<'a>(&mut self, limits: &'a BTreeMap<String, u64>, bytes: u64) -> Result<(), (u64, &'a str)> {
        let so_far = |policy: &str| self.bytes.get(policy).copied().unwrap_or_default();
        let within = |policy: &str, limit: u64| so_far(policy).checked_add(bytes).is_some_and(|sum| sum <= limit);
        if let Some((policy, limit)) = limits.iter().find(|(policy, limit)| !within(policy, **limit)) {
            return Err((*limit, policy));
        }
        for policy in limits.keys() {
            *self.bytes.entry(policy.clone()).or_default() += bytes;
        }
        Ok(())
    }
}

impl Access {
    pub(super) fn new(files: FileService, ledger: FileLedger) -> Self {
        Self { files, ledger, uploaded: Arc::default() }
    }

    /// Whether so many more bytes may be uploaded; they count as uploaded then. Asked before the node is sent them.
    pub(super) async fn may_upload(&self, file: &OpenFile, bytes: u64) -> Result<(), Refusal> {
        self.may_still(file, FileAction::Upload).await?;
        let (said, limit, policy) = {
            let judged = file.judged();
            let mut uploaded = self.uploaded.lock().unwrap_or_else(PoisonError::into_inner);
            match uploaded.add(&judged.upload_limits, bytes) {
                Ok(()) => return Ok(()),
                Err((limit, policy)) => (std::mem::replace(&mut uploaded.said, true), limit, policy.to_owned()),
            }
        };
        let refusal = Refusal::Denied(self.files.grant().too_much(limit, &policy));
        if !said {
            self.record(file.event(FileAction::Upload, refusal.outcome())).await?;
        }
        Err(refusal)
    }

    /// Whether what is open may be used for this yet. Asked before each use; policy itself, where it may say something else than it did.
    pub(super) async fn may_still(&self, file: &OpenFile, action: FileAction) -> Result<(), Refusal> {
        let (denial, is_new) = file.judge_again(self.files.grant(), action);
        let Some(denial) = denial else { return Ok(()) };
        let refusal = Refusal::Denied(denial);
        if is_new {
            self.record(file.event(action, refusal.outcome())).await?;
        }
        Err(refusal)
    }

    /// Issues an operation on paths.
    pub(super) async fn start(&self, mut operation: Operation) -> Pending<Answer> {
        let access = self.clone();
        let mut event = event_of(&operation);
        let resolving = match self.judge(&mut operation, &mut event).await {
            Ok(resolving) => resolving,
            Err(refusal) => return self.refuse(event, refusal).await,
        };
        let answering = match self.ask(operation, &event).await {
            Ok(answering) => answering,
            Err(refusal) => return ready(Err(refusal)).boxed(),
        };
        async move {
            let result = answer(answering).await;
            let mut reals = Vec::new();
            for one in resolving {
                reals.push(one.path().await.ok());
            }
            let mut reals = reals.into_iter();
            event.real_path = event.real_path.take().or(reals.next().flatten());
            event.second_real = event.second_real.take().or(reals.next().flatten());
            access.conclude(event, result).await
        }
        .boxed()
    }

    /// Issues an operation on something open.
    pub(super) async fn start_on(&self, file: &OpenFile, operation: Operation) -> Pending<Answer> {
        let access = self.clone();
        let event =
            FileEvent { path: file.path.clone(), real_path: Some(file.real_path.clone()), ..event_of(&operation) };
        if let Err(refusal) = self.allowed(event.action, &file.real_path) {
            return self.refuse(event, refusal).await;
        }
        match self.ask(operation, &event).await {
            Ok(answering) => async move { access.conclude(event, answer(answering).await).await }.boxed(),
            Err(refusal) => ready(Err(refusal)).boxed(),
        }
    }

    /// Opens a file.
    pub(super) async fn start_open(&self, path: Vec<u8>, flags: OpenFlags, mode: Option<u32>) -> Pending<OpenFile> {
        // none goes unjudged: what is not opened for writing alone can be read (open(2)), and to make or empty a file is to
        // change it
        let changes = flags.write || flags.create || flags.truncate;
        let actions = [(flags.read || !flags.write, FileAction::Download), (changes, FileAction::Upload)];
        let actions = actions.into_iter().filter_map(|(wanted, action)| wanted.then_some(action)).collect();
        let later = match self.files.grant().scope() {
            Scope::Paths if flags.truncate => Some(if flags.write { Emptying::Open } else { Emptying::Named }),
            // what it opens makes no difference to the judgement
            Scope::Paths | Scope::Actions => None,
        };
        let flags = OpenFlags { truncate: flags.truncate && later.is_none(), ..flags };
        self.start_opening(Operation::Open { path, flags, mode }, later, actions).await
    }

    /// Opens a directory.
    pub(super) async fn start_open_dir(&self, path: Vec<u8>) -> Pending<OpenFile> {
        self.start_opening(Operation::OpenDir { path }, None, vec![FileAction::List]).await
    }

    async fn start_opening(
        &self,
        mut operation: Operation,
        later: Option<Emptying>,
        actions: Vec<FileAction>,
    ) -> Pending<OpenFile> {
        let access = self.clone();
        let is_directory = matches!(operation, Operation::OpenDir { .. });
        let mut event = event_of(&operation);
        for &action in &actions {
            event.action = action;
            if let Err(refusal) = self.judge(&mut operation, &mut event).await {
                return self.refuse(event, refusal).await;
            }
        }
        let answering = match self.ask(operation, &event).await {
            Ok(answering) => answering,
            Err(refusal) => return ready(Err(refusal)).boxed(),
        };
        async move {
            let opened = match answer(answering).await {
                Ok(Answer::Opened(opened)) => opened,
                Ok(_) => return access.conclude(event, Err(Refusal::nonsense())).await,
                Err(refusal) => return access.conclude(event, Err(refusal)).await,
            };
            event.real_path = Some(opened.real_path.clone());
            // before it is asked: what comes into force meanwhile is asked about again
            let (by, at) = (access.files.grant().in_force(), Instant::now());
            let mut terms = access.files.grant().terms();
            for &action in &actions {
                event.action = action;
                match access.allowed(action, &opened.real_path) {
                    // what a policy obliges to that permits reading says nothing of writing
                    Ok(more) if action == FileAction::Upload => terms = terms.and(more),
                    Ok(_) => {}
                    Err(refusal) => {
                        drop(access.files.issue(Operation::Close { handle: opened.handle }).await);
                        return access.conclude(event, Err(refusal)).await;
                    }
                }
            }
            for &action in &actions {
                access.record(FileEvent { action, outcome: Outcome::Opened, ..event.clone() }).await?;
            }
            let mut progress = Progress::default();
            if let Some(how) = later {
                let attributes = Attributes { size: Some(0), ..Attributes::default() };
                let operation = match how {
                    Emptying::Open => Operation::FsetStat { handle: opened.handle, attributes },
                    Emptying::Named => Operation::SetStat { path: opened.real_path.clone(), attributes },
                };
                progress.truncation = Some(access.files.issue(operation).await);
            }
            Ok(OpenFile {
                handle: opened.handle,
                is_directory,
                real_path: opened.real_path,
                path: event.path,
                actions,
                judged: Mutex::new(Judged::new(by, at, terms.upload_limits)),
                progress: Mutex::new(progress),
                ledger: access.ledger,
            })
        }
        .boxed()
    }

    /// Copies on the node from one open file to another, to its end where `length` is 0, and waits for that: in pieces, so
    /// that no other session of the node waits for it. Gives how many bytes it was. Both may be one file by two hard links,
    /// which would never end while its own copy makes it longer: so the end is where it was when the copy began.
    pub(super) async fn copy(
        &self,
        from: &OpenFile,
        to: &OpenFile,
        offset: u64,
        length: u64,
        to_offset: u64,
    ) -> Result<u64, Refusal> {
        let event = FileEvent {
            action: FileAction::Copy,
            path: from.path.clone(),
            real_path: Some(from.real_path.clone()),
            second: Some(to.path.clone()),
            second_real: Some(to.real_path.clone()),
            outcome: Outcome::Asked,
            content: None,
        };
        let asks =
            [(FileAction::Copy, from), (FileAction::Download, from), (FileAction::Copy, to), (FileAction::Upload, to)];
        if let Err(refusal) =
            asks.iter().try_for_each(|(action, file)| self.allowed(*action, &file.real_path).map(drop))
        {
            return self.conclude(event, Err(refusal)).await;
        }
        self.record(event.clone()).await?;
        let stat = answer(self.files.issue(Operation::Fstat { handle: from.handle }).await).await;
        let most = match stat.and_then(Refusal::attributes) {
            Ok(Attributes { size: Some(size), .. }) if size > 0 => size.saturating_sub(offset),
            // what has no size but can be read, as the files of /proc, ends of its own
            Ok(_) => u64::MAX,
            Err(refusal) => return self.conclude(event, Err(refusal)).await,
        };
        let most = if length == 0 { most } else { most.min(length) };
        let mut copied = 0;
        let result = loop {
            let piece = COPY_PIECE.min(most - copied);
            if piece == 0 {
                break Ok(copied);
            }
            if let Err(refusal) = self.may_still(from, FileAction::Download).await {
                break Err(refusal);
            }
            if let Err(refusal) = self.may_upload(to, piece).await {
                break Err(refusal);
            }
            let operation = Operation::Copy {
                handle: from.handle,
                offset: offset.saturating_add(copied),
                length: piece,
                to: to.handle,
                to_offset: to_offset.saturating_add(copied),
            };
            match answer(self.files.issue(operation).await).await {
                Ok(Answer::Copied(bytes)) if bytes <= piece => {
                    copied += bytes;
                    from.progress().read.add_unseen(bytes);
                    to.progress().written.add_unseen(bytes);
                    if bytes < piece {
                        break Ok(copied);
                    }
                }
                Ok(_) => break Err(Refusal::nonsense()),
                Err(refusal) => break Err(refusal),
            }
        };
        self.conclude(event, result).await
    }

    /// Closes what was open. Its end is recorded by [`Self::finish_close`].
    pub(super) async fn start_close(&self, file: &OpenFile) -> Closing {
        let size = match file.is_directory {
            true => None,
            false => Some(self.files.issue(Operation::Fstat { handle: file.handle }).await),
        };
        Closing { size, closed: self.files.issue(Operation::Close { handle: file.handle }).await }
    }

    /// Waits for a close and records what was transferred. To be called when the answers to all earlier reads and
    /// writes have been counted.
    pub(super) async fn finish_close(&self, file: &OpenFile, closing: Closing) -> Result<(), Refusal> {
        let size = match closing.size {
            Some(size) => answer(size).await.and_then(Refusal::attributes).ok().and_then(|found| found.size),
            None => None,
        };
        let mut result = answer(closing.closed).await.map(drop);
        if result.is_ok() {
            result = file.truncated();
        }
        let outcome = match &result {
            Ok(()) => Outcome::Done,
            Err(refusal) => refusal.outcome(),
        };
        self.record_end(file, outcome, size).await?;
        result
    }

    /// Closes what the client left open.
    pub(super) async fn abandon(&self, file: &OpenFile) -> Result<(), Refusal> {
        drop(self.files.issue(Operation::Close { handle: file.handle }).await);
        self.record_end(file, Outcome::Unfinished, None).await
    }

    async fn record_end(&self, file: &OpenFile, outcome: Outcome, size: Option<u64>) -> Result<(), Refusal> {
        for event in file.end(&outcome, size) {
            self.record(event).await?;
        }
        Ok(())
    }

    /// Records a refusal at once: one that waited for its turn would keep the client's paths for so long.
    async fn refuse<T: Send + 'static>(&self, event: FileEvent, refusal: Refusal) -> Pending<T> {
        ready(self.conclude(event, Err(refusal)).await).boxed()
    }

    /// Issues what has been judged.
    async fn ask(&self, operation: Operation, event: &FileEvent) -> Result<Answering, Refusal> {
        if changes(&operation) {
            self.record(FileEvent { outcome: Outcome::Asked, ..event.clone() }).await?;
        }
        Ok(self.files.issue(operation).await)
    }

    /// Decides; in a scope of paths on resolved ones, which then take the place of the client's in the operation.
    async fn judge(&self, operation: &mut Operation, event: &mut FileEvent) -> Result<Vec<Resolving>, Refusal> {
        // a packet has room for much longer ones, and they are kept in several places
        if [Some(&event.path), event.second.as_ref()].into_iter().flatten().any(|path| path.len() > LONGEST_PATH) {
            return Err(Refusal::Node { errno: ENAMETOOLONG, message: "File name too long".to_owned() });
        }
        let asks = asks(event.action, operation);
        let mut places = places(operation);
        if places.iter().any(|(path, _)| path.contains(&0)) {
            return Err(Refusal::Node { errno: EINVAL, message: "a file name can't contain a NUL byte".to_owned() });
        }
        if places.is_empty() {
            self.allowed(event.action, &event.path)?;
        }
        let mut resolving = Vec::new();
        for (number, (path, place)) in places.iter_mut().enumerate() {
            match self.files.grant().scope() {
                Scope::Actions => {
                    self.all_allowed(&asks, number, path)?;
                    if changes_names(event.action) {
                        resolving.push(self.resolve(path, *place).await);
                    }
                }
                Scope::Paths => {
                    let real = self.resolve(path, *place).await.path().await?;
                    match number {
                        0 => event.real_path = Some(real.clone()),
                        _ => event.second_real = Some(real.clone()),
                    }
                    self.all_allowed(&asks, number, &real)?;
                    **path = real;
                }
            }
        }
        Ok(resolving)
    }

    fn all_allowed(&self, asks: &[Vec<FileAction>], place: usize, path: &[u8]) -> Result<(), Refusal> {
        asks.get(place).into_iter().flatten().try_for_each(|&action| self.allowed(action, path).map(drop))
    }

    fn allowed(&self, action: FileAction, path: &[u8]) -> Result<Terms, Refusal> {
        let asked = Action::File { action, path: path.to_vec() };
        self.files.grant().judge(&asked).map_err(Refusal::Denied)
    }

    async fn resolve(&self, path: &[u8], place: Place) -> Resolving {
        let (directory, name) = match place {
            Place::Followed => (path, None),
            Place::Itself => split(path),
        };
        let answering = self.files.issue(Operation::RealPath { path: directory.to_vec() }).await;
        Resolving { answering, name: name.map(<[u8]>::to_vec) }
    }

    async fn conclude<T>(&self, event: FileEvent, result: Result<T, Refusal>) -> Result<T, Refusal> {
        let outcome = match &result {
            Ok(_) => Outcome::Done,
            Err(refusal) => refusal.outcome(),
        };
        self.record(FileEvent { outcome, ..event }).await?;
        result
    }

    async fn record(&self, event: FileEvent) -> Result<(), Refusal> {
        self.ledger.events.raise_alerts(self.files.grant()).await.map_err(Refusal::Evidence)?;
        self.ledger.events.record(event).await.map_err(Refusal::Evidence)
    }
}

impl Closing {
    /// Waits until the node has answered.
    pub(super) async fn arrived(self) -> Self {
        let settled = |result| {
            let (sender, receiver) = oneshot::channel();
            let _ = sender.send(result);
            receiver
        };
        let lost = || Err(FileError::NodeGone("the file service has ended".to_owned()));
        let size = match self.size {
            Some(size) => Some(settled(size.await.unwrap_or_else(|_| lost()))),
            None => None,
        };
        Self { size, closed: settled(self.closed.await.unwrap_or_else(|_| lost())) }
    }
}

impl Refusal {
    /// What a node that answers another question gets.
    pub(super) fn nonsense() -> Self {
        Self::NodeGone("the node's file service answered another question than was asked".to_owned())
    }

    pub(super) fn attributes(answer: Answer) -> Result<Attributes, Self> {
        match answer {
            Answer::Attributes(attributes) => Ok(attributes),
            _ => Err(Self::nonsense()),
        }
    }

    pub(super) fn path(answer: Answer) -> Result<Vec<u8>, Self> {
        match answer {
            Answer::Path(path) => Ok(path),
            _ => Err(Self::nonsense()),
        }
    }

    fn outcome(&self) -> Outcome {
        match self {
            Self::Denied(denial) => Outcome::Denied(denial.clone()),
            Self::Node { errno, message } => Outcome::Failed { errno: Some(*errno), message: message.clone() },
            Self::NodeGone(message) | Self::Evidence(message) => {
                Outcome::Failed { errno: None, message: message.clone() }
            }
        }
    }
}

impl From<FileError> for Refusal {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Node { errno, message } => Self::Node { errno, message },
            FileError::NodeGone(why) => Self::NodeGone(why),
        }
    }
}

/// Waits for an answer.
pub(super) async fn answer(answering: Answering) -> Result<Answer, Refusal> {
    match answering.await {
        Ok(result) => result.map_err(Refusal::from),
        Err(_) => Err(Refusal::NodeGone("the file service has ended".to_owned())),
    }
}

/// A path on its way to its real form.
#[derive(Debug)]
struct Resolving {
    answering: Answering,
    /// What is appended to the directory that is being resolved.
    name: Option<Vec<u8>>,
}

impl Resolving {
    async fn path(self) -> Result<Vec<u8>, Refusal> {
        let mut path = Refusal::path(answer(self.answering).await?)?;
        if let Some(name) = self.name {
            if path.last() != Some(&b'/') {
                path.push(b'/');
            }
            path.extend(name);
        }
        Ok(path)
    }
}

/// How much is copied by one operation.
const COPY_PIECE: u64 = 4 * 1024 * 1024;
/// Linux's own limit, `PATH_MAX`.
const LONGEST_PATH: usize = 4096;
