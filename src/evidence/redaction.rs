//! What looks like a secret is not kept: in command lines, in what a terminal showed, in the beginnings of streams.
//!
//! ```text
//!  text   ──▶ patterns ──▶ each match, or the group that it marks, as stars
//!  stream ──▶ the line so far and what comes ──▶ the same; and all of a private key, from its first line to its last
//! ```
//!
//! A stream comes in pieces, and what was typed comes letter by letter. A pattern that says what stands before a secret
//! (`password=…`) covers it from its first letter; one that says what it looks like (`AKIA…`) only once all of that is there. Lengths
//! stay as they are, so that a screen still looks as it did.

use std::borrow::Cow;
use std::sync::Arc;

use regex::bytes::{Regex, RegexSet};

/// Patterns of what is not kept.
#[derive(Clone, Debug)]
pub struct Redaction {
    any: RegexSet,
    each: Vec<Regex>,
}

/// A pattern that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{pattern}\" is no pattern: {why}")]
pub struct NoPattern {
    /// As it was written.
    pub pattern: String,
    /// Why.
    pub why: String,
}

/// What is known without being told: what stands before a secret, and what secrets look like that say so themselves. A group is all
/// that is covered of a match.
const KNOWN: [&str; 9] = [
    // password=…, --token …, "secret": "…"; not of a variable ($TOKEN), which is its name
    r#"(?i)(?:password|passwd|passphrase|passcode|secret|token|api[_-]?key|access[_-]?key|credentials?)["']?(?:\s*[=:]\s*|\s+)["']?([^\s"'$&|;<>][^\s"'&|;<>]{2,})"#,
    r"(?i)(?:authorization:\s*)?\b(?:bearer|basic)\s+([A-Za-z0-9._~+/=-]{8,})",
    // what stands between a name and a host
    r"[a-z][a-z0-9+.-]*://[^\s/:@]*:([^\s/@]+)@",
    // AWS's access keys and session tokens
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    r"(?i)aws_?(?:secret_?access_?key|session_?token)\s*[=:]\s*(\S+)",
    r"\b(?:ghp|gho|ghu|ghs|ghr|github_pat|glpat|xox[abp])[_-][A-Za-z0-9_-]{16,}",
    // a JSON Web Token
    r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    // curl -u name:password, sshpass -p password, mysql -ppassword
    r"\s(?:-u|--user)\s+[^\s:]+:(\S+)",
    r"\b(?:sshpass\s+-p\s*|mysql\b.*?\s-p)([^\s-]\S*)",
];

const BEGINS: &str = "-----BEGIN ";
const KEY_BEGINS: &str = "PRIVATE KEY-----";
const KEY_ENDS: &str = "-----END ";
/// No line of a key has this.
const DASHES: &str = "-----";

/// So much of a line is remembered for what comes of it.
const LINE: usize = 512;

/// A key that does not end by then is none: what follows is kept.
const LONGEST_KEY: usize = 16 << 10;

/// What is put in the place of each byte.
const STAR: u8 = b'*';

impl Redaction {
    /// The known patterns, where they are wanted, and others.
    pub fn new(known: bool, others: &[String]) -> Result<Self, NoPattern> {
        let known = if known { &KNOWN[..] } else { &[] };
        let all: Vec<&str> = known.iter().copied().chain(others.iter().map(String::as_str)).collect();
        let wrong =
            |pattern: &str, error: regex::Error| NoPattern { pattern: pattern.to_owned(), why: error.to_string() };
        let each = all.iter().map(|pattern| Regex::new(pattern).map_err(|error| wrong(pattern, error)));
        let each = each.collect::<Result<Vec<_>, _>>()?;
        let any = RegexSet::new(&all).map_err(|error| wrong("all of them together", error))?;
        Ok(Self { any, each })
    }

    /// The known ones.
    pub fn known() -> Self {
        Self::new(true, &[]).unwrap_or_else(|_| Self { any: RegexSet::empty(), each: Vec::new() })
    }

    /// A text without what looks like a secret.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match Passed::default().pass(self, text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            // stars in place of whole bytes can cut a letter in two
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// Where in a line something is covered.
    fn spans(&self, line: &[u8]) -> Vec<(usize, usize)> {
        let mut spans = Vec::new();
        for index in self.any.matches(line) {
            let Some(pattern) = self.each.get(index) else { continue };
            for found in pattern.captures_iter(line) {
                let covered = found.iter().skip(1).flatten().next().or_else(|| found.get(0));
                spans.extend(covered.map(|covered| (covered.start(), covered.end())));
            }
        }
        spans
    }
}

/// The same of a stream, as it comes.
#[derive(Debug)]
pub struct StreamRedaction {
    rules: Arc<Redaction>,
    passed: Passed,
}

/// What of a stream has passed that matters to what follows.
#[derive(Debug, Default)]
struct Passed {
    /// The end of the line so far.
    line: Vec<u8>,
    /// How much of a private key has come.
    key: Option<usize>,
}

impl StreamRedaction {
    /// Of a stream from its beginning.
    pub fn new(rules: Arc<Redaction>) -> Self {
        Self { rules, passed: Passed::default() }
    }

    /// What is kept of the next piece; as long as that.
    pub fn pass<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        self.passed.pass(&self.rules, bytes)
    }
}

impl Passed {
    fn pass<'a>(&mut self, rules: &Redaction, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let mut kept = Cow::Borrowed(bytes);
        let mut at = 0;
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let before = self.line.len();
            self.line.extend_from_slice(piece);
            for (from, to) in self.covered(rules) {
                let (from, to) = (from.max(before), to.max(before));
                cover(&mut kept, at + from - before, at + to - before);
            }
            at += piece.len();
            if piece.ends_with(b"\n") {
                self.line.clear();
            } else if self.line.len() > LINE {
                self.line.drain(..self.line.len() - LINE);
            }
        }
        kept
    }

    /// What is covered of the line as it stands.
    fn covered(&mut self, rules: &Redaction) -> Vec<(usize, usize)> {
        if let Some(come) = &mut self.key {
            *come += self.line.len();
            if find(&self.line, KEY_ENDS).is_some() || *come > LONGEST_KEY {
                self.key = None;
            }
            // its ends of lines stay, and what a terminal does between
            let until = find(&self.line, DASHES).unwrap_or(self.line.len());
            return body_of(&self.line, until);
        }
        if let Some(from) = begins(&self.line) {
            self.key = Some(0);
            let rest = self.line.get(from..).unwrap_or_default();
            let until = find(rest, KEY_ENDS).map_or(self.line.len(), |end| {
                self.key = None;
                from + end
            });
            return body_of(&self.line, until).into_iter().filter(|(start, _)| *start >= from).collect();
        }
        rules.spans(&self.line)
    }
}

/// The letters, digits and signs of a key up to `until`.
fn body_of(line: &[u8], until: usize) -> Vec<(usize, usize)> {
    let is_body = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    let line = line.get(..until).unwrap_or(line);
    line.iter().enumerate().filter(|(_, byte)| is_body(byte)).map(|(at, _)| (at, at + 1)).collect()
}

fn cover(kept: &mut Cow<'_, [u8]>, from: usize, to: usize) {
    if from < to
        && let Some(covered) = kept.to_mut().get_mut(from..to)
    {
        covered.fill(STAR);
    }
}

/// Where the first line of a private key ends.
fn begins(line: &[u8]) -> Option<usize> {
    let begins = find(line, BEGINS)?;
    let rest = line.get(begins..)?;
    Some(begins + find(rest, KEY_BEGINS)? + KEY_BEGINS.len())
}

fn find(line: &[u8], what: &str) -> Option<usize> {
    memchr::memmem::find(line, what.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules() -> Arc<Redaction> {
        Arc::new(Redaction::known())
    }

    #[test]
    fn what_looks_like_a_secret_is_covered_and_nothing_else() {
        for (line, kept) in [
            ("export DB_PASSWORD=hunter2 && make", "export DB_PASSWORD=******* && make"),
            ("curl -H 'Authorization: Bearer abcdef123456'", "curl -H 'Authorization: Bearer ************'"),
            ("psql postgres://ada:hunter2@db/x", "psql postgres://ada:*******@db/x"),
            ("aws configure set x AKIAIOSFODNN7EXAMPLE y", "aws configure set x ******************** y"),
            ("curl -u ada:hunter2 https://x", "curl -u ada:******* https://x"),
            ("sshpass -p hunter2 ssh x", "sshpass -p ******* ssh x"),
            ("login --token ghp_0123456789abcdefghij", "login --token ************************"),
            ("make secret=$TOKEN", "make secret=$TOKEN"),
            ("ls -l /etc/passwd", "ls -l /etc/passwd"),
            ("git commit -m 'tokenize'", "git commit -m 'tokenize'"),
        ] {
            assert_eq!(Redaction::known().text(line), kept);
        }
        assert_eq!(
            Redaction::new(false, &["colou?r".to_owned()]).unwrap().text("colour password=x"),
            "****** password=x"
        );
        assert!(Redaction::new(true, &["(".to_owned()]).unwrap_err().to_string().contains("\"(\" is no pattern"));
    }

    #[test]
    fn a_secret_that_comes_letter_by_letter_is_covered_from_its_first() {
        let mut stream = StreamRedaction::new(rules());
        let kept: Vec<u8> = b"$ PASSWORD=hunter2 ls\r\n$ echo hunter2\r\n"
            .iter()
            .flat_map(|byte| stream.pass(&[*byte]).into_owned())
            .collect();
        // the first letters of a value are only one when there are three of them
        assert_eq!(String::from_utf8(kept).unwrap(), "$ PASSWORD=hu***** ls\r\n$ echo hunter2\r\n");
    }

    #[test]
    fn a_private_key_is_covered_from_its_first_line_to_its_last_however_it_comes() {
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\r\n> b3BlbnNzaC1rZXk=\r\n> AAAA+/12\r\n> -----END OPENSSH PRIVATE KEY-----\r\n$ ls\r\n";
        let covered = "-----BEGIN OPENSSH PRIVATE KEY-----\r\n> ****************\r\n> ********\r\n> -----END OPENSSH PRIVATE KEY-----\r\n$ ls\r\n";
        for size in [1, 3, 7, 1000] {
            let mut stream = StreamRedaction::new(rules());
            let kept: Vec<u8> = key.as_bytes().chunks(size).flat_map(|piece| stream.pass(piece).into_owned()).collect();
            assert_eq!(String::from_utf8(kept).unwrap(), covered, "{size}");
        }
    }

    proptest! {
        #[test]
        fn a_stream_keeps_its_length_and_its_ends_of_lines(pieces in prop::collection::vec("(?s).{0,40}|-----BEGIN PRIVATE KEY-----|password=.{4}\n", 0..20)) {
            let mut stream = StreamRedaction::new(rules());
            for piece in pieces {
                let kept = stream.pass(piece.as_bytes());
                prop_assert_eq!(kept.len(), piece.len());
                let ends = |bytes: &[u8]| bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect::<Vec<_>>();
                prop_assert_eq!(ends(&kept), ends(piece.as_bytes()));
            }
        }
    }
}
