//! What full-screen programs leave on a terminal: the same through Portcullis as over a local sshd, by tmux's account of
//! screen, cursor and modes. At three sizes, across a resize, and for both ways that carry a shell.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::harness::{Demo, PATIENCE, run, until, wait};

/// A local sshd on a free port, with keys of its own.
struct Sshd {
    child: Child,
    dir: tempfile::TempDir,
}

impl Sshd {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for key in ["host", "user"] {
            run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(at(key)), b"", PATIENCE)
                .ok();
        }
        std::fs::copy(at("user.pub"), at("authorized")).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let _ = std::fs::create_dir("/run/sshd");
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized\nStrictModes no\n\
             UsePAM no\nPidFile none\nPermitRootLogin prohibit-password\nPrintMotd no\nPrintLastLog no\n",
            dir.path().display()
        );
        std::fs::write(at("sshd_config"), config).unwrap();
        let client = format!(
            "Host local\n HostName 127.0.0.1\n Port {port}\n IdentityFile {0}/user\n IdentitiesOnly yes\n IdentityAgent \
             none\n UserKnownHostsFile {0}/known\n StrictHostKeyChecking accept-new\n LogLevel ERROR\n",
            dir.path().display()
        );
        std::fs::write(at("ssh_config"), client).unwrap();
        let mut sshd = Command::new("/usr/sbin/sshd");
        sshd.arg("-D")
            .arg("-f")
            .arg(at("sshd_config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = sshd.spawn().expect("openssh-server is installed by ./scripts/test.sh");
        until("the local sshd listens", PATIENCE, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { child, dir }
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("ssh_config")
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = wait(&mut self.child, PATIENCE);
    }
}

/// A terminal emulator: one tmux window on a server of its own.
struct Tmux {
    socket: PathBuf,
    _dir: tempfile::TempDir,
}

impl Tmux {
    fn start(ssh_config: &Path, host: &str, (cols, rows): (u16, u16)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tmux = Self { socket: dir.path().join("tmux"), _dir: dir };
        let (cols, rows) = (cols.to_string(), rows.to_string());
        let ssh = format!("ssh -F '{}' {host}", ssh_config.display());
        tmux.ask(&["-f", "/dev/null", "new-session", "-d", "-x", &cols, "-y", &rows, &ssh]);
        tmux.ask(&["set", "-g", "status", "off"]);
        tmux.ask(&["resize-window", "-x", &cols, "-y", &rows]);
        tmux
    }

    fn ask(&self, args: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(&self.socket).args(args).env_remove("TMUX").env("LC_ALL", "C.UTF-8");
        run(&mut command, b"", PATIENCE).ok().out()
    }

    fn keys(&self, keys: &[&str]) {
        self.ask(&[&["send-keys"], keys].concat());
    }

    /// Ends a program; what is typed while it ends would be the program's, or echoed before its prompt.
    fn quit(&self, keys: &[&str]) {
        self.keys(keys);
        std::thread::sleep(Duration::from_secs(1));
        self.state();
    }

    /// A line typed at the prompt.
    fn line(&self, text: &str) {
        self.ask(&["send-keys", "-l", text]);
        self.keys(&["Enter"]);
    }

    fn screen(&self) -> String {
        self.ask(&["capture-pane", "-p", "-e"])
    }

    #[track_caller]
    fn shows(&self, needle: &str) {
        let plain = || self.ask(&["capture-pane", "-p"]);
        let found = std::panic::catch_unwind(|| until(needle, PATIENCE, || plain().contains(needle)));
        assert!(found.is_ok(), "never {needle:?} on the screen:\n{}", self.screen());
    }

    /// Screen, cursor and modes once they have come to rest.
    fn state(&self) -> String {
        let modes = "cursor #{cursor_x},#{cursor_y} shown #{cursor_flag} alternate #{alternate_on} insert #{insert_flag} \
                     keypad #{keypad_flag} #{keypad_cursor_flag} mouse #{mouse_any_flag} region #{scroll_region_upper}-\
                     #{scroll_region_lower} wrap #{wrap_flag} origin #{origin_flag}";
        let mut last = String::new();
        for _ in 0..100 {
            let now = format!("{}\n{}", self.screen(), self.ask(&["display-message", "-p", modes]));
            if now == last {
                break;
            }
            last = now;
            std::thread::sleep(Duration::from_millis(300));
        }
        last
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = Command::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").stderr(Stdio::null()).status();
    }
}

/// The same shell with the same prompt in the same place, whatever the login made of it.
fn plain_shell(tmux: &Tmux, place: &Path) {
    tmux.line(&format!(
        "cd {} && exec env -i HOME=/ LANG=C.UTF-8 TERM=screen-256color PATH=\"$PATH\" PS1='$ ' sh",
        place.display()
    ));
    tmux.line("clear; echo rea''dy");
    tmux.shows("ready");
}

/// One program, driven the same way on both; what it leaves is compared at each step.
type Script = fn(&Tmux, &mut Vec<String>);

fn compare(script: Script) {
    let helper = Demo::shared(&["--faithful"]);
    let agents = Demo::shared(&["--faithful", "--shell", "agent"]);
    let sshd = Sshd::start();
    let of = |demo: &Demo| (demo.dir().join("ssh_config"), "demo");
    let ways = [("sshd", (sshd.config(), "local")), ("helper's terminal", of(&helper)), ("agent's shell", of(&agents))];
    let place = tempfile::tempdir().unwrap();
    let text: String = (1..=200).map(|line| format!("line {line} of the text é ü 漢字 \t tab\n")).collect();
    std::fs::write(place.path().join("text"), text).unwrap();
    for size in [(80, 24), (132, 50), (40, 12)] {
        let mut local: Option<Vec<String>> = None;
        for (way, (config, host)) in &ways {
            let tmux = Tmux::start(config, host, size);
            plain_shell(&tmux, place.path());
            let mut seen = Vec::new();
            script(&tmux, &mut seen);
            let local = local.get_or_insert_with(|| seen.clone());
            assert_eq!(local.len(), seen.len());
            for (step, (local, seen)) in local.iter().zip(&seen).enumerate() {
                assert!(
                    local == seen,
                    "{way}, {size:?}, step {step}: over sshd:\n{local}\nthrough Portcullis:\n{seen}"
                );
            }
        }
    }
}

fn resized(tmux: &Tmux) {
    tmux.ask(&["resize-window", "-x", "100", "-y", "30"]);
    std::thread::sleep(Duration::from_secs(1));
}

#[test]
fn vim_leaves_the_same_screen() {
    compare(|tmux, seen| {
        tmux.line("vim -u NONE -i NONE -n text");
        tmux.shows("line 1 of");
        tmux.keys(&["G", "o", "added", "Escape", "g", "g", "x"]);
        seen.push(tmux.state());
        resized(tmux);
        seen.push(tmux.state());
        tmux.quit(&[":q!", "Enter"]);
        tmux.line("echo af''ter");
        tmux.shows("after");
        seen.push(tmux.state());
    });
}

#[test]
fn less_leaves_the_same_screen() {
    compare(|tmux, seen| {
        tmux.line("less text");
        tmux.shows("line 1 of");
        tmux.keys(&["/line 100", "Enter"]);
        tmux.shows("line 100 of");
        seen.push(tmux.state());
        resized(tmux);
        seen.push(tmux.state());
        tmux.quit(&["q"]);
        tmux.line("echo af''ter");
        tmux.shows("after");
        seen.push(tmux.state());
    });
}

#[test]
fn top_leaves_the_same_modes() {
    compare(|tmux, seen| {
        tmux.line("top -d 60");
        tmux.shows("PID");
        resized(tmux);
        tmux.quit(&["q"]);
        // its figures differ from second to second; what it leaves behind may not
        tmux.line("clear; echo af''ter");
        tmux.shows("after");
        seen.push(tmux.state());
    });
}

#[test]
fn tmux_in_it_leaves_the_same_screen() {
    compare(|tmux, seen| {
        tmux.line("tmux -S \"$PWD/inner$$\" -f /dev/null new-session 'PS1=: exec sh'");
        std::thread::sleep(Duration::from_secs(1));
        tmux.line("tmux set -g status off; clear; seq 3; echo in''side");
        tmux.shows("inside");
        seen.push(tmux.state());
        resized(tmux);
        seen.push(tmux.state());
        tmux.line("exit");
        tmux.shows("[exited]");
        tmux.line("clear; echo af''ter");
        tmux.shows("after");
        seen.push(tmux.state());
    });
}
