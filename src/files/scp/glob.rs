//! Patterns in the paths of `scp -f`, which a shell on the node would have expanded: `~`, `*`, `?`, `[a-z]`, `[!x]`.

use super::command::Word;
use super::session::join;
use crate::files::access::{Access, OpenFile, Refusal};
use crate::files::mode::is_regular;
use crate::transport::file_service::{Answer, Entry, Operation};

/// The paths that a word stands for, sorted; the word itself where there is none.
pub(super) async fn expand(access: &Access, word: &Word) -> Result<Vec<Vec<u8>>, Refusal> {
    let (mut bytes, mut quoted) = (word.bytes.clone(), word.quoted.clone());
    if bytes.first() == Some(&b'~') {
        let prefix = bytes.iter().position(|&byte| byte == b'/').unwrap_or(bytes.len());
        if quoted[..prefix].iter().all(|&quoted| !quoted) {
            let operation = Operation::ExpandPath { path: bytes[..prefix].to_vec() };
            let home = Refusal::path(access.start(operation).await.await?)?;
            quoted.splice(..prefix, std::iter::repeat_n(true, home.len()));
            bytes.splice(..prefix, home);
        }
    }
    let special = |(&byte, &quoted): (&u8, &bool)| !quoted && b"*?[".contains(&byte);
    if !bytes.iter().zip(&quoted).any(special) {
        return Ok(vec![bytes]);
    }
    let mut found = vec![if bytes.first() == Some(&b'/') { b"/".to_vec() } else { Vec::new() }];
    let mut start = 0;
    while start < bytes.len() {
        let end = bytes[start..].iter().position(|&byte| byte == b'/').map_or(bytes.len(), |length| start + length);
        let (part, part_quoted) = (&bytes[start..end], &quoted[start..end]);
        let last = end == bytes.len();
        start = end + 1;
        if part.is_empty() {
            continue;
        }
        let mut next = Vec::new();
        if part.iter().zip(part_quoted).any(special) {
            let pattern = Pattern::new(part, part_quoted);
            for directory in &found {
                next.extend(matches_in(access, directory, &pattern, last).await?);
                if next.len() > MOST {
                    let message = format!("the pattern stands for more than {MOST} names");
                    return Err(Refusal::Node { errno: E2BIG, message });
                }
            }
        } else {
            next.extend(found.iter().map(|directory| join(directory, part)));
        }
        found = next;
    }
    found.sort_unstable();
    match found.is_empty() {
        true => Ok(vec![bytes]),
        false => Ok(found),
    }
}

async fn matches_in(access: &Access, directory: &[u8], pattern: &Pattern, last: bool) -> Result<Vec<Vec<u8>>, Refusal> {
    let listed = if directory.is_empty() { b"." } else { directory };
    let open = match access.start_open_dir(listed.to_vec()).await.await {
        Ok(open) => open,
        Err(Refusal::Node { .. } | Refusal::Denied(_)) => return Ok(Vec::new()),
        Err(refusal) => return Err(refusal),
    };
    let entries = entries(access, &open).await?;
    let wanted = |entry: &&Entry| {
        let name = &entry.name;
        let hidden = name.first() == Some(&b'.') && !pattern.starts_with_dot();
        !hidden && (last || !is_regular(entry.attributes.mode)) && pattern.matches(name)
    };
    Ok(entries.iter().filter(wanted).map(|entry| join(directory, &entry.name)).collect())
}

/// All names in an open directory but `.` and `..`, sorted; closes it.
pub(super) async fn entries(access: &Access, open: &OpenFile) -> Result<Vec<Entry>, Refusal> {
    let mut all: Vec<Entry> = Vec::new();
    let mut held = 0;
    let result = loop {
        match access.files.call(Operation::ReadDir { handle: open.handle }).await {
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

/// The node is not trusted: a name that leads elsewhere is left out.
fn is_proper(entry: &Entry) -> bool {
    !matches!(&entry.name[..], b"" | b"." | b"..") && !entry.name.iter().any(|byte| b"/\0".contains(byte))
}

/// One component of a pattern.
struct Pattern {
    items: Vec<Item>,
}

enum Item {
    Byte(u8),
    Any,
    Many,
    /// One byte in (or, negated, outside) these ranges.
    Set {
        negated: bool,
        ranges: Vec<(u8, u8)>,
    },
}

impl Pattern {
    fn new(bytes: &[u8], quoted: &[bool]) -> Self {
        let mut items = Vec::new();
        let mut index = 0;
        while index < bytes.len() {
            let byte = bytes[index];
            index += 1;
            match byte {
                _ if quoted[index - 1] => items.push(Item::Byte(byte)),
                b'*' => items.push(Item::Many),
                b'?' => items.push(Item::Any),
                b'[' => match set(&bytes[index..]) {
                    Some((set, length)) => {
                        items.push(set);
                        index += length;
                    }
                    None => items.push(Item::Byte(byte)),
                },
                _ => items.push(Item::Byte(byte)),
            }
        }
        Self { items }
    }

    fn starts_with_dot(&self) -> bool {
        matches!(self.items.first(), Some(Item::Byte(b'.')))
    }

    /// Whether the whole name matches. Only the last `*` is ever tried again, so that no pattern takes for ever.
    fn matches(&self, name: &[u8]) -> bool {
        let (mut item, mut byte) = (0, 0);
        let mut retry = None;
        loop {
            let fits = match (self.items.get(item), name.get(byte)) {
                (None, None) => return true,
                (Some(Item::Many), _) => {
                    item += 1;
                    retry = Some((item, byte));
                    continue;
                }
                (Some(one), Some(&found)) => one.takes(found),
                _ => false,
            };
            if fits {
                (item, byte) = (item + 1, byte + 1);
                continue;
            }
            match retry {
                Some((after, from)) if from < name.len() => {
                    retry = Some((after, from + 1));
                    (item, byte) = (after, from + 1);
                }
                _ => return false,
            }
        }
    }
}

impl Item {
    fn takes(&self, byte: u8) -> bool {
        match self {
            Self::Byte(wanted) => *wanted == byte,
            Self::Any | Self::Many => true,
            Self::Set { negated, ranges } => ranges.iter().any(|&(low, high)| (low..=high).contains(&byte)) != *negated,
        }
    }
}

/// A bracket expression, after its `[`, and how many bytes it takes; `None` if it is never closed.
fn set(bytes: &[u8]) -> Option<(Item, usize)> {
    let negated = matches!(bytes.first(), Some(b'!' | b'^'));
    let mut index = usize::from(negated);
    let mut ranges = Vec::new();
    loop {
        let low = *bytes.get(index)?;
        // a `]` that comes first is one of the set
        if low == b']' && !ranges.is_empty() {
            return Some((Item::Set { negated, ranges }, index + 1));
        }
        match (bytes.get(index + 1), bytes.get(index + 2)) {
            (Some(b'-'), Some(&high)) if high != b']' => {
                ranges.push((low, high));
                index += 3;
            }
            _ => {
                ranges.push((low, low));
                index += 1;
            }
        }
    }
}

/// Names that one pattern may stand for.
const MOST: usize = 10_000;
/// What directories that are listed whole may take in memory, all that one `scp` is in together: some 300,000 names.
pub(super) const MOST_HELD: usize = 64 * 1024 * 1024;
const E2BIG: i32 = 7;

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern.as_bytes(), &vec![false; pattern.len()]).matches(name.as_bytes())
    }

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, name) in [
            ("*", "x"),
            ("*.txt", "a.b.txt"),
            ("a*b*c", "a-b-b-c"),
            ("?[0-9]", "x7"),
            ("[!a-c]x", "dx"),
            ("[]]", "]"),
            ("[a-]", "-"),
            ("a[", "a["),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("*.txt", "a.txtx"), ("?", ""), ("[a-c]", "d"), ("[!a-c]", "b"), ("a*b", "acbc"), ("", "x")]
        {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn quoted_characters_are_not_special() {
        let pattern = Pattern::new(b"*", &[true]);
        assert!(pattern.matches(b"*") && !pattern.matches(b"x"));
    }

    #[test]
    fn many_stars_are_not_slow() {
        assert!(!matches(&"*a".repeat(100), &"a".repeat(99)));
        assert!(!matches(&format!("{}b", "*a".repeat(50)), &"a".repeat(10_000)));
    }
}
