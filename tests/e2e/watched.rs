//! Shells that are watched: marks that the session sets, and a guard-rail that holds lines, with the node's own bash.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::emulator::Emulator;
use crate::harness::{PATIENCE, PORTCULLIS, program, run, until};
use crate::serve::Ended;
use crate::terminal::Terminal;

/// A gateway before one node, with policies and a configuration of its own.
struct Watched {
    port: u16,
    _node: Emulator,
    _serving: Ended,
    dir: tempfile::TempDir,
}

impl Watched {
    fn start(policies: &str, evidence: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let node = Emulator::start("web-1", |name| at(name).display().to_string(), &["--fast"]);
        for key in ["host", "user"] {
            run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(at(key)), b"", PATIENCE)
                .ok();
        }
        std::fs::create_dir(at("evidence")).unwrap();
        std::fs::create_dir(at("policies")).unwrap();
        std::fs::write(at("policies/access.cedar"), policies).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let key = std::fs::read_to_string(at("user.pub")).unwrap();
        let url = &node.url;
        let config = format!(
            "[gateway]\nlisten = [\"127.0.0.1:{port}\"]\nhost_keys = [\"host\"]\n\
             [[people]]\nname = \"ada\"\nkeys = [\"{}\"]\n[evidence]\ndirectory = \"evidence\"\n{evidence}\n\
             [[realms]]\nname = \"main\"\nregion = \"us-east-1\"\nidentity = \"gateway\"\nca_bundle = \"ca.pem\"\n\
             [realms.endpoints]\nssm = \"{url}\"\nsts = \"{url}\"\ntagging = \"{url}\"\n",
            key.trim(),
        );
        std::fs::write(at("gateway.toml"), config).unwrap();
        let mut command = program(PORTCULLIS);
        command.arg("serve").arg("--config").arg(at("gateway.toml"));
        command.env("AWS_SHARED_CREDENTIALS_FILE", at("keys")).env("AWS_CONFIG_FILE", "/dev/null");
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        let log = std::fs::File::create(at("log")).unwrap();
        let serving = Ended(command.stdin(Stdio::null()).stderr(log).spawn().unwrap());
        until("the gateway listens", PATIENCE, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { port, _node: node, _serving: serving, dir }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn client(&self) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none"]);
        ssh.args(["-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR"]);
        ssh.arg("-o").arg(format!("UserKnownHostsFile={}", self.at("known").display()));
        ssh.arg("-i").arg(self.at("user")).args(["-p", &self.port.to_string(), "web-1@127.0.0.1"]);
        ssh
    }

    /// A shell whose first prompt is there.
    fn shell(&self) -> Terminal {
        let mut terminal = Terminal::start(&self.client(), 80, 24);
        // bash turns bracketed paste on when it reads a line
        terminal.expect("\x1b[?2004h");
        std::thread::sleep(Duration::from_millis(500));
        terminal
    }

    /// The one sealed folder.
    fn folder(&self) -> PathBuf {
        let sessions = self.at("evidence/sessions");
        let find = || -> Option<PathBuf> {
            let day = std::fs::read_dir(&sessions).ok()?.flatten().next()?;
            Some(std::fs::read_dir(day.path()).ok()?.flatten().next()?.path())
        };
        let sealed = |folder: &Path| {
            std::fs::read_to_string(folder.join("checkpoints"))
                .is_ok_and(|text| text.lines().any(|line| line == "final"))
        };
        until("the session's folder is sealed", PATIENCE, || find().is_some_and(|folder| sealed(&folder)));
        find().unwrap()
    }

    fn commands(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder().join("commands.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

const EVERYTHING: &str =
    "@id(\"ada\") permit (principal == Person::\"ada\", action in Action::\"Sessions\", resource);\n";

#[test]
fn commands_of_a_shell_that_marks_them_have_their_status_and_nobody_sees_a_mark() {
    let watched = Watched::start(EVERYTHING, "shell_marks = true");
    let mut terminal = watched.shell();
    terminal.send("echo FIRST''ONE; (exit 5)\r");
    terminal.expect("FIRSTONE\r\n");
    std::thread::sleep(Duration::from_millis(500));
    // what is started from the shell has neither the variables nor the nonce
    terminal.send("env | grep -c 'PS0=\\|nonce=' | sed s/^/LEFT''OVER/\r");
    terminal.expect("LEFTOVER0\r\n");
    std::thread::sleep(Duration::from_millis(500));
    terminal.send("exit\r");
    terminal.end();
    let commands = watched.commands();
    let first = commands.iter().find(|command| command["command"] == "echo FIRST''ONE; (exit 5)");
    let first = first.unwrap_or_else(|| panic!("{commands:?}"));
    assert_eq!((&first["how"], &first["exit"]), (&"marks".into(), &5.into()), "{first}");
    let shown = terminal.all();
    assert!(!shown.contains("]133;"), "{shown:?}");
    let cast = std::fs::read_to_string(watched.folder().join("terminal.cast")).unwrap();
    assert!(cast.contains("FIRSTONE") && !cast.contains("]133;"), "{cast}");
}

#[test]
fn without_them_nothing_is_set_and_the_screen_is_read() {
    let watched = Watched::start(EVERYTHING, "");
    let mut terminal = watched.shell();
    terminal.send("echo \"PS0''=${PS0-none}\"\r");
    terminal.expect("=none\r\n");
    std::thread::sleep(Duration::from_millis(300));
    terminal.send("exit\r");
    terminal.end();
    let commands = watched.commands();
    assert!(commands.iter().all(|command| command["how"] == "screen"), "{commands:?}");
    assert!(commands.iter().any(|command| command["command"] == "exit"), "{commands:?}");
}

/// A shell with a guard-rail, in which nothing is removed.
const GUARDED: &str = "
@id(\"shells\") @guard(\"commands\")
permit (principal == Person::\"ada\", action == Action::\"Shell\", resource);

@id(\"commands\")
permit (principal == Person::\"ada\", action in Action::\"Commands\", resource);

@id(\"nothing-is-removed\") @message(\"nothing is removed here\")
forbid (principal, action == Action::\"Command\", resource) when { context has name && context.name == \"rm\" };
";

#[test]
fn a_line_that_policy_refuses_is_held_at_enter_and_so_is_what_is_pasted_behind_it() {
    let watched = Watched::start(GUARDED, "");
    let work = watched.at("work");
    std::fs::create_dir(&work).unwrap();
    std::fs::write(work.join("keep"), "kept").unwrap();
    let mut terminal = watched.shell();
    terminal.send(format!("cd {}\r", work.display()));
    terminal.send("touch one; echo HAVE''ONE\r");
    terminal.expect("HAVEONE\r\n");
    std::thread::sleep(Duration::from_millis(500));
    terminal.send("rm keep");
    std::thread::sleep(Duration::from_millis(300));
    terminal.send("\r");
    terminal.expect("nothing is removed here");
    // the prompt is free again
    std::thread::sleep(Duration::from_millis(500));
    terminal.send("touch two; echo HAVE''TWO\r");
    terminal.expect("HAVETWO\r\n");
    std::thread::sleep(Duration::from_millis(500));
    // at once: each line waits for the one before, and what is behind one that is held goes with it
    terminal.send("touch three\rrm -f keep\rtouch four\r");
    terminal.expect("nothing is removed here");
    std::thread::sleep(Duration::from_millis(500));
    terminal.send("echo LAST''LINE; exit\r");
    terminal.expect("LASTLINE\r\n");
    terminal.end();
    let there = |name: &str| work.join(name).exists();
    assert!(there("keep") && there("one") && there("two") && there("three"), "{}", terminal.all());
    assert!(!there("four"), "{}", terminal.all());
    let commands = watched.commands();
    let refused: Vec<&Value> = commands.iter().filter(|command| command["verdict"] == "refused").collect();
    let lines: Vec<&Value> = refused.iter().map(|command| &command["command"]).collect();
    assert_eq!(lines, ["rm keep", "rm -f keep"], "{commands:?}");
    assert!(refused.iter().all(|command| command["policy"] == "nothing-is-removed"), "{commands:?}");
}

#[test]
fn a_way_out_of_the_channel_is_flagged_and_refused_where_policy_says_so() {
    let policies = format!(
        "{EVERYTHING}@id(\"no-mosh\") @message(\"sessions stay here\")\nforbid (principal, action == Action::\"Command\", \
         resource) when {{ context has name && context.name == \"mosh-server\" }};\n"
    );
    let watched = Watched::start(&policies, "");
    let refused = run(watched.client().arg("mosh-server new -c 256 -s"), b"", PATIENCE);
    assert!(refused.code() != Some(0) && refused.err().contains("sessions stay here"), "{refused}");
    // under a name that the policy does not have it runs, and is flagged all the same
    run(watched.client().arg("/nowhere/mosh-server new || true"), b"", PATIENCE);
    let commands = watched.commands();
    assert_eq!(commands.len(), 1, "{commands:?}");
    assert_eq!(commands[0]["way_out"], "mosh", "{commands:?}");
}
