//! A channel whose node is the test.

use tokio::sync::mpsc;

use crate::transport::channel::{Control, Delivery, Input, InputData, OpenChannel, Out, Output};
use crate::transport::error::TransportError;
use crate::transport::limits::Lifetime;

/// The node's end of a channel.
pub(crate) struct NodeEnd {
    pub(crate) data: mpsc::Receiver<InputData>,
    pub(crate) control: mpsc::Receiver<Control>,
    says: mpsc::Sender<Delivery>,
}

impl NodeEnd {
    /// Something that says things to the channel.
    pub(crate) fn voice(&self) -> Voice {
        Voice(self.says.clone())
    }
}

/// The node's way to say something.
#[derive(Clone)]
pub(crate) struct Voice(mpsc::Sender<Delivery>);

impl Voice {
    /// Says it; false when nobody listens any more.
    pub(crate) async fn say(&self, out: Out) -> bool {
        self.0.send(Delivery::Out(out)).await.is_ok()
    }

    /// The channel breaks.
    pub(crate) async fn fail(&self, text: &str) {
        let _ = self.0.send(Delivery::Failed(TransportError::ShellLost(text.to_owned()))).await;
    }

    /// Waits until nobody listens any more.
    pub(crate) async fn closed(&self) {
        self.0.closed().await;
    }
}

/// A channel with both its ends.
pub(crate) fn channel() -> (OpenChannel, NodeEnd) {
    let (input, data) = mpsc::channel(4);
    let (commands, control) = mpsc::channel(4);
    let (says, deliveries) = mpsc::channel(4);
    let output = Output { deliveries, lifetime: Lifetime::for_test(None).1 };
    let open = OpenChannel { input: Input { data: input, control: commands }, output };
    (open, NodeEnd { data, control, says })
}
