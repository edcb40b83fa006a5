//! A helper that is gone, and its session's worker with it: nobody is left to say so.

use std::time::{Duration, Instant};

use super::ended::{collect, next_of};
use super::watched::Slow;
use crate::emulator::faults::{Effect, FrameFault, Frames};
use crate::testing::EmbeddedTransport;
use crate::transport::{OpenChannel, Out, TransportOptions};

/// The processes of this node, by a variable that all of them but the command's own inherit.
fn processes(runtime: &std::path::Path) -> Vec<(i32, String)> {
    let place = format!("XDG_RUNTIME_DIR={}", runtime.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let read = |file: &str| std::fs::read(entry.path().join(file)).unwrap_or_default();
        if read("environ").split(|byte| *byte == 0).any(|variable| variable == place.as_bytes()) {
            found.push((pid, String::from_utf8_lossy(&read("cmdline")).into_owned()));
        }
    }
    found
}

fn send(pid: i32, signal: rustix::process::Signal) {
    let _ = rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_helper_that_is_gone_without_a_word_of_anybody_is_told_of_in_its_own_sentence() {
    use rustix::process::Signal;
    for command in ["echo here; exec sleep 987648", "echo here; while :; do sleep 0.1; echo x; done"] {
        let mut embedded = EmbeddedTransport::fast().await;
        let backend = embedded.watch(Slow::default(), TransportOptions::default());
        let OpenChannel { input, mut output } = embedded.exec(command, true).await.unwrap();
        assert!(matches!(next_of(&mut output).await, Some(Ok(Out::Stdout(_)))));
        // as where the worker is killed: what its lanes carry comes nowhere, and their end is told by nobody
        for session in backend.opened() {
            let (session, frames, effect) = (Some(session.to_string()), Frames::All, Effect::Drop);
            embedded.service.faults().inject(FrameFault { session, towards: None, frames, percent: 100.0, effect });
        }
        let all = processes(&embedded.service.runtime_directory());
        let (lanes, helpers): (Vec<_>, Vec<_>) =
            all.iter().partition(|(_, line)| line.starts_with("sh\0-c\0read code"));
        assert!(!lanes.is_empty() && !helpers.is_empty(), "{all:?}");
        lanes.iter().for_each(|(pid, _)| send(*pid, Signal::STOP));
        helpers.iter().for_each(|(pid, _)| send(*pid, Signal::KILL));
        let began = Instant::now();
        let ended = collect(output).await;
        let took = began.elapsed();
        drop(input);
        let error = ended.error.unwrap_or_default();
        assert!(error.contains("helper on the node is gone"), "{command}: {error}");
        // at most ten seconds, and what a busy machine needs
        assert!(took < Duration::from_secs(15), "{command}: {took:?}");
        lanes.iter().for_each(|(pid, _)| send(*pid, Signal::KILL));
        let left = std::process::Command::new("pkill").args(["-f", "sleep 987648"]).status();
        assert!(left.is_ok());
    }
}
