//! A command run to its end, and what came of it.

use bytes::Bytes;

use crate::model::Exit;
use crate::testing::EmbeddedTransport;
use crate::transport::{Input, OpenChannel, Out, Output};

impl EmbeddedTransport {
    /// Runs a command to its end.
    pub(super) async fn run(&self, command: &str, stdin: &[u8]) -> Ended {
        let OpenChannel { input, output } = self.exec(command, false).await.unwrap();
        let ((), ended) = tokio::join!(feed(input, stdin), collect(output));
        ended
    }
}

#[derive(Debug, Default)]
pub(super) struct Ended {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    pub(super) exit: Option<Exit>,
    pub(super) error: Option<String>,
}

async fn feed(input: Input, bytes: &[u8]) {
    for part in bytes.chunks(32 * 1024) {
        if input.send(Bytes::copy_from_slice(part)).await.is_err() {
            return;
        }
    }
    let _ = input.eof().await;
    // keep the way in open: dropping it is no hang-up, but a client holds it to the end
    std::mem::forget(input);
}

pub(super) async fn collect(mut output: Output) -> Ended {
    let mut ended = Ended::default();
    while let Some(out) = output.deliver().await {
        match out {
            Ok(Out::Stdout(bytes)) => ended.stdout.extend_from_slice(&bytes),
            Ok(Out::Stderr(bytes)) => ended.stderr.extend_from_slice(&bytes),
            Ok(Out::Exit(exit)) => ended.exit = Some(exit),
            Err(error) => ended.error = Some(error.to_string()),
        }
    }
    ended
}

/// Bytes that do not repeat soon, with everything that the agent alters among them.
pub(super) fn awkward(size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 8);
    let mut state: u32 = 7;
    while bytes.len() < size {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.extend_from_slice(&state.to_be_bytes());
        if state.is_multiple_of(61) {
            bytes.extend_from_slice(b"\xef\xbf\xbd\x10\xff");
        }
    }
    bytes.truncate(size);
    bytes
}
