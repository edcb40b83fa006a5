//! A command line taken apart into the simple commands that it runs.
//!
//! The shell that is modelled is any POSIX `sh` that is run with `-c`: dash, bash under that name, busybox's. What they do not all
//! read alike is not taken apart, nor is what makes names mean something else for the rest of the line.

use brush_parser::ast::{
    AndOr, Assignment, AssignmentName, AssignmentValue, Command as Parsed, CommandPrefixOrSuffixItem as Item,
    CompoundCommand, CompoundList, IoFileRedirectKind, IoFileRedirectTarget, IoRedirect, Pipeline, SimpleCommand,
};
use brush_parser::{ParserOptions, Token, TokenizerOptions, parse_tokens, uncached_tokenize_str};

use super::names::{Kind, kind};
use super::transfer::{Transfer, transfer};
use super::word::{self, Word};

/// One command that a line runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program or built-in command, as it is called: `uptime`, `/usr/bin/uptime`, `./run`. A redirection from or to a file
    /// is a command as well, called by its operator.
    pub name: String,
    /// All of it, each word quoted where it has to be; a word that does not stand for itself is as it was written.
    pub words: String,
    /// The words behind the name.
    pub arguments: Vec<String>,
    /// Every word stands for itself: no variable, no pattern, no `$(…)`.
    pub literal: bool,
    /// Why it can't be said what it runs in its turn; none where it runs nothing but itself.
    pub opaque: Option<&'static str>,
    /// What it transfers, where it is the far end of rsync or git.
    pub transfer: Option<Transfer>,
}

/// Why a line is not taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::policy) enum Unsure {
    #[error("it is no text in UTF-8")]
    Text,
    #[error("it is too long or too deeply nested")]
    Size,
    #[error("not every shell reads its syntax alike")]
    Syntax,
    #[error("not every shell reads its quotes alike")]
    Quotes,
    #[error("it has an expansion that may run something")]
    Expansion,
    #[error("a command's name is only known when it runs")]
    Name,
    #[error("it sets a variable, which may change what its commands are")]
    Variable,
    #[error("it has a command that may change what others are (eval, export, alias, trap, …)")]
    Changes,
}

/// Longer lines are not looked into.
const LONGEST: usize = 16 * 1024;
/// More tokens are too many.
const TOKENS: usize = 4096;
/// More commands are too many.
const COMMANDS: usize = 256;
/// Words and signs that open something, in all.
const OPENINGS: usize = 32;
/// `$( $( … ) )`.
const DEPTH: u32 = 4;

/// The commands that a line runs when `sh -c` is given it.
pub(in crate::policy) fn commands(line: &[u8]) -> Result<Vec<Command>, Unsure> {
    let text = std::str::from_utf8(line).map_err(|_| Unsure::Text)?;
    let mut found = Vec::new();
    read(text, 0, &mut found)?;
    Ok(found)
}

fn read(text: &str, depth: u32, found: &mut Vec<Command>) -> Result<(), Unsure> {
    if text.len() > LONGEST || depth > DEPTH {
        return Err(Unsure::Size);
    }
    if text.contains('\0') {
        return Err(Unsure::Text);
    }
    // not the tokens of POSIX alone: what bash would read as one of its own signs must show
    let tokenizer = TokenizerOptions { enable_extended_globbing: false, posix_mode: false, sh_mode: false };
    // the parser's other ways keep what they have read in memory, where secrets must not stay
    let tokens = uncached_tokenize_str(text, &tokenizer).map_err(|_| Unsure::Syntax)?;
    check(&tokens)?;
    let options = ParserOptions {
        enable_extended_globbing: false,
        posix_mode: true,
        sh_mode: true,
        tilde_expansion_at_word_start: true,
        tilde_expansion_after_colon: true,
        ..ParserOptions::default()
    };
    let program = parse_tokens(&tokens, &options).map_err(|_| Unsure::Syntax)?;
    let mut walk = Walk { depth, found };
    program.complete_commands.iter().try_for_each(|list| walk.list(list))
}

/// Signs that every shell knows, and not too much of anything.
fn check(tokens: &[Token]) -> Result<(), Unsure> {
    const SIGNS: [&str; 15] = ["\n", ";", "&", "|", "&&", "||", "(", ")", "<", ">", ">>", "<>", ">|", "<&", ">&"];
    const OPEN: [&str; 8] = ["(", "{", "if", "while", "until", "for", "!", "case"];
    if tokens.len() > TOKENS {
        return Err(Unsure::Size);
    }
    let mut openings = 0;
    for (index, token) in tokens.iter().enumerate() {
        let text = token.to_str();
        if OPEN.contains(&text) {
            openings += 1;
        }
        match token {
            // arithmetic in some shells
            Token::Operator(..) if text == "(" && tokens.get(index + 1).is_some_and(|next| next.to_str() == "(") => {
                return Err(Unsure::Syntax);
            }
            Token::Operator(..) if !SIGNS.contains(&text) => return Err(Unsure::Syntax),
            Token::Operator(..) | Token::Word(..) => {}
        }
    }
    if openings > OPENINGS { Err(Unsure::Size) } else { Ok(()) }
}

struct Walk<'a> {
    depth: u32,
    found: &'a mut Vec<Command>,
}

impl Walk<'_> {
    fn list(&mut self, list: &CompoundList) -> Result<(), Unsure> {
        for item in &list.0 {
            self.pipeline(&item.0.first)?;
            for next in &item.0.additional {
                let (AndOr::And(pipeline) | AndOr::Or(pipeline)) = next;
                self.pipeline(pipeline)?;
            }
        }
        Ok(())
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> Result<(), Unsure> {
        if pipeline.timed.is_some() {
            return Err(Unsure::Syntax);
        }
        pipeline.seq.iter().try_for_each(|command| self.command(command))
    }

    fn command(&mut self, command: &Parsed) -> Result<(), Unsure> {
        match command {
            Parsed::Simple(simple) => self.simple(simple),
            Parsed::Compound(compound, redirections) => {
                self.compound(compound)?;
                let redirections = redirections.iter().flat_map(|list| &list.0);
                redirections.into_iter().try_for_each(|redirection| self.redirection(redirection))
            }
            // a name means something else from here on
            Parsed::Function(_) => Err(Unsure::Changes),
            Parsed::ExtendedTest(..) => Err(Unsure::Syntax),
        }
    }

    fn compound(&mut self, compound: &CompoundCommand) -> Result<(), Unsure> {
        match compound {
            CompoundCommand::BraceGroup(group) => self.list(&group.list),
            CompoundCommand::Subshell(subshell) => self.list(&subshell.list),
            CompoundCommand::IfClause(clause) => {
                self.list(&clause.condition)?;
                self.list(&clause.then)?;
                clause.elses.iter().flatten().try_for_each(|other| {
                    other.condition.iter().try_for_each(|condition| self.list(condition))?;
                    self.list(&other.body)
                })
            }
            CompoundCommand::WhileClause(clause) | CompoundCommand::UntilClause(clause) => {
                self.list(&clause.0)?;
                self.list(&clause.1.list)
            }
            CompoundCommand::ForClause(clause) => {
                // PATH and its like are in capitals
                let name = &clause.variable_name;
                if !name.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
                    return Err(Unsure::Variable);
                }
                for value in clause.values.iter().flatten() {
                    self.word(&value.value)?;
                }
                self.list(&clause.body.list)
            }
            // their parts are read in more than one way
            CompoundCommand::CaseClause(_)
            | CompoundCommand::Arithmetic(_)
            | CompoundCommand::ArithmeticForClause(_)
            | CompoundCommand::Coprocess(_) => Err(Unsure::Syntax),
        }
    }

    fn simple(&mut self, simple: &SimpleCommand) -> Result<(), Unsure> {
        for item in simple.prefix.iter().flat_map(|prefix| &prefix.0) {
            match item {
                Item::IoRedirect(redirection) => self.redirection(redirection)?,
                Item::AssignmentWord(assignment, _) if simple.word_or_name.is_some() => self.locale(assignment)?,
                Item::AssignmentWord(..) => return Err(Unsure::Variable),
                Item::Word(_) | Item::ProcessSubstitution(..) => return Err(Unsure::Syntax),
            }
        }
        let Some(name) = &simple.word_or_name else { return Ok(()) };
        let raw_name = &name.value;
        let name = self.word(raw_name)?;
        if !name.literal || name.text.is_empty() {
            return Err(Unsure::Name);
        }
        let (mut words, mut arguments, mut literal) = (vec![quoted(&name, raw_name)], Vec::new(), true);
        let mut redirections = Vec::new();
        for item in simple.suffix.iter().flat_map(|suffix| &suffix.0) {
            let raw = match item {
                Item::IoRedirect(redirection) => {
                    redirections.push(redirection);
                    continue;
                }
                Item::Word(word) | Item::AssignmentWord(Assignment { value: AssignmentValue::Scalar(_), .. }, word) => {
                    &word.value
                }
                Item::AssignmentWord(..) | Item::ProcessSubstitution(..) => return Err(Unsure::Syntax),
            };
            let word = self.word(raw)?;
            literal &= word.literal;
            words.push(quoted(&word, raw));
            arguments.push(if word.literal { word.text } else { raw.clone() });
        }
        let opaque = match kind(&name.text, &arguments, literal) {
            Kind::Changes => return Err(Unsure::Changes),
            Kind::Syntax => return Err(Unsure::Syntax),
            Kind::Opaque(why) => Some(why),
            Kind::Plain => None,
        };
        let transfer = literal.then(|| transfer(&name.text, &arguments)).flatten();
        self.add(Command { name: name.text, words: words.join(" "), arguments, literal, opaque, transfer })?;
        redirections.into_iter().try_for_each(|redirection| self.redirection(redirection))
    }

    /// What a command's messages are written in may be set for it.
    fn locale(&mut self, assignment: &Assignment) -> Result<(), Unsure> {
        let (AssignmentName::VariableName(name), AssignmentValue::Scalar(value)) =
            (&assignment.name, &assignment.value)
        else {
            return Err(Unsure::Variable);
        };
        let harmless = name == "LANG" || name.starts_with("LC_");
        if !harmless || assignment.append || !word::read(&value.value)?.literal {
            return Err(Unsure::Variable);
        }
        Ok(())
    }

    /// A file that is opened for a command is one more thing to be asked about, or who permits `echo` would permit to
    /// write any file.
    fn redirection(&mut self, redirection: &IoRedirect) -> Result<(), Unsure> {
        let IoRedirect::File(_, kind, target) = redirection else { return Err(Unsure::Syntax) };
        let raw = match target {
            IoFileRedirectTarget::Filename(word) => &word.value,
            IoFileRedirectTarget::Fd(_) => return Ok(()),
            IoFileRedirectTarget::Duplicate(word) => {
                let text = &word.value;
                let number = text == "-" || (!text.is_empty() && text.chars().all(|c| c.is_ascii_digit()));
                return if number { Ok(()) } else { Err(Unsure::Syntax) };
            }
            IoFileRedirectTarget::ProcessSubstitution(..) => return Err(Unsure::Syntax),
        };
        let name = match kind {
            IoFileRedirectKind::Read => "<",
            IoFileRedirectKind::Write | IoFileRedirectKind::Clobber => ">",
            IoFileRedirectKind::Append => ">>",
            IoFileRedirectKind::ReadAndWrite => "<>",
            IoFileRedirectKind::DuplicateInput | IoFileRedirectKind::DuplicateOutput => return Err(Unsure::Syntax),
        };
        let word = self.word(raw)?;
        if word.literal && word.text == "/dev/null" {
            return Ok(());
        }
        // these are no files to bash
        let opaque = ["/dev/tcp/", "/dev/udp/"].iter().any(|network| word.text.contains(network));
        self.add(Command {
            name: name.to_owned(),
            words: format!("{name} {}", quoted(&word, raw)),
            arguments: vec![if word.literal { word.text } else { raw.clone() }],
            literal: word.literal,
            opaque: opaque.then_some("it may open a connection instead of a file"),
            transfer: None,
        })
    }

    /// A word; the commands in it are found as well.
    fn word(&mut self, raw: &str) -> Result<Word, Unsure> {
        let word = word::read(raw)?;
        word.nested.iter().try_for_each(|nested| read(nested, self.depth + 1, self.found))?;
        Ok(word)
    }

    fn add(&mut self, command: Command) -> Result<(), Unsure> {
        if self.found.len() >= COMMANDS {
            return Err(Unsure::Size);
        }
        self.found.push(command);
        Ok(())
    }
}

/// As a shell would have to be given it; what does not stand for itself, as it was written.
fn quoted(word: &Word, raw: &str) -> String {
    if !word.literal {
        return raw.to_owned();
    }
    // what people write without quotes, so that a policy reads as they would have written it
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./,:=@%+".contains(c);
    match word.text.is_empty() || !word.text.chars().all(plain) {
        true => format!("'{}'", word.text.replace('\'', "'\\''")),
        false => word.text.clone(),
    }
}
