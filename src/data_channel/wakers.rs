//! Who waits for something, one at a time: the one slot of a reader or a writer.

use std::task::{Context, Waker};

/// Whoever polls now is the one to be woken.
pub(crate) fn wait(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        none => *none = Some(cx.waker().clone()),
    }
}

/// Wakes whoever waits.
pub(crate) fn wake(slot: &mut Option<Waker>) {
    if let Some(waker) = slot.take() {
        waker.wake();
    }
}
