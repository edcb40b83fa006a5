//! Files and output over a link that goes wrong: every byte arrives, once, and soon. The node is the faithful one, which
//! loses what AWS's agent loses, or AWS's agent itself (scripts/matrix.sh).

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use crate::harness::{Demo, foreign_node, noise, run};

const MIB: usize = 1 << 20;

/// Some seconds on a quiet machine. What is lost comes back at ten frames a second where nobody does anything about it, and
/// that takes a minute.
const SOON: Duration = Duration::from_secs(30);

/// One test for each fault.
macro_rules! over_a_link {
    ($($test:ident: $size:literal MiB, $fault:literal;)*) => { $(
        #[test]
        fn $test() { whole_both_ways($size * MIB, $fault); }
    )* };
}

over_a_link! {
    where_the_clients_websocket_is_cut: 8 MiB, "cut client after 700 frames";
    where_the_agents_websocket_is_cut: 8 MiB, "cut agent after 700 frames";
    where_the_agent_is_told_to_pause: 8 MiB, "pause after 700 frames";
    whose_service_fails_once: 1 MiB, "fail StartSession with 500";
    where_frames_come_twice: 8 MiB, "duplicate 5%";
    where_frames_overtake_each_other: 8 MiB, "reorder 5%";
    of_40_ms_each_way: 8 MiB, "latency 40ms";
    // a websocket loses no single frame, so that nobody is in a hurry to heal one
    where_one_frame_of_a_hundred_is_lost: 1 MiB, "drop 1%";
    // the agent gives up what it has not been told to have arrived
    where_two_frames_of_a_hundred_are_lost: 1 MiB, "drop 2%";
    where_two_acknowledgements_of_a_hundred_are_lost: 8 MiB, "drop 2% of acknowledgements";
}

fn whole_both_ways(size: usize, fault: &str) {
    let demo = Demo::start(&["--fault", fault, "--faithful"]);
    // whoever runs the sessions may come in
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let bytes = noise(size, 8);
    let (here, there, back) = (dir.path().join("here"), dir.path().join("there"), dir.path().join("back"));
    std::fs::write(&here, &bytes).unwrap();
    let remote = format!("demo:{}", there.display());
    let told = |what: &str| format!("{fault}: {what}");

    let down = run(demo.command("ssh").args(["demo", &format!("cat '{}'", here.display())]), b"", SOON).ok();
    assert!(down.stdout == bytes, "{}", told("output"));
    let up = run(demo.command("ssh").args(["demo", &format!("cat > '{}'", there.display())]), &bytes, SOON).ok();
    // a lane that is cut again and again is away for seconds, which is told
    let other = up.err().lines().filter(|line| !line.starts_with("portcullis: the way to the node is ")).count();
    assert!(other == 0 && std::fs::read(&there).unwrap() == bytes, "{}: {}", told("input"), up.err());
    std::fs::remove_file(&there).unwrap();
    let scp = |from: &str, to: &str| run(demo.command("scp").args(["-q", from, to]), b"", SOON).ok();
    scp(here.to_str().unwrap(), &remote);
    assert!(std::fs::read(&there).unwrap() == bytes, "{}", told("upload"));
    scp(&remote, back.to_str().unwrap());
    assert!(std::fs::read(&back).unwrap() == bytes, "{}", told("download"));
}

/// What one loss costs, beside the same copies without one. More than half of each copy is on the lane that is lost, so that the
/// one in its place has not as many frames.
#[test]
fn one_loss_costs_seconds() {
    let all_in = |fault: Option<&str>| {
        let more = fault.map_or_else(Vec::new, |fault| vec!["--fault", fault]);
        let demo = Demo::start(&[&["--faithful"], &more[..]].concat());
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let bytes = noise(8 * MIB, 9);
        let (here, there) = (dir.path().join("here"), dir.path().join("there"));
        std::fs::write(&here, &bytes).unwrap();
        let (cat, remote) = (format!("cat '{}'", here.display()), format!("demo:{}", there.display()));
        let down = run(demo.command("ssh").args(["demo", &cat]), b"", SOON).ok();
        assert!(down.stdout == bytes, "{fault:?}");
        let up = run(demo.command("scp").args(["-q", here.to_str().unwrap(), &remote]), b"", SOON).ok();
        assert!(std::fs::read(&there).unwrap() == bytes, "{fault:?}");
        if let Some(fault) = fault {
            assert!(demo.log().contains("a fault, as asked for"), "{fault}");
            // an acknowledgement that is on its way when AWS's agent is paused ends the pause, so that one may cost nothing at all
            let may_cost_nothing = foreign_node() && fault.starts_with("pause");
            assert!(may_cost_nothing || demo.log().contains("the helper has taken another lane"), "{fault}");
        }
        [down.took, up.took]
    };
    let clean = all_in(None);
    for fault in ["cut agent after 5000 frames", "cut client after 5000 frames", "pause after 5000 frames"] {
        let took = all_in(Some(fault));
        for (took, clean) in took.into_iter().zip(clean) {
            // three seconds at most where nothing else runs; what is lost is back after a minute where nobody does anything
            assert!(took < clean + Duration::from_secs(10), "{fault}: {took:?}, without it {clean:?}");
        }
    }
}
