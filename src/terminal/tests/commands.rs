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

#[test]
fn what_an_idle_watch_was_shown_is_looked_at_when_a_key_comes() {
    let mut session = Session::new();
    session.prompt().runs("true").prompt();
    session.watch.idle();
    // a job of the shell's ends meanwhile, and the window becomes narrow
    session.shows("\r\n[1]+  Done   make\r\n\x1b[?2004l\r").prompt();
    session.watch.resize(session.now, Size { columns: 20, rows: 10 });
    session.types("echo a line that is wrapped").shows("echo a line that is wrapped");
    session.types("\r").shows("\r\n\x1b[?2004l\r").prompt();
    session.watch.idle();
    session.shows(&"more than is kept for later\r\n".repeat(1000)).shows("\x1b[?2004l\r").prompt().runs("pwd");
    assert_eq!(session.lines(), ["true", "echo a line that is wrapped", "pwd"]);
}

#[test]
fn lines_pasted_without_frames_are_told_one_by_one_whatever_is_printed_between_them() {
    let mut session = Session::new();
    session.prompt().runs("true").prompt().types("ls\rpwd\rdate");
    session.shows("ls\r\n\x1b[?2004l\r").shows("one\r\ntwo\r\n").prompt();
    session.shows("pwd\r\n\x1b[?2004l\r").shows("/home\r\n").prompt().shows("date");
    session.types("\r").shows("\r\n\x1b[?2004l\r").shows("noon\r\n").prompt();
    let told = session.told();
    assert_eq!(told.iter().map(|told| told.line.as_str()).collect::<Vec<_>>(), ["true", "ls", "pwd", "date"]);
    assert!(told.iter().all(|told| told.confidence >= 0.85), "{told:?}");
}

#[test]
fn an_interrupted_line_is_none_however_many_enters_wait() {
    let mut session = Session::new();
    session
        .prompt()
        .runs("true")
        .prompt()
        .types("rm -rf /")
        .shows("rm -rf /")
        .types("\x03")
        .shows("^C\r\n\x1b[?2004l\r");
    session.prompt().runs("ls");
    assert_eq!(session.lines(), ["true", "ls"]);
}

#[test]
fn a_prompt_that_came_after_the_first_keys_is_no_part_of_the_line() {
    let mut session = Session::new();
    session.shows("\x1b[?2004h").types("ls").shows("ada@node:~$ ls").types("\r").shows("\r\n\x1b[?2004l\r");
    assert_eq!(session.lines(), ["ls"]);
}

#[test]
fn without_an_editor_the_line_is_what_was_echoed_and_not_erased() {
    let mut session = Session::new();
    session.shows("$ ").types("x").shows("x").types("\x7f").shows("\x08 \x08");
    let long = "echo ".to_owned() + &"a".repeat(75);
    session.types(&long).shows(&long);
    for _ in 0..4 {
        session.types("\x7f").shows("\x08 \x08");
    }
    session.types("\r").shows("\r\n");
    assert_eq!(session.lines(), ["echo ".to_owned() + &"a".repeat(71)]);
}

/// tmux with a border in the middle, and the cursor in its right half.
const PANES: &str =
    "\x1b[?1049h\x1b[H\x1b[2J\x1b[1;40H│\x1b[2;40H│\x1b[3;40H│\x1b[4;40H│\x1b[5;40H│\x1b[1;1Hother things\x1b[2;41H";

#[test]
fn in_a_part_of_a_multiplexer_s_screen_lines_are_told_and_the_other_part_is_no_part_of_them() {
    let mut session = Session::new();
    session.prompt().runs("tmux").shows(PANES).shows("ada@node:~$ \x1b[?2004h");
    session.types("l").shows("l").types("s").shows("s").types("\r").shows("\x1b[?2004l\x1b[3;41Hfiles\x1b[4;41H");
    session.shows("\x1b[?1049l");
    assert_eq!(session.lines(), ["tmux", "ls"]);
}

#[test]
fn what_an_editor_shows_on_the_alternate_screen_is_no_line_although_it_looks_like_one() {
    let mut session = Session::new();
    session.prompt().runs("vim log").shows("\x1b[?1049h\x1b[?2004h\x1b[H\x1b[2Jada@node:~$ reboot\r\n~\x1b[1;1H");
    session.types(":").shows("\x1b[24;1H:").types("q").shows("q").types("\r").shows("\r\x1b[?2004l\x1b[?1049l");
    assert_eq!(session.lines(), ["vim log"]);
}

#[test]
fn what_came_in_the_middle_of_a_line_is_left_out() {
    let mut session = Session::new();
    session.prompt().types("echo ").shows("echo ");
    session.now += Duration::from_millis(700);
    session.shows("[1]+  Done   sleep\r\n").types("on").shows("on").types("\r").shows("\r\n\x1b[?2004l\r");
    assert_eq!(session.lines(), ["echo on"]);
}

#[test]
fn a_marked_continuation_is_part_of_its_command_and_a_redrawn_prompt_is_no_other_line() {
    let mut session = Session::with(Some(NONCE));
    let prompt = format!("\x1b]133;A;nonce={NONCE}\x07$ \x1b]133;B;nonce={NONCE}\x07");
    let more = format!("\x1b]133;A;k=s;nonce={NONCE}\x07> \x1b]133;B;k=s;nonce={NONCE}\x07");
    session.shows("\x1b[?2004h").shows(&prompt).runs("for i in 1").shows("\x1b[?2004h").shows(&more).runs("do ls");
    session.shows("\x1b[?2004h").shows(&more).types("don").shows("don").shows("\r\x1b[K").shows(&more).shows("don");
    session
        .types("e")
        .shows("e")
        .types("\r")
        .shows("\r\n\x1b[?2004l\r")
        .shows(&format!("\x1b]133;D;0;nonce={NONCE}\x07"));
    let told = session.told();
    assert_eq!(told[0].line, "for i in 1\ndo ls\ndone");
    assert_eq!((told.len(), told[0].how, told[0].exit), (1, How::Marks, Some(0)));
}

#[test]
fn a_shell_waits_where_its_prompt_stands_and_nothing_was_entered() {
    let mut session = Session::new();
    assert!(!session.watch.waits());
    session.prompt();
    assert!(session.watch.waits());
    session.types("sleep 9").shows("sleep 9").types("\r");
    assert!(!session.watch.waits());
    session.shows("\r\n\x1b[?2004l\r");
    assert!(!session.watch.waits());
    session.prompt();
    assert!(session.watch.waits());
}
