//! Who is being asked for a second factor now. One question is open at most for a person with a key at an address; their other
//! connections wait for its end, so that a program that dials five times has its person asked once.
//!
//! ```text
//!  first dial   ──▶ Question ── answered, or given up ──▶ dropped
//!  later dials  ──▶ Waiting ───────────────────────────────▶ over: remembered, or the next to ask
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::identity::Asker;

/// The questions of all connections; as many as connections at most.
#[derive(Clone, Debug, Default)]
pub(in crate::gateway) struct Questions(Arc<Mutex<HashMap<Asker, watch::Receiver<()>>>>);

/// What a connection does that needs an answer.
#[derive(Debug)]
pub(in crate::gateway) enum Turn {
    /// It asks.
    Ask(Question),
    /// Another one asks.
    Wait(Waiting),
}

/// The right to ask; whoever waits learns of its end when it is dropped.
#[derive(Debug)]
pub(in crate::gateway) struct Question {
    questions: Questions,
    asker: Asker,
    /// What others wait for is that this is gone.
    _end: watch::Sender<()>,
}

/// The end of another connection's question.
#[derive(Debug)]
pub(in crate::gateway) struct Waiting(watch::Receiver<()>);

impl Questions {
    /// Whether this connection asks.
    pub(in crate::gateway) fn turn(&self, asker: Asker) -> Turn {
        let mut open = self.open();
        if let Some(end) = open.get(&asker) {
            return Turn::Wait(Waiting(end.clone()));
        }
        let (sender, receiver) = watch::channel(());
        open.insert(asker.clone(), receiver);
        Turn::Ask(Question { questions: self.clone(), asker, _end: sender })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Asker, watch::Receiver<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Question {
    /// What the client shows. Programs that fill codes in know these words.
    pub(in crate::gateway) fn prompt(&self) -> &'static str {
        "Verification code: "
    }
}

impl Drop for Question {
    /// Out of the list before its end is told, which the fields' own end does: whoever hears of it may ask.
    fn drop(&mut self) {
        self.questions.open().remove(&self.asker);
    }
}

impl Waiting {
    /// Whether it has come, or comes in this time.
    pub(in crate::gateway) async fn is_over(&mut self, within: Duration) -> bool {
        // nothing is ever sent: what comes is the sender's end
        tokio::time::timeout(within, async { while self.0.changed().await.is_ok() {} }).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_asks_and_the_next_when_it_has_gone() {
        let questions = Questions::default();
        let [ada, bob] = ["ada", "bob"].map(Asker::for_test);
        let Turn::Ask(first) = questions.turn(ada.clone()) else { panic!("the first asks") };
        let Turn::Ask(_others) = questions.turn(bob) else { panic!("another's") };
        let Turn::Wait(mut second) = questions.turn(ada.clone()) else { panic!("the second waits") };
        let Turn::Wait(mut third) = questions.turn(ada.clone()) else { panic!("the third as well") };
        assert!(!second.is_over(Duration::from_secs(5)).await);
        let heard = tokio::spawn(async move { second.is_over(Duration::from_secs(5)).await });
        tokio::task::yield_now().await;
        drop(first);
        assert!(heard.await.unwrap() && third.is_over(Duration::ZERO).await);
        let Turn::Ask(_) = questions.turn(ada) else { panic!("it is the next one's turn") };
        assert_eq!(questions.open().len(), 1, "what is over is in no list");
    }
}
