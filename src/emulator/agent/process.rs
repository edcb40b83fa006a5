//! Starting a session's program and owning it: one direct child per session, reaped and signalled in one place.
//!
//! ```text
//!   pty     new session, controlling terminal, group leader          Standard_Stream, InteractiveCommands
//!   pipes   in the group of the session's worker, no new session     NonInteractiveCommands
//! ```
//!
//! The real agent has a worker process per session, and a command started without a terminal is in *its* process group:
//! `kill 0` ends the worker and not the agent, and `setsid` need not fork because the command leads no group. Here a
//! `cat` that waits for the end of its input stands in for that worker.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

use pty_process::{Pts, Pty};
use rustix::process::Signal;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, watch};

use super::config::AgentConfig;
use super::user::{Account, Switch};

/// What to run and as whom.
#[derive(Debug)]
pub(super) struct Launch<'a> {
    pub(super) config: &'a AgentConfig,
    pub(super) account: &'a Account,
    pub(super) words: Vec<OsString>,
}

/// The direct child of a session. Dropping the last of these kills the child, and only the child.
#[derive(Debug, Clone)]
pub(super) struct Process {
    orders: mpsc::Sender<Signal>,
    exit: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    fn supervise(mut child: Child) -> Self {
        let (orders, mut inbox) = mpsc::channel::<Signal>(4);
        let (report, exit) = watch::channel(None);
        tokio::spawn(async move {
            let status = loop {
                tokio::select! {
                    status = child.wait() => break status,
                    order = inbox.recv() => {
                        // not reaped yet, so the number is still the child's
                        let pid = child.id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()));
                        if let Some(pid) = pid {
                            let _ = rustix::process::kill_process(pid, order.unwrap_or(Signal::KILL));
                        }
                        if order.is_none() {
                            break child.wait().await;
                        }
                    }
                }
            };
            let _ = report.send(Some(status.unwrap_or_else(|_| ExitStatus::from_raw(1 << 8))));
        });
        Self { orders, exit }
    }

    /// SIGKILL to the child; what it started lives on.
    pub(super) async fn kill(&self) {
        self.signal(Signal::KILL).await;
    }

    pub(super) async fn signal(&self, signal: Signal) {
        let _ = self.orders.send(signal).await;
    }

    /// Its exit code as the agent reports it: −1 for a death by signal.
    pub(super) async fn wait(&self) -> i32 {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(status) => status.and_then(|status| status.code()).unwrap_or(-1),
            Err(_) => -1,
        }
    }
}

/// The stand-in for a session's worker process.
#[derive(Debug)]
pub(super) struct WorkerGroup {
    id: i32,
    _stand_in: Child,
    _waits_on: Option<ChildStdin>,
}

impl WorkerGroup {
    pub(super) fn start() -> std::io::Result<Self> {
        let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stand_in = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let id = stand_in.id().map_or(0, u32::cast_signed);
        Ok(Self { id, _waits_on: stand_in.stdin.take(), _stand_in: stand_in })
    }
}

/// Where a command without a terminal writes to.
pub(super) enum Output {
    /// Two pipes.
    Separate,
    /// One file for both.
    File(std::fs::File),
}

impl Launch<'_> {
    /// Starts a command without a terminal; its stdin is `/dev/null`. The error is Go's text.
    pub(super) fn without_terminal(
        &self,
        group: &WorkerGroup,
        output: Output,
    ) -> Result<(Process, Option<(ChildStdout, ChildStderr)>), String> {
        let start = self.resolve()?;
        let mut command = Command::new(&start.program);
        command.args(&start.args).env_clear().envs(self.account.environment(self.config));
        command.arg0(&start.name).stdin(Stdio::null()).process_group(group.id).kill_on_drop(true);
        if let Some(directory) = &self.config.cwd {
            command.current_dir(directory);
        }
        if let Some(switch) = start.switch {
            command.uid(switch.uid).gid(switch.gid);
        }
        let separate = match output {
            Output::Separate => {
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
                true
            }
            Output::File(file) => {
                let copy = file.try_clone().map_err(|error| error.to_string())?;
                command.stdout(file).stderr(copy);
                false
            }
        };
        let starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut child = command.spawn().map_err(|error| self.go_error(&error))?;
        drop(starting);
        let pipes = child.stdout.take().zip(child.stderr.take());
        debug_assert_eq!(pipes.is_some(), separate);
        Ok((Process::supervise(child), pipes))
    }

    /// Starts a program on a terminal of its own, 0×0 at first.
    pub(super) fn on_terminal(&self) -> Result<(Process, Pty), String> {
        let start = self.resolve()?;
        let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        let (pty, pts): (Pty, Pts) = pty_process::open().map_err(|error| error.to_string())?;
        let mut command = pty_process::Command::new(&start.program)
            .args(&start.args)
            .env_clear()
            .envs(self.account.environment(self.config))
            .arg0(&start.name)
            .kill_on_drop(true);
        if let Some(directory) = &self.config.cwd {
            command = command.current_dir(directory);
        }
        if let Some(switch) = start.switch {
            command = command.uid(switch.uid).gid(switch.gid);
        }
        let child = command.spawn(pts).map_err(|error| match error {
            pty_process::Error::Io(error) => self.go_error(&error),
            other => other.to_string(),
        })?;
        Ok((Process::supervise(child), pty))
    }

    /// Finds the program as Go does, and the way to switch users.
    fn resolve(&self) -> Result<Start<'_>, String> {
        let path = self.search_path();
        let Some((name, args)) = self.words.split_first() else { return Err("no command".to_owned()) };
        let program = find(name, &path)
            .ok_or_else(|| format!("exec: {:?}: executable file not found in $PATH", name.to_string_lossy()))?;
        let Some(switch) = &self.account.switch else {
            return Ok(Start { program, name: name.clone(), args: args.to_vec(), switch: None });
        };
        // The standard library can't set supplementary groups; setpriv can, and execs in place.
        let Some(setpriv) = find(OsStr::new("setpriv"), &path) else {
            return Ok(Start { program, name: name.clone(), args: args.to_vec(), switch: Some(switch) });
        };
        let groups: Vec<String> = switch.groups.iter().map(u32::to_string).collect();
        let groups =
            if groups.is_empty() { "--clear-groups".to_owned() } else { format!("--groups={}", groups.join(",")) };
        let mut wrapped: Vec<OsString> =
            vec![format!("--reuid={}", switch.uid).into(), format!("--regid={}", switch.gid).into(), groups.into()];
        wrapped.push("--".into());
        wrapped.push(program.into());
        wrapped.extend_from_slice(args);
        Ok(Start { program: setpriv, name: "setpriv".into(), args: wrapped, switch: None })
    }

    fn search_path(&self) -> OsString {
        let set = self.config.env.iter().rfind(|(name, _)| name == "PATH").map(|(_, value)| value.clone());
        set.or_else(|| std::env::var_os("PATH")).unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into())
    }

    fn go_error(&self, error: &std::io::Error) -> String {
        let name = self.words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
        let text = error.to_string().to_lowercase();
        format!("fork/exec {name}: {}", text.split(" (os error").next().unwrap_or_default())
    }
}

struct Start<'a> {
    program: PathBuf,
    name: OsString,
    args: Vec<OsString>,
    switch: Option<&'a Switch>,
}

/// A name with a slash is a path, whether there is something or not; others are looked for.
fn find(name: &OsStr, path: &OsStr) -> Option<PathBuf> {
    if Path::new(name).components().count() > 1 || name.as_encoded_bytes().contains(&b'/') {
        return Some(PathBuf::from(name));
    }
    let executable = |candidate: &PathBuf| {
        candidate.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if name.is_empty() {
        return None;
    }
    std::env::split_paths(path).filter(|dir| dir.is_absolute()).map(|dir| dir.join(name)).find(executable)
}

/// A terminal's master is open for a moment before it is marked to be closed in children. One that starts then would
/// keep it, and the terminal would not hang up while that one lives. This is for the whole process because files are.
static STARTING: Mutex<()> = Mutex::new(());

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::super::config::tests::config;
    use super::*;

    async fn run(words: &[&str]) -> Result<(String, String, i32), String> {
        let config = config();
        let account = Account::choose(&config, None, false).await?;
        let launch = Launch { config: &config, account: &account, words: words.iter().map(OsString::from).collect() };
        let group = WorkerGroup::start().unwrap();
        let (process, pipes) = launch.without_terminal(&group, Output::Separate)?;
        let (mut out, mut err) = pipes.unwrap();
        let (mut stdout, mut stderr) = (String::new(), String::new());
        out.read_to_string(&mut stdout).await.unwrap();
        err.read_to_string(&mut stderr).await.unwrap();
        Ok((stdout, stderr, process.wait().await))
    }

    #[tokio::test]
    async fn streams_and_codes() {
        let told = run(&["sh", "-c", "cat; echo out; echo err >&2; exit 7"]).await.unwrap();
        assert_eq!(told, ("out\n".into(), "err\n".into(), 7));
        assert_eq!(run(&["sh", "-c", "kill -9 $$"]).await.unwrap().2, -1);
    }

    #[tokio::test]
    async fn errors_are_in_the_words_of_go() {
        let missing = run(&["no-such-program"]).await.unwrap_err();
        assert_eq!(missing, "exec: \"no-such-program\": executable file not found in $PATH");
        assert_eq!(run(&["/no/such"]).await.unwrap_err(), "fork/exec /no/such: no such file or directory");
        assert_eq!(run(&["/"]).await.unwrap_err(), "fork/exec /: permission denied");
    }

    #[tokio::test]
    async fn a_command_leads_no_group_and_its_group_is_not_ours() {
        let script = "set -- $(cat /proc/$$/stat); echo $$ $5";
        let (told, _, _) = run(&["sh", "-c", script]).await.unwrap();
        let (pid, group) = told.trim().split_once(' ').unwrap();
        assert_ne!(pid, group, "it must not lead its group");
        assert_ne!(group, rustix::process::getpgrp().as_raw_nonzero().to_string());
        // which is what this is for
        assert_eq!(run(&["sh", "-c", "kill -9 0; sleep 5"]).await.unwrap().2, -1);
    }

    #[tokio::test]
    async fn only_the_direct_child_is_killed() {
        let config = config();
        let account = Account::choose(&config, None, false).await.unwrap();
        let words = ["sh", "-c", "sleep 30 & echo $!; wait"].iter().map(OsString::from).collect();
        let group = WorkerGroup::start().unwrap();
        let launch = Launch { config: &config, account: &account, words };
        let (process, pipes) = launch.without_terminal(&group, Output::Separate).unwrap();
        let mut line = [0; 16];
        let got = pipes.unwrap().0.read(&mut line).await.unwrap();
        let sleeper: i32 = str::from_utf8(&line[..got]).unwrap().trim().parse().unwrap();
        drop(process.clone());
        process.kill().await;
        assert_eq!(process.wait().await, -1);
        let sleeper = rustix::process::Pid::from_raw(sleeper).unwrap();
        assert!(rustix::process::test_kill_process(sleeper).is_ok());
        rustix::process::kill_process(sleeper, Signal::KILL).unwrap();
    }

    #[tokio::test]
    async fn a_terminal_session_leads_its_group() {
        let config = config();
        let account = Account::choose(&config, None, false).await.unwrap();
        let words = ["sh", "-c", "set -- $(cat /proc/$$/stat); echo $(($1 == $5)) $(($1 == $6)) $(stty size)"];
        let launch = Launch { config: &config, account: &account, words: words.iter().map(OsString::from).collect() };
        let (process, mut pty) = launch.on_terminal().unwrap();
        let mut told = Vec::new();
        let _ = pty.read_to_end(&mut told).await;
        assert_eq!(String::from_utf8_lossy(&told), "1 1 0 0\r\n");
        assert_eq!(process.wait().await, 0);
    }
}
