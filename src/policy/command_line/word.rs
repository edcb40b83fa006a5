//! One word of a command line, as the shell reads it: what stands for itself, what is put in its place when the line runs,
//! and the commands that stand in it. Whatever shells do not agree about, or is not read here, is refused.

use super::line::Unsure;

/// A word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Word {
    /// Without its quotes; where it is not literal, no more than what is seen of it.
    pub(super) text: String,
    /// It stands for itself: no variable, no pattern, no `$(…)`.
    pub(super) literal: bool,
    /// Lines that are run for the word's sake: what is in `$(…)` and in backquotes.
    pub(super) nested: Vec<String>,
}

/// Reads a word as a shell's parser cut it out of the line.
pub(super) fn read(raw: &str) -> Result<Word, Unsure> {
    let mut reading = Reading { rest: raw, word: Word { literal: true, ..Word::default() } };
    // by itself it is the name of a command
    if raw == "[" {
        return Ok(Word { text: "[".to_owned(), ..reading.word });
    }
    reading.unquoted()?;
    Ok(reading.word)
}

struct Reading<'a> {
    rest: &'a str,
    word: Word,
}

impl Reading<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.rest.chars().next()?;
        self.rest = self.rest.get(next.len_utf8()..).unwrap_or_default();
        Some(next)
    }

    fn unquoted(&mut self) -> Result<(), Unsure> {
        while let Some(next) = self.next() {
            match next {
                '\\' => match self.next() {
                    Some('\n') | None => return Err(Unsure::Quotes),
                    Some(escaped) => self.word.text.push(escaped),
                },
                '\'' => {
                    let (text, rest) = self.rest.split_once('\'').ok_or(Unsure::Quotes)?;
                    self.word.text.push_str(text);
                    self.rest = rest;
                }
                '"' => self.quoted()?,
                '$' => self.dollar(false)?,
                '`' => self.backquoted()?,
                // a pattern, the braces of some shells, somebody's home
                '*' | '?' | '[' | '{' | '}' | '~' => {
                    self.word.literal = false;
                    self.word.text.push(next);
                }
                // the shell's parser would not have left these here
                ' ' | '\t' | '\n' | ';' | '&' | '|' | '<' | '>' | '(' | ')' => return Err(Unsure::Quotes),
                other => self.word.text.push(other),
            }
        }
        Ok(())
    }

    /// Between double quotes.
    fn quoted(&mut self) -> Result<(), Unsure> {
        loop {
            match self.next().ok_or(Unsure::Quotes)? {
                '"' => return Ok(()),
                '\\' => match self.next().ok_or(Unsure::Quotes)? {
                    escaped @ ('$' | '`' | '"' | '\\') => self.word.text.push(escaped),
                    '\n' => return Err(Unsure::Quotes),
                    other => self.word.text.extend(['\\', other]),
                },
                '$' => self.dollar(true)?,
                '`' => self.backquoted()?,
                other => self.word.text.push(other),
            }
        }
    }

    /// Behind a `$`.
    fn dollar(&mut self, quoted: bool) -> Result<(), Unsure> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        match self.rest.chars().next() {
            Some('(') => {
                self.rest = self.rest.get(1..).unwrap_or_default();
                let end = end_of_substitution(self.rest)?;
                let (nested, rest) = self.rest.split_at_checked(end).ok_or(Unsure::Quotes)?;
                self.word.nested.push(nested.to_owned());
                self.rest = rest.get(1..).unwrap_or_default();
            }
            Some('{') => {
                let (name, rest) = self.rest.split_once('}').ok_or(Unsure::Expansion)?;
                if !name.get(1..).is_some_and(|name| !name.is_empty() && name.chars().all(is_name)) {
                    return Err(Unsure::Expansion);
                }
                self.rest = rest;
            }
            Some(first) if is_name(first) && !first.is_ascii_digit() => {
                self.rest = self.rest.trim_start_matches(is_name);
            }
            Some('0'..='9' | '@' | '*' | '#' | '?' | '$' | '!' | '-') => {
                self.next();
            }
            // arithmetic of some shells, and quotes that only some know
            Some('[') => return Err(Unsure::Expansion),
            Some('\'' | '"') if !quoted => return Err(Unsure::Expansion),
            // a dollar
            _ => {
                self.word.text.push('$');
                return Ok(());
            }
        }
        self.word.literal = false;
        Ok(())
    }

    fn backquoted(&mut self) -> Result<(), Unsure> {
        let (nested, rest) = self.rest.split_once('`').ok_or(Unsure::Quotes)?;
        // what is escaped or quoted in there, and by which rules, is nothing to be sure of
        if nested.contains(['\\', '"', '\'', '#']) {
            return Err(Unsure::Quotes);
        }
        self.word.nested.push(nested.to_owned());
        self.word.literal = false;
        self.rest = rest;
        Ok(())
    }
}

/// Where the parenthesis is that ends `$(`. Where that takes more than counting, it is not sure.
fn end_of_substitution(text: &str) -> Result<usize, Unsure> {
    let mut chars = text.char_indices();
    let (mut depth, mut quoted, mut last) = (0_u32, false, ' ');
    while let Some((at, next)) = chars.next() {
        match next {
            '\\' => drop(chars.next().ok_or(Unsure::Quotes)?),
            '"' => quoted = !quoted,
            // the quotes of what is in it begin anew
            '`' => return Err(Unsure::Quotes),
            '(' if quoted && last == '$' => return Err(Unsure::Quotes),
            '(' if !quoted && last == '(' => return Err(Unsure::Expansion),
            _ if quoted => {}
            // arithmetic
            '(' if at == 0 => return Err(Unsure::Expansion),
            '\'' => while chars.next().ok_or(Unsure::Quotes)?.1 != '\'' {},
            '(' => depth += 1,
            ')' if depth > 0 => depth -= 1,
            ')' => {
                let inside = text.get(..at).unwrap_or_default();
                // its patterns have parentheses without a partner
                let case = inside.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == "case");
                return if case { Err(Unsure::Syntax) } else { Ok(at) };
            }
            // a comment may hide the end, and a document may be one
            '#' => return Err(Unsure::Syntax),
            '<' if last == '<' => return Err(Unsure::Syntax),
            _ => {}
        }
        last = next;
    }
    Err(Unsure::Quotes)
}
