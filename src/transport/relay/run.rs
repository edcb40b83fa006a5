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
/// How long its helper may take to leave.
const FAREWELL: Duration = Duration::from_secs(10);
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
                if let Some(frames) = shared.lock().mux.poll_transmit() {
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
