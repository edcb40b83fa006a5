//! Shells on a terminal, by both ways: a pty that the helper makes on the node (either helper), and the agent's own session
//! (Standard_Stream), which knows no exit status.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::harness::{Demo, PATIENCE, noise, run};
use crate::terminal::Terminal;

macro_rules! by_each_way {
    ($($test:ident)*) => {
        mod helper_pty {
            $(#[test] fn $test() { super::$test(&super::Way::helper()); })*
        }
        mod sh_helper {
            $(#[test] fn $test() { super::$test(&super::Way::sh_helper()); })*
        }
        mod standard_stream {
            $(#[test] fn $test() { super::$test(&super::Way::standard_stream()); })*
        }
    };
}

by_each_way! {
    the_size_is_there_before_the_first_byte_and_follows
    control_characters_are_signals
    job_control_works
    the_exit_status_is_the_shells_where_it_can_be_known
    a_mebibyte_paste_arrives_intact
    the_terminals_name_arrives
}

/// One of the two ways, and what it can do.
struct Way {
    demo: Arc<Demo>,
    knows_status: bool,
}

impl Way {
    fn helper() -> Self {
        Self { demo: Demo::shared(&["--faithful"]), knows_status: true }
    }

    fn sh_helper() -> Self {
        Self { demo: Demo::shared(&["--faithful", "--helper", "sh"]), knows_status: true }
    }

    fn standard_stream() -> Self {
        Self { demo: Demo::shared(&["--faithful", "--shell", "agent"]), knows_status: false }
    }

    /// A shell whose prompt can be told from everything else.
    fn open(&self, cols: u16, rows: u16) -> Terminal {
        let mut terminal = Terminal::start(self.demo.command("ssh").args(["demo"]), cols, rows);
        // split in the source so that the echo of the line is not taken for its output
        terminal.send("stty -echo; PS1=; unset PROMPT_COMMAND; echo REA''DY\r");
        terminal.expect("READY\r\n");
        terminal
    }
}

fn the_size_is_there_before_the_first_byte_and_follows(way: &Way) {
    let mut terminal = way.open(97, 31);
    terminal.send("stty size\r");
    terminal.expect("31 97\r\n");
    terminal.resize(120, 40);
    terminal.send("sleep 0.5; stty size\r");
    terminal.expect("40 120\r\n");
}

fn control_characters_are_signals(way: &Way) {
    let mut terminal = way.open(80, 24);
    // longer than anybody waits: only the signal ends it. In a shell of its own: bash at a prompt has its jobs in groups
    // of their own, and is not sent the signal
    terminal.send("sh -c 'trap \"echo GOT\"\"INT\" INT; sleep 1000; echo AF\"\"TER'\r");
    std::thread::sleep(Duration::from_secs(1));
    terminal.send("\x03");
    terminal.expect("GOTINT\r\n");
    terminal.expect("AFTER");
    terminal.send("cat; echo EN''DED\r");
    std::thread::sleep(Duration::from_millis(500));
    terminal.send("line\r\x04");
    terminal.expect("ENDED");
}

fn job_control_works(way: &Way) {
    let mut terminal = way.open(80, 24);
    terminal.send("sleep 123\r");
    std::thread::sleep(Duration::from_secs(1));
    terminal.send("\x1a");
    terminal.expect("Stopped");
    terminal.send("kill %1; wait; echo GO''NE\r");
    terminal.expect("GONE");
}

fn the_exit_status_is_the_shells_where_it_can_be_known(way: &Way) {
    let mut terminal = way.open(80, 24);
    terminal.send("exit 3\r");
    let expected = if way.knows_status { 3 } else { 0 };
    assert_eq!(terminal.end().code(), Some(expected), "{}", terminal.all());
}

fn a_mebibyte_paste_arrives_intact(way: &Way) {
    let mut terminal = way.open(80, 24);
    // raw, as an editor has it: canonical mode would cut lines at 4095 bytes, over sshd too
    terminal.send("stty raw; head -c 1048576 | sha256sum; stty sane -echo\r");
    std::thread::sleep(Duration::from_secs(1));
    let paste: Vec<u8> = noise(1 << 20, 9).iter().map(|byte| b' ' + byte % 95).collect();
    let expected = {
        use sha2::Digest as _;
        let digest = sha2::Sha256::digest(&paste);
        digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    // `~.` after a line feed would be ssh's own: there is no line feed in it
    terminal.send(&paste);
    terminal.expect(&expected);
}

fn the_terminals_name_arrives(way: &Way) {
    let mut terminal = way.open(80, 24);
    terminal.send("echo \"<$TERM>\"\r");
    terminal.expect("<xterm-256color>");
}

#[test]
fn terminal_modes_are_the_clients() {
    let way = Way::helper();
    let mut command = Command::new("sh");
    // the local terminal's erase character and flow control travel in pty-req
    let config = way.demo.dir().join("ssh_config").display().to_string();
    command.args(["-c", "stty erase ^H -ixon; exec ssh -tt -F \"$0\" demo 'stty -a'", &config]);
    let mut terminal = Terminal::start(&command, 80, 24);
    terminal.end();
    let shown = terminal.all();
    assert!(shown.contains("erase = ^H") && shown.contains("-ixon"), "{shown}");
}

#[test]
fn a_command_on_a_terminal_has_one_and_its_status() {
    let way = Way::helper();
    let mut terminal =
        Terminal::start(way.demo.command("ssh").args(["-tt", "demo", "tty && stty size; exit 4"]), 91, 33);
    assert_eq!(terminal.end().code(), Some(4), "{}", terminal.all());
    assert!(terminal.all().contains("/dev/pts/") && terminal.all().contains("33 91"), "{}", terminal.all());
}

#[test]
fn a_shell_without_a_terminal_reads_its_commands_from_input() {
    let demo = Demo::shared(&["--faithful"]);
    let run = run(demo.command("ssh").args(["-T", "demo"]), b"echo one\necho two >&2\nexit 6\n", PATIENCE).ends(6);
    assert!(run.out().contains("one\n") && run.err().contains("two\n"), "{run}");
}
