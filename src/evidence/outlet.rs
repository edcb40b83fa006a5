//! Who is told of evidence besides the disk that it is kept on: what brings it to buckets, groups of logs and syslog servers.
//!
//! Evidence knows nothing of where that is. It tells what stands in a folder right behind the `write(2)` that put it there, so that no
//! byte of a session goes on before that, and nobody waits for a network: an outlet has a disk's time for its answer.

use std::fmt;
use std::sync::{Arc, OnceLock};

use portcullis_folder::Manifest;
use uuid::Uuid;

/// A line of a session's `events.jsonl`.
#[derive(Clone, Copy, Debug)]
pub struct ToldEvent<'a> {
    /// Whose.
    pub session: Uuid,
    /// Who.
    pub person: &'a str,
    /// Where, by the node's id.
    pub node: &'a str,
    /// Milliseconds since 1970, as in the line.
    pub time: i64,
    /// The event's name.
    pub name: &'a str,
    /// The line, without its newline.
    pub line: &'a str,
    /// It is of a session's end, for which there is always some room.
    pub last: bool,
}

/// Who is told. An error is a sentence's end, and what it is about ends.
pub trait Outlet: Send + Sync + fmt::Debug {
    /// A line stands in a session's folder.
    fn event(&self, event: ToldEvent<'_>) -> Result<(), String>;

    /// A head was signed that is to be known outside this host: the text of the note.
    fn anchor(&self, note: &str);

    /// A folder is sealed, `<day>/<session>`. Where that can't be noted it is told again after the next start.
    fn sealed(&self, manifest: &Manifest, folder: &str) -> Result<(), String>;

    /// Why no session may go on, where evidence does not reach whom it must reach.
    fn down(&self) -> Option<String>;
}

/// The one that is told, once it is known; until then nobody is.
#[derive(Clone, Debug, Default)]
pub(super) struct Outlets(Arc<OnceLock<Arc<dyn Outlet>>>);

impl Outlets {
    /// Has it told from now on. The first one counts.
    pub(super) fn set(&self, outlet: Arc<dyn Outlet>) {
        let _ = self.0.set(outlet);
    }

    pub(super) fn get(&self) -> Option<&dyn Outlet> {
        self.0.get().map(|outlet| &**outlet)
    }
}
