//! The exec line by which a client starts its other half: `scp [-v] [-r] [-p] [-d] [-q] -t|-f [--] PATH…`.
//!
//! On a node with sshd a shell would read that line. Here it is taken apart as far as its words are plain: what only a shell
//! could answer makes the line none of ours, and it stays an exec.

use crate::model::{ShellWord, shell_words};

/// A recognised line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScpCommand {
    source: bool,
    recursive: bool,
    preserve: bool,
    to_directory: bool,
    paths: Vec<ShellWord>,
}

impl ScpCommand {
    /// Whether files go from the node to the client (`-f`).
    pub fn is_source(&self) -> bool {
        self.source
    }

    /// `-r`.
    pub fn is_recursive(&self) -> bool {
        self.recursive
    }

    /// `-p`: modes and times.
    pub fn preserves(&self) -> bool {
        self.preserve
    }

    /// `-d`: the target must be a directory.
    pub fn wants_directory(&self) -> bool {
        self.to_directory
    }

    pub(super) fn paths(&self) -> &[ShellWord] {
        &self.paths
    }
}

/// Takes an exec line apart; `None` if it is not one that an SCP client sends.
pub fn parse_scp_command(line: &[u8]) -> Option<ScpCommand> {
    let mut words = shell_words(line)?.into_iter();
    let program = words.next()?;
    if program.bytes != b"scp" && program.bytes != b"/usr/bin/scp" {
        return None;
    }
    let mut command =
        ScpCommand { source: false, recursive: false, preserve: false, to_directory: false, paths: Vec::new() };
    let mut direction = None;
    let mut options = true;
    for word in words {
        match &word.bytes[..] {
            b"--" if options => options = false,
            [b'-', flags @ ..] if options && !flags.is_empty() => {
                for flag in flags {
                    match flag {
                        b't' | b'f' if direction.is_some_and(|known| known != *flag) => return None,
                        b't' | b'f' => direction = Some(*flag),
                        b'r' => command.recursive = true,
                        b'p' => command.preserve = true,
                        b'd' => command.to_directory = true,
                        b'v' | b'q' => {}
                        _ => return None,
                    }
                }
            }
            _ => {
                options = false;
                command.paths.push(word);
            }
        }
    }
    command.source = direction? == b'f';
    let countable = if command.source { !command.paths.is_empty() } else { command.paths.len() == 1 };
    countable.then_some(command)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn paths(line: &str) -> Option<Vec<String>> {
        let command = parse_scp_command(line.as_bytes())?;
        Some(command.paths.iter().map(|word| String::from_utf8(word.bytes.clone()).unwrap()).collect())
    }

    #[test]
    fn the_lines_that_clients_send() {
        // OpenSSH, PuTTY's pscp, JSch and sshj, and Go's libraries
        for line in ["scp -t dir", "scp -v -r -p -d -t dir", "scp -p -t -- dir", "scp -qrt dir", "/usr/bin/scp -tr dir"]
        {
            assert_eq!(paths(line), Some(vec!["dir".to_owned()]), "{line}");
            assert!(!parse_scp_command(line.as_bytes()).unwrap().is_source());
        }
        let command = parse_scp_command(b"scp -r -p -f a b").unwrap();
        assert!(command.is_source() && command.is_recursive() && command.preserves() && !command.wants_directory());
        assert_eq!(paths("scp -f -- -x"), Some(vec!["-x".to_owned()]));
    }

    #[test]
    fn quotes_are_taken_off_as_a_shell_does() {
        assert_eq!(paths(r"scp -f a\ b"), Some(vec!["a b".to_owned()]));
        assert_eq!(paths("scp -f 'a b' \"c d\""), Some(vec!["a b".to_owned(), "c d".to_owned()]));
        assert_eq!(paths(r#"scp -t 'it'"'"'s'"#), Some(vec!["it's".to_owned()]));
        assert_eq!(paths(r#"scp -t "a\"b\\c\x""#), Some(vec![r#"a"b\c\x"#.to_owned()]));
        assert_eq!(paths("scp -t ''"), Some(vec![String::new()]));
        let command = parse_scp_command(b"scp -f a'*'*").unwrap();
        assert_eq!(command.paths[0].quoted, [false, true, false]);
    }

    #[test]
    fn what_needs_a_shell_stays_an_exec() {
        for line in [
            "scp -t $HOME",
            "scp -t \"$(id)\"",
            "scp -t `id`",
            "scp -t a; id",
            "scp -t a && id",
            "scp -t a | cat",
            "scp -t a > b",
            "scp -t a\nid",
            "scp -t (a)",
            "scp -t 'a",
            "scp -t a\\",
            "scp -t #a",
        ] {
            assert_eq!(parse_scp_command(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn other_commands_stay_an_exec() {
        for line in
            ["", "scp", "scp a b", "scp -t", "scp -t a b", "scp -t -f a", "scp -S x -t a", "scpx -t a", "ls -t a"]
        {
            assert_eq!(parse_scp_command(line.as_bytes()), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_quoted_bytes_come_back(path in proptest::collection::vec(1_u8.., 0..40)) {
            let mut line = b"scp -t -- '".to_vec();
            for &byte in &path {
                match byte {
                    b'\'' => line.extend(b"'\\''"),
                    byte => line.push(byte),
                }
            }
            line.push(b'\'');
            let command = parse_scp_command(&line).unwrap();
            prop_assert_eq!(&command.paths[0].bytes, &path);
        }

        #[test]
        fn no_line_makes_it_panic(line: Vec<u8>) {
            let _ = parse_scp_command(&line);
            let _ = parse_scp_command(&[b"scp -f ", &line[..]].concat());
        }
    }
}
