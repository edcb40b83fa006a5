//! The thread that gives folders to the disk and signs their heads: what is signed was synced before.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc as std_mpsc;
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use portcullis_folder::{File as FolderFile, Head, Manifest, SignedHead, SigningKey, open_regular};
use uuid::Uuid;

use super::disk::Signing;
use super::heads::{Heads, LiveHead};
use super::interrupted;
use crate::evidence::outlet::Outlets;

/// A head that is to be signed.
pub(super) struct ToSign {
    pub(super) session: Uuid,
    /// Where all folders are.
    pub(super) evidence: PathBuf,
    /// The folder.
    pub(super) path: PathBuf,
    /// What the journal calls it.
    pub(super) name: String,
    /// What the head covers.
    pub(super) files: Vec<File>,
    pub(super) head: Head,
    /// The folder's last; the manifest that it covers.
    pub(super) last: Option<Box<Manifest>>,
    /// The folder's directory is to be synced as well.
    pub(super) is_new: bool,
    pub(super) asked: Instant,
    pub(super) signing: Arc<Signing>,
}

/// A head of the journal that is to be signed.
pub(in crate::evidence) struct JournalToSign {
    /// Where its heads are.
    pub(in crate::evidence) path: PathBuf,
    pub(in crate::evidence) file: File,
    pub(in crate::evidence) head: Head,
    /// It is kept outside this host.
    pub(in crate::evidence) anchored: bool,
    pub(in crate::evidence) asked: Instant,
    pub(in crate::evidence) signing: Arc<Signing>,
}

enum Job {
    Folder(ToSign),
    Journal(JournalToSign),
}

/// What is told of a head once it is signed, and of a folder once it is sealed.
pub(in crate::evidence) trait Told: Send {
    /// The folder is whole, and this is its last head.
    fn sealed(&self, manifest: &Manifest, head: &LiveHead);
    /// A head that was asked for can't be had.
    fn failed(&self, session: Uuid, last: bool, why: &str);
}

/// The way to the thread. A folder has one head on its way at most, so it holds no more than there are sessions.
#[derive(Clone, Debug)]
pub(in crate::evidence) struct ToSealer(std_mpsc::Sender<Job>);

/// The thread. Dropped, it waits until what it was asked for is done.
#[derive(Debug)]
pub(in crate::evidence) struct Sealer(Option<JoinHandle<()>>);

impl Sealer {
    /// Starts it.
    pub(in crate::evidence) fn start(
        key: Arc<SigningKey>,
        heads: Heads,
        told: Box<dyn Told>,
        outlets: Outlets,
    ) -> io::Result<(Self, ToSealer)> {
        let (ask, asked) = std_mpsc::channel::<Job>();
        let work = move || {
            while let Ok(job) = asked.recv() {
                match job {
                    Job::Folder(to_sign) => sign(&key, &heads, &*told, &outlets, to_sign),
                    Job::Journal(to_sign) => sign_journal(&key, &outlets, to_sign),
                }
            }
        };
        let thread = thread::Builder::new().name("evidence-seal".to_owned()).spawn(work)?;
        Ok((Self(Some(thread)), ToSealer(ask)))
    }
}

impl Drop for Sealer {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            let _ = thread.join();
        }
    }
}

impl ToSealer {
    pub(super) fn send(&self, to_sign: ToSign) {
        if let Err(std_mpsc::SendError(Job::Folder(unsigned))) = self.0.send(Job::Folder(to_sign)) {
            let _ = unsigned.signing.failed.set("nobody signs heads any more".to_owned());
        }
    }

    pub(in crate::evidence) fn send_journal(&self, to_sign: JournalToSign) {
        if self.0.send(Job::Journal(to_sign)).is_err() {
            tracing::error!("nobody signs the journal's heads any more");
        }
    }
}

fn sign(key: &SigningKey, heads: &Heads, told: &dyn Told, outlets: &Outlets, to_sign: ToSign) {
    let ToSign { session, evidence, path, name, files, head, last, is_new, asked, signing } = to_sign;
    let checkpoints = path.join(FolderFile::Checkpoints.name());
    let signed = match signing.failed.get() {
        // it would follow one that is not there
        Some(why) => Err(io::Error::other(why.clone())),
        None => sync(&path, &files, is_new).and_then(|()| {
            let head = signing.sign(key, head, &checkpoints)?;
            if let Some(outlet) = outlets.get().filter(|_| head.is_first() || last.is_some()) {
                outlet.anchor(head.note());
            }
            Ok(head)
        }),
    };
    match signed {
        Ok(head) => {
            let head = LiveHead { folder: name, hash: head.hash().hex() };
            match last {
                Some(manifest) => {
                    match outlets.get().map_or(Ok(()), |outlet| outlet.sealed(&manifest, &head.folder)) {
                        Ok(()) => interrupted::sealed(&evidence, &head.folder),
                        // it stays noted as open, so that the next start tells it again
                        Err(why) => tracing::error!(why, folder = head.folder, "a folder can't be handed to the sinks"),
                    }
                    heads.over(session);
                    told.sealed(&manifest, &head);
                }
                None => heads.signed(session, head),
            }
        }
        Err(error) => {
            let why = format!("no head can be signed: {error}");
            told.failed(session, last.is_some(), &why);
            let _ = signing.failed.set(why);
        }
    }
    is_done(asked, &signing);
}

fn sign_journal(key: &SigningKey, outlets: &Outlets, to_sign: JournalToSign) {
    let JournalToSign { path, file, head, anchored, asked, signing } = to_sign;
    match file.sync_data().and_then(|()| signing.sign(key, head, &path)) {
        Ok(head) => {
            if let Some(outlet) = outlets.get().filter(|_| anchored) {
                outlet.anchor(head.note());
            }
        }
        Err(error) => tracing::error!(%error, "no head of the journal can be signed"),
    }
    is_done(asked, &signing);
}

impl Signing {
    /// Signs a head and puts it behind the others.
    fn sign(&self, key: &SigningKey, head: Head, checkpoints: &Path) -> io::Result<SignedHead> {
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        let head = heads.sign(key, head);
        append(checkpoints, &head.lines())?;
        heads.stands(&head);
        Ok(head)
    }
}

fn is_done(asked: Instant, signing: &Signing) {
    let took = asked.elapsed();
    if took > SLOW {
        tracing::warn!(milliseconds = took.as_millis(), "the disk is slow to take evidence");
    }
    signing.busy.store(false, Ordering::Release);
}

/// What is said of a disk that takes longer.
const SLOW: std::time::Duration = std::time::Duration::from_secs(1);

fn sync(path: &Path, files: &[File], is_new: bool) -> io::Result<()> {
    files.iter().try_for_each(File::sync_data)?;
    if is_new {
        // a file that no directory names is lost as well
        for directory in path.ancestors().take(3) {
            fs::File::open(directory)?.sync_all()?;
        }
    }
    Ok(())
}

/// Puts a checkpoint behind the others.
fn append(path: &Path, lines: &str) -> io::Result<()> {
    let mut file = open_regular(path, OpenOptions::new().append(true).create(true).mode(0o600))?;
    let before = file.metadata()?.len();
    if let Err(error) = file.write_all(lines.as_bytes()) {
        // half a note would spoil all of them
        let _ = file.set_len(before);
        return Err(error);
    }
    file.sync_data()
}
