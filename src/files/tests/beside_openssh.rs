//! The same copies against this server and against OpenSSH's own scp: `tests/differential/scp.py` draws them from a seed and
//! compares what both say and leave behind. A few here, for every run of the tests; thousands on request:
//!
//! ```text
//! PORTCULLIS_SCP_CASES=5000 PORTCULLIS_SCP_SEED=1000 cargo nextest run --features testing beside_openssh
//! ```

use std::process::Stdio;

use super::servers::FileServers;
use crate::config::Helper;
use crate::emulator::agent::Fidelity;
use crate::testing::{EmbeddedTransport, text};
use crate::transport::TransportOptions;

async fn compare(servers: &FileServers, kind: &[&str], cases: u32) {
    let number = |name: &str, default: u32| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (cases, seed) = (number("PORTCULLIS_SCP_CASES", cases), number("PORTCULLIS_SCP_SEED", 1));
    let mut script = tokio::process::Command::new("python3");
    script.arg("tests/differential/scp.py").arg("--ours").arg(servers.bridge()).arg("--home").arg(servers.home.path());
    script.args(kind).args(["--cases", &cases.to_string(), "--seed", &seed.to_string()]);
    script.env("BRIDGE_SOCKET", servers.socket()).current_dir(env!("CARGO_MANIFEST_DIR"));
    script.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let ran = script.output().await.unwrap();
    assert!(ran.status.success(), "{}{}", text(&ran.stdout), text(&ran.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_as_openssh_makes_them() {
    compare(&FileServers::new(), &["--relative"], 60).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_faster_helper_copies_as_openssh_does() {
    over_lanes(Helper::Auto, 15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sh_helper_copies_as_openssh_does() {
    over_lanes(Helper::Sh, 10).await;
}

async fn over_lanes(helper: Helper, cases: u32) {
    let options = TransportOptions { helper, ..TransportOptions::default() };
    let embedded = EmbeddedTransport::new(Fidelity::Fast, options).await;
    let servers = FileServers::with_service(tempfile::tempdir().unwrap(), embedded.files().await, Default::default());
    compare(&servers, &[], cases).await;
}
