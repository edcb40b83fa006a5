//! What others do on the node meanwhile, and servers that say nothing any more.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};

use super::super::operation::{Answer, FileError, OpenFlags, Opened, Operation};
use super::super::sftp::packet::{Packet, decode, next_frame};
use super::super::sftp::reply::{Reply, Status};
use super::{Why, serve};
use crate::testing::{SftpServer, noise};

const READ: OpenFlags =
    OpenFlags { read: true, write: false, append: false, create: false, truncate: false, exclusive: false };

/// Who swaps what a path leads to, as fast as they can, sees a refusal, or the path of what was opened is told.
#[tokio::test(flavor = "multi_thread")]
async fn the_path_told_is_where_the_content_was() {
    let home = tempfile::tempdir().unwrap();
    let place = home.path().canonicalize().unwrap();
    for (name, content) in [("good", "good"), ("secret", "this is secret")] {
        fs::create_dir(place.join(name)).unwrap();
        fs::write(place.join(name).join("f"), content).unwrap();
    }
    symlink("good", place.join("way")).unwrap();
    let files = SftpServer::at(home.path()).service();
    let ended = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&ended);
    let swapped = place.clone();
    let swapping = std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            for target in ["secret", "good"] {
                symlink(target, swapped.join("next")).unwrap();
                fs::rename(swapped.join("next"), swapped.join("way")).unwrap();
            }
        }
    });
    let mut opened = 0;
    for _ in 0..300 {
        let open = Operation::Open { path: b"way/f".to_vec(), flags: READ, mode: None };
        match files.call(open).await {
            Ok(Answer::Opened(Opened { handle, real_path })) => {
                opened += 1;
                let content = files.call(Operation::Read { handle, offset: 0, length: 100 }).await;
                let is_good = real_path == place.join("good/f").as_os_str().as_encoded_bytes();
                let told = if is_good { "good" } else { "this is secret" };
                assert_eq!(content, Ok(Answer::Bytes(told.into())), "{}", real_path.escape_ascii());
                files.call(Operation::Close { handle }).await.unwrap();
            }
            Err(FileError::Node { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    ended.store(true, Ordering::Relaxed);
    swapping.join().unwrap();
    assert!(opened > 0);
}

/// A server without limits may answer a read in part: it is asked on before what was issued behind it.
#[tokio::test]
async fn what_is_asked_behind_a_read_comes_after_all_of_it() {
    let home = tempfile::tempdir().unwrap();
    let bytes = Bytes::from(noise(600_000));
    fs::write(home.path().join("f"), &bytes).unwrap();
    let files = SftpServer::without_extensions(home.path()).service();
    let flags = OpenFlags { write: true, ..READ };
    let opened = files.call(Operation::Open { path: b"f".to_vec(), flags, mode: None }).await;
    let Ok(Answer::Opened(Opened { handle, .. })) = opened else { panic!("{opened:?}") };
    let reading = files.issue(Operation::Read { handle, offset: 0, length: 512 * 1024 }).await;
    let written = Bytes::from(vec![0; 1000]);
    let writing = files.issue(Operation::Write { handle, offset: 511 * 1024, bytes: written.clone() }).await;
    let last = files.issue(Operation::Read { handle, offset: 511 * 1024, length: 1000 }).await;
    let closing = files.issue(Operation::Close { handle }).await;
    assert!(reading.await.unwrap() == Ok(Answer::Bytes(bytes.slice(..512 * 1024))));
    assert_eq!(writing.await.unwrap(), Ok(Answer::Done));
    assert_eq!(last.await.unwrap(), Ok(Answer::Bytes(written)));
    assert_eq!(closing.await.unwrap(), Ok(Answer::Done));
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_given_up_when_nobody_asks_any_more() {
    // one that says nothing at all
    let (ours, _theirs) = tokio::io::duplex(1 << 16);
    let (calls, receiver) = mpsc::channel(16);
    let error = serve(receiver, ours, Why::default()).await.unwrap_err();
    assert!(error.to_string().contains("said nothing for 30 seconds"), "{error}");
    drop(calls);
    // and one that answers until it is asked for something; an open takes several answers
    for operation in
        [Operation::Stat { path: b"/f".to_vec() }, Operation::Open { path: b"/f".to_vec(), flags: READ, mode: None }]
    {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        let (calls, receiver) = mpsc::channel(16);
        let serving = tokio::spawn(serve(receiver, ours, Why::default()));
        tokio::spawn(async move {
            let (mut received, mut out, mut left) = (BytesMut::new(), BytesMut::new(), 3);
            while theirs.read_buf(&mut received).await.unwrap_or(0) > 0 {
                while let Some(frame) = next_frame(&mut received).unwrap() {
                    match decode(frame).unwrap() {
                        Packet::Init { .. } => Reply::version_alone().put(0, &mut out),
                        Packet::Request { id, .. } if left > 0 => {
                            Reply::Status(Status::unsupported()).put(id, &mut out);
                        }
                        Packet::Request { .. } => continue,
                    }
                    left -= 1;
                }
                theirs.write_all(&out).await.unwrap();
                out.clear();
            }
        });
        let (answer, coming) = oneshot::channel();
        calls.send((operation, answer)).await.unwrap();
        drop(calls);
        let error = serving.await.unwrap().unwrap_err();
        assert!(error.to_string().contains("does not come to an end"), "{error}");
        // whoever waits all the same learns that there is no answer
        assert!(!matches!(coming.await, Ok(Ok(_))));
    }
}
