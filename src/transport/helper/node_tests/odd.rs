//! Odd nodes, slow readers and unlucky moments.

use std::os::unix::ffi::OsStrExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::machine::lives;
use super::node::{Kind, Node, Setup};
use super::printed;
use crate::model::Exit;

/// Any user of a node may name a process as they like.
pub(super) fn a_process_with_an_odd_name_is_no_shelter(kind: Kind) {
    let place = tempfile::tempdir().unwrap();
    let odd = place.path().join(std::ffi::OsStr::from_bytes(b") \xff\xfe ("));
    std::fs::copy("/bin/sleep", &odd).unwrap();
    let mut shelter = Command::new(&odd).arg("60").spawn().unwrap();
    let mut node = Node::start(kind, Setup::command("echo $$; exec sleep 307").lease(2).without_in_lane());
    node.until("the start", |node| node.text().ends_with('\n'));
    let pid = printed(&node)[0];
    let _ = node.try_until("the lapse", |_| !lives(pid));
    node.gone();
    shelter.kill().unwrap();
    shelter.wait().unwrap();
}

/// Where a helper can't make its directory in the first place that it tries, it goes on to the next.
pub(super) fn a_place_that_takes_nothing_is_left_for_the_next(kind: Kind) {
    let mut setup = Setup::command("echo here");
    // of this user, and nobody can make a directory there
    setup.around.push(("XDG_RUNTIME_DIR", "/proc/self/task".to_owned()));
    let mut node = Node::start(kind, setup.without_in_lane());
    node.eof();
    assert_eq!(node.finish().0, b"here\n");
}

/// The arguments of a helper can be read by every user of the node, so what they name must not be taken by any of them.
pub(super) fn what_the_arguments_name_cannot_be_taken_first(kind: Kind) {
    let place = Arc::new(tempfile::tempdir().unwrap());
    let setup = Setup::command("echo here").stdin_closed();
    let take = |node: &Node| std::fs::write(node.home.join(format!(".portcullis-{}", node.name)), "").unwrap();
    let mut node = Node::start_with(kind, setup, place, take);
    node.until("the end", |node| node.link.is_done());
    assert_eq!(node.stdout, b"here\n", "{kind:?}");
    std::fs::remove_file(node.home.join(format!(".portcullis-{}", node.name))).unwrap();
    node.finish();
}

/// A lane that is slow to come finds that all is over: it ends, whether or not its terminal does.
pub(super) fn a_lane_that_comes_too_late_ends(kind: Kind) {
    let mut setup = Setup::command("sleep 1").without_in_lane();
    // between its look at the directory and its own word there
    let opened = "exec 5<>feed 6<>told >/dev/null 2>&1";
    setup.altered.push((opened, format!("{opened}; while [ -e owner ]; do sleep 1; done")));
    let mut node = Node::start(kind, setup);
    node.attach_in_when_started();
    node.finish();
}

/// What a lane has handed on when it is killed, and could not note, the next one hands on again.
pub(super) fn what_two_lanes_bring_is_there_once(kind: Kind) {
    let killed =
        |once: &str| format!("; [ -e once.{once} ] || {{ true >once.{once}; kill -s KILL \"$me\"; sleep 9; }}");
    let line = format!("printf \"%s\" \"$LC_X\" #{}", "y".repeat(100_000));
    let mut setup = Setup::command(&line).env("LC_X", b"there").stdin_closed();
    for (there, once) in [("echo >go", "$1"), ("\"part.$((10000000000 + $2))\"", "p")] {
        setup.altered.push((there, format!("{there}{}", killed(once))));
    }
    let mut node = Node::start(kind, setup);
    node.until("the exit", |node| node.exit.is_some());
    // killed with the variables, a part of the line and its end; Python knows by itself what it has
    assert_eq!(node.in_lanes, if kind == Kind::Python { 1 } else { 3 }, "{kind:?}");
    let (stdout, _, exit) = node.finish();
    assert_eq!((&stdout[..], exit), (&b"there"[..], Exit::Code(0)), "{kind:?}");
}

/// Whoever starts a session may not know that it did, and tries again.
pub(super) fn what_was_started_is_not_started_again(kind: Kind) {
    let mut node = Node::start(kind, Setup::command("sleep 1").without_in_lane());
    node.until("the start", |node| node.hello.is_some());
    let words = node.same_words(&format!("echo x >{}/ran", node.home.display()));
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env_clear().envs(node.environment()).stdin(Stdio::null());
    let second = command.output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!((second.status.code(), said.contains("started already")), (Some(73), true), "{kind:?}: {said}");
    assert!(!node.home.join("ran").exists());
    node.finish();
}

/// The first lane may be lost with the helper's first word still on it.
#[test]
fn a_lane_finds_a_helper_that_was_not_heard() {
    let mut node = Node::start(Kind::Python, Setup::command("echo here; sleep 1").without_in_lane());
    node.until("the start", |node| node.hello.is_some());
    node.hello = None;
    node.lose_out();
    node.reattach_out();
    assert_eq!(node.finish().0, b"here\n");
}

/// A session that is over already may be being replaced by another, which runs the command.
#[test]
fn a_helper_whose_lane_has_gone_does_not_begin() {
    let mut node = Node::start(Kind::Python, Setup::command("sleep 1").without_in_lane());
    node.until("the start", |node| node.hello.is_some());
    let words = node.first_words(&format!("echo x >{}/ran", node.home.display()));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env_clear().envs(node.environment()).stdin(Stdio::null()).stdout(writer);
    assert_ne!(command.status().unwrap().code(), Some(0));
    node.until("the first one's end", |node| !node.is_running());
    assert!(!node.home.join("ran").exists());
}

#[test]
fn a_slow_reader_gets_all_there_is() {
    let mut setup = Setup::command("head -c 1900000 /dev/zero").without_in_lane();
    // longer than a helper waits for an acknowledgement; the pipe to the agent holds less than that
    setup.deaf_for = Duration::from_secs(11);
    let mut node = Node::start(Kind::Python, setup);
    node.eof();
    assert_eq!(node.finish().0.len(), 1_900_000);
}

/// As long as a command's number is taken no stranger's process group can have it.
#[test]
fn the_number_of_a_command_stays_taken() {
    let mut node = Node::start(Kind::Python, Setup::command("echo $$; setsid sleep 308 & exit 3").without_in_lane());
    node.until("the command's end", |node| node.exit.is_some());
    let pid = printed(&node)[0];
    std::thread::sleep(Duration::from_millis(200));
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    assert!(stat.contains(") Z "), "{stat}");
    let sleep = Command::new("pkill").args(["-f", "^sleep 308$"]).status().unwrap();
    assert!(sleep.success());
    node.finish();
}

/// What no package has any more: a Python before 3.6.
#[test]
fn an_old_python_hands_over_to_sh() {
    let mut setup = Setup::command("echo here; cat");
    setup.altered.push(("version_info<(3,6)", "version_info<(99,)".to_owned()));
    let mut node = Node::start(Kind::Python, setup);
    node.input(b"there");
    node.eof();
    node.until("the hello", |node| node.hello.is_some());
    assert_eq!(node.hello.as_ref().unwrap().helper, "sh");
    assert_eq!(node.finish().0, b"here\nthere");
}

/// AWS's agent writes a KiB at a time, and a helper that looked at each would spend most of its time on that.
#[test]
fn a_long_record_is_left_to_come_and_a_short_one_is_taken_at_once() {
    let script = r#"
import binascii, os, select, struct, sys
sys.path.insert(0, sys.argv[1])
import common, lane

class Nothing:
    works = 0

def record(number, payload):
    head = struct.pack(">BII", ord("i"), number, len(payload))
    return head + struct.pack(">I", binascii.crc32(payload, binascii.crc32(head))) + payload

class Time:
    # while the helper sleeps the agent writes on, a KiB in each tenth of a millisecond
    def sleep(self, seconds):
        slept.append(seconds)
        for _ in range(round(seconds * 10000)):
            write()

def write():
    try:
        del waiting[: os.write(agent, waiting[:1024])]
    except BlockingIOError:
        # the terminal is full
        pass

agent, terminal = os.openpty()
common.raw(terminal)
for end in (agent, terminal):
    os.set_blocking(end, False)
readable = select.poll()
readable.register(terminal, select.POLLIN)
taken, slept, waiting = [], [], bytearray()
lane.time = Time()
lanes = lane.Lanes("/", None, None, lambda kind, payload: taken.append(payload), Nothing())
lanes.in_fd = terminal
sent = [bytes([number]) * 65536 for number in range(16)]
for number, payload in enumerate(sent):
    waiting += record(number + 1, payload)
looks = 0
while len(taken) < len(sent):
    write()
    assert readable.poll(30000)
    lanes.read()
    looks += 1
assert taken == sent
assert 10 < looks < 500, looks
assert max(slept) <= 0.002, slept

# keys, one whole and one in two parts
del slept[:]
keys = record(17, b"k") + record(18, b"l")
for part in (keys[:20], keys[20:]):
    os.write(agent, part)
    assert readable.poll(30000)
    lanes.read()
assert taken[16:] == [b"k", b"l"] and not slept
"#;
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/src/transport/helper/node/python");
    let ran = Command::new("python3").args(["-Bc", script, python]).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}
