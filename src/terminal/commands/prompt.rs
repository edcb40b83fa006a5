//! Which prompts are a shell's.

/// How a prompt was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// As one that was seen before.
    Same,
    /// The same but for what changes: the folder, a branch, a status.
    Shape,
    /// The first of the session, or the first after something that may have brought another.
    Expected,
    /// The first of the session, which begins with a shell; by its end it could be anything's.
    First,
    /// A shell's by its end, but nothing led to expect a new one.
    Unexpected,
    /// A program's: an interpreter, a question.
    Foreign,
}

impl Known {
    /// Whether it is more likely a shell's than not.
    pub(super) fn is_a_shell(self) -> bool {
        matches!(self, Self::Same | Self::Shape | Self::Expected)
    }
}

/// The prompts of a session, learned as lines are entered at them.
#[derive(Default)]
pub(super) struct Prompts {
    seen: Vec<String>,
    /// Lines were entered at a prompt that has no text.
    empty: bool,
    /// The last command may have brought another shell, or another prompt.
    expects: bool,
}

const MOST: usize = 8;
const LONGEST: usize = 512;

impl Prompts {
    /// What is known of `prompt`, the text left of a line.
    pub(super) fn judge(&self, prompt: &str) -> Known {
        if prompt.trim().is_empty() {
            return Known::Foreign;
        }
        if self.seen.iter().any(|seen| seen == prompt) {
            return Known::Same;
        }
        if foreign(prompt) {
            return Known::Foreign;
        }
        if self.seen.iter().any(|seen| alike(seen, prompt)) {
            return Known::Shape;
        }
        if !ends_like_a_shell(prompt) {
            return if self.seen.is_empty() { Known::First } else { Known::Foreign };
        }
        if self.seen.is_empty() || self.expects { Known::Expected } else { Known::Unexpected }
    }

    /// What is known where an editor reads and no text stands left of the line.
    pub(super) fn judge_none(&self) -> Known {
        if self.empty {
            Known::Same
        } else if self.seen.is_empty() || self.expects {
            Known::First
        } else {
            Known::Foreign
        }
    }

    /// A line was entered at `prompt`.
    pub(super) fn learn(&mut self, prompt: &str) {
        self.empty |= prompt.is_empty();
        if prompt.trim().is_empty() || prompt.len() > LONGEST {
            return;
        }
        self.seen.retain(|seen| seen != prompt);
        if self.seen.len() == MOST {
            self.seen.remove(0);
        }
        self.seen.push(prompt.to_owned());
    }

    /// `command` was entered: may the next prompt be another?
    pub(super) fn ran(&mut self, command: &str) {
        self.expects = brings_another(command);
    }

    /// Whether `text` ends with a prompt that was seen, and of a length that is no chance.
    pub(super) fn ends(&self, text: &str) -> Option<bool> {
        let found = self.seen.iter().filter(|seen| text.ends_with(seen.as_str())).map(String::as_str);
        found
            .filter(|seen| seen.len() > 4 || ["$ ", "# ", "% "].contains(seen))
            .map(|seen| seen.len() > 4)
            .reduce(|one, other| one || other)
    }

    /// Where in `text`, but not at its start, the last prompt that was seen stands.
    pub(super) fn inside(&self, text: &str) -> Option<(usize, usize)> {
        let long = |seen: &&String| seen.len() > 4 || ["$ ", "# ", "% "].contains(&seen.as_str());
        let found = self.seen.iter().filter(long).filter_map(|seen| {
            let start = text
                .rfind(seen.as_str())
                .or_else(|| text.ends_with(seen.trim_end()).then(|| text.len() - seen.trim_end().len()))?;
            Some((start, (start + seen.len()).min(text.len())))
        });
        found.filter(|(start, _)| *start > 0).max_by_key(|(start, end)| (*end, std::cmp::Reverse(*start)))
    }

    /// How many characters of `line` are a prompt that was seen, or has the shape of one.
    pub(super) fn at_start_of(&self, line: &str) -> Option<(usize, Known)> {
        let same =
            self.seen.iter().filter(|seen| line.starts_with(seen.as_str())).map(|seen| seen.chars().count()).max();
        if let Some(end) = same {
            return Some((end, Known::Same));
        }
        // behind what the terminal echoed before the prompt came
        let inside = self.seen.iter().filter(|seen| seen.len() > 4).find_map(|seen| {
            let end = line.rfind(seen.as_str())? + seen.len();
            Some((line.get(..end)?.chars().count(), Known::Shape))
        });
        if inside.is_some() {
            return inside;
        }
        self.seen.iter().rev().find_map(|seen| {
            let tail = tail(seen);
            let end = line.find(tail)? + tail.len();
            let prompt = line.get(..end)?;
            alike(seen, prompt).then(|| (prompt.chars().count(), Known::Shape))
        })
    }
}

/// How many characters at the start of `line` look like the prompt of a shell that nobody has seen yet: an end that shells use, alone
/// or after a word that has something of a place in it. Only for lines that an editor reads.
pub(super) fn guess(line: &str) -> Option<usize> {
    let place = ['@', '~', '[', '/', '(', ':'];
    let mut before = None;
    for (count, character) in line.chars().enumerate() {
        let ends = matches!(character, '$' | '#' | '%' | '>' | '❯' | 'λ' | '»' | '▶' | '›' | '→');
        if ends && line.chars().nth(count + 1) == Some(' ') {
            let word = line.split(' ').next()?;
            let alone = word.chars().count() == count + 1 && (count == 0 || before.is_some_and(|c: char| c != '-'));
            // what begins as a path may be a program's name: with a redirection after it is no prompt
            let with_place = word.contains('@') || word.starts_with(['[', '~', '(']) || (alone && word.contains(place));
            let named = alone && (count == 0 || word.contains(place) || word.contains('-'));
            return (with_place || named).then_some(count + 2);
        }
        before = Some(character);
    }
    None
}

/// The last character that is no space, and what follows it.
fn tail(prompt: &str) -> &str {
    let trimmed = prompt.trim_end();
    let start = trimmed.char_indices().next_back().map_or(0, |(place, _)| place);
    prompt.get(start..).unwrap_or_default()
}

/// The part before what usually changes: a path, a branch.
fn head(prompt: &str) -> &str {
    let prompt = prompt.trim_start();
    // the name of a virtual environment
    let prompt = match prompt.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
        Some((_, rest)) => rest.trim_start(),
        None => prompt,
    };
    prompt.split([':', '~', '/', ' ']).next().unwrap_or_default()
}

fn alike(seen: &str, prompt: &str) -> bool {
    tail(seen) == tail(prompt)
        && head(seen) == head(prompt)
        && ends_like_a_shell(prompt)
        // with nothing before the path, all that is known is the end
        && (!head(seen).is_empty() || prompt.trim_start().starts_with(['~', '/']))
        && seen.chars().count() > tail(seen).chars().count()
}

fn ends_like_a_shell(prompt: &str) -> bool {
    let prompt = prompt.trim_end();
    // fonts for prompts have their arrows where Unicode has no letters
    let is_private = |letter: char| ('\u{e000}'..='\u{f8ff}').contains(&letter);
    prompt.ends_with(['$', '#', '%', '>', '❯', '➜', 'λ', '»', '▶', '›', '→']) || prompt.ends_with(is_private)
}

/// Prompts of programs that people know.
fn foreign(prompt: &str) -> bool {
    let prompt = prompt.trim();
    let last_word = prompt.rsplit(' ').next().unwrap_or_default();
    matches!(prompt, ">>>" | "..." | "ftp>" | "sftp>" | "sqlite>" | "mysql>" | "(gdb)" | "(lldb)" | "(Pdb)" | "irb>" | "...>" | "->")
        || prompt.starts_with("In [")
        || prompt.starts_with("irb(")
        || prompt.starts_with("MariaDB [")
        || prompt.starts_with("pry(")
        || prompt.starts_with("octave:")
        // psql: a database's name, and =, - or ( before the end
        || ["=#", "=>", "-#", "->", "(#", "(>"].iter().any(|end| last_word.ends_with(end))
}

/// A continuation's prompt: `> `, or zsh's names of what is open.
pub(super) fn continues(line: &str) -> Option<usize> {
    let end = line.find('>')?;
    let names = line.get(..end)?;
    let named = names.chars().all(|character| character.is_ascii_lowercase() || character == ' ') && names.len() <= 60;
    (named && line.get(end + 1..)?.starts_with(' ')).then_some(end + 2)
}

/// Words of a command after which another prompt is no surprise.
fn brings_another(command: &str) -> bool {
    const PROGRAMS: &[&str] = &[
        "ssh",
        "su",
        "sudo",
        "bash",
        "sh",
        "zsh",
        "fish",
        "dash",
        "ash",
        "ksh",
        "mksh",
        "busybox",
        "tmux",
        "screen",
        "docker",
        "podman",
        "kubectl",
        "chroot",
        "nsenter",
        "unshare",
        "newgrp",
        "sg",
        "exec",
        "script",
        "machinectl",
        "login",
        "doas",
        "lxc",
        "incus",
        "telnet",
        "mosh",
        "env",
        "nix-shell",
        "source",
        ".",
        "toolbox",
        "distrobox",
        "runuser",
        "setpriv",
        "rbash",
        "poetry",
        "pipenv",
        "exit",
        "logout",
        "strace",
        "nice",
        "stdbuf",
        "unset",
        "conda",
        "aws",
        "vagrant",
        "hostname",
    ];
    command.split(['\n', ';', '|', '&', '(', ')']).any(|part| {
        let mut words = part.split_whitespace().skip_while(|word| word.contains('='));
        let name = words.next().unwrap_or_default();
        PROGRAMS.contains(&name.rsplit('/').next().unwrap_or_default())
    }) || ["PS1", "PROMPT", "fish_prompt", "activate"].iter().any(|word| command.contains(word))
}
