//! What whoever waits for a way to a node hears meanwhile.

use tokio::sync::mpsc;

/// Something to hear before there is a way, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It is allowed, and a way is being opened: what the client sends will be wanted.
    Allowed,
    /// The way has to wait; the sentence is the person's.
    Waits(String),
}

/// Brings the news for as long as somebody wants to hear them; the default one has nobody to bring them to.
#[derive(Clone, Debug, Default)]
pub struct Herald(Option<mpsc::Sender<News>>);

/// News that may wait for whoever listens; there are two of a session.
const KEPT: usize = 4;

impl Herald {
    /// A herald, and where the news come.
    pub fn new() -> (Self, mpsc::Receiver<News>) {
        let (sender, receiver) = mpsc::channel(KEPT);
        (Self(Some(sender)), receiver)
    }

    /// Never waits: a listener that does not listen misses it.
    pub fn bring(&self, news: News) {
        if let Some(sender) = &self.0 {
            let _ = sender.try_send(news);
        }
    }

    /// Waits until nobody wants to hear any more: whoever asked for the way has gone, and it need not be opened.
    pub async fn unheard(&self) {
        match &self.0 {
            Some(sender) => sender.closed().await,
            None => std::future::pending().await,
        }
    }
}
