//! Single cases of the commands.

use crate::{Command, CommandWatch, How, Nonce, Size};
use std::time::Duration;

struct Session {
    watch: CommandWatch,
    now: Duration,
}

impl Session {
    fn new() -> Self {
        Self::with(None)
    }

    fn with(nonce: Option<&str>) -> Self {
        let nonce = nonce.and_then(Nonce::new);
        Self { watch: CommandWatch::new(Size { columns: 80, rows: 24 }, nonce), now: Duration::ZERO }
    }

    fn shows(&mut self, text: &str) -> &mut Self {
        self.now += Duration::from_millis(10);
        self.watch.output(self.now, text.as_bytes());
        self
    }

    fn types(&mut self, text: &str) -> &mut Self {
        self.now += Duration::from_millis(500);
        self.watch.input(self.now, text.as_bytes());
        self
    }

    /// Each key is echoed, as by bash.
    fn runs(&mut self, line: &str) -> &mut Self {
        for key in line.chars() {
            self.types(&key.to_string()).shows(&key.to_string());
        }
        self.types("\r").shows("\r\n\x1b[?2004l\r")
    }

    fn prompt(&mut self) -> &mut Self {
        self.shows("\x1b[?2004hada@node:~$ ")
    }

    fn told(&mut self) -> Vec<Command> {
        self.watch.finish(self.now);
        std::iter::from_fn(|| self.watch.next()).collect()
    }

    fn lines(&mut self) -> Vec<String> {
        self.told().into_iter().map(|command| command.line).collect()
    }
}

const NONCE: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn a_line_is_told_as_it_stood_when_it_was_entered() {
    let mut session = Session::new();
    session.prompt().runs("ls -l").shows("total 0\r\n").prompt().runs("pwd");
    let told = session.told();
    assert_eq!(told.iter().map(|command| command.line.as_str()).collect::<Vec<_>>(), ["ls -l", "pwd"]);
    assert!(told.iter().all(|command| command.how == How::Screen && command.confidence >= 0.85));
}

#[test]
fn output_that_looks_like_a_prompt_and_a_command_is_none() {
    let mut session = Session::new();
    session.prompt().runs("cat transcript").shows("ada@node:~$ rm -rf /\r\nada@node:~$ reboot\r\n").prompt();
    assert_eq!(session.lines(), ["cat transcript"]);
}

#[test]
fn what_is_typed_at_a_prompt_without_echo_is_a_mark_and_nothing_else() {
    let mut session = Session::new();
    session
        .prompt()
        .runs("sudo id")
        .shows("[sudo] password for ada: ")
        .types("hunter2")
        .types("\r")
        .shows("\r\nuid=0\r\n")
        .prompt();
    assert!(session.watch.hidden_input().is_some());
    assert_eq!(session.watch.hidden_input(), None);
    assert_eq!(session.lines(), ["sudo id"]);
}

#[test]
fn marks_with_the_nonce_rule_and_bring_the_exit_status() {
    let mut session = Session::with(Some(NONCE));
    session.shows(&format!("\x1b[?2004h\x1b]133;A;nonce={NONCE}\x07odd: \x1b]133;B;nonce={NONCE}\x07")).runs("false");
    session.shows(&format!("\x1b]133;C;nonce={NONCE}\x07")).shows(&format!("\x1b]133;D;1;nonce={NONCE}\x07"));
    let told = session.told();
    assert_eq!((told[0].line.as_str(), told[0].how, told[0].exit), ("false", How::Marks, Some(1)));
    assert!(told[0].confidence > 0.95);
}

#[test]
fn marks_with_another_nonce_prove_nothing() {
    let mut session = Session::with(Some(NONCE));
    session.shows("\x1b[?2004h\x1b]133;A;nonce=ffffffffffffffffffffffffffffffff\x07odd: \x1b]133;B\x07").runs("false");
    session.shows("\x1b]133;D;0\x07");
    let told = session.told();
    assert!(
        told.iter()
            .all(|command| command.how == How::UnprovedMarks && command.confidence < 0.5 && command.exit.is_none())
    );
}

#[test]
fn what_terminals_do_not_draw_is_not_part_of_a_line() {
    let mut session = Session::new();
    session.prompt().runs("ls\x7f -l");
    assert_eq!(session.lines(), ["ls -l"]);
}

#[test]
fn a_suggestion_that_was_not_accepted_is_not_part_of_the_line() {
    let mut session = Session::new();
    session
        .prompt()
        .types("l")
        .shows("l\x1b[90ms -la /secret\x1b[m\x1b[13D")
        .types("s")
        .shows("s")
        .types("\r")
        .shows("\r\n\x1b[?2004l");
    assert_eq!(session.lines(), ["ls"]);
}

#[test]
fn a_command_of_several_lines_is_one() {
    let mut session = Session::new();
    session
        .prompt()
        .runs("for i in 1 2")
        .shows("\x1b[?2004h> ")
        .runs("do echo $i")
        .shows("\x1b[?2004h> ")
        .runs("done")
        .prompt();
    assert_eq!(session.lines(), ["for i in 1 2\ndo echo $i\ndone"]);
}

#[test]
fn full_screen_programs_have_no_commands() {
    let mut session = Session::new();
    session
        .prompt()
        .runs("vi")
        .shows("\x1b[?1049h\x1b[H~\r\n~")
        .types(":")
        .shows(":")
        .types("x")
        .shows("x")
        .types("\r")
        .shows("\r\n");
    session.shows("\x1b[?1049l").prompt().runs("ls");
    assert_eq!(session.lines(), ["vi", "ls"]);
}

#[test]
fn lines_of_an_interpreter_are_unsure() {
    let mut session = Session::new();
    session
        .prompt()
        .runs("python3")
        .shows("Python 3\r\n\x1b[?2004h>>> ")
        .runs("import os")
        .shows("\x1b[?2004h>>> ")
        .runs("exit()");
    session.prompt().runs("ls");
    let sure: Vec<String> =
        session.told().into_iter().filter(|command| command.confidence >= 0.5).map(|command| command.line).collect();
    assert_eq!(sure, ["python3", "ls"]);
}

#[test]
fn the_line_at_the_prompt_is_there_before_it_is_entered() {
    let mut session = Session::new();
    session.prompt().runs("true").prompt().types("rm -rf /").shows("rm -rf /");
    let line = session.watch.line().unwrap();
    assert_eq!(line.line, "rm -rf /");
    assert!(line.confidence > 0.9);
    session.types("\r").shows("\r\n\x1b[?2004l");
    assert_eq!(session.watch.line(), None);
}

#[test]
fn a_watch_that_was_idle_goes_on_where_it_was() {
    let mut session = Session::new();
    session.prompt().runs("true").prompt().types("ec").shows("ec");
    session.watch.idle();
    session.types("ho").shows("ho").types("\r").shows("\r\n\x1b[?2004l\r").prompt();
    session.watch.idle();
    session.runs("pwd");
    assert_eq!(session.lines(), ["true", "echo", "pwd"]);
}
