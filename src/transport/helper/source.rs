//! The files that the node's helpers are written in, and how one program is joined of them.
//!
//! ```text
//!   node/python/in_lane.py                    what the node gets
//!     from attach import attach ────────────▶ common.py, which attach.py names, and then attach.py
//!     from main import begin    ────────────▶ main.py; it names common.py as well, which is there already
//!     …                         ────────────▶ …
//! ```
//!
//! Each file is whole, in Python a module and in `sh` something to source, so a linter or a person reads it as what it
//! is, and a program runs from its folder as it stands. A node gets one text: a line that names another file (`from x
//! import …` or `. ./x.sh`) gives way to that file the first time and to nothing afterwards; what files import of
//! Python's own is imported once; comments, and line ends, indentation and spaces that mean nothing, stay here; statements of
//! one block that begin no other stand in one line.

use std::collections::BTreeSet;

/// What a helper is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    /// `node/python`.
    Python,
    /// `node/sh`.
    Sh,
}

impl Language {
    /// The program of this name as one text.
    pub(super) fn program(self, name: &str) -> String {
        let mut joined = Joined { language: self, there: BTreeSet::new(), text: String::new() };
        joined.add(name);
        joined.text
    }

    fn files(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Python => PYTHON,
            Self::Sh => SH,
        }
    }

    fn file(self, name: &str) -> Option<&'static str> {
        self.files().iter().find(|(file, _)| *file == name).map(|(_, text)| *text)
    }

    /// The file that a line names.
    fn named(self, line: &str) -> Option<&str> {
        let name = match self {
            Self::Python => line.strip_prefix("from ")?.split_once(" import ")?.0,
            Self::Sh => line.strip_prefix(". ./")?.strip_suffix(".sh")?,
        };
        self.file(name).is_some().then_some(name)
    }

    /// Adds the line without what only people need.
    fn slim(self, line: &str, text: &mut String) {
        let body = line.trim_start_matches(' ');
        if body.is_empty() || body.starts_with('#') {
            return;
        }
        // by four, and one does
        let depth = if self == Self::Python { (line.len() - body.len()) / 4 } else { 0 };
        // a newline is two bytes in a document, and with it goes the indentation
        if let Some(between) = self.goes_on(text, depth, body) {
            text.truncate(text.len() - 1);
            text.push_str(between);
        } else {
            text.extend(std::iter::repeat_n(' ', depth));
        }
        let body = body.split("  # ").next().unwrap_or(body);
        match self {
            Self::Python => push_tight(body, text),
            Self::Sh => text.push_str(body),
        }
        text.push('\n');
    }

    /// Whether the last line can be joined with the next, and by what.
    fn goes_on(self, text: &str, depth: usize, next: &str) -> Option<&'static str> {
        let line = text.strip_suffix('\n')?;
        match self {
            // within brackets, where lines and indentation mean nothing
            Self::Python if line.ends_with([',', '(', '[', '{']) || next.starts_with([')', ']', '}']) => Some(""),
            // what a file defines has a line of its own
            Self::Python => {
                let last = line.rsplit('\n').next()?;
                let statement = last.trim_start_matches(' ');
                let same_block = last.len() - statement.len() == depth;
                (depth > 0 && same_block && is_simple(statement) && is_simple(next)).then_some(";")
            }
            Self::Sh if line.ends_with(";;") => Some(""),
            Self::Sh => {
                let last = line.rsplit([' ', '\n']).next()?;
                ["then", "else", "do", "{"].contains(&last).then_some(" ")
            }
        }
    }
}

/// Adds Python without the spaces that mean nothing: those beside an operator or a bracket, outside strings.
fn push_tight(body: &str, text: &mut String) {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '"';
    let (mut before, mut quoted, mut escaped) = ('(', false, false);
    let mut rest = body.chars();
    while let Some(c) = rest.next() {
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        let between_words = is_word(before) && rest.clone().next().is_some_and(is_word);
        if c != ' ' || quoted || between_words {
            text.push(c);
            before = c;
        }
    }
}

/// Whether a statement of Python begins no block, so that another may stand behind it.
fn is_simple(statement: &str) -> bool {
    let word = statement.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    !["if", "elif", "else", "for", "while", "def", "class", "try", "except", "finally", "with"].contains(&word)
}

struct Joined {
    language: Language,
    /// Files by name, and whole lines that import something of Python's own.
    there: BTreeSet<&'static str>,
    text: String,
}

impl Joined {
    fn add(&mut self, name: &str) {
        for line in self.language.file(name).unwrap_or_default().lines() {
            if let Some(other) = self.language.named(line) {
                if self.there.insert(other) {
                    self.add(other);
                }
            } else if !line.starts_with("import ") || self.there.insert(line) {
                self.language.slim(line, &mut self.text);
            }
        }
    }
}

macro_rules! files {
    ($folder:literal $extension:literal $($name:ident)*) => {
        &[$((stringify!($name), include_str!(concat!("node/", $folder, "/", stringify!($name), $extension)))),*]
    };
}

const PYTHON: &[(&str, &str)] = files! { "python" ".py"
    out_command out_files out_relay in_lane one_command one_files one_relay
    attach command common deflate files job keeper lane lookup main operations owner paths proc process relay relayed rider settle
};

const SH: &[(&str, &str)] = files! { "sh" ".sh"
    out_command out_files out_relay in_lane one_command one_files one_relay
    answers attach attributes command common files handles main no_relay output owner reader settle terminal
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use Language::{Python, Sh};

    /// Every file of the folder, and nothing else, is in the table.
    #[test]
    fn no_file_is_forgotten() {
        for (language, folder, extension) in [(Python, "python", ".py"), (Sh, "sh", ".sh")] {
            let place = format!("{}/src/transport/helper/node/{folder}", env!("CARGO_MANIFEST_DIR"));
            let names = std::fs::read_dir(place).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
            let there: BTreeSet<String> = names.filter_map(|name| Some(name.strip_suffix(extension)?.into())).collect();
            let known: BTreeSet<String> = language.files().iter().map(|(name, _)| (*name).to_owned()).collect();
            assert_eq!(there, known);
        }
    }

    /// What the lanes run: their names are of two words, as no other file's is.
    fn programs() -> impl Iterator<Item = &'static str> {
        PYTHON.iter().map(|(name, _)| *name).filter(|name| name.contains('_'))
    }

    #[test]
    fn every_file_is_in_some_program() {
        for language in [Python, Sh] {
            let mut joined = Joined { language, there: BTreeSet::new(), text: String::new() };
            programs().for_each(|program| joined.add(program));
            for (name, _) in language.files().iter().filter(|(name, _)| !name.contains('_')) {
                assert!(joined.there.contains(name), "no program has {language:?} {name}");
            }
        }
    }

    #[test]
    fn slimming_keeps_the_structure() {
        let slim = |language: Language, lines: &str| {
            let mut text = String::new();
            lines.lines().for_each(|line| language.slim(line, &mut text));
            text
        };
        let python = "# no\ndef f():  # no\n    # no\n    if a:\n\n        b(\n            c,\n        )";
        assert_eq!(slim(Python, python), "def f():\n if a:\n  b(c,)\n");
        let blocks = "import a\nif b:\n    c = (\n        d\n    )\n    e()\nelse:\n    return\nf()\nx = 1";
        let spaces = "a = b [1] if \" = \\\" , \" in (c, not -d) else \"\" * 2";
        assert_eq!(slim(Python, spaces), "a=b[1]if \" = \\\" , \" in(c,not-d)else \"\"*2\n");
        assert_eq!(slim(Python, blocks), "import a\nif b:\n c=(d);e()\nelse:\n return\nf()\nx=1\n");
        let sh = "f() {\n    # no\n    case $1 in\n    a) b;;\n    *) if c; then\n        undo\n    fi\n    esac\n}";
        assert_eq!(slim(Sh, sh), "f() { case $1 in\na) b;;*) if c; then undo\nfi\nesac\n}\n");
    }

    #[test]
    fn a_file_stands_once_and_before_whoever_names_it() {
        for language in [Python, Sh] {
            let text = language.program("in_lane");
            let at = |part: &str| {
                let found: Vec<usize> = text.match_indices(part).map(|(at, _)| at).collect();
                assert_eq!(found.len(), 1, "{part}: {text}");
                found[0]
            };
            match language {
                Python => assert!(at("def die(") < at("def attach(") && at("import os\n") < at("opts,null=begin()")),
                Sh => assert!(at("die() {") < at("attach() {") && at("attach() {") < at("begin \"$@\"")),
            }
            assert!(!text.contains("from common") && !text.contains(". ./"));
        }
    }

    /// In a text of several files the last of two definitions would silently win.
    #[test]
    fn no_two_files_of_a_program_define_the_same_name() {
        for program in programs() {
            let text = Python.program(program);
            let defined = text.lines().filter_map(|line| {
                let name = line.strip_prefix("def ").or_else(|| line.strip_prefix("class "));
                let constant = || line.split_once('=').map(|(name, _)| name).filter(|name| !name.starts_with(' '));
                name.map(|name| name.split(['(', ':']).next().unwrap_or(name)).or_else(constant)
            });
            let mut names: Vec<&str> = defined.collect();
            names.sort_unstable();
            let twice: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).collect();
            assert!(twice.is_empty() && names.contains(&"die"), "{program}: {twice:?}");
            let text = Sh.program(program);
            let mut names: Vec<&str> =
                text.match_indices("() { ").filter_map(|(at, _)| text[..at].lines().last()).collect();
            names.sort_unstable();
            let twice: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).collect();
            assert!(twice.is_empty() && names.contains(&"die"), "{program}: {twice:?}");
        }
    }

    /// What people read and what a node runs are the same program.
    #[test]
    fn slimming_changes_nothing_in_a_program() {
        let check = "import ast, sys\nread, run = sys.stdin.read().split(chr(0))\n\
            assert ast.dump(ast.parse(read)) == ast.dump(ast.parse(run))";
        for (name, file) in PYTHON {
            let mut slim = String::new();
            file.lines().for_each(|line| Python.slim(line, &mut slim));
            assert!(parsed(check, &format!("{file}\0{slim}")), "{name}");
        }
    }

    /// A Python that is too old hands over to `sh`, but for that it must compile the text first.
    #[test]
    fn the_oldest_python_3_can_compile_every_program() {
        let check = "import ast, sys\ntree = ast.parse(sys.stdin.read(), feature_version=(3, 4))\n\
            assert not any(isinstance(node, (ast.JoinedStr, ast.AnnAssign)) for node in ast.walk(tree))";
        for program in programs() {
            assert!(parsed(check, &Python.program(program)), "{program}");
        }
    }

    fn parsed(check: &str, text: &str) -> bool {
        let mut python = Command::new("python3").args(["-c", check]).stdin(Stdio::piped()).spawn().unwrap();
        python.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        python.wait().unwrap().success()
    }
}
