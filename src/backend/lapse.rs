//! That a person's credentials end and others can't be had: whoever holds a lane of theirs hears of it.

use tokio::sync::watch;

use super::BackendError;

/// Tells of the end of what a lane is held with.
#[derive(Clone, Debug, Default)]
pub struct Lapse(Option<watch::Receiver<Option<BackendError>>>);

impl Lapse {
    /// One, and where to tell of it.
    pub(crate) fn new() -> (watch::Sender<Option<BackendError>>, Self) {
        let (sender, receiver) = watch::channel(None);
        (sender, Self(Some(receiver)))
    }

    /// Waits until it is so: why. For ever, where the lane is the gateway's own.
    pub async fn told(&mut self) -> BackendError {
        if let Some(receiver) = &mut self.0
            && let Ok(told) = receiver.wait_for(Option::is_some).await
            && let Some(why) = &*told
        {
            return why.clone();
        }
        std::future::pending().await
    }
}
