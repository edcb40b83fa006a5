//! Names of a directory, as the protocol gives them.

use super::super::operation::Entry;
use super::super::sftp::reply::Name;

/// An entry. The number of links and the owners' names are only in the line that is made for people, whose form is OpenSSH's;
/// of any other form nothing is believed.
pub(super) fn entry(name: Name) -> Entry {
    let (links, owner_names) = from_line(&name).unwrap_or_default();
    Entry { name: name.name, attributes: name.attributes, links, owner_names }
}

/// `-rw-r--r--    1 ada      staff        1234 Nov 22 03:26 notes`
fn from_line(name: &Name) -> Option<(u32, (String, String))> {
    let line = name.long_name.get(..MOST_LOOKED_AT).unwrap_or(&name.long_name);
    let line = String::from_utf8_lossy(line);
    let mut words = line.split_ascii_whitespace();
    let _mode = words.next().filter(|mode| mode.len() >= 10)?;
    let links = words.next()?.parse().ok()?;
    let [user, group] = [words.next()?, words.next()?];
    // a name with a space in it would move all that follows
    let size: u64 = words.next()?.parse().ok()?;
    (name.attributes.size == Some(size)).then(|| (links, (user.to_owned(), group.to_owned())))
}

/// The columns before the name.
const MOST_LOOKED_AT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::file_service::Attributes;

    #[test]
    fn what_a_line_says_is_believed_where_it_fits() {
        let of = |line: &str, size: u64| {
            let attributes = Attributes { size: Some(size), ..Attributes::default() };
            let found = entry(Name { name: b"notes".to_vec(), long_name: line.into(), attributes });
            (found.links, found.owner_names.0, found.owner_names.1)
        };
        let nothing = (0, String::new(), String::new());
        let line = "-rw-r--r--    3 ada      staff        1234 Nov 22 03:26 notes";
        assert_eq!(of(line, 1234), (3, "ada".into(), "staff".into()));
        assert_eq!(of(line, 1235), nothing);
        assert_eq!(of("-rw-r--r--    3 ada      domain users        1234 Nov 22 03:26 notes", 1234), nothing);
        for line in ["", "notes", "-rw-r--r--    ? ada staff 1234 Nov 22 03:26 notes", "-rw-r--r-- 3"] {
            assert_eq!(of(line, 1234), nothing, "{line}");
        }
    }
}
