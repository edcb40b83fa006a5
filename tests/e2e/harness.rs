//! Starting the real binary and driving OpenSSH's programs at it.
//!
//! Nothing here outlives a test: a [`Demo`] ends with its last user, and one whose test process was killed ends because
//! its standard input closes.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, Weak, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// The binary under test.
pub const PORTCULLIS: &str = env!("CARGO_BIN_EXE_portcullis");

/// How long anything may take that has no deadline of its own. Generous: two busy cores, a debug build.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How long what is told to end may live on, twice over: it is told at once, and nothing waits for it to end by itself.
pub const SOON: Duration = Duration::from_secs(4);

/// A program that ended, and what it said.
pub struct Run {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub took: Duration,
}

impl Run {
    /// The exit code; a death by signal is none.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
    /// Fails the test unless the program ended with 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code(), Some(0), "{self}");
        self
    }
    /// Fails the test unless the program ended with this code.
    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code(), Some(code), "{self}");
        self
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let out = &self.stdout[..self.stdout.len().min(4000)];
        writeln!(f, "{} after {:?}", self.status, self.took)?;
        writeln!(f, "stdout ({} bytes): {}", self.stdout.len(), String::from_utf8_lossy(out))?;
        write!(f, "stderr: {}", self.err())
    }
}

/// Runs a program with these bytes on standard input, to its end or to the deadline (then it is killed and the test
/// fails).
#[track_caller]
pub fn run(command: &mut Command, stdin: &[u8], deadline: Duration) -> Run {
    let began = Instant::now();
    let shown = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{shown} can't be started ({error}); ./scripts/test.sh installs it"));
    let mut input = child.stdin.take().unwrap();
    let bytes = stdin.to_vec();
    // a program that stops reading early is part of some tests: a broken pipe is no failure
    thread::spawn(move || drop(input.write_all(&bytes)));
    let stdout = collect(child.stdout.take().unwrap());
    let stderr = collect(child.stderr.take().unwrap());
    let status = wait(&mut child, deadline);
    let killed = status.is_none();
    let status = status.unwrap_or_else(|| {
        let _ = child.kill();
        child.wait().unwrap()
    });
    // whoever inherited the pipes may hold them; what has come by now is what there is
    let grace = Duration::from_secs(5);
    let stdout = stdout.recv_timeout(grace).unwrap_or_default();
    let stderr = stderr.recv_timeout(grace).unwrap_or_default();
    let run = Run { status, stdout, stderr, took: began.elapsed() };
    assert!(!killed, "{shown} did not end within {deadline:?}: {run}");
    run
}

fn collect(mut from: impl std::io::Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (done, result) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        let _ = done.send(bytes);
    });
    result
}

/// Waits for a child to end; none when the deadline came first.
pub fn wait(child: &mut Child, deadline: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until something is true; fails the test when it does not become so.
#[track_caller]
pub fn until(what: &str, deadline: Duration, mut check: impl FnMut() -> bool) {
    let end = Instant::now() + deadline;
    while !check() {
        assert!(Instant::now() < end, "not within {deadline:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A program with the default dispositions of signals, whatever these tests were started with: a script that starts them in
/// the background ignores SIGINT, and what is ignored is inherited.
pub fn program(name: &str) -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal", name]);
    command
}

/// Runs the binary itself.
#[track_caller]
pub fn portcullis(args: &[&str]) -> Run {
    run(program(PORTCULLIS).args(args).env_remove("PORTCULLIS_CONFIG"), b"", PATIENCE)
}

/// Whether another program is the node of every demo: AWS's own agent, by scripts/matrix.sh.
pub fn foreign_node() -> bool {
    std::env::var_os(NODE_COMMAND).is_some()
}

const NODE_COMMAND: &str = "PORTCULLIS_E2E_NODE_COMMAND";

/// A demo that is running.
pub struct Demo {
    child: Mutex<Child>,
    /// What it printed up to and with its `ready` line.
    pub page: String,
    log: Arc<Mutex<String>>,
    dir: PathBuf,
    // removed last, after the child has ended
    _temporary: Option<tempfile::TempDir>,
}

/// Shared demos by their arguments, for as long as a test holds one.
static SHARED: Mutex<Vec<(Vec<String>, Weak<Demo>)>> = Mutex::new(Vec::new());

impl Demo {
    /// A demo that other tests may be using as well. Don't break it.
    pub fn shared(args: &[&str]) -> Arc<Self> {
        let wanted: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        shared.retain(|(_, demo)| demo.strong_count() > 0);
        if let Some(demo) = shared.iter().find(|(args, _)| *args == wanted).and_then(|(_, demo)| demo.upgrade()) {
            return demo;
        }
        let demo = Arc::new(Self::start(args));
        shared.push((wanted, Arc::downgrade(&demo)));
        demo
    }

    /// A demo of its own, in a directory of its own.
    #[track_caller]
    pub fn start(args: &[&str]) -> Self {
        let temporary = tempfile::Builder::new().prefix("portcullis e2e ").tempdir().unwrap();
        let dir = temporary.path().join("demo");
        let mut demo = Self::start_in(&dir, args);
        demo._temporary = Some(temporary);
        demo
    }

    /// The same, started by somebody who ignores these signals.
    #[track_caller]
    pub fn start_ignoring(signals: &str, args: &[&str]) -> Self {
        let mut command = Command::new("env");
        command.args([&format!("--ignore-signal={signals}"), PORTCULLIS]);
        Self::start_own(command, args)
    }

    /// The same, where the shells of whoever runs the tests have no start-up files: those may say something, and take what they like.
    #[track_caller]
    pub fn start_without_start_up_files(args: &[&str]) -> Self {
        let names = [".bashrc", ".bash_profile", ".bash_login", ".profile", ".zshenv"];
        let files = names.map(|name| format!("\"$HOME/{name}\"")).join(" ");
        let hide = format!(
            "for file in {files}; do [ ! -e \"$file\" ] || mount --bind /dev/null \"$file\" || exit; done; exec \"$@\""
        );
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-current-user", "--keep-caps"]);
        }
        command.args(["--mount", "sh", "-c", &hide, "sh", PORTCULLIS]);
        Self::start_own(command, args)
    }

    #[track_caller]
    fn start_own(command: Command, args: &[&str]) -> Self {
        let temporary = tempfile::Builder::new().prefix("portcullis e2e ").tempdir().unwrap();
        let mut demo = Self::start_by(command, &temporary.path().join("demo"), args);
        demo._temporary = Some(temporary);
        demo
    }

    /// A demo in a directory that the test owns.
    #[track_caller]
    pub fn start_in(dir: &Path, args: &[&str]) -> Self {
        Self::start_by(program(PORTCULLIS), dir, args)
    }

    #[track_caller]
    fn start_by(mut command: Command, dir: &Path, args: &[&str]) -> Self {
        // another program keeps its own pace
        let filtered = args.iter().filter(|arg| !foreign_node() || **arg != "--faithful");
        command
            .arg("demo")
            .arg("--dir")
            .arg(dir)
            .args(["--listen", "127.0.0.1:0", "--until-stdin-closes"])
            .args(filtered);
        command.env("PORTCULLIS_LOG", "info,portcullis=debug");
        if let Ok(node) = std::env::var(NODE_COMMAND) {
            command.arg("--node-command").arg(node);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let errors = BufReader::new(child.stderr.take().unwrap());
        let into = Arc::clone(&log);
        thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                let mut log = into.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let (say, lines) = mpsc::channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if say.send(line).is_err() {
                    break;
                }
            }
        });
        let mut page = String::new();
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match lines.recv_timeout(left) {
                Ok(line) => {
                    page.push_str(&line);
                    page.push('\n');
                    if line.starts_with("ready") {
                        break;
                    }
                }
                Err(_) => {
                    let _ = child.kill();
                    let status = child.wait().unwrap();
                    panic!("the demo is not ready ({status}):\n{page}\n{}", log.lock().unwrap());
                }
            }
        }
        Self { child: Mutex::new(child), page, log, dir: dir.to_owned(), _temporary: None }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn pid(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// The port of its gateway.
    pub fn port(&self) -> u16 {
        let config = std::fs::read_to_string(self.dir.join("ssh_config")).unwrap();
        let port = config.split_whitespace().skip_while(|word| *word != "Port").nth(1).unwrap();
        port.parse().unwrap()
    }

    /// One of OpenSSH's programs with the demo's configuration; arguments are added by the caller.
    pub fn command(&self, program: &str) -> Command {
        let mut command = self::program(program);
        command.arg("-F").arg(self.dir.join("ssh_config"));
        command
    }

    /// `ssh -F DIR/ssh_config demo COMMAND` with these bytes on standard input.
    #[track_caller]
    pub fn ssh(&self, remote: &str, stdin: &[u8]) -> Run {
        let run = run(self.command("ssh").arg("demo").arg(remote), stdin, PATIENCE);
        self.note_trouble(&run);
        run
    }

    /// `sftp -b - -F DIR/ssh_config demo` with this batch.
    #[track_caller]
    pub fn sftp(&self, batch: &str) -> Run {
        let run = run(self.command("sftp").args(["-b", "-", "demo"]), batch.as_bytes(), PATIENCE);
        self.note_trouble(&run);
        run
    }

    /// `scp -F DIR/ssh_config ARGS`.
    #[track_caller]
    pub fn scp<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Run {
        let run = run(self.command("scp").args(args), b"", PATIENCE);
        self.note_trouble(&run);
        run
    }

    /// The gateway's log beside a failure that the client can't explain (255 is ssh's own trouble).
    fn note_trouble(&self, run: &Run) {
        if run.code() == Some(255) {
            let log = self.log();
            let tail = log.char_indices().rev().nth(4000).map_or(0, |(at, _)| at);
            eprintln!("ssh's own trouble: {}\nthe demo's log ends:\n{}", run.err(), &log[tail..]);
        }
    }

    /// Kills it, as a crash would.
    pub fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sends a signal to the demo, by its number, and waits for its end.
    #[track_caller]
    pub fn end(&self, signal: rustix::process::Signal) -> ExitStatus {
        let mut child = self.child.lock().unwrap();
        let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
        wait(&mut child, PATIENCE).unwrap_or_else(|| panic!("the demo does not end:\n{}", self.log.lock().unwrap()))
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        // closing its input asks it to end in order; what does not listen is killed
        drop(child.stdin.take());
        if wait(child, Duration::from_secs(15)).is_none() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking() {
            eprintln!("the demo's log:\n{}", self.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        }
    }
}

/// A fixed stream of bytes that no compression shortens and every byte value is in.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The processes whose command line has this in it, as `(pid, command line)`.
pub fn processes(needle: &str) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(needle) {
            found.push((pid, line));
        }
    }
    found
}

/// Resident memory of a process in KiB.
pub fn resident_kib(pid: u32) -> u64 {
    status_kib(pid, "VmRSS:")
}

/// The most that was resident since [`forget_peak`], in KiB.
pub fn peak_kib(pid: u32) -> u64 {
    status_kib(pid, "VmHWM:")
}

/// Lets the peak of a process begin anew at what is resident now.
pub fn forget_peak(pid: u32) {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
}

fn status_kib(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A reader that can be told to stand still: what a stalled client is.
pub struct Slow {
    pub child: Child,
}

impl Slow {
    /// Starts a program whose output nobody reads until [`Slow::rest`].
    pub fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Self { child }
    }

    /// Reads all output and gives what `take` makes of it, chunk by chunk.
    pub fn rest(&mut self, mut take: impl FnMut(&[u8])) -> ExitStatus {
        let mut out = self.child.stdout.take().unwrap();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match out.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(count) => take(&buffer[..count]),
            }
        }
        wait(&mut self.child, PATIENCE).expect("the program ends after its output")
    }
}
