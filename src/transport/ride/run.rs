//! The task behind a command that shares its helper: between its stream and its client.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::time::Instant;

use crate::policy::Grant;
use crate::transport::channel::{Client, Control, Delivery, InputData, Out, send_final};
use crate::transport::error::TransportError;
use crate::transport::helper::codec::{encode_plain, next_plain};
use crate::transport::helper::deflate::Data;
use crate::transport::helper::link::LinkError;
use crate::transport::helper::record::{FromNode, RecordError, ToNode};
use crate::transport::lanes::LaneError;
use crate::transport::limits::{Clock, Limits, sleep_until};
use crate::transport::relay::{Relay, RelayError, RelayStream};

/// How much input the node takes before it has allowed any more.
const FIRST_INPUT: u64 = 512 * 1024;
/// So much may wait for the stream before more is taken from the client.
const MOST_WAITING: usize = 64 * 1024;

/// A command that has begun.
#[derive(Debug)]
pub(super) struct Ride {
    reader: ReadHalf<RelayStream>,
    writer: WriteHalf<RelayStream>,
    relay: Relay,
    /// What is to be sent next.
    outbox: BytesMut,
    said: Said,
    input: Input,
    clock: Clock,
    grant: Arc<Grant>,
}

/// What the node has said of one command.
#[derive(Debug, Default)]
pub struct Said {
    /// What came, and is not looked at or not whole.
    pub inbox: BytesMut,
    /// What the client has not taken yet.
    waiting: VecDeque<Out>,
    stdout: u64,
    stderr: u64,
    has_exit: bool,
    done: bool,
    /// How much input it takes in all.
    allowed: u64,
}

/// The client's input on its way.
#[derive(Debug)]
struct Input {
    allowed: u64,
    sent: u64,
    /// What is not allowed yet.
    held: Bytes,
}

/// How it comes to its end.
#[derive(Debug)]
enum End {
    /// The node has said everything, and the client has taken it.
    Complete,
    /// Nobody listens any more: the command is hung up.
    ClientGone,
    Failed(TransportError),
}

/// Carries a command to its end.
pub(super) async fn run(mut ride: Ride, mut client: Client) {
    match ride.drive(&mut client).await {
        // behind what was written; the other end is over by itself
        End::Complete => drop(ride.writer.shutdown().await),
        // the stream is dropped, and so reset: the node hangs up what runs behind it
        End::ClientGone => {}
        End::Failed(error) => send_final(client.deliveries.clone(), vec![Delivery::Failed(error)]),
    }
}

impl Ride {
    /// On a stream that is there. `outbox` is what was not sent yet of what the command is to be.
    pub(super) fn new(relay: Relay, stream: RelayStream, outbox: BytesMut, clock: Clock, grant: Arc<Grant>) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self { reader, writer, relay, outbox, said: Said::default(), input: Input::default(), clock, grant }
    }

    async fn drive(&mut self, client: &mut Client) -> End {
        loop {
            self.clock.keep_to(Limits::of(&self.grant));
            if let Some(limit) = self.clock.over(Instant::now()) {
                return End::Failed(limit.into());
            }
            if self.said.done && self.said.waiting.is_empty() {
                return End::Complete;
            }
            self.input.release(&mut self.outbox);
            if let Some(end) = self.step(client).await {
                return end;
            }
        }
    }

    /// Waits for the next thing to happen, and does what there is to do about it.
    async fn step(&mut self, client: &mut Client) -> Option<End> {
        let Self { reader, writer, outbox, clock, said, input, .. } = self;
        let has_room = outbox.len() < MOST_WAITING;
        let takes_input = has_room && input.held.is_empty() && (!client.data.is_closed() || !client.data.is_empty());
        let takes_control = has_room && (!client.control.is_closed() || !client.control.is_empty());
        let is_taken = said.waiting.is_empty();
        let read = tokio::select! {
            // what is here goes out before more comes in
            biased;
            permit = client.deliveries.reserve(), if !is_taken => {
                let Ok(permit) = permit else { return Some(End::ClientGone) };
                if let Some(out) = said.waiting.pop_front() {
                    clock.touch(Instant::now());
                    permit.send(Delivery::Out(out));
                }
                return None;
            }
            // before data: a signal or a size is for now, however much input waits
            control = client.control.recv(), if takes_control => {
                let record = match control? {
                    Control::Resize(size) => ToNode::Size(size),
                    Control::Signal(name) => ToNode::Signal(name),
                    Control::CloseOutput => ToNode::CloseOutput,
                };
                encode_plain(&record, outbox);
                return None;
            }
            // one that is given up has written nothing; an error shows in reading
            Ok(written) = writer.write(outbox), if !outbox.is_empty() => {
                outbox.advance(written);
                return None;
            }
            data = client.data.recv(), if takes_input => {
                clock.touch(Instant::now());
                match data? {
                    InputData::Bytes(bytes) => input.held = bytes,
                    InputData::Eof => encode_plain(&ToNode::StdinEnd(input.sent), outbox),
                }
                return None;
            }
            // one that is given up has read nothing. What the client does not take holds up this stream, and no other
            read = reader.read_buf(&mut said.inbox), if is_taken => read,
            () = client.deliveries.closed(), if is_taken => return Some(End::ClientGone),
            () = sleep_until(clock.deadline()) => return None,
        };
        self.handle_read(read).err().map(End::Failed)
    }

    fn handle_read(&mut self, read: io::Result<usize>) -> Result<(), TransportError> {
        // as with any end that is none: what was said before it counts, and how the command ended is not known
        if !matches!(read, Ok(1..)) {
            return Err(match self.relay.ended() {
                Some(RelayError::Gone(why)) => TransportError::HelperLost(why),
                _ => LaneError::HelperGone { said: String::new() }.into(),
            });
        }
        let taken = self.said.handle_inbox();
        taken.map_err(|error| LaneError::Helper { error, said: String::new() })?;
        self.input.allowed = self.input.allowed.max(self.said.allowed);
        Ok(())
    }
}

impl Said {
    /// Looks at what came.
    pub fn handle_inbox(&mut self) -> Result<(), LinkError> {
        while let Some(record) = next_plain(&mut self.inbox)? {
            self.handle(record)?;
        }
        Ok(())
    }

    fn handle(&mut self, record: FromNode) -> Result<(), LinkError> {
        match record {
            _ if self.done => return Err(RecordError::Malformed("a word after the last").into()),
            FromNode::Stdout(Data::Plain(bytes)) => {
                self.stdout += bytes.len() as u64;
                self.waiting.push_back(Out::Stdout(bytes));
            }
            FromNode::Stderr(Data::Plain(bytes)) => {
                self.stderr += bytes.len() as u64;
                self.waiting.push_back(Out::Stderr(bytes));
            }
            FromNode::StdoutEnd(total) if total == self.stdout => {}
            FromNode::StderrEnd(total) if total == self.stderr => {}
            FromNode::StdoutEnd(_) => return Err(LinkError::Incomplete("standard output")),
            FromNode::StderrEnd(_) => return Err(LinkError::Incomplete("standard error")),
            FromNode::Exit(exit) => {
                self.has_exit = true;
                self.waiting.push_back(Out::Exit(exit));
            }
            FromNode::State { credit, .. } => self.allowed = credit,
            FromNode::Fault(why) => return Err(LinkError::Fault(why)),
            FromNode::Done if self.has_exit => self.done = true,
            FromNode::Done => return Err(LinkError::Incomplete("how the command ended")),
            _ => return Err(RecordError::Malformed("what no command says").into()),
        }
        Ok(())
    }
}

impl Default for Input {
    fn default() -> Self {
        Self { allowed: FIRST_INPUT, sent: 0, held: Bytes::new() }
    }
}

impl Input {
    /// Has as much sent as is allowed.
    fn release(&mut self, outbox: &mut BytesMut) {
        let allowed = usize::try_from(self.allowed.saturating_sub(self.sent)).unwrap_or(usize::MAX);
        let part = self.held.split_to(self.held.len().min(allowed));
        if !part.is_empty() {
            self.sent += part.len() as u64;
            encode_plain(&ToNode::Stdin(part), outbox);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Exit;

    fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
        [&[kind][..], &u32::try_from(payload.len()).unwrap().to_be_bytes(), payload].concat()
    }

    fn total(kind: u8, bytes: u64) -> Vec<u8> {
        record(kind, &bytes.to_be_bytes())
    }

    fn whole() -> Vec<u8> {
        let exit = record(b'X', &[0, 0, 0, 0, 7, 0]);
        let credit = record(b'A', &[0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0]);
        [record(b'o', b"out"), credit, record(b'e', b"no"), total(b'O', 3), exit, total(b'E', 2), record(b'Q', b"")]
            .concat()
    }

    fn heard(pieces: &[&[u8]]) -> Result<Said, LinkError> {
        let mut said = Said::default();
        for piece in pieces {
            said.inbox.extend_from_slice(piece);
            said.handle_inbox()?;
        }
        Ok(said)
    }

    #[test]
    fn what_is_not_all_there_was_is_told_from_an_end() {
        let said = heard(&[&whole()]).unwrap();
        let out = [Out::Stdout("out".into()), Out::Stderr("no".into()), Out::Exit(Exit::Code(7))];
        assert!(said.done && said.waiting.iter().eq(&out));
        assert_eq!(said.allowed, 1 << 20);
        for lost in [
            [record(b'o', b"out"), total(b'O', 4)].concat(),
            [record(b'e', b"out"), total(b'E', 2)].concat(),
            record(b'Q', b""),
            [whole(), record(b'o', b"more")].concat(),
            record(b'F', b"no room"),
            record(b'H', b""),
            record(b'R', &[0; 8]),
            b"o\x7f\0\0\0".to_vec(),
        ] {
            assert!(heard(&[&lost]).is_err(), "{lost:?}");
        }
    }

    #[test]
    fn input_goes_as_far_as_it_is_allowed() {
        let mut input = Input { allowed: 4, sent: 0, held: Bytes::from_static(b"sixsix") };
        let mut outbox = BytesMut::new();
        input.release(&mut outbox);
        input.release(&mut outbox);
        assert_eq!(outbox, record(b'i', b"sixs"));
        input.allowed = 100;
        input.release(&mut outbox);
        assert_eq!(
            (outbox, input.sent),
            (BytesMut::from(&[record(b'i', b"sixs"), record(b'i', b"ix")].concat()[..]), 6)
        );
    }

    proptest! {
        #[test]
        fn it_may_come_in_any_pieces(cut in 1usize..40) {
            let whole = whole();
            let said = heard(&whole.chunks(cut).collect::<Vec<_>>()).unwrap();
            prop_assert!(said.done && said.waiting.len() == 3);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 1usize..70) {
            let pieces: Vec<&[u8]> = bytes.chunks(cut).collect();
            prop_assert_eq!(heard(&pieces).is_err(), heard(&[&bytes]).is_err());
        }
    }
}
