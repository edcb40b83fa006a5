//! The client matrix: the programs and libraries that people have, driven at a gateway by `scripts/clients.sh`, a group to a test. A line that
//! should work and does not fails its test, and so does one that the README's table does not have as it came out.

use std::process::Command;
use std::time::Duration;

use crate::harness::{PORTCULLIS, run};

/// A group takes two minutes on two idle cores at most; nextest's own bound is for this as well.
const PATIENCE: Duration = Duration::from_secs(540);

fn group(name: &str) {
    let mut matrix = Command::new("scripts/clients.sh");
    matrix.args(["--binary", PORTCULLIS, "--only", name, "--check"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let run = run(&mut matrix, b"", PATIENCE);
    // what was skipped, and why, is in what is kept of a test that passed
    eprintln!("{}", run.out());
    run.ok();
}

macro_rules! each_group {
    ($($name:ident)*) => {
        $(#[test] fn $name() { group(stringify!($name)); })*

        #[test]
        fn no_group_is_left_out() {
            let listed = run(Command::new("scripts/clients.sh").arg("--list"), b"", PATIENCE).ok().out();
            let groups: Vec<_> = listed.lines().filter_map(|line| Some(line.split_once(": ")?.0)).collect();
            assert_eq!(groups, [$(stringify!($name)),*]);
        }
    };
}

each_group! { openssh putty python others java files ansible editors }
