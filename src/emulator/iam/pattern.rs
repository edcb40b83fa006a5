//! A text of a policy, with wildcards and variables.
//!
//! ```text
//!   arn:aws:ssm:*:*:session/${aws:username}-*
//!   └ letters ─┘│ └ … ───┘ └ a variable ──┘│└ any letters
//! ```
//!
//! What a variable stands for is letters, never a wildcard: a person called `*` is nobody else.

use super::error::PolicyError;
use super::facts::Facts;

/// A text with wildcards and variables, where its place allows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// These letters.
    Text(String),
    /// `*`
    Any,
    /// `?`
    One,
    /// `${key}`, or `${key, 'default'}`.
    Variable { key: String, default: Option<String> },
}

/// What a text's place allows in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allows {
    pub(super) wildcards: bool,
    /// Since version 2012-10-17 of the language; before, `${` are letters.
    pub(super) variables: bool,
}

/// One place of a pattern whose variables are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Letter(char),
    One,
    Any,
}

/// A pattern whose variables are known.
#[derive(Clone, Debug)]
pub(super) struct Resolved(Vec<Token>);

impl Pattern {
    pub(super) fn parse(text: &str, allows: Allows, place: &str) -> Result<Self, PolicyError> {
        let mut parts: Vec<Part> = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let part = match c {
                '$' if allows.variables && rest.starts_with("${") => {
                    let end = rest.find('}').ok_or_else(|| PolicyError::value(place, "a variable has no end"))?;
                    let variable = Self::variable(&rest[2..end], place)?;
                    rest = &rest[end + 1..];
                    push(&mut parts, variable);
                    continue;
                }
                '*' if allows.wildcards => Part::Any,
                '?' if allows.wildcards => Part::One,
                letter => Part::Text(letter.to_string()),
            };
            rest = &rest[c.len_utf8()..];
            push(&mut parts, part);
        }
        Ok(Self(parts))
    }

    /// What stands between `${` and `}`. `${*}`, `${?}` and `${$}` are these letters themselves.
    fn variable(inside: &str, place: &str) -> Result<Part, PolicyError> {
        if let "*" | "?" | "$" = inside {
            return Ok(Part::Text(inside.to_owned()));
        }
        let (key, default) = match inside.split_once(',') {
            None => (inside.trim(), None),
            Some((key, default)) => {
                let quoted = default.trim().strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
                let default = quoted
                    .ok_or_else(|| PolicyError::value(place, "the default of a variable stands in single quotes"))?;
                (key.trim(), Some(default.to_owned()))
            }
        };
        let named = key.contains(':') && !key.contains(['$', '{', '*', '?']) && !key.contains(char::is_whitespace);
        if !named {
            // IAM takes it and finds no such key: what is written so never matches
            return Ok(Part::Variable { key: String::new(), default });
        }
        Ok(Part::Variable { key: key.to_owned(), default })
    }

    /// With its variables' values; `None` where one has none: nothing matches then.
    pub(super) fn resolve(&self, facts: &Facts) -> Option<Resolved> {
        let mut tokens = Vec::new();
        for part in &self.0 {
            match part {
                Part::Any => tokens.push(Token::Any),
                Part::One => tokens.push(Token::One),
                Part::Text(text) => tokens.extend(text.chars().map(Token::Letter)),
                Part::Variable { key, default } => {
                    let value = facts.single(key).or(default.as_deref())?;
                    tokens.extend(value.chars().map(Token::Letter));
                }
            }
        }
        Some(Resolved(tokens))
    }

    /// Whether a text is one of those that this stands for.
    pub(super) fn matches(&self, text: &str, facts: &Facts) -> bool {
        self.resolve(facts).is_some_and(|resolved| resolved.matches(text, same))
    }
}

impl Resolved {
    /// Letter by letter, by that comparison of two letters.
    pub(super) fn matches(&self, text: &str, equal: fn(char, char) -> bool) -> bool {
        let text: Vec<char> = text.chars().collect();
        glob(&self.0, &text, equal)
    }

    /// As an ARN: each of its six parts by itself, the last of them with all that follows.
    pub(super) fn matches_arn(&self, text: &str) -> bool {
        let mut wanted = self.0.splitn(ARN_PARTS, |token| *token == Token::Letter(':'));
        let mut found = text.splitn(ARN_PARTS, ':');
        loop {
            match (wanted.next(), found.next()) {
                (None, None) => return true,
                (Some(wanted), Some(found)) => {
                    let found: Vec<char> = found.chars().collect();
                    if !glob(wanted, &found, same) {
                        return false;
                    }
                }
                _ => return false,
            }
        }
    }
}

fn push(parts: &mut Vec<Part>, part: Part) {
    match (parts.last_mut(), part) {
        (Some(Part::Text(before)), Part::Text(more)) => before.push_str(&more),
        (_, part) => parts.push(part),
    }
}

/// Two letters that are the same letter.
pub(super) fn same(a: char, b: char) -> bool {
    a == b
}

/// Two letters that differ in case at most.
pub(super) fn same_but_for_case(a: char, b: char) -> bool {
    a == b || a.to_lowercase().eq(b.to_lowercase())
}

/// Whether the text is one of the pattern's: only the last `*` is ever tried again, so the time is at most one length times
/// the other.
fn glob(pattern: &[Token], text: &[char], equal: fn(char, char) -> bool) -> bool {
    let (mut p, mut t) = (0, 0);
    // the last star, and where the text that it stands for would end
    let mut star: Option<(usize, usize)> = None;
    while let Some(letter) = text.get(t) {
        match pattern.get(p) {
            Some(Token::Any) => {
                star = Some((p, t));
                p += 1;
            }
            Some(Token::One) => (p, t) = (p + 1, t + 1),
            Some(Token::Letter(wanted)) if equal(*wanted, *letter) => (p, t) = (p + 1, t + 1),
            _ => match star.as_mut() {
                None => return false,
                Some((at, end)) => {
                    *end += 1;
                    (p, t) = (*at + 1, *end);
                }
            },
        }
    }
    pattern[p..].iter().all(|token| *token == Token::Any)
}

/// `arn:partition:service:region:account:resource`
const ARN_PARTS: usize = 6;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: Allows = Allows { wildcards: true, variables: true };

    fn matches(pattern: &str, text: &str) -> bool {
        let facts = Facts::default().with("aws:username", "a*e").with_all("aws:TagKeys", ["x".into(), "y".into()]);
        Pattern::parse(pattern, ALL, "here").unwrap().matches(text, &facts)
    }

    #[test]
    fn wildcards_variables_and_defaults() {
        for (pattern, text, yes) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abbcd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*a*", "banana", true),
            ("", "", true),
            ("", "a", false),
            // a variable's value is letters
            ("session/${aws:username}-*", "session/a*e-01", true),
            ("session/${AWS:UserName}-*", "session/a*e-01", true),
            ("session/${aws:username}-*", "session/alice-01", false),
            ("${*}${?}${$}", "*?$", true),
            ("${aws:nothing}", "", false),
            ("${aws:nothing, 'x'}", "x", true),
            ("${aws:TagKeys}", "x", false),
            ("${Account}", "123456789012", false),
            ("$x{}", "$x{}", true),
        ] {
            assert_eq!(matches(pattern, text), yes, "{pattern} {text}");
        }
        for wrong in ["${aws:username", "${aws:username, x}"] {
            assert!(Pattern::parse(wrong, ALL, "here").is_err(), "{wrong}");
        }
        let old = Allows { wildcards: true, variables: false };
        assert!(Pattern::parse("${aws:username}", old, "").unwrap().matches("${aws:username}", &Facts::default()));
    }

    #[test]
    fn an_arn_is_compared_part_by_part() {
        let arn = |pattern: &str, text: &str| {
            Pattern::parse(pattern, ALL, "").unwrap().resolve(&Facts::default()).unwrap().matches_arn(text)
        };
        let role = "arn:aws:iam::123456789012:role/team:a/x";
        assert!(arn("arn:aws:iam::*:role/*", role) && arn("arn:*:iam:*:*:*", role));
        assert!(!arn("arn:aws:*:role/*", role) && !arn("arn:aws:iam::12345678901?:user/*", role) && !arn("*", role));
    }

    proptest! {
        #[test]
        fn a_star_is_what_a_regular_expression_says(pattern in "[ab*?]{0,8}", text in "[ab]{0,10}") {
            let expression = pattern.replace('*', ".*").replace('?', ".");
            let expected = regex::Regex::new(&format!("^{expression}$")).unwrap().is_match(&text);
            prop_assert_eq!(matches(&pattern, &text), expected);
        }

        #[test]
        fn noise_is_read_or_refused(pattern in "\\PC{0,40}", text in "\\PC{0,40}") {
            let parsed = Pattern::parse(&pattern, ALL, "").ok();
            if let Some(resolved) = parsed.and_then(|parsed| parsed.resolve(&Facts::default())) {
                let _ = (resolved.matches(&text, same_but_for_case), resolved.matches_arn(&text));
            }
        }
    }
}
