//! One helper as real processes, started as the agent starts them, with a [`Link`] at the other end.
//!
//! ```text
//!   out lane: stdin /dev/null, stdout and stderr on pipes ─▶ reader threads ─┐
//!   in lane:  a terminal of its own             ─▶ reader thread ────────────┼─▶ Node (link, what was heard)
//!                                               ◀─ writer thread ◀───────────┘
//! ```

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::machine::{kill, processes, signal, tools};
use crate::config::Helper;
use crate::model::{Exit, WindowSize};
use crate::transport::channel::{Addresses, ChannelSetup, PtyRequest};
use crate::transport::environment::by_way;
use crate::transport::helper::link::{Event, InGone, LEASE, Link, LinkError};
use crate::transport::helper::output_window::OutputWindow;
use crate::transport::helper::program::{Program, boot};
use crate::transport::helper::record::{Hello, OUT_LOST};
use crate::transport::options::Options;
use crate::transport::parameter::{self, Carried};

/// Which helper, and for `sh` in which shell with which tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Python,
    Dash,
    Bash,
    /// Nothing but busybox, and script(1) where there is a terminal.
    Busybox,
}

/// Longer than anything takes that does not hang.
pub(super) const LIMIT: Duration = Duration::from_secs(60);
/// How long the out lane may take to say that all is well after the in lane has ended.
const LAST_WORD: Duration = Duration::from_secs(2);

/// What to start.
pub(super) enum Job {
    Shell,
    Command(Bytes),
    Files,
    Relay,
}

/// How to start.
pub(super) struct Setup {
    job: Job,
    channel: ChannelSetup,
    pub(super) user: Option<&'static str>,
    pub(super) lease: u32,
    /// Whether an in lane is opened when the link asks for it.
    pub(super) in_lane: bool,
    /// Whether what arrives is taken at once.
    pub(super) taking: bool,
    /// Variables around the helper itself.
    pub(super) around: Vec<(&'static str, String)>,
    /// How long nobody reads what it says.
    pub(super) deaf_for: Duration,
    /// What its text says otherwise: what stands there, and what then does.
    pub(super) altered: Vec<(&'static str, String)>,
    /// Which frame of an in lane comes twice, as where an agent could not say that it had it.
    pub(super) doubled: Option<u32>,
    /// Whether whoever starts it ignores signals, as a script does with SIGINT for what it starts in the background.
    pub(super) in_background: bool,
}

impl Setup {
    pub(super) fn new(job: Job) -> Self {
        Self {
            job,
            channel: ChannelSetup::default(),
            user: None,
            lease: 40,
            in_lane: true,
            taking: true,
            around: Vec::new(),
            deaf_for: Duration::ZERO,
            altered: Vec::new(),
            doubled: None,
            in_background: false,
        }
    }

    pub(super) fn command(line: &str) -> Self {
        Self::new(Job::Command(Bytes::copy_from_slice(line.as_bytes())))
    }

    pub(super) fn files() -> Self {
        Self::new(Job::Files)
    }

    pub(super) fn relay() -> Self {
        Self::new(Job::Relay)
    }

    pub(super) fn stdin_closed(mut self) -> Self {
        self.channel.stdin_closed = true;
        self
    }

    pub(super) fn env(mut self, name: &str, value: &[u8]) -> Self {
        self.channel.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn from(mut self, client: &str, gateway: &str) -> Self {
        let [client, gateway] = [client, gateway].map(|end| end.parse().unwrap());
        self.channel.addresses = Some(Addresses::Known { client, gateway });
        self
    }

    pub(super) fn hiding(mut self) -> Self {
        self.channel.addresses = Some(Addresses::Hidden);
        self
    }

    pub(super) fn terminal(mut self, cols: u16, rows: u16, modes: Vec<(u8, u32)>) -> Self {
        let size = WindowSize { cols, rows, x_pixels: 0, y_pixels: 0 };
        self.channel.pty = Some(PtyRequest { term: "xterm-256color".into(), size, modes });
        self
    }

    pub(super) fn lease(mut self, seconds: u32) -> Self {
        self.lease = seconds;
        self
    }

    pub(super) fn without_in_lane(mut self) -> Self {
        self.in_lane = false;
        self
    }

    pub(super) fn not_taking(mut self) -> Self {
        self.taking = false;
        self
    }
}

/// What a lane's thread saw.
enum Heard {
    Out(u32, Vec<u8>),
    OutEnded(u32),
    StdErr(Vec<u8>),
    In(Vec<u8>),
    InEnded(u32),
}

/// A helper at work.
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) link: Link,
    pub(super) options: Options,
    pub(super) home: PathBuf,
    /// How the directory's name begins, which is also in every command line of the helper.
    pub(super) name: String,
    pub(super) out: Option<Child>,
    pub(super) inward: Option<Child>,
    /// When the in lane ended, by itself.
    in_ended: Option<Instant>,
    pub(super) hello: Option<Hello>,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    /// What the helper's processes said beside the records.
    pub(super) stray: Vec<u8>,
    /// What the in lane said: nothing, always.
    pub(super) in_lane_said: Vec<u8>,
    pub(super) exit: Option<Exit>,
    pub(super) in_lanes: u32,
    /// How many bytes the lanes have carried, in and out.
    pub(super) carried: (usize, usize),
    pub(super) setup: Setup,
    pending: Option<Bytes>,
    to_lane: Option<SyncSender<Bytes>>,
    heard: Receiver<Heard>,
    says: Sender<Heard>,
    epoch: u32,
    in_epoch: u32,
    out_ended: bool,
    /// The helper has not spoken yet on the out lane that is to take the place of another.
    joining: bool,
    pub(super) place: Arc<tempfile::TempDir>,
}

impl Node {
    pub(super) fn start(kind: Kind, setup: Setup) -> Self {
        let place = tempfile::Builder::new().prefix("pc").tempdir().unwrap();
        Self::start_in(kind, setup, Arc::new(place))
    }

    /// In a home directory that others may use as well.
    pub(super) fn start_in(kind: Kind, setup: Setup, place: Arc<tempfile::TempDir>) -> Self {
        Self::start_with(kind, setup, place, |_| ())
    }

    /// The same, with a word before it starts.
    pub(super) fn start_with(
        kind: Kind,
        setup: Setup,
        place: Arc<tempfile::TempDir>,
        before: impl FnOnce(&Self),
    ) -> Self {
        let mut random = [0; 16];
        getrandom::fill(&mut random).unwrap();
        let name: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let helper = if kind == Kind::Python { Helper::Auto } else { Helper::Sh };
        let (user, directory) = (setup.user, name.clone());
        let closed = setup.channel.stdin_closed && setup.channel.pty.is_none();
        let mut link = Link::new(Instant::now(), closed, OutputWindow::default());
        link.handle_out_attached();
        let variables = by_way(&setup.channel.env);
        if let Some(over_lane) = variables.over_lane.clone() {
            link.send_variables(over_lane);
        }
        let (options, parameter) = match &setup.job {
            Job::Files => (Options::files(user, helper, directory), "files:".to_owned()),
            Job::Relay => (Options::relay(user, helper, directory), "relay:".to_owned()),
            Job::Shell => (Options::shell(&setup.channel, &variables, user, helper, directory), "shell:".to_owned()),
            Job::Command(line) => {
                let carried = parameter::encode(line).unwrap();
                if let Carried::OverLane(_) = carried {
                    link.send_command(line.clone());
                }
                let options = Options::command(&setup.channel, &variables, user, helper, directory);
                (options, carried.parameter().to_owned())
            }
        };
        let (says, heard) = channel();
        let options = options.compressed(true);
        let lease = format!(";l={};", LEASE.as_secs());
        assert!(options.start("out").contains(&lease));
        let first = options.start("out").replace(&lease, &format!(";l={};", setup.lease));
        let mut node = Self {
            kind,
            link,
            options,
            home: place.path().to_owned(),
            name,
            out: None,
            inward: None,
            in_ended: None,
            hello: None,
            stdout: Vec::new(),
            stderr: Vec::new(),
            stray: Vec::new(),
            in_lane_said: Vec::new(),
            exit: None,
            in_lanes: 0,
            carried: (0, 0),
            setup,
            pending: None,
            to_lane: None,
            heard,
            says,
            epoch: 0,
            in_epoch: 0,
            out_ended: false,
            joining: false,
            place,
        };
        before(&node);
        node.attach_out(&first, &parameter);
        node
    }

    fn attach_out(&mut self, options: &str, parameter: &str) {
        self.epoch += 1;
        self.out_ended = false;
        let program = match self.setup.job {
            Job::Files => Program::OutFiles,
            Job::Relay => Program::OutRelay,
            Job::Shell | Job::Command(_) => Program::OutCommand,
        };
        let words = self.words(options, parameter, program);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_clear().envs(self.environment()).current_dir("/");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let epoch = self.epoch;
        let stdout = Late(self.setup.deaf_for, child.stdout.take().unwrap());
        pass_on(stdout, &self.says, move |bytes| match bytes {
            Some(bytes) => Heard::Out(epoch, bytes),
            None => Heard::OutEnded(epoch),
        });
        pass_on(child.stderr.take().unwrap(), &self.says, |bytes| Heard::StdErr(bytes.unwrap_or_default()));
        self.out = Some(child);
    }

    /// Another out lane, as after a lost one.
    pub(super) fn reattach_out(&mut self) {
        let directory = self.hello.as_ref().map(|hello| hello.directory.as_str());
        let options = self.options.attach("out", directory, self.link.received());
        self.link.handle_out_coming();
        self.joining = true;
        self.attach_out(&options, "lane:");
    }

    /// The same, and what the helper says on it of the lanes before.
    pub(super) fn rejoin(&mut self) -> Hello {
        self.reattach_out();
        self.until("the lane to be taken", |node| !node.joining);
        self.hello.clone().unwrap()
    }

    pub(super) fn attach_in(&mut self) {
        let directory = self.hello.as_ref().unwrap().directory.clone();
        self.attach_in_at(&directory);
    }

    pub(super) fn attach_in_when_started(&mut self) {
        self.until("the hello", |node| node.hello.is_some());
        self.attach_in();
    }

    pub(super) fn attach_in_at(&mut self, directory: &str) {
        let number = self.link.handle_in_lost();
        let words = self.words(&self.options.attach("in", Some(directory), number), "lane:", Program::InLane);
        let (pty, pts) = pty_process::blocking::open().unwrap();
        let command = pty_process::blocking::Command::new(&words[0]).args(&words[1..]);
        let child = command.env_clear().envs(self.environment()).current_dir("/").spawn(pts).unwrap();
        let master = File::from(OwnedFd::from(pty));
        self.in_epoch += 1;
        let epoch = self.in_epoch;
        pass_on(master.try_clone().unwrap(), &self.says, move |bytes| match bytes {
            Some(bytes) => Heard::In(bytes),
            None => Heard::InEnded(epoch),
        });
        let (to_lane, records) = sync_channel::<Bytes>(1);
        // one lane after the other is cut, each somewhere else in a record
        let doubled = self.setup.doubled.filter(|_| self.in_lanes < 5).map(|frame| frame + self.in_lanes);
        std::thread::spawn(move || {
            let (mut master, mut count) = (master, 0_u32);
            for record in records {
                // frames of 1 KiB, as the gateway's peers send them
                for frame in record.chunks(1024) {
                    count += 1;
                    for _ in 0..=usize::from(doubled == Some(count)) {
                        if master.write_all(frame).is_err() {
                            return;
                        }
                    }
                }
            }
        });
        self.to_lane = Some(to_lane);
        self.inward = Some(child);
        self.in_ended = None;
        self.in_lanes += 1;
    }

    pub(super) fn lose_in(&mut self) {
        kill(self.inward.take());
        self.in_ended = None;
        self.to_lane = None;
        self.pending = None;
        self.link.handle_in_lost();
    }

    pub(super) fn lose_out(&mut self) {
        kill(self.out.take());
    }

    fn words(&self, options: &str, parameter: &str, program: Program) -> Vec<String> {
        let mut words = shell_words::split(&boot(options, parameter, program)).unwrap();
        for (there, instead) in &self.setup.altered {
            words.iter_mut().for_each(|word| *word = word.replace(there, instead));
        }
        words[0] = tools(self.kind).join("sh").to_str().unwrap().to_owned();
        if self.setup.in_background {
            words.splice(0..0, ["/usr/bin/env", "--ignore-signal=INT,USR1"].map(str::to_owned));
        }
        words
    }

    /// How a helper begins that runs another command beside this one.
    pub(super) fn first_words(&self, line: &str) -> Vec<String> {
        let options = self.options.start("out").replace(&self.name, &self.name.chars().rev().collect::<String>());
        self.words(&options, parameter::encode(line.as_bytes()).unwrap().parameter(), Program::OutCommand)
    }

    /// The same start, of another command.
    pub(super) fn same_words(&self, line: &str) -> Vec<String> {
        let parameter = parameter::encode(line.as_bytes()).unwrap();
        self.words(&self.options.start("out"), parameter.parameter(), Program::OutCommand)
    }

    pub(super) fn environment(&self) -> Vec<(String, String)> {
        let tools = tools(self.kind).to_str().unwrap();
        let path = match self.kind {
            Kind::Busybox => tools.to_owned(),
            _ => format!("{tools}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"),
        };
        let mut environment = vec![("PATH".into(), path), ("TERM".into(), "xterm-256color".into())];
        environment.extend(self.setup.around.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        // another user can't use this test's directory
        if self.setup.user.is_none() {
            environment.push(("HOME".into(), self.home.to_str().unwrap().into()));
        }
        environment
    }

    /// Goes on until `enough` is true. Panics when that takes too long or the link ends in an error.
    pub(super) fn until(&mut self, what: &str, enough: impl Fn(&Self) -> bool) {
        if let Err(error) = self.try_until(what, enough) {
            panic!("{:?}: {what}: {error}; {}", self.kind, String::from_utf8_lossy(&self.stray));
        }
    }

    pub(super) fn try_until(&mut self, what: &str, enough: impl Fn(&Self) -> bool) -> Result<(), LinkError> {
        let end = Instant::now() + LIMIT;
        loop {
            self.take_events();
            if enough(self) {
                return Ok(());
            }
            assert!(Instant::now() < end, "{:?}: {what}: it hangs; {}", self.kind, self.picture());
            self.transmit();
            match self.heard.recv_timeout(Duration::from_millis(5)) {
                Ok(Heard::Out(epoch, bytes)) if epoch == self.epoch && self.joining => {
                    if let Some(hello) = self.link.handle_coming_output(bytes.into(), false)? {
                        self.hello = Some(hello);
                        self.joining = false;
                    }
                }
                Ok(Heard::Out(epoch, bytes)) if epoch == self.epoch => {
                    self.carried.1 += bytes.len();
                    self.link.handle_output(bytes.into())?;
                }
                Ok(Heard::OutEnded(epoch)) if epoch == self.epoch => self.out_ended = true,
                Ok(Heard::StdErr(bytes)) => self.stray.extend(bytes),
                Ok(Heard::In(bytes)) => self.in_lane_said.extend(bytes),
                Ok(Heard::InEnded(epoch)) if epoch == self.in_epoch && self.inward.is_some() => {
                    self.in_ended = Some(Instant::now());
                }
                Ok(_) | Err(_) => {}
            }
        }
    }

    fn take_events(&mut self) {
        self.hello = self.hello.take().or_else(|| self.link.take_hello());
        if self.link.take_in_gone() == Some(InGone::LetGo) {
            self.lose_in();
        }
        while let Some(event) = self.link.poll_event() {
            let (stream, bytes) = match event {
                Event::Exit(exit) => {
                    self.exit = Some(exit);
                    continue;
                }
                Event::Done => continue,
                Event::Stdout(bytes) => (&mut self.stdout, bytes),
                Event::Stderr(bytes) => (&mut self.stderr, bytes),
            };
            stream.extend_from_slice(&bytes);
            if self.setup.taking {
                self.link.consumed(bytes.len());
            }
        }
    }

    /// From now on what arrives is taken, and what has arrived is.
    pub(super) fn take_it(&mut self) {
        self.setup.taking = true;
        self.link.consumed(self.stdout.len() + self.stderr.len());
    }

    fn transmit(&mut self) {
        let now = Instant::now();
        // as the gateway does: the helper ends both lanes at once, and which of them is heard first is chance
        if self.in_ended.is_some_and(|at| now >= at + LAST_WORD) && !self.link.is_done() {
            self.lose_in();
        }
        let wanted = self.setup.in_lane && self.hello.is_some() && self.inward.is_none();
        if wanted && self.link.needs_in_lane(now) {
            self.attach_in();
        }
        let Some(to_lane) = &self.to_lane else { return };
        while let Some(bytes) = self.pending.take().or_else(|| self.link.poll_transmit(now)) {
            let length = bytes.len();
            if let Err(TrySendError::Full(bytes)) = to_lane.try_send(bytes) {
                self.pending = Some(bytes);
                return;
            }
            self.carried.0 += length;
        }
    }

    /// Hands over input as the link takes it.
    pub(super) fn input(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(32 * 1024) {
            self.until("input is taken", |node| node.link.takes_input() || node.link.is_done());
            if self.link.is_done() {
                return;
            }
            self.link.write(Bytes::copy_from_slice(part));
        }
    }

    pub(super) fn eof(&mut self) {
        self.link.finish();
    }

    /// Waits for everything, and that nothing is left of it.
    pub(super) fn finish(mut self) -> (Vec<u8>, Vec<u8>, Exit) {
        self.until("the end", |node| node.link.is_done());
        self.take_events();
        // what acknowledges the end
        self.transmit();
        self.gone();
        let said = String::from_utf8_lossy(&self.in_lane_said).replace(&*String::from_utf8_lossy(OUT_LOST), "");
        assert_eq!(said, "", "{:?}: the in lane is silent but for a lost out lane", self.kind);
        assert_eq!(String::from_utf8_lossy(&self.stray), "", "{:?}: nothing is said beside the records", self.kind);
        (std::mem::take(&mut self.stdout), std::mem::take(&mut self.stderr), self.exit.take().unwrap())
    }

    /// Waits until no process of the helper and no file of it is left.
    pub(super) fn gone(&mut self) {
        self.until("nothing is left", |node| !node.is_running() && node.litter().is_empty());
    }

    /// The same once the gateway has said goodbye.
    pub(super) fn hang_up(&mut self) {
        self.attach_in_when_started();
        self.link.hang_up();
        self.gone();
    }

    /// Whether the in lane has ended by itself.
    pub(super) fn inward_has_ended(&self) -> bool {
        self.in_ended.is_some() || self.inward.is_none()
    }

    pub(super) fn is_running(&self) -> bool {
        !self.processes().is_empty()
    }

    /// The helper's processes that still run (a lane's that the test has not reaped are no more).
    pub(super) fn processes(&self) -> Vec<u32> {
        processes(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.windows(self.name.len()).any(|part| part == self.name.as_bytes())
        })
    }

    pub(super) fn litter(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.home).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.to_string_lossy().contains(&self.name)).collect()
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    fn picture(&self) -> String {
        format!(
            "stdout {} bytes ({:?}), stderr {:?}, exit {:?}, done {}, beside {:?}, in lane {:?}, left {:?} {:?}",
            self.stdout.len(),
            self.text().chars().take(200).collect::<String>(),
            String::from_utf8_lossy(&self.stderr[..self.stderr.len().min(200)]),
            self.exit,
            self.link.is_done(),
            String::from_utf8_lossy(&self.stray),
            String::from_utf8_lossy(&self.in_lane_said),
            self.processes().into_iter().map(described).collect::<Vec<_>>(),
            self.litter(),
        )
    }
}

/// A process by its number, its state and how its arguments begin.
fn described(pid: u32) -> String {
    let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let (stat, line, waits) = (read("stat"), read("cmdline"), read("wchan"));
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().take(120).collect::<String>();
    format!("{} in {}: {}", said(&stat), said(&waits), said(&line))
}

impl Drop for Node {
    fn drop(&mut self) {
        kill(self.out.take());
        kill(self.inward.take());
        if std::thread::panicking() {
            for pid in self.processes() {
                signal(pid, "KILL");
            }
        }
    }
}

/// Reads nothing for a while.
struct Late<R>(Duration, R);

impl<R: Read> Read for Late<R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        std::thread::sleep(std::mem::take(&mut self.0));
        self.1.read(buf)
    }
}

fn pass_on(
    mut from: impl Read + Send + 'static,
    says: &Sender<Heard>,
    heard: impl Fn(Option<Vec<u8>>) -> Heard + Send + 'static,
) {
    let says = says.clone();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65536];
        // a terminal whose other end has gone gives an error, which is its end
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if says.send(heard(Some(buffer[..count].to_vec()))).is_err() {
                return;
            }
        }
        let _ = says.send(heard(None));
    });
}
