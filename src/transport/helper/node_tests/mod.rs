//! Every helper as real processes, in every shell: the properties that lanes and helper must have, one test each.

mod deflated;
mod files;
mod machine;
mod node;
mod odd;
mod over_sftp;
mod relay;

use std::time::{Duration, Instant, SystemTime};

use machine::{lives, signal};
use node::{Job, Kind, Node, Setup};
use relay::a_relay_is_there_or_says_that_it_is_not;

use crate::model::{Exit, WindowSize};
use crate::transport::helper::output_window::WIDEST_OUTPUT;
use crate::transport::helper::record::NOBODY;

/// One module for each helper, so that a failure names it.
macro_rules! every_helper {
    ($($property:ident)*) => {
        every_helper!(@python Python $($property)*);
        every_helper!(@dash Dash $($property)*);
        every_helper!(@bash Bash $($property)*);
        every_helper!(@busybox Busybox $($property)*);
    };
    (@$module:ident $kind:ident $($property:ident)*) => {
        mod $module {
            $(#[test] fn $property() { super::$property(super::Kind::$kind) })*
        }
    };
}

every_helper! {
    bytes_are_exact_both_ways
    bytes_are_exact_on_stderr
    exit_statuses_are_the_command_s_own
    death_by_signal
    the_end_of_input_reaches_the_command
    closed_input_needs_no_in_lane
    the_command_does_not_wait_for_an_in_lane
    unread_input_does_not_stop_the_lane
    an_early_end_of_stdout
    output_that_nobody_reads_is_a_broken_pipe
    what_the_command_left_behind_is_heard
    what_was_detached_survives
    a_hang_up_ends_the_command_and_spares_what_was_detached
    a_lapsed_lease_ends_a_silent_command
    a_killed_lane_ends_a_silent_command
    eight_mebibytes_each_way
    output_stops_at_its_credit
    control_passes_waiting_data
    signals_reach_the_group
    a_command_too_long_for_a_parameter
    environment_and_home
    variables_stand_in_nobody_s_arguments
    as_many_variables_as_are_allowed
    a_long_command_waits_for_its_variables
    where_a_connection_comes_from
    a_terminal_has_size_and_modes_before_the_first_byte
    a_shell_on_a_terminal
    a_lost_in_lane_is_replaced
    a_frame_that_comes_twice_damages_nothing
    the_next_lane_says_which_were_lost_and_not_which_were_let_go_of
    a_lost_out_lane_is_replaced_or_ends_the_command
    a_directory_that_is_not_ours_is_refused
    a_killed_helper_is_found_gone
    what_dead_helpers_left_is_swept
    files_are_served_alike
    many_names_are_listed
    what_is_left_open_ends_and_nobody_else_is_signalled
    a_process_with_an_odd_name_is_no_shelter
    a_place_that_takes_nothing_is_left_for_the_next
    what_the_arguments_name_cannot_be_taken_first
    a_named_pipe_stops_nothing
    signals_that_were_ignored_around_it_work
    what_was_started_is_not_started_again
    a_lane_that_comes_too_late_ends
    what_two_lanes_bring_is_there_once
    a_relay_is_there_or_says_that_it_is_not
}

use files::{
    a_named_pipe_stops_nothing, files_are_served_alike, many_names_are_listed,
    what_is_left_open_ends_and_nobody_else_is_signalled,
};
use odd::{
    a_lane_that_comes_too_late_ends, a_place_that_takes_nothing_is_left_for_the_next,
    a_process_with_an_odd_name_is_no_shelter, what_the_arguments_name_cannot_be_taken_first,
    what_two_lanes_bring_is_there_once, what_was_started_is_not_started_again,
};

/// Every byte value, what the agent alters, and an end that it would hold back.
fn awkward() -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..=255).collect();
    bytes.extend(b"A\xef\xbf\xbdB\x10A~~~\n\r\n\\041%s");
    bytes.extend((0..=255).rev());
    bytes.extend(b"end\xff\xfe");
    bytes
}

fn bytes_are_exact_both_ways(kind: Kind) {
    let mut node = Node::start(kind, Setup::command("cat"));
    let bytes = awkward();
    // short and long records, byte by byte at first
    for byte in &bytes[..40] {
        node.input(&[*byte]);
        let count = node.stdout.len();
        node.until("an echo", |node| node.stdout.len() > count);
    }
    node.input(&bytes[40..90]);
    node.input(&bytes[90..]);
    node.eof();
    let (stdout, stderr, exit) = node.finish();
    assert_eq!(stdout, bytes);
    assert_eq!((&stderr[..], exit), (&b""[..], Exit::Code(0)));
}

fn bytes_are_exact_on_stderr(kind: Kind) {
    let mut node = Node::start(kind, Setup::command("echo out; cat >&2"));
    node.input(&awkward());
    node.eof();
    let (stdout, stderr, _) = node.finish();
    assert_eq!((stdout, stderr), (b"out\n".to_vec(), awkward()));
}

fn exit_statuses_are_the_command_s_own(kind: Kind) {
    for status in [0, 1, 2, 126, 127, 130, 255] {
        let node = Node::start(kind, Setup::command(&format!("exit {status}")).stdin_closed());
        assert_eq!(node.finish().2, Exit::Code(status));
    }
}

fn death_by_signal(kind: Kind) {
    for (name, number) in [("KILL", 9), ("TERM", 15), ("INT", 2)] {
        let node = Node::start(kind, Setup::command(&format!("kill -s {name} $$; sleep 9")).stdin_closed());
        // POSIX sh can't tell a signal from a status
        let expected = match kind {
            Kind::Python => Exit::Signal { name: name.into(), core_dumped: false },
            _ => Exit::Code(128 + number),
        };
        assert_eq!(node.finish().2, expected);
    }
}

fn the_end_of_input_reaches_the_command(kind: Kind) {
    let mut node = Node::start(kind, Setup::command("cat; echo done; exit 3"));
    node.eof();
    let (stdout, _, exit) = node.finish();
    assert_eq!((&stdout[..], exit), (&b"done\n"[..], Exit::Code(3)));
}

fn closed_input_needs_no_in_lane(kind: Kind) {
    let node = Node::start(kind, Setup::command("cat; readlink /proc/self/fd/0").stdin_closed().without_in_lane());
    assert_eq!(node.finish().0, b"/dev/null\n");
}

fn the_command_does_not_wait_for_an_in_lane(kind: Kind) {
    let mut node = Node::start(kind, Setup::command("echo started; cat; echo over").without_in_lane());
    node.until("the first word", |node| node.stdout == b"started\n");
    assert_eq!(node.in_lanes, 0);
    node.attach_in();
    node.eof();
    assert_eq!(node.finish().0, b"started\nover\n");
}

fn unread_input_does_not_stop_the_lane(kind: Kind) {
    let mut node = Node::start(kind, Setup::command("dd bs=1 count=3 2>/dev/null; exec <&-; sleep 1; echo second"));
    node.input(&vec![b'x'; 100_000]);
    node.input(&vec![b'y'; 3_000_000]);
    node.eof();
    assert_eq!(node.finish().0, b"xxxsecond\n");
}

fn an_early_end_of_stdout(kind: Kind) {
    let mut node = Node::start(kind, Setup::command("echo a; exec >&-; cat >/dev/null; echo b >&2; exit 4"));
    node.input(&vec![0; 200_000]);
    node.eof();
    let (stdout, stderr, exit) = node.finish();
    assert_eq!((&stdout[..], &stderr[..], exit), (&b"a\n"[..], &b"b\n"[..], Exit::Code(4)));
}

fn output_that_nobody_reads_is_a_broken_pipe(kind: Kind) {
    let mut node = Node::start(kind, Setup::command("yes; echo $? >&2"));
    node.until("output", |node| !node.stdout.is_empty());
    node.link.close_output();
    let (_, stderr, exit) = node.finish();
    assert_eq!((&stderr[..], exit), (&b"141\n"[..], Exit::Code(0)), "{kind:?}");
}

fn what_the_command_left_behind_is_heard(kind: Kind) {
    let mut node = Node::start(kind, Setup::command("(sleep 1; echo late) & exit 3"));
    node.until("the exit", |node| node.exit.is_some());
    assert_eq!(node.stdout, b"");
    let (stdout, _, exit) = node.finish();
    assert_eq!((&stdout[..], exit), (&b"late\n"[..], Exit::Code(3)));
}

/// The process ids that a command printed, one a line.
fn printed(node: &Node) -> Vec<u32> {
    node.text().lines().map(|line| line.parse().unwrap()).collect()
}

const DETACH: &str = "(trap \"\" HUP; exec sleep 300 >/dev/null 2>&1) & echo $!
    setsid sh -c \"echo \\$\\$; exec sleep 300 >/dev/null 2>&1\" &
    sleep 0.3 2>/dev/null || sleep 1";

fn what_was_detached_survives(kind: Kind) {
    let mut node = Node::start(kind, Setup::command(DETACH).stdin_closed());
    node.until("the end", |node| node.link.is_done());
    node.gone();
    let left = printed(&node);
    assert_eq!(left.len(), 2);
    for pid in left {
        assert!(lives(pid));
        signal(pid, "KILL");
    }
}

fn a_hang_up_ends_the_command_and_spares_what_was_detached(kind: Kind) {
    let mut node = Node::start(kind, Setup::command(&format!("{DETACH}; sleep 301 & echo $!; echo $$; wait")));
    node.attach_in_when_started();
    node.until("four processes", |node| node.text().lines().count() == 4);
    let all = printed(&node);
    node.link.hang_up();
    let end = Instant::now() + Duration::from_secs(15);
    let _ = node.try_until("the hang-up", |_| Instant::now() > end || !all[2..].iter().any(|pid| lives(*pid)));
    assert!(!lives(all[2]) && !lives(all[3]), "{kind:?}");
    node.gone();
    for pid in &all[..2] {
        assert!(lives(*pid), "{kind:?}");
        signal(*pid, "KILL");
    }
}

fn a_lapsed_lease_ends_a_silent_command(kind: Kind) {
    let line = "trap \"\" TERM; echo $$; while :; do sleep 300; done";
    let mut node = Node::start(kind, Setup::command(line).lease(3).without_in_lane());
    node.until("the start", |node| node.text().ends_with('\n'));
    let pid = printed(&node)[0];
    let start = Instant::now();
    let _ = node.try_until("the lapse", |_| !lives(pid));
    assert!(start.elapsed() > Duration::from_secs(1), "{kind:?}");
    node.gone();
}

fn a_killed_lane_ends_a_silent_command(kind: Kind) {
    let mut node = Node::start(kind, Setup::command("echo $$; exec sleep 302").lease(6).without_in_lane());
    node.until("the start", |node| node.text().ends_with('\n'));
    let pid = printed(&node)[0];
    node.lose_out();
    node.until("the command's end", |_| !lives(pid));
    node.gone();
}

fn eight_mebibytes_each_way(kind: Kind) {
    let bytes: Vec<u8> = (0..2u32 << 20).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    let mut node = Node::start(kind, Setup::command("cat"));
    node.input(&bytes);
    node.eof();
    assert!(node.finish().0 == bytes, "{kind:?}");
}

fn output_stops_at_its_credit(kind: Kind) {
    let size = 5 << 20;
    let line = format!("dd if=/dev/zero bs=65536 count={} 2>/dev/null", size / 65536);
    let mut node = Node::start(kind, Setup::command(&line).not_taking());
    let window = WIDEST_OUTPUT as usize;
    // the sh helper's credit is a number of blocks for two streams
    node.until("the window", |node| node.stdout.len() >= window - 3 * 49152);
    let later = Instant::now() + Duration::from_secs(1);
    node.until("silence", |_| Instant::now() > later);
    assert!(node.stdout.len() <= window && node.exit.is_none());
    node.take_it();
    assert_eq!(node.finish().0.len(), size);
}

fn control_passes_waiting_data(kind: Kind) {
    let mut node =
        Node::start(kind, Setup::command("trap \"echo caught; exit 5\" USR1; echo ready; while :; do sleep 0.1; done"));
    node.until("the trap", |node| node.stdout == b"ready\n");
    while node.link.takes_input() {
        node.link.write(vec![b'z'; 1000].into());
        node.until("a moment", |_| true);
    }
    node.link.signal("USR1".into());
    let (stdout, _, exit) = node.finish();
    assert_eq!((&stdout[..], exit), (&b"ready\ncaught\n"[..], Exit::Code(5)));
}

fn signals_reach_the_group(kind: Kind) {
    let mut node = Node::start(kind, Setup::command("trap \"echo int\" INT; echo ready; sleep 303; echo after"));
    node.until("the trap", |node| node.stdout == b"ready\n");
    node.link.signal("INT".into());
    assert_eq!(node.finish().0, b"ready\nint\nafter\n");
}

fn signals_that_were_ignored_around_it_work(kind: Kind) {
    if kind == Kind::Busybox {
        // a shell can't undo it, nor can this env(1)
        return;
    }
    let line = "trap \"echo caught\" INT; kill -s INT $$; kill -s USR1 $$; echo on";
    let mut setup = Setup::command(line).stdin_closed();
    setup.in_background = true;
    let (stdout, _, exit) = Node::start(kind, setup).finish();
    match kind {
        Kind::Python => assert_eq!(exit, Exit::Signal { name: "USR1".into(), core_dumped: false }),
        _ => assert_eq!(exit, Exit::Code(128 + 10), "{kind:?}"),
    }
    assert_eq!(stdout, b"caught\n", "{kind:?}");
}

fn a_command_too_long_for_a_parameter(kind: Kind) {
    let line =
        format!("# {}\n\nprintf \"%s\\n\" \"é\u{fffd}\"; exit 6 #{}\n\n", "x".repeat(50_000), "y".repeat(50_000));
    let (stdout, _, exit) = Node::start(kind, Setup::command(&line)).finish();
    assert_eq!((&stdout[..], exit), ("é\u{fffd}\n".as_bytes(), Exit::Code(6)));
}

fn environment_and_home(kind: Kind) {
    let line = "printf \"%s\\n\" \"$LC_X\" \"${LC_ALL-unset}\" \"$IFS.\" \"$(umask)\" \"$PWD\" \"$HOME\" \"$USER\"";
    let value = b"a b;c=d,e:%41 \\041\xff\xc3'\"$x`\n\n";
    let setup = Setup::command(line).env("LC_X", value).env("UID", b"5").env("PPID", b"5").stdin_closed();
    let (stdout, ..) = Node::start(kind, setup).finish();
    let rest = std::str::from_utf8(stdout.strip_prefix(value).unwrap()).unwrap();
    let words: Vec<&str> = rest.lines().collect();
    assert_eq!(&words[1..5], ["unset", " \t", ".", "0022"], "{kind:?}");
    assert_eq!(words[5], words[6], "{kind:?}");
    assert!(!words[7].is_empty());
}

/// A value that a person may have meant for nobody else's eyes, in each way to start.
fn variables_stand_in_nobody_s_arguments(kind: Kind) {
    let line = "echo started; read -r go; printf \"%s\" \"$LC_SECRET\"";
    for terminal in [false, true] {
        let mut setup = Setup::command(line).env("LC_SECRET", b"hush-3141592653").env("LANG", b"C.UTF-8");
        if terminal {
            setup = setup.terminal(80, 24, vec![(53, 0)]);
        }
        let mut node = Node::start(kind, setup);
        let mut looks = 0;
        while !node.text().contains("started") {
            let seen = machine::processes(|pid| {
                let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                line.windows(6).any(|part| part == b"hush-3")
            });
            assert_eq!(seen, [0_u32; 0], "{kind:?}, {terminal}");
            looks += 1;
            // so many turns of its loop later
            let turns = std::cell::Cell::new(0);
            node.until("a turn", |_| turns.replace(turns.get() + 1) > 0);
        }
        assert!(looks > 1);
        node.input(b"\n");
        node.eof();
        assert!(String::from_utf8(node.finish().0).unwrap().contains("hush-3141592653"), "{kind:?}");
    }
}

fn as_many_variables_as_are_allowed(kind: Kind) {
    let mut setup = Setup::command("printf \"%s\" \"$LC_0\"; env | grep -c ^LC_").env("LC_0", &[b'%'; 25_000]);
    for n in 1..=25 {
        setup = setup.env(&format!("LC_{n}"), &[b'\'', b'$'].repeat(125));
    }
    let (stdout, ..) = Node::start(kind, setup).finish();
    assert_eq!((stdout.iter().filter(|byte| **byte == b'%').count(), &stdout[25_000..]), (25_000, &b"26\n"[..]));
}

/// A long command and variables both come over the lane.
fn a_long_command_waits_for_its_variables(kind: Kind) {
    let line = format!("printf \"%s\" \"$LC_X\" #{}", "y".repeat(50_000));
    let setup = Setup::command(&line).env("LC_X", b"there").stdin_closed();
    assert_eq!(Node::start(kind, setup).finish().0, b"there");
}

fn where_a_connection_comes_from(kind: Kind) {
    let line = "echo \"$SSH_CONNECTION|$SSH_CLIENT|$MAIL\"";
    let said = |setup: Setup| String::from_utf8(Node::start(kind, setup.stdin_closed()).finish().0).unwrap();
    // whatever this machine's start-up files say with them is beside the point
    let said = |setup: Setup| said(setup).lines().last().unwrap().to_owned();
    let known = said(Setup::command(line).from("192.0.2.7:50022", "[2001:db8::1]:22"));
    let words: Vec<&str> = known.trim_end().split('|').collect();
    assert_eq!(words[..2], ["192.0.2.7 50022 2001:db8::1 22", "192.0.2.7 50022 22"], "{kind:?}");
    assert!(words[2].starts_with("/var/") && words[2].contains("mail/"), "{kind:?}: {known}");
    let none = said(Setup::command(line));
    assert!(none.starts_with("||/var/"), "{kind:?}: {none}");
    let hidden = said(Setup::command(line).hiding());
    assert!(hidden.starts_with("UNKNOWN 65535 UNKNOWN 65535|UNKNOWN 65535 65535|"), "{kind:?}: {hidden}");
}

fn a_terminal_has_size_and_modes_before_the_first_byte(kind: Kind) {
    // VERASE ^H, VEOF 200, VINTR ^X, ECHO off, IUTF8 on
    let modes = vec![(1, 24), (3, 8), (5, 200), (53, 0), (42, 1)];
    let line =
        "stty size; stty -a; echo \"$TERM\"; tty; echo \"$SSH_TTY\"; trap \"stty size; exit 9\" WINCH; echo ready
        while :; do sleep 0.1; done";
    let mut node = Node::start(kind, Setup::command(line).terminal(101, 37, modes));
    node.until("the trap", |node| node.text().contains("ready"));
    let said = node.text().replace('\r', "");
    assert!(said.starts_with("37 101\n"), "{said}");
    let settings: Vec<&str> = said.split([' ', '\n', ';']).collect();
    for setting in ["-echo", "iutf8", "icanon"] {
        assert!(settings.contains(&setting), "{kind:?} {setting}: {said}");
    }
    for setting in ["intr = ^X;", "erase = ^H;", "eof = M-H;"] {
        assert!(said.contains(setting), "{kind:?} {setting}: {said}");
    }
    let lines: Vec<&str> = said.lines().collect();
    let last = lines.len() - 1;
    assert!(lines[last - 3] == "xterm-256color" && lines[last - 2] == lines[last - 1], "{said}");
    node.stdout.clear();
    node.link.resize(WindowSize { cols: 66, rows: 22, x_pixels: 0, y_pixels: 0 });
    let (stdout, _, exit) = node.finish();
    assert_eq!((&stdout[..], exit), (&b"22 66\r\n"[..], Exit::Code(9)));
}

fn a_shell_on_a_terminal(kind: Kind) {
    let mut node = Node::start(kind, Setup::new(Job::Shell).terminal(80, 24, vec![]));
    // a shell throws away what is typed while it takes the terminal back, so each line waits for its prompt
    let prompted = |text: &str| text.contains("# ") || text.contains("$ ");
    node.until("a prompt", |node| prompted(&node.text()));
    // said by the job itself, which has the terminal by then
    node.input(b"sh -c \"echo run''ning; exec sleep 305\" | cat\n");
    node.until("a command that runs", |node| node.text().contains("running\r\n"));
    node.input(b"\x03");
    node.until("an interrupt", |node| node.text().split_once("running").is_some_and(|(_, after)| prompted(after)));
    node.input(b"echo $((6 * 7))\n");
    node.until("an answer", |node| node.text().contains("42\r\n"));
    node.input(b"sleep 304 & exit 3\n");
    let (stdout, _, exit) = node.finish();
    let said = String::from_utf8_lossy(&stdout);
    assert_eq!(exit, Exit::Code(3), "{said}");
    for pid in machine::processes(|pid| {
        std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == b"sleep\x00304\0")
    }) {
        signal(pid, "KILL");
    }
}

fn a_lost_in_lane_is_replaced(kind: Kind) {
    let bytes: Vec<u8> = (0..1u32 << 19).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    let mut node = Node::start(kind, Setup::command("cat"));
    for part in bytes.chunks(bytes.len() / 8 + 1) {
        node.input(part);
        node.lose_in();
    }
    node.eof();
    assert!(node.finish().0 == bytes, "{kind:?}");
}

fn a_frame_that_comes_twice_damages_nothing(kind: Kind) {
    let bytes: Vec<u8> = (0..1u32 << 18).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    let mut setup = Setup::command("cat");
    // in the middle of a record of 32 KiB, and then close to its ends
    setup.doubled = Some(30);
    let mut node = Node::start(kind, setup);
    if kind == Kind::Python {
        node.input(&bytes);
        node.eof();
        node.until("the end", |node| node.link.is_done());
        assert!(node.in_lanes > 1, "nothing was damaged");
        assert!(node.finish().0 == bytes);
    } else {
        // nothing is checked there but where a record ends: it ends in an error
        node.input(&bytes[..64 << 10]);
        node.eof();
        assert!(node.try_until("an end", |node| node.exit.is_some()).is_err());
    }
}

fn a_lost_out_lane_is_replaced_or_ends_the_command(kind: Kind) {
    let bytes: Vec<u8> = (0..1u32 << 20).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    let mut node = Node::start(kind, Setup::command("cat"));
    if kind != Kind::Python {
        node.input(&bytes[..1000]);
        node.until("an echo", |node| node.stdout.len() == 1000);
        node.lose_out();
        return node.gone();
    }
    for (round, part) in bytes.chunks(bytes.len() / 20 + 1).enumerate() {
        node.input(part);
        // in mid-stream, sometimes the way in as well
        node.lose_out();
        if round % 3 == 0 {
            node.lose_in();
        }
        node.reattach_out();
    }
    node.eof();
    assert!(node.finish().0 == bytes);
}

fn the_next_lane_says_which_were_lost_and_not_which_were_let_go_of(kind: Kind) {
    let mut node = Node::start(kind, Setup::command("cat"));
    node.input(b"a");
    node.until("an echo", |node| node.stdout.len() == 1);
    if kind != Kind::Python {
        // it takes no other, and says so
        assert!(!node.hello.take().unwrap().resumable);
        node.eof();
        return drop(node.finish());
    }
    let mut lanes = vec![node.hello.clone().unwrap()];
    for is_lost in [false, true, true, false] {
        if is_lost {
            node.lose_out();
        }
        lanes.push(node.rejoin());
    }
    let said: Vec<(u32, &[u32])> = lanes.iter().map(|hello| (hello.lane, &hello.lost[..])).collect();
    assert_eq!(said, [(0, &[][..]), (1, &[]), (2, &[1]), (3, &[1, 2]), (4, &[1, 2])]);
    node.eof();
    assert_eq!(node.finish().0, b"a");
}

fn a_directory_that_is_not_ours_is_refused(kind: Kind) {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let mut node = Node::start(kind, Setup::command("sleep 305").without_in_lane());
    node.until("the start", |node| node.hello.is_some());
    let (real, link, nothing) = (node.litter().remove(0), node.home.join("link"), node.home.join("nothing"));
    symlink(&real, &link).unwrap();
    let refused = |node: &mut Node, path: &std::path::Path| {
        node.in_lane_said.clear();
        node.attach_in_at(path.to_str().unwrap());
        node.until("a refusal", |node| node.inward.is_none());
        let said = String::from_utf8_lossy(&node.in_lane_said).into_owned();
        assert!(said.contains("gone, or not of this user"), "{kind:?}: {said}");
        assert!(!node.link.in_lane_ready());
    };
    refused(&mut node, &link);
    refused(&mut node, &nothing);
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o750)).unwrap();
    refused(&mut node, &real);
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o700)).unwrap();
    node.hang_up();
}

/// A lane that comes after the helper was killed says so, although all of its files are there.
fn a_killed_helper_is_found_gone(kind: Kind) {
    let mut node = Node::start(kind, Setup::command("echo $$; exec sleep 308").without_in_lane());
    node.until("the start", |node| node.text().ends_with('\n'));
    let real = node.litter().remove(0);
    for pid in node.processes().into_iter().chain(printed(&node)) {
        signal(pid, "KILL");
    }
    node.until("its death", |node| !node.is_running());
    node.attach_in_at(real.to_str().unwrap());
    node.until("the lane's end", |node| node.inward_has_ended());
    let said = String::from_utf8_lossy(&node.in_lane_said).into_owned();
    assert!(said.contains(std::str::from_utf8(NOBODY).unwrap()), "{kind:?}: {said}");
    std::fs::remove_dir_all(real).unwrap();
    node.gone();
}

fn what_dead_helpers_left_is_swept(kind: Kind) {
    let started = |kind: Kind, place| {
        let setup = Setup::command("echo; sleep 306").without_in_lane();
        let mut node = match place {
            Some(place) => Node::start_in(kind, setup, place),
            None => Node::start(kind, setup),
        };
        node.until("the start", |node| !node.stdout.is_empty());
        node
    };
    // busybox as Debian builds it can't try the lock of a Python helper
    let dead = if kind == Kind::Busybox { vec![Kind::Dash] } else { vec![Kind::Python, Kind::Dash] };
    let mut dead: Vec<Node> = dead.into_iter().map(|kind| started(kind, None)).collect();
    let place = dead[0].place.clone();
    dead.truncate(1);
    dead.extend([started(Kind::Bash, Some(place.clone())), started(kind, Some(place.clone()))]);
    let mut living: Vec<Node> = [Kind::Python, Kind::Dash].map(|kind| started(kind, Some(place.clone()))).into();
    for node in &mut dead {
        for pid in node.processes() {
            signal(pid, "KILL");
        }
        node.until("death", |node| !node.is_running());
        let left = node.litter();
        assert_eq!(left.len(), 1, "SIGKILL leaves a directory");
        // a young one may be about to take its lock
        std::fs::File::open(&left[0]).unwrap().set_modified(SystemTime::now() - Duration::from_secs(100)).unwrap();
    }
    for node in &living {
        std::fs::File::open(&node.litter()[0]).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    }
    living.push(started(kind, Some(place)));
    for node in &mut dead {
        assert_eq!(node.litter().len(), 0, "{kind:?} sweeps {:?}", node.kind);
    }
    for node in &mut living {
        assert_eq!(node.litter().len(), 1, "{kind:?} spares {:?}", node.kind);
    }
    for node in &mut living {
        node.hang_up();
    }
}
