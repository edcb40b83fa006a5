//! Driving the protocol core with tokio: one task per data channel, in either role.
//!
//! ```text
//!   open(connector, role) ──▶ ChannelWriter, EventReader, status ──▶ whoever uses the session
//!                │
//!                └─ driver: socket ⇄ core ⇄ queues        (driver, queue, keepalive)
//!                       └─ lost? Connector::connect again  (reconnect)
//!                             └─ TCP, proxy, TLS, upgrade   (websocket, proxy)
//! ```
//!
//! The gateway uses it in the client's role, through [`ChannelReader`]; the embedded agent in the agent's, through
//! [`EventReader`]. What differs between the two is in their [`Connector`]s and [`ChannelOptions`].
//!
//! | file | what it is about |
//! | --- | --- |
//! | `open`, `options` | the start of a channel |
//! | `event`, `reader`, `writer` | what its user sees |
//! | `queue` | the bounded queues between user and driver |
//! | `driver`, `connection` | one task: socket ⇄ core ⇄ queues |
//! | `reconnect` | how websockets are made, and how often to try |
//! | `keepalive`, `clock` | pings, and the time |
//! | `mux_stream`, `wakers` | many streams over one channel, for ports, and who waits for one |
//! | `websocket`, `proxy`, `error` | dialling |

mod clock;
mod connection;
mod driver;
mod error;
mod event;
mod keepalive;
mod mux_stream;
mod open;
mod options;
mod proxy;
mod queue;
mod reader;
mod reconnect;
#[cfg(test)]
mod tests;
mod wakers;
mod websocket;
mod writer;

pub use clock::{Clock, sleep_until};
pub use connection::PING;
pub use error::DialError;
pub use event::{ChannelEnd, ChannelEvent, ChannelStatus, DriverEvent, Loss, Stall};
pub use keepalive::{Keepalive, Pulse};
pub use mux_stream::{MuxDriver, MuxStream, MuxStreams};
pub use open::{CLIENT_VERSION, open, open_prepared};
pub use options::ChannelOptions;
pub use proxy::ProxyRules;

pub use reader::{ChannelReader, EventReader};
pub use reconnect::{ConnectError, ConnectFuture, Connected, Connector, Finish, ReconnectPolicy};
pub(crate) use wakers::{wait, wake};
pub use websocket::{Dialer, Socket};
pub use writer::ChannelWriter;
#[cfg(test)]
pub(crate) use {queue::ChannelGone, websocket::websocket_config};
