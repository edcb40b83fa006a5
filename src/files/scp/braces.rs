//! Brace expansion, as bash and zsh do it before anything else with a word: `{a,b}`, `{1..3}`, `{a..e..2}`, nested, and
//! several in a row.
//!
//! ```text
//!  d/{fa,x{1..2}}.txt  ─▶  d/fa.txt  d/x1.txt  d/x2.txt
//! ```
//!
//! dash and busybox know none: to them the braces are part of the name. Which shell a node's user has is not asked for a
//! copy, and a person who writes such a word means a list.

use crate::model::ShellWord;

/// The word stands for more than anybody means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the braces stand for more than {MOST_WORDS} names")]
pub struct TooMany;

/// The words that a word stands for, in its order; the word itself where it has no braces that mean anything.
pub(super) fn expand(word: &ShellWord) -> Result<Vec<ShellWord>, TooMany> {
    let mut closes = vec![None; word.bytes.len()];
    let mut open = Vec::new();
    for index in 0..word.bytes.len() {
        match word.special(index) {
            Some(b'{') => open.push(index),
            Some(b'}') => {
                if let Some(opened) = open.pop() {
                    closes[opened] = Some(index);
                }
            }
            _ => {}
        }
    }
    let mut words = alternatives(word, &closes, 0, word.bytes.len(), 0)?;
    // a word of nothing is none, unless it was quoted
    if words.len() > 1 {
        words.retain(|word| !word.bytes.is_empty());
    }
    Ok(words)
}

/// The same for a word without quotes.
#[cfg(feature = "testing")]
pub fn expand_braces(word: &[u8]) -> Result<Vec<Vec<u8>>, TooMany> {
    Ok(expand(&ShellWord::unquoted(word))?.into_iter().map(|word| word.bytes).collect())
}

/// What the part of a word from `start` to `end` stands for. `closes` has the end of every brace that is closed.
fn alternatives(
    word: &ShellWord,
    closes: &[Option<usize>],
    start: usize,
    end: usize,
    depth: usize,
) -> Result<Vec<ShellWord>, TooMany> {
    if depth > DEEPEST {
        return Err(TooMany);
    }
    let mut words = vec![ShellWord::default()];
    let (mut index, mut held) = (start, 0);
    while index < end {
        let group =
            closes[index].and_then(|close| Some((close, group(word, closes, index + 1, close, depth).transpose()?)));
        match group {
            Some((close, group)) => {
                let group = group?;
                // before any of it is made
                let bytes =
                    (words.len().saturating_mul(size(&group))).saturating_add(group.len().saturating_mul(size(&words)));
                if words.len().saturating_mul(group.len()) > MOST_WORDS || bytes > MOST_BYTES {
                    return Err(TooMany);
                }
                words = words.iter().flat_map(|head| group.iter().map(move |tail| head.followed_by(tail))).collect();
                held = size(&words);
                index = close + 1;
            }
            None => {
                for one in &mut words {
                    one.push(word.bytes[index], word.quoted[index]);
                }
                held += words.len();
                index += 1;
            }
        }
        if held > MOST_BYTES {
            return Err(TooMany);
        }
    }
    Ok(words)
}

/// What stands in braces, from `start` to `end`: a list or a sequence; `None` where it is neither, and they are letters.
fn group(
    word: &ShellWord,
    closes: &[Option<usize>],
    start: usize,
    end: usize,
    depth: usize,
) -> Result<Option<Vec<ShellWord>>, TooMany> {
    let mut commas = Vec::new();
    let mut index = start;
    while index < end {
        match (closes[index], word.special(index)) {
            (Some(close), _) => index = close,
            (None, Some(b',')) => commas.push(index),
            _ => {}
        }
        index += 1;
    }
    if commas.is_empty() {
        if end - start > LONGEST_SEQUENCE {
            return Ok(None);
        }
        let plain = (start..end).all(|index| !word.quoted[index]);
        return match plain.then(|| sequence(&word.bytes[start..end])).flatten() {
            Some(sequence) => sequence.map(Some),
            None => Ok(None),
        };
    }
    let (mut words, mut held) = (Vec::new(), 0_usize);
    let mut from = start;
    for to in commas.into_iter().chain([end]) {
        let more = alternatives(word, closes, from, to, depth + 1)?;
        held += size(&more);
        words.extend(more);
        if words.len() > MOST_WORDS || held > MOST_BYTES {
            return Err(TooMany);
        }
        from = to + 1;
    }
    Ok(Some(words))
}

fn size(words: &[ShellWord]) -> usize {
    words.iter().map(|word| word.bytes.len()).sum()
}

/// `1..10`, `01..10..3`, `a..e`; `None` where it is none.
fn sequence(text: &[u8]) -> Option<Result<Vec<ShellWord>, TooMany>> {
    let text = std::str::from_utf8(text).ok()?;
    let parts: Vec<&str> = text.split("..").collect();
    let (first, last, step) = match parts[..] {
        [first, last] => (first, last, 1),
        [first, last, step] => (first, last, step.parse::<i64>().ok()?),
        _ => return None,
    };
    let letter = |text: &str| match text.as_bytes() {
        [one] if one.is_ascii_alphabetic() => Some(i64::from(*one)),
        _ => None,
    };
    let (from, to, letters) = match (letter(first), letter(last)) {
        (Some(from), Some(to)) => (from, to, true),
        _ => (first.parse().ok()?, last.parse().ok()?, false),
    };
    let step = step.unsigned_abs().max(1);
    let count = from.abs_diff(to) / step;
    if count >= MOST_WORDS as u64 {
        return Some(Err(TooMany));
    }
    let padded = |text: &str| text.trim_start_matches('-').starts_with('0') && text.trim_start_matches('-').len() > 1;
    let width = if padded(first) || padded(last) { first.len().max(last.len()) } else { 0 };
    let words = (0..=count).map(|number| {
        let way = i64::try_from(number * step).unwrap_or(i64::MAX);
        let value = if from <= to { from.saturating_add(way) } else { from.saturating_sub(way) };
        let text = match u8::try_from(value) {
            Ok(byte) if letters => char::from(byte).to_string(),
            _ => format!("{value:0width$}"),
        };
        ShellWord::unquoted(text.as_bytes())
    });
    Some(Ok(words.collect()))
}

/// Words that one word may stand for, and what they may take together.
const MOST_WORDS: usize = 10_000;
const MOST_BYTES: usize = 1024 * 1024;
/// Three numbers of 64 bits and the dots between them.
const LONGEST_SEQUENCE: usize = 64;
/// Braces in braces.
const DEEPEST: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::files::scp::parse_scp_command;

    fn expanded(text: &str) -> Vec<String> {
        let command = parse_scp_command(format!("scp -f {text}").as_bytes()).unwrap();
        let words = expand(&command.paths()[0]).unwrap();
        words.iter().map(|word| String::from_utf8(word.bytes.clone()).unwrap()).collect()
    }

    /// What `echo WORD` of bash 5.2 prints.
    #[test]
    fn words_stand_for_what_bash_makes_of_them() {
        for (text, words) in [
            ("plain", &["plain"][..]),
            ("/d/{fa,fb}", &["/d/fa", "/d/fb"]),
            ("a{,b}c", &["ac", "abc"]),
            ("{x{1,2},y}", &["x1", "x2", "y"]),
            ("{a,b}{c,d}", &["ac", "ad", "bc", "bd"]),
            ("x{1..3}", &["x1", "x2", "x3"]),
            ("x{3..1}", &["x3", "x2", "x1"]),
            ("x{01..2}", &["x01", "x02"]),
            ("{1..10..4}", &["1", "5", "9"]),
            ("{-1..1}", &["-1", "0", "1"]),
            ("{c..a}", &["c", "b", "a"]),
            ("{a..e..2}", &["a", "c", "e"]),
            ("{,x1}", &["x1"]),
            ("{}", &["{}"]),
            ("{a}", &["{a}"]),
            ("{a{1,2}}", &["{a1}", "{a2}"]),
            ("{x1,{a,b}", &["{x1,a", "{x1,b"]),
            ("{a,b}}", &["a}", "b}"]),
            ("x}", &["x}"]),
            (r"x{1,\,}", &["x1", "x,"]),
            ("{'a,b',c}", &["a,b", "c"]),
            (r"\{a,b}", &["{a,b}"]),
            ("'{a,b}'", &["{a,b}"]),
            ("{1..a}", &["{1..a}"]),
            ("{1.5..2}", &["{1.5..2}"]),
        ] {
            assert_eq!(expanded(text), words, "{text}");
        }
    }

    #[test]
    fn what_nobody_means_has_an_end() {
        for text in ["{a,b}".repeat(14), "{1..20000}".to_owned(), "{1..9223372036854775807}".to_owned()] {
            assert_eq!(expand(&ShellWord::unquoted(text.as_bytes())), Err(TooMany), "{text}");
        }
        // few names, each of them long: refused before it is made
        let long = "a".repeat(120_000);
        for text in [format!("{{1..5000}}{{{long},{long}}}"), format!("{{{}x}}", format!("{long},").repeat(10))] {
            assert_eq!(expand(&ShellWord::unquoted(text.as_bytes())), Err(TooMany));
        }
        let deep = [b"{a,".repeat(100), b"}".repeat(100)].concat();
        assert_eq!(expand(&ShellWord::unquoted(&deep)), Err(TooMany));
        // long, and no braces that mean anything
        let open = ShellWord::unquoted(&b"{".repeat(100_000));
        assert_eq!(expand(&open), Ok(vec![open]));
        let pairs = ShellWord::unquoted(&[b"{".repeat(50_000), b"}".repeat(50_000)].concat());
        assert_eq!(expand(&pairs), Ok(vec![pairs]));
    }

    proptest! {
        #[test]
        fn any_word_comes_to_an_end(text in "[ab{},.0-9-]{0,40}") {
            if let Ok(words) = expand(&ShellWord::unquoted(text.as_bytes())) {
                prop_assert!(words.len() <= MOST_WORDS);
            }
        }

        #[test]
        fn without_braces_a_word_stays_what_it_is(bytes: Vec<u8>) {
            let word = ShellWord::unquoted(&bytes);
            if !bytes.contains(&b'{') {
                prop_assert_eq!(expand(&word), Ok(vec![word]));
            }
        }
    }
}
