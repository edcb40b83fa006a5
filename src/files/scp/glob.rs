//! What a shell on the node would make of a path of `scp -f`, in a shell's order (POSIX, section 2.6; bash for braces):
//!
//! ```text
//!  {fa,x*}   braces       two words                      (braces.rs)
//!  ~/…       a home       the first part, where nothing of it was quoted
//!  x*        a pattern    the names that match, sorted; itself where none does
//! ```
//!
//! Every path that comes out is judged by policy where it is used; what is asked here is judged as well.

use super::braces;
use super::pattern::Pattern;
use super::session::join;
use crate::files::access::{Access, Refusal};
use crate::files::mode::is_directory;
use crate::files::open_file::OpenFile;
use crate::files::paths::is_name;
use crate::model::ShellWord;
use crate::transport::file_service::errno::ENAMETOOLONG;
use crate::transport::file_service::{Answer, Entry, Operation};

/// The paths that a word stands for.
pub(super) async fn expand(access: &Access, word: &ShellWord) -> Result<Vec<Vec<u8>>, Refusal> {
    let words =
        braces::expand(word).map_err(|too_many| Refusal::Node { errno: E2BIG, message: too_many.to_string() })?;
    let mut paths = Vec::new();
    for word in words {
        paths.extend(matches(access, with_home(access, word).await?).await?);
        enough(&paths)?;
    }
    Ok(paths)
}

/// With the home in the place of a `~` at the beginning; as it is where there is no such user, as a shell leaves it.
async fn with_home(access: &Access, mut word: ShellWord) -> Result<ShellWord, Refusal> {
    let end = word.bytes.iter().position(|&byte| byte == b'/').unwrap_or(word.bytes.len());
    if word.special(0) != Some(b'~') || word.quoted[..end].iter().any(|&quoted| quoted) {
        return Ok(word);
    }
    let operation = Operation::ExpandPath { path: word.bytes[..end].to_vec() };
    match access.start(operation).await.await {
        Ok(answer) => {
            let home = Refusal::path(answer)?;
            word.quoted.splice(..end, std::iter::repeat_n(true, home.len()));
            word.bytes.splice(..end, home);
            Ok(word)
        }
        Err(Refusal::Node { .. }) => Ok(word),
        Err(refusal) => Err(refusal),
    }
}

/// The paths that a pattern matches, sorted; the word itself where it is none, or where there is none.
async fn matches(access: &Access, ShellWord { bytes, quoted }: ShellWord) -> Result<Vec<Vec<u8>>, Refusal> {
    if !Pattern::is_one(&bytes, &quoted) {
        return Ok(vec![bytes]);
    }
    let mut found = vec![if bytes.first() == Some(&b'/') { b"/".to_vec() } else { Vec::new() }];
    let (mut start, mut literal) = (0, true);
    while start < bytes.len() {
        let end = bytes[start..].iter().position(|&byte| byte == b'/').map_or(bytes.len(), |length| start + length);
        let (part, part_quoted) = (&bytes[start..end], &quoted[start..end]);
        start = end + 1;
        if part.is_empty() {
            continue;
        }
        let mut next = Vec::new();
        if Pattern::is_one(part, part_quoted) {
            if Pattern::is_too_long(part) {
                return Err(Refusal::Node { errno: ENAMETOOLONG, message: "File name too long".into() });
            }
            let pattern = Pattern::new(part, part_quoted);
            for directory in &found {
                next.extend(matches_in(access, directory, &pattern).await?);
                enough(&next)?;
            }
            literal = false;
        } else {
            next.extend(found.iter().map(|directory| join(directory, part)));
            // a name that no pattern found need not be there
            if !literal {
                next = those_that_are(access, next, false).await?;
            }
        }
        found = next;
    }
    if bytes.last() == Some(&b'/') {
        found = those_that_are(access, found, true).await?;
    }
    found.sort_unstable();
    match found.is_empty() {
        true => Ok(vec![bytes]),
        false => Ok(found),
    }
}

/// Those of the paths that are there, or those that lead to a directory.
async fn those_that_are(access: &Access, paths: Vec<Vec<u8>>, directories: bool) -> Result<Vec<Vec<u8>>, Refusal> {
    let mut there = Vec::new();
    for some in paths.chunks(AT_ONCE) {
        let mut asked = Vec::new();
        for path in some {
            let path = path.clone();
            let operation = if directories { Operation::Stat { path } } else { Operation::Lstat { path } };
            asked.push(access.start(operation).await);
        }
        for (path, asked) in some.iter().zip(asked) {
            match asked.await.and_then(Refusal::attributes) {
                Ok(found) if !directories || is_directory(found.mode) => there.push(path.clone()),
                Ok(_) | Err(Refusal::Node { .. } | Refusal::Denied(_)) => {}
                Err(refusal) => return Err(refusal),
            }
        }
    }
    Ok(there)
}

async fn matches_in(access: &Access, directory: &[u8], pattern: &Pattern) -> Result<Vec<Vec<u8>>, Refusal> {
    let listed = if directory.is_empty() { b"." } else { directory };
    let open = match access.start_open_dir(listed.to_vec()).await.await {
        Ok(open) => open,
        Err(Refusal::Node { .. } | Refusal::Denied(_)) => return Ok(Vec::new()),
        Err(refusal) => return Err(refusal),
    };
    let entries = entries(access, &open).await?;
    let found = entries.iter().filter(|entry| pattern.matches(&entry.name));
    Ok(found.map(|entry| join(directory, &entry.name)).collect())
}

fn enough(paths: &[Vec<u8>]) -> Result<(), Refusal> {
    if paths.len() <= MOST {
        return Ok(());
    }
    Err(Refusal::Node { errno: E2BIG, message: format!("the pattern stands for more than {MOST} names") })
}

/// All names in an open directory but `.` and `..`, sorted; closes it.
pub(super) async fn entries(access: &Access, open: &OpenFile) -> Result<Vec<Entry>, Refusal> {
    let mut all: Vec<Entry> = Vec::new();
    let mut held = 0;
    let result = loop {
        match access.files.call(Operation::ReadDir { handle: open.handle, again: false }).await {
            Ok(Answer::Entries(entries)) if entries.is_empty() => break Ok(()),
            Ok(Answer::Entries(entries)) => {
                for mut entry in entries.into_iter().filter(is_proper) {
                    // SCP has no use for them
                    entry.owner_names = Default::default();
                    held += cost(&entry);
                    all.push(entry);
                }
            }
            Ok(_) => break Err(Refusal::nonsense()),
            Err(error) => break Err(error.into()),
        }
        if held > MOST_HELD {
            break Err(too_many());
        }
    };
    let closing = access.start_close(open).await;
    access.finish_close(open, closing).await?;
    result?;
    all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// What a listed name takes in memory, about.
pub(super) fn cost(entry: &Entry) -> usize {
    size_of::<Entry>() + entry.name.len()
}

pub(super) fn too_many() -> Refusal {
    Refusal::Node { errno: E2BIG, message: "there are too many names in this directory to list it whole".to_owned() }
}

/// What a pattern or a copy may come to: not the directory itself, nor the one above it.
fn is_proper(entry: &Entry) -> bool {
    is_name(&entry.name) && !matches!(&entry.name[..], b"." | b"..")
}

/// Names that one pattern may stand for.
const MOST: usize = 10_000;
/// What directories that are listed whole may take in memory, all that one `scp` is in together: some 300,000 names.
pub(super) const MOST_HELD: usize = 64 * 1024 * 1024;
/// Questions to the node on their way at once.
const AT_ONCE: usize = 64;
const E2BIG: i32 = 7;
