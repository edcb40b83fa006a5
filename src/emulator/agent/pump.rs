//! Output from its source to the wire, at the pace of the real agent or at our own.
//!
//! ```text
//!   terminal, file   paused: wait   read ─▶ utf8 ─▶ send ─▶ rest      an error is an end
//!   pipe             paused: give up for good, the pipe stays full    no rest, and while it sends a pause is not overlooked
//!   port             paused: wait   read ─────────▶ send ─▶ rest      an error is an error
//! ```

use std::time::Duration;

use bytes::{BufMut as _, BytesMut};
use portcullis_protocol::PayloadType;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::Instant;

use super::manner::Manner;
use super::utf8::Utf8Stage;
use super::wire::{Gone, Wire};

/// Keeps the average time from frame to frame, although a timer may be late by a millisecond.
#[derive(Debug)]
pub(super) struct Pace {
    each: Option<Duration>,
    next: Instant,
}

impl Pace {
    pub(super) fn new(manner: &Manner) -> Self {
        Self { each: manner.pace, next: Instant::now() }
    }

    pub(super) async fn rest(&mut self) {
        let Some(each) = self.each else { return };
        let now = Instant::now();
        // a source that was quiet has no claim on the time it did not use
        self.next = (self.next + each).max(now.checked_sub(each * 4).unwrap_or(now));
        if self.next > now {
            tokio::time::sleep_until(self.next).await;
        }
    }
}

/// A terminal's or a file's output until its end.
pub(super) async fn pump_text(mut source: impl AsyncRead + Unpin, wire: &Wire, manner: &Manner) -> Result<(), Gone> {
    let mut stage = Utf8Stage::default();
    let mut pace = Pace::new(manner);
    loop {
        wire.until_active().await?;
        let mut buffer = stage.buffer(manner.payload);
        match read(&mut source, &mut buffer, manner.payload).await {
            // a terminal whose other end is gone reports an error, and that is its end
            Ok(0) | Err(_) => return Ok(()),
            Ok(_) => {}
        }
        wire.send(PayloadType::Output, stage.pass(buffer)).await?;
        pace.rest().await;
    }
}

/// How a pipe's pump ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PipeEnd {
    /// Everything was read and sent.
    Eof,
    /// It could not go on: publication was paused when it wanted to read, or the wire has gone.
    Broken,
}

/// One stream of a command with separate streams.
pub(super) async fn pump_pipe(
    source: &mut (impl AsyncRead + Unpin),
    kind: PayloadType,
    prefix: &str,
    wire: &Wire,
    manner: &Manner,
) -> PipeEnd {
    let mut stage = Utf8Stage::default();
    let room = manner.payload - prefix.len();
    let mut at_line_start = true;
    let mut pauses = wire.pauses();
    loop {
        // The real one looks at the same place, and at a flag that the next acknowledgement clears: when both come at once,
        // it is chance whether it sees the pause. Here it does.
        if wire.is_paused() || wire.pauses() != pauses {
            tracing::debug!(?kind, "publication is paused: the stream is given up");
            return PipeEnd::Broken;
        }
        // the prefix goes behind what was held back of the last chunk
        let mut buffer = stage.buffer(prefix.len() + room);
        if at_line_start {
            buffer.extend_from_slice(prefix.as_bytes());
        }
        match read(source, &mut buffer, room).await {
            Ok(0) => return PipeEnd::Eof,
            Ok(_) => {}
            Err(_) => return PipeEnd::Broken,
        }
        // what came and went while the source was silent has harmed nobody
        pauses = wire.pauses();
        at_line_start = buffer.last() == Some(&b'\n');
        if wire.send(kind, stage.pass(buffer)).await.is_err() {
            return PipeEnd::Broken;
        }
    }
}

/// Appends one read of at most `room` bytes.
pub(super) async fn read(
    source: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    room: usize,
) -> std::io::Result<usize> {
    source.read_buf(&mut buffer.limit(room)).await
}
