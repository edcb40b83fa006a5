//! Looking at what was recorded: finding sessions, reading, playing, following and exporting them, by whoever may.
//!
//! ```text
//!  portcullis sessions ──┐             ┌ Archive   the folders, their index, the keys that they are verified with
//!                        ├──▶ Audit ───┼ Leave     may they look at this one? and that they did is written down first
//!  ssh gate sessions ────┘             └ Screen    where it is shown, and the keys of whoever watches
//! ```
//!
//! What is shown is whatever nodes and people have sent: nothing of it is obeyed by a terminal.

mod archive;
mod args;
mod cast;
mod error;
mod export;
mod follow;
mod leave;
mod list;
mod live;
mod moments;
mod play;
mod player;
mod replay;
mod screen;
mod show;
mod shown;
mod story;
mod table;
mod verified;

pub use archive::{Archive, Named};
pub use args::{EndArgs, ExportArgs, IdArgs, ListArgs, LookArgs, PlayArgs, ShowArgs};
pub use error::{Kind, Trouble};
pub use export::write as write_export;
pub use leave::{Leave, Subject};
pub use live::LiveSession;
pub use replay::LEAVE;
pub use screen::{Asked, Keys, Screen};
pub use shown::shown;

use std::sync::Arc;
use std::time::Duration;

use portcullis_folder::Contents;
use tokio::sync::Semaphore;

/// Somebody who looks at an archive.
#[derive(Clone, Copy, Debug)]
pub struct Audit<'a> {
    /// What there is.
    pub archive: &'a Archive,
    /// What of it they may see.
    pub leave: &'a dyn Leave,
}

impl Audit<'_> {
    /// Answers on a screen.
    ///
    /// # Errors
    /// A sentence, and what kind of trouble it is.
    pub async fn look(&self, what: &LookArgs, screen: &mut dyn Screen) -> Result<(), Trouble> {
        match what {
            LookArgs::List(args) => list::run(self, args, screen).await,
            LookArgs::Show(args) => show::run(self, args, screen).await,
            LookArgs::Play(args) => play::run(self, args, screen).await,
            LookArgs::Follow(args) => follow::run(self, args, screen).await,
            LookArgs::Export(args) => export::run(self, args, screen).await,
        }
    }

    /// The session whose id begins so, if whoever looks may; that they do is written down.
    ///
    /// # Errors
    /// There is none, there are several, or it is not theirs to see.
    pub async fn session(&self, prefix: &str, what: &'static str) -> Result<(Named, Subject), Trouble> {
        let found = async {
            let named = self.archive.session(prefix).await?;
            let subject = named.subject()?;
            self.leave.may(&subject).await.map_err(|why| Trouble::new(Kind::Denied, why))?;
            Ok((named, subject))
        };
        let (named, subject) = match found.await {
            Err(Trouble { kind: Kind::Denied | Kind::Failed, .. }) if self.leave.conceals() => {
                // one answer, whether there is one or not
                let text = "no session whose id begins so is one that you may look at; \"sessions list\" has those";
                return Err(Trouble::new(Kind::Denied, text));
            }
            found => found?,
        };
        self.leave.note(what, Some(&subject)).await?;
        Ok((named, subject))
    }
}

/// How often whoever watches is asked about again.
const AGAIN: Duration = Duration::from_secs(5);

impl Audit<'_> {
    /// Goes on with a look that lasts, for as long as they may look.
    async fn while_they_may<T>(
        &self,
        session: &Subject,
        look: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        let no_more = async {
            loop {
                tokio::time::sleep(AGAIN).await;
                if let Err(why) = self.leave.may(session).await {
                    break Trouble::new(Kind::Denied, format!("you may not look at it any more: {why}"));
                }
            }
        };
        tokio::select! {
            looked = look => looked,
            trouble = no_more => Err(trouble),
        }
    }

    /// What a session's folder says.
    async fn contents(&self, named: &Named) -> Result<Contents, Trouble> {
        let (named, keyring) = (named.clone(), Arc::clone(&self.archive.keyring));
        apart(move || archive::contents(&named, &*keyring)).await?
    }
}

/// How many folders are read from their beginning to their end at once, whoever asks.
static READING: Semaphore = Semaphore::const_new(4);

/// Runs what reads a disk or computes for long where it keeps nobody else waiting.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Trouble> {
    // nobody closes it
    let _place = READING.acquire().await;
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Trouble::new(Kind::Failed, "the reading of the folder broke off"))
}
