//! This process, for tests that measure it.

use std::process::Stdio;

use tokio::process::Command;

use crate::testing::{finish, text};

/// For tests that measure this process: runs the test once more, alone in a process of its own. True there, and false
/// here, after it has passed there.
pub(super) async fn alone(test: &str) -> bool {
    const ALONE: &str = "PORTCULLIS_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", test, "--test-threads=1"]).env(ALONE, "1");
    let ran = finish({
        again.stdout(Stdio::piped()).stderr(Stdio::piped());
        again
    })
    .await;
    let output = text(&ran.stdout);
    assert!(ran.status.success() && output.contains("1 passed"), "{output}{}", text(&ran.stderr));
    false
}

/// This process's memory in bytes.
pub(super) fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
