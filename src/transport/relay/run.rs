//! The task behind a relay: between its streams and the helper's input and output.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::error::RelayError;
use super::handle::{Relay, Shared};
use crate::model::Exit;
use crate::policy::Grant;
use crate::transport::channel::{Delivery, Input, InputData, Out};
use crate::transport::helper::output_window::OutputBudget;
use crate::transport::limits::sleep_until;

/// How long a relay that has no stream keeps its lanes.
const IDLE: Duration = Duration::from_secs(60);
/// How long its helper may take to leave: targets may still have to take what was written to them.
const FAREWELL: Duration = Duration::from_secs(30);
/// What a helper exits with that has no relay.
const NO_RELAY: u32 = 78;

/// Starts the task behind a [`Relay`]. `absent` is called where the node's helper has none.
pub(in crate::transport) fn start(
    grant: Arc<Grant>,
    output: Arc<OutputBudget>,
    input: Input,
    deliveries: mpsc::Receiver<Delivery>,
    absent: impl FnOnce() + Send + 'static,
) -> Relay {
    let (relay, shared) = Relay::new(grant, output);
    tokio::spawn(async move {
        let _guard = EndGuard(Arc::clone(&shared));
        let why = run(&shared, input, deliveries).await;
        if why == RelayError::NotOnThisNode {
            absent();
        }
        shared.lock().end(why);
    });
    relay
}

/// Whatever becomes of the task, nobody waits for it.
struct EndGuard(Arc<Shared>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.lock().end(RelayError::Gone("it has ended".to_owned()));
    }
}

async fn run(shared: &Shared, input: Input, mut deliveries: mpsc::Receiver<Delivery>) -> RelayError {
    let mut idle_since = Instant::now();
    loop {
        let sends = {
            let state = shared.lock();
            if !state.mux.is_idle() {
                idle_since = Instant::now();
            }
            state.mux.has_output()
        };
        let idle_until = idle_since + IDLE;
        tokio::select! {
            delivery = deliveries.recv() => match delivery {
                Some(Delivery::Out(Out::Stdout(bytes))) => {
                    let mut state = shared.lock();
                    let taken = state.mux.handle_input(bytes);
                    state.deliver();
                    if let Err(fault) = taken {
                        return RelayError::Gone(fault.to_string());
                    }
                }
                Some(Delivery::Out(Out::Exit(Exit::Code(NO_RELAY)))) if !shared.lock().mux.is_greeted() =>
                    return RelayError::NotOnThisNode,
                Some(Delivery::Out(Out::Stderr(_) | Out::Exit(_) | Out::Notice(_))) => {}
                Some(Delivery::Failed(error)) => return RelayError::Gone(error.to_string()),
                None => return RelayError::Gone("it has ended".to_owned()),
            },
            // room first: what goes then is what is due then
            room = input.data.reserve(), if sends => {
                let Ok(room) = room else { return last_words(&mut deliveries).await };
                let mut state = shared.lock();
                let frames = state.mux.poll_transmit();
                state.deliver();
                if let Some(frames) = frames {
                    room.send(InputData::Bytes(frames));
                }
            }
            () = shared.driver.notified() => {}
            () = sleep_until(Some(idle_until)) => {}
        }
        if end_if_unused(shared, idle_until) {
            leave(input, deliveries).await;
            return RelayError::Idle;
        }
    }
}

/// Under one lock, so that nobody dials in between.
fn end_if_unused(shared: &Shared, idle_until: Instant) -> bool {
    let mut state = shared.lock();
    let is_unused = state.mux.is_idle() && (state.unheld || Instant::now() >= idle_until);
    if is_unused {
        state.end(RelayError::Idle);
    }
    is_unused
}

/// Lets the helper go, which has nothing to do any more.
async fn leave(input: Input, mut deliveries: mpsc::Receiver<Delivery>) {
    let _ = tokio::time::timeout(FAREWELL, async {
        input.eof().await.ok()?;
        while deliveries.recv().await.is_some() {}
        Some(())
    })
    .await;
}

/// Why the lanes have ended, if they say so.
async fn last_words(deliveries: &mut mpsc::Receiver<Delivery>) -> RelayError {
    while let Some(delivery) = deliveries.recv().await {
        if let Delivery::Failed(error) = delivery {
            return RelayError::Gone(error.to_string());
        }
    }
    RelayError::Gone("it has ended".to_owned())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::policy::Action;
    use crate::transport::error::TransportError;
    use crate::transport::relay::Target;
    use crate::transport::tests::node_end::{NodeEnd, Voice, channel};

    const TARGET: ([u8; 4], u16) = ([127, 0, 0, 1], 80);

    fn relay() -> (Relay, NodeEnd, Arc<std::sync::atomic::AtomicBool>) {
        let (open, end) = channel();
        let absent = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let tell = absent.clone();
        let grant = Grant::for_test("web-1", Action::Forward { host: "db".to_owned(), port: 5432 });
        let output = Arc::new(OutputBudget::new(1 << 20, 1 << 20));
        let told = move || tell.store(true, std::sync::atomic::Ordering::Relaxed);
        (start(Arc::new(grant), output, open.input, open.output.deliveries, told), end, absent)
    }

    fn target() -> Target {
        Target::Address(SocketAddr::from(TARGET))
    }

    async fn says(voice: &Voice, frames: &'static [u8]) {
        voice.say(Out::Stdout(bytes::Bytes::from_static(frames))).await;
    }

    #[tokio::test]
    async fn a_helper_without_one_is_told_from_one_that_ended() {
        let (relay, end, absent) = relay();
        let (dialled, ()) = tokio::join!(relay.dial(target()), async {
            end.voice().say(Out::Exit(Exit::Code(NO_RELAY))).await;
        });
        assert_eq!(dialled.unwrap_err(), RelayError::NotOnThisNode);
        assert_eq!(relay.resolve("db").await.unwrap_err(), RelayError::NotOnThisNode);
        assert!(absent.load(std::sync::atomic::Ordering::Relaxed));
        let (relay, end, absent) = self::relay();
        let voice = end.voice();
        says(&voice, b"V\0\0\0\0\0\0\0\x01\x01").await;
        voice.say(Out::Exit(Exit::Code(NO_RELAY))).await;
        voice.fail("the node is gone").await;
        let error = relay.dial(target()).await.unwrap_err();
        assert!(matches!(&error, RelayError::Gone(why) if why.contains("the node is gone")), "{error:?}");
        assert!(!absent.load(std::sync::atomic::Ordering::Relaxed));
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_uses_is_let_go_of_and_says_so() {
        let (relay, mut end, _) = relay();
        says(&end.voice(), b"V\0\0\0\0\0\0\0\x01\x01").await;
        tokio::time::sleep(IDLE / 2).await;
        assert_eq!(relay.ended(), None);
        tokio::time::sleep(IDLE).await;
        assert_eq!(relay.ended(), Some(RelayError::Idle));
        assert!(matches!(end.data.recv().await, Some(InputData::Eof)), "its helper was not let go of");
        assert_eq!(relay.dial(target()).await.unwrap_err(), RelayError::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_idle_keeps_it_and_its_end_is_no_clean_one() {
        let (relay, end, _) = relay();
        let voice = end.voice();
        says(&voice, b"V\0\0\0\0\0\0\0\x01\x01").await;
        let dialled = relay.dial(target());
        let (stream, ()) = tokio::join!(dialled, async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            says(&voice, b"O\0\0\0\x01\0\0\0\x08\0\0\0\0\0\x01\0\0D\0\0\0\x01\0\0\0\x02hi").await;
        });
        let mut stream = stream.unwrap();
        tokio::time::sleep(IDLE * 3).await;
        assert_eq!(relay.ended(), None);
        voice.say(Out::Stderr(bytes::Bytes::new())).await;
        voice.fail(&TransportError::Gone.to_string()).await;
        let mut heard = Vec::new();
        let error = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut heard).await.unwrap_err();
        assert_eq!((&heard[..], error.kind()), (&b"hi"[..], std::io::ErrorKind::ConnectionAborted));
    }

    #[tokio::test]
    async fn what_is_no_relay_s_ends_it() {
        let (relay, end, _) = relay();
        let voice = end.voice();
        let (dialled, ()) = tokio::join!(relay.dial(target()), says(&voice, b"HTTP/1.1 200 OK"));
        let error = dialled.unwrap_err();
        assert!(matches!(&error, RelayError::Gone(why) if why.contains("relay sent")), "{error:?}");
    }
}
