//! Programs run to their end, and what they said.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use tokio::process::Command;

/// Runs a command to its end, but not for ever.
pub(crate) async fn finish(mut command: Command) -> Output {
    let output = tokio::time::timeout(Duration::from_secs(60), command.output()).await;
    output.expect("it did not come to its end").unwrap()
}

pub(crate) async fn keygen(path: &Path, kind: &[&str]) {
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-N", "", "-f"]).arg(path).args(kind);
    assert!(keygen.status().await.unwrap().success());
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Fails with what the client said, unless it was content.
#[track_caller]
pub(crate) fn content(output: &Output) -> String {
    assert!(output.status.success(), "{:?}: {}{}", output.status, text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// Fails if the client was content; gives what it said otherwise.
#[track_caller]
pub(crate) fn complaint(output: &Output) -> String {
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(!output.status.success(), "{said}");
    said
}
