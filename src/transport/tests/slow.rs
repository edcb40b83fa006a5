//! A node that is busy or small: whatever a session starts there takes half a minute, and that is all.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::ended::{collect, next_of};
use crate::config::Rung;
use crate::model::Exit;
use crate::testing::{EmbeddedService, EmbeddedTransport};
use crate::transport::{OpenChannel, Out, TransportOptions};

/// Longer than anything was ever waited for before a lane had bounds of its own, and shorter than those.
const SLOW: Duration = Duration::from_secs(31);

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_needs_half_a_minute_for_a_lane_loses_no_command() {
    let tools = tempfile::tempdir().unwrap();
    let busy = tools.path().join("busy");
    let shell = tools.path().join("sh");
    // once for each session, however many shells there are in a row
    let wait = format!("[ -n \"$WAITED\" ] || [ ! -e '{}' ] || sleep {}", busy.display(), SLOW.as_secs());
    let text = format!("#!/bin/sh\n{wait}\nexport WAITED=1\nexec /bin/sh \"$@\"\n");
    std::fs::write(&shell, text).unwrap();
    std::fs::set_permissions(&shell, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", tools.path().display());
    let service = EmbeddedService::builder().with_path(path.into()).start().await;
    let options = TransportOptions { rung: Some(Rung::TwoLanes), ..TransportOptions::default() };
    let embedded = EmbeddedTransport::to(service, "{}", options).await;

    // one command runs, and will want a way in
    let OpenChannel { input, mut output } = embedded.exec("echo here; cat; exit 3", false).await.unwrap();
    assert_eq!(next_of(&mut output).await.unwrap().unwrap(), Out::Stdout(Bytes::from_static(b"here\n")));
    std::fs::write(&busy, "").unwrap();
    let began = Instant::now();
    let first = async {
        input.send(Bytes::from_static(b"there\n")).await.unwrap();
        input.eof().await.unwrap();
        collect(output).await
    };
    // another is only to begin
    let second = async {
        let OpenChannel { input, output } = embedded.exec("echo late; exit 4", true).await.unwrap();
        let ended = collect(output).await;
        drop(input);
        ended
    };
    let (first, second) = tokio::join!(first, second);
    assert!(began.elapsed() >= SLOW, "the node was not slow");
    assert_eq!((&first.stdout[..], first.exit, first.error), (&b"there\n"[..], Some(Exit::Code(3)), None));
    assert_eq!((&second.stdout[..], second.exit, second.error), (&b"late\n"[..], Some(Exit::Code(4)), None));
    std::fs::remove_file(busy).unwrap();
    assert!(embedded.litter().await.is_empty());
}
