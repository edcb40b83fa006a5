//! The words of a command line, as far as they are plain: taken apart as POSIX says (XCU, section 2.2, quoting). What only a
//! shell could answer (variables, substitutions, redirections, lists) makes a line one that has no words here.

/// A word of the line, and which of its bytes were quoted: those are never a pattern or a `~`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShellWord {
    /// What it says, without the quotes.
    pub bytes: Vec<u8>,
    /// For each of them, whether it was quoted.
    pub quoted: Vec<bool>,
}

/// The words of a simple command, or `None` where it is not one.
pub fn shell_words(line: &[u8]) -> Option<Vec<ShellWord>> {
    let mut words = Vec::new();
    let mut word: Option<ShellWord> = None;
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' | b'\t' => words.extend(word.take()),
            b'\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match bytes.next()? {
                        b'\'' => break,
                        byte => word.push(byte, true),
                    }
                }
            }
            b'"' => {
                let word = word.get_or_insert_default();
                loop {
                    match bytes.next()? {
                        b'"' => break,
                        b'$' | b'`' => return None,
                        b'\\' => match bytes.next()? {
                            b'\n' => {}
                            byte @ (b'$' | b'`' | b'"' | b'\\') => word.push(byte, true),
                            byte => {
                                word.push(b'\\', true);
                                word.push(byte, true);
                            }
                        },
                        byte => word.push(byte, true),
                    }
                }
            }
            b'\\' => match bytes.next()? {
                b'\n' => {}
                byte => word.get_or_insert_default().push(byte, true),
            },
            b'$' | b'`' | b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')' | b'\n' | 0 => return None,
            b'#' if word.is_none() => return None,
            byte => word.get_or_insert_default().push(byte, false),
        }
    }
    words.extend(word);
    Some(words)
}

impl ShellWord {
    /// A word without any quotes.
    pub fn unquoted(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), quoted: vec![false; bytes.len()] }
    }

    /// One byte more.
    pub fn push(&mut self, byte: u8, quoted: bool) {
        self.bytes.push(byte);
        self.quoted.push(quoted);
    }

    /// The byte there, if it was not quoted: only then it means something.
    pub fn special(&self, index: usize) -> Option<u8> {
        let byte = *self.bytes.get(index)?;
        self.quoted.get(index).is_some_and(|quoted| !quoted).then_some(byte)
    }

    /// This one and another as one.
    #[must_use]
    pub fn followed_by(&self, tail: &Self) -> Self {
        Self { bytes: [&self.bytes[..], &tail.bytes].concat(), quoted: [&self.quoted[..], &tail.quoted].concat() }
    }
}
