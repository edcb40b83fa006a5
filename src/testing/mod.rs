//! What the tests of several rooms stand on. What only one room's tests use is in that room's `tests` folder.
//!
//! ```text
//!   EmbeddedTransport ── lanes ──▶ AwsBackend ── as in the cloud ──▶ EmbeddedService (with its agent)
//!   TestGateway ── without lanes ──▶ ShellNode ──▶ this machine's sh, local_service
//! ```

mod clients;
mod embedded_service;
mod embedded_transport;
mod gateway;
mod moto;
mod node_files;
mod open_id;
mod samples;
mod sftp_server;
mod shell_node;

pub(crate) use crate::transport::tests::node_end;
pub(crate) use clients::{complaint, content, finish, keygen, text};
pub(crate) use embedded_service::{EmbeddedService, NODE, PATIENCE};
pub(crate) use embedded_transport::EmbeddedTransport;
pub(crate) use gateway::{Elsewhere, SOON, TestGateway};
pub(crate) use moto::{Moto, encryption, keys_at};
pub(crate) use node_files::{OperationLog, local_service, local_service_under};
pub(crate) use open_id::OpenId;
pub(crate) use samples::{awkward, long_ago, noise};
pub(crate) use sftp_server::{Carrier, SftpServer, every_carrier};
pub(crate) use shell_node::{ShellNode, TwoNodes};
