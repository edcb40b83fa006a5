//! Whether a shell would ask for more after a line.

/// Whether `text` is a command that goes on: a quote, a bracket, a here-document or a compound command is open, or it ends with
/// a backslash, `|`, `&&` or `||`. What this gets wrong only joins or parts lines, and costs confidence where the next prompt
/// tells otherwise.
pub(super) fn goes_on(text: &str) -> bool {
    let mut scan = Scan {
        characters: text.chars().peekable(),
        word: String::new(),
        quoted: false,
        depth: 0,
        cases: 0,
        starts: true,
        function: false,
        operator: false,
    };
    scan.run()
}

/// Whether `line` ends with a backslash that escapes the newline after it.
pub(super) fn ends_escaped(line: &str) -> bool {
    line.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1
}

struct Scan<'a> {
    characters: std::iter::Peekable<std::str::Chars<'a>>,
    word: String,
    quoted: bool,
    depth: i32,
    cases: u32,
    /// A word that comes now is where a command's name stands.
    starts: bool,
    /// `function` came, and no `{` yet.
    function: bool,
    /// The last thing was `|`, `&&` or `||`.
    operator: bool,
}

impl Scan<'_> {
    fn run(&mut self) -> bool {
        let mut documents: Vec<(String, bool)> = Vec::new();
        while let Some(character) = self.characters.next() {
            match character {
                '\'' => {
                    if !self.until('\'', false) {
                        return true;
                    }
                }
                '"' | '`' => {
                    if !self.until(character, true) {
                        return true;
                    }
                }
                '\\' => match self.characters.next() {
                    None => return true,
                    Some('\n') => {}
                    Some(_) => self.quote(),
                },
                '#' if self.word.is_empty() && !self.quoted => {
                    while self.characters.peek().is_some_and(|&next| next != '\n') {
                        self.characters.next();
                    }
                }
                '\n' => {
                    self.end_word();
                    self.starts = true;
                    for (end, tabs) in documents.drain(..) {
                        if !self.document(&end, tabs) {
                            return true;
                        }
                    }
                }
                ' ' | '\t' => self.end_word(),
                '<' if self.characters.peek() == Some(&'<') => {
                    self.end_word();
                    self.characters.next();
                    if self.characters.peek() == Some(&'<') {
                        self.characters.next();
                    } else if let Some(document) = self.delimiter() {
                        documents.push(document);
                    }
                }
                ';' | '&' | '|' => {
                    self.end_word();
                    let doubled = self.characters.next_if_eq(&character).is_some();
                    self.operator = character == '|' || (character == '&' && doubled);
                    self.starts = true;
                }
                '(' if self.characters.peek() == Some(&')') && !self.word.ends_with(['$', '<', '>']) => {
                    // a function's name stands before it, and its body behind it
                    self.end_word();
                    self.characters.next();
                    self.operator = false;
                    self.starts = true;
                }
                '(' => {
                    self.end_word();
                    self.depth += 1;
                    self.operator = false;
                    self.starts = true;
                }
                ')' => {
                    self.end_word();
                    // the end of a pattern of `case` has no opening one
                    if self.cases == 0 {
                        self.depth -= 1;
                    }
                    self.operator = false;
                    self.starts = self.cases > 0;
                }
                _ => {
                    self.operator = false;
                    self.word.push(character);
                }
            }
        }
        self.end_word();
        !documents.is_empty() || self.depth > 0 || self.operator
    }

    fn quote(&mut self) {
        self.quoted = true;
        self.operator = false;
    }

    fn until(&mut self, end: char, escapes: bool) -> bool {
        self.quote();
        while let Some(character) = self.characters.next() {
            if character == end {
                return true;
            }
            if escapes && character == '\\' && self.characters.next().is_none() {
                return false;
            }
        }
        false
    }

    fn end_word(&mut self) {
        if self.word.is_empty() && !self.quoted {
            return;
        }
        let word = std::mem::take(&mut self.word);
        let quoted = std::mem::take(&mut self.quoted);
        if quoted || !(self.starts || (self.function && word == "{")) {
            self.starts = false;
            return;
        }
        // after these a command begins; after any other word its arguments do
        self.starts = matches!(
            word.as_str(),
            "if" | "then" | "else" | "elif" | "while" | "until" | "do" | "{" | "!" | "time" | "begin"
        );
        match word.as_str() {
            "{" => self.depth += 1 - i32::from(std::mem::take(&mut self.function)),
            "if" | "for" | "while" | "until" | "select" => self.depth += 1,
            // fish, and the older shells' own way to begin a function, where `{` follows
            "begin" | "switch" => self.depth += 1,
            "function" => {
                self.depth += 1;
                self.function = true;
            }
            "case" => {
                self.depth += 1;
                self.cases += 1;
            }
            "fi" | "done" | "}" => self.depth -= 1,
            // fish
            "end" => self.depth = 0,
            "esac" => {
                self.depth -= 1;
                self.cases = self.cases.saturating_sub(1);
            }
            _ => {}
        }
    }

    /// The word after `<<`, and whether tabs are stripped (`<<-`).
    fn delimiter(&mut self) -> Option<(String, bool)> {
        let tabs = self.characters.next_if_eq(&'-').is_some();
        while self.characters.next_if(|&next| next == ' ' || next == '\t').is_some() {}
        let mut word = String::new();
        while let Some(next) = self
            .characters
            .next_if(|&next| !next.is_whitespace() && !matches!(next, ';' | '&' | '|' | '<' | '>' | '(' | ')'))
        {
            if !matches!(next, '\'' | '"' | '\\') {
                word.push(next);
            }
        }
        (!word.is_empty()).then_some((word, tabs))
    }

    fn document(&mut self, end: &str, tabs: bool) -> bool {
        let mut line = String::new();
        loop {
            let next = self.characters.next();
            match next {
                Some(character) if character != '\n' => line.push(character),
                _ => {
                    let plain = if tabs { line.trim_start_matches('\t') } else { &line };
                    if plain == end {
                        return true;
                    }
                    line.clear();
                    if next.is_none() {
                        return false;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::goes_on;

    #[test]
    fn a_function_goes_on_until_its_end_however_it_begins() {
        for open in ["f() {", "f () {\necho", "function f {", "function f", "begin", "switch x", "if true\necho yes"] {
            assert!(goes_on(open), "{open}");
        }
        for whole in [
            "f() {\nls\n}",
            "function f {\nls\n}",
            "function f\nls\nend",
            "begin; ls; end",
            "echo $() {",
            "f() { ls; }; f",
        ] {
            assert!(!goes_on(whole), "{whole}");
        }
    }
}
