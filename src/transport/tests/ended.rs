//! A command run to its end, and what came of it.

use bytes::Bytes;

use crate::model::Exit;
use crate::testing::EmbeddedTransport;
use crate::transport::{Input, OpenChannel, Out, Output, TransportError};

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
    pub(super) notices: Vec<&'static str>,
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

/// The next thing that the node says. What is told of the way meanwhile depends on how busy this machine is.
pub(super) async fn next_of(output: &mut Output) -> Option<Result<Out, TransportError>> {
    loop {
        match output.deliver().await {
            Some(Ok(Out::Notice(_))) => {}
            said => return said,
        }
    }
}

pub(super) async fn collect(mut output: Output) -> Ended {
    let mut ended = Ended::default();
    while let Some(out) = output.deliver().await {
        match out {
            Ok(Out::Stdout(bytes)) => ended.stdout.extend_from_slice(&bytes),
            Ok(Out::Stderr(bytes)) => ended.stderr.extend_from_slice(&bytes),
            Ok(Out::Exit(exit)) => ended.exit = Some(exit),
            Ok(Out::Notice(sentence)) => ended.notices.push(sentence),
            Err(error) => ended.error = Some(error.to_string()),
        }
    }
    ended
}
