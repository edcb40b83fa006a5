//! Files by a node's own SFTP server: its `sftp` subsystem is one more session channel, of which the gateway's file service is the client.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::begin::What;
use super::open::carry;
use crate::config::Rung;
use crate::evidence::LaneRecord;
use crate::policy::Grant;
use crate::transport::channel::{ChannelSetup, Delivery, Input, InputData, Out, ends};
use crate::transport::error::TransportError;
use crate::transport::file_service::FileService;
use crate::transport::file_service::over_sftp::{self, Why};
use crate::transport::herald::Herald;
use crate::transport::open::Transport;

/// What waits in each direction.
const BUFFER: usize = 256 * 1024;

impl Transport {
    /// Opens a file service, on a connection of its own.
    pub(in crate::transport) async fn open_files_by_sshd(
        &self,
        grant: Arc<Grant>,
        evidence: LaneRecord,
        herald: Herald,
    ) -> Result<FileService, TransportError> {
        let asked = (&What::Files, &ChannelSetup::default());
        let begun = self.begin_by_sshd(None, &grant, &evidence, asked, &herald).await?;
        self.ladder.stands(grant.node(), Rung::Sshd, Instant::now());
        let (input, client, deliveries) = ends();
        tokio::spawn(carry(begun, grant.clone(), false, client));
        let why = Why::default();
        Ok(over_sftp::start(grant, stream(input, deliveries, why.clone()), why))
    }
}

/// The two sides of a channel as one stream. Why it has ended stands in `why` before it ends.
fn stream(input: Input, deliveries: mpsc::Receiver<Delivery>, why: Why) -> DuplexStream {
    let (near, far) = tokio::io::duplex(BUFFER);
    let (from_us, to_us) = tokio::io::split(far);
    tokio::spawn(to_node(from_us, input));
    tokio::spawn(from_node(deliveries, to_us, why));
    near
}

async fn to_node(mut from_us: ReadHalf<DuplexStream>, input: Input) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(BUFFER / 4);
        let data = match from_us.read_buf(&mut buffer).await {
            Ok(1..) => InputData::Bytes(buffer.split().freeze()),
            Ok(0) | Err(_) => InputData::Eof,
        };
        let is_last = matches!(data, InputData::Eof);
        if input.data.send(data).await.is_err() || is_last {
            return;
        }
    }
}

async fn from_node(mut deliveries: mpsc::Receiver<Delivery>, mut to_us: WriteHalf<DuplexStream>, why: Why) {
    while let Some(delivery) = deliveries.recv().await {
        match delivery {
            Delivery::Out(Out::Stdout(bytes)) => {
                if to_us.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            // what the server has to say beside it, and its end, are nothing to its client
            Delivery::Out(Out::Stderr(_) | Out::Exit(_) | Out::Notice(_)) => {}
            Delivery::Failed(error) => {
                let _ = why.set(error.to_string());
            }
        }
    }
    let _ = to_us.shutdown().await;
}
