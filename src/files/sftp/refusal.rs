//! SFTP for who is refused: a server that says why, to whatever it is asked.
//!
//! A client that asked for the subsystem has been told that it is there before anybody knew. One that only waits for the
//! server's version (libssh2, and with it curl) would wait for ever if the channel ended then, so it gets that, and to each
//! request the status that every client understands, with the sentence.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::transport::file_service::sftp::packet::{Packet, decode, next_frame};
use crate::transport::file_service::sftp::reply::{Reply, Status};

/// Answers until the client has gone or had its time.
pub async fn refuse_sftp<S: AsyncRead + AsyncWrite + Unpin>(stream: S, sentence: &str) {
    // the client's end of it is no error of anybody's
    let _ = tokio::time::timeout(PATIENCE, answer(stream, sentence)).await;
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, sentence: &str) -> std::io::Result<()> {
    let mut received = BytesMut::new();
    let mut out = BytesMut::new();
    loop {
        while let Ok(Some(frame)) = next_frame(&mut received) {
            match decode(frame) {
                Ok(Packet::Init { .. }) => Reply::version_alone().put(0, &mut out),
                Ok(Packet::Request { id, .. }) => Reply::Status(Status::denied(sentence)).put(id, &mut out),
                Err(_) => return Ok(()),
            }
        }
        stream.write_all(&out).await?;
        stream.flush().await?;
        out.clear();
        if received.len() > MOST || stream.read_buf(&mut received).await? == 0 {
            return Ok(());
        }
    }
}

/// How long a client may take to ask, hear and leave.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is kept of a request that has not come whole: a path or two, and no file.
const MOST: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::file_service::sftp::encode::encode;
    use crate::transport::file_service::sftp::packet::Request;

    #[tokio::test(start_paused = true)]
    async fn a_client_learns_the_version_and_then_why_nothing_is_done() {
        let (mut client, server) = tokio::io::duplex(4096);
        let serving = tokio::spawn(async move { refuse_sftp(server, "not allowed").await });
        client.write_all(&encode(&Packet::Init { version: 3 })).await.unwrap();
        let request = Request::RealPath { path: b".".to_vec() };
        client.write_all(&encode(&Packet::Request { id: 7, request })).await.unwrap();
        let mut bytes = vec![0; 9];
        client.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes, [0, 0, 0, 5, 2, 0, 0, 0, 3], "a version, and no extensions");
        let mut bytes = vec![0; 13];
        client.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes[4..], [101, 0, 0, 0, 7, 0, 0, 0, 3], "SSH_FX_PERMISSION_DENIED");
        // one that stays has had its time
        serving.await.unwrap();
    }
}
