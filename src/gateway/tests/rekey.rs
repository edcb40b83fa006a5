//! T9: new keys in the middle of things, at either side's wish, with neighbours that stand still.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::wire::{Offer, Raw, string};
use crate::policy::Policy;
use crate::testing::{SOON, TestGateway, noise, text};

/// Both ways at once, with both sides asking for new keys again and again.
async fn both_ways(megabytes: usize, every: u64, compression: &str) {
    let gateway = TestGateway::with(|settings| settings.limits.rekey_bytes = every).await;
    let client = format!("RekeyLimit={}", every / 2);
    let compression = format!("Compression={compression}");
    let ssh = gateway.ssh(&["-o", &client, "-o", &compression, "-o", "LogLevel=DEBUG1", "web", "cat"]);
    both_ways_by(ssh, megabytes, every).await;
}

/// The same by this client, which says on standard error what it does.
async fn both_ways_by(mut ssh: Command, megabytes: usize, every: u64) {
    let mut child = ssh.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut stderr = child.stderr.take().unwrap();
    let notes = tokio::spawn(async move {
        let mut notes = String::new();
        stderr.read_to_string(&mut notes).await.unwrap();
        notes
    });
    let writes = tokio::spawn(async move {
        let mut hash = Sha256::new();
        // further apart than any compression looks back, so that as much is sent with it as without
        let mut block = noise(1 << 20);
        for n in 0..megabytes {
            block[..8].copy_from_slice(&n.to_be_bytes());
            hash.update(&block);
            stdin.write_all(&block).await.unwrap();
        }
        hash.finalize()
    });
    let mut hash = Sha256::new();
    let mut length = 0;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = tokio::time::timeout(Duration::from_secs(30), stdout.read(&mut buffer));
        match read.await.expect("it stands still").unwrap() {
            0 => break,
            n => {
                hash.update(&buffer[..n]);
                length += n;
            }
        }
    }
    assert!(child.wait().await.unwrap().success());
    assert_eq!(length, megabytes << 20);
    assert_eq!(hash.finalize(), writes.await.unwrap());
    let exchanges = notes.await.unwrap().matches("SSH2_MSG_NEWKEYS received").count();
    let least = (megabytes << 20) / usize::try_from(every).unwrap();
    assert!(exchanges > least, "{exchanges} exchanges of keys in {megabytes} MiB each way");
}

/// The state of the compression goes on over an exchange of keys (draft-miller-secsh-compression-delayed).
#[tokio::test(flavor = "multi_thread")]
async fn t9_new_keys_while_both_ways_are_compressed() {
    both_ways(12, 1 << 20, "yes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dozens_of_times_in_a_transfer_both_ways() {
    both_ways(48, 1 << 20, "no").await;
}

/// Each of the two connections has its keys, and all that one does for new ones is data of the other.
#[tokio::test(flavor = "multi_thread")]
async fn t9_inside_a_hop_and_around_it_at_once() {
    let every = 1 << 20;
    let gateway = TestGateway::with(|settings| settings.limits.rekey_bytes = every).await;
    gateway.policies.replace(Policy::for_test("@id(\"all\") permit (principal, action, resource);"));
    let config = gateway.path("hops_config");
    let (client, notes) = (format!("RekeyLimit={}", every / 2), gateway.path("around"));
    let jump = format!(
        "ProxyCommand=ssh -F '{}' -o {client} -o LogLevel=DEBUG1 -E '{}' -W %h:%p gate",
        config.display(),
        notes.display()
    );
    let ssh = gateway.hops(&["-o", &jump, "-o", &client, "-o", "LogLevel=DEBUG1", "ada@web-1", "cat"]);
    both_ways_by(ssh, 24, every).await;
    let around = std::fs::read_to_string(notes).unwrap().matches("SSH2_MSG_NEWKEYS received").count();
    assert!(around > 24, "{around} exchanges of keys around it");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "3 GiB each way take minutes in a debug build"]
async fn in_three_gibibytes_each_way() {
    both_ways(3 << 10, 64 << 20, "no").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_channel_that_stands_still() {
    let gateway = TestGateway::with(|settings| settings.limits.rekey_bytes = 1 << 20).await;
    let socket = format!("ControlPath={}", gateway.path("mux").display());
    let _master = gateway.ssh(&["-M", "-N", "-o", &socket, "-o", "RekeyLimit=1M", "web"]).spawn().unwrap();
    for _ in 0..1000 {
        if gateway.path("mux").exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // one never reads what it is sent, the other's output is never read
    let mut unread = gateway.ssh(&["-o", &socket, "web", "sleep 60"]);
    let mut unread = unread.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut stdin = unread.stdin.take().unwrap();
    let writes = tokio::spawn(async move { while stdin.write_all(&[1; 65536]).await.is_ok() {} });
    let _untaken = gateway.ssh(&["-o", &socket, "web", "cat /dev/zero"]).spawn().unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    for _ in 0..3 {
        let ran = gateway.run_with(&["-o", &socket, "web", "wc -c; seq 400000 | wc -l"], vec![0; 5 << 20]).await;
        assert_eq!(text(&ran.stdout), "5242880\n400000\n");
    }
    writes.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn by_both_sides_at_the_same_moment() {
    let gateway = TestGateway::with(|settings| settings.limits.rekey_bytes = 1 << 20).await;
    let key = gateway.key("ada");
    let mut raw = Raw::logged_in(gateway.address, "web-1", &key).await;
    let total = 12 << 20;
    raw.exec(0, u32::MAX, 32768, &format!("head -c {total} /dev/zero")).await;
    let (mut received, mut closed) = (0, false);
    let (mut theirs, mut ours) = (0, 0);
    let mut take = |packet: &[u8]| {
        match packet[0] {
            94 => received += packet.len() - 9,
            97 => closed = true,
            _ => {}
        }
        (received, closed)
    };
    loop {
        let (so_far, closed) = take(&[0]);
        if closed {
            break;
        }
        // ours in mid-stream, at moments that drift against the server's
        let packet = if so_far / (1_030 << 10) > ours + theirs { None } else { Some(raw.receive().await) };
        match packet {
            Some(packet) if packet[0] == 20 => {
                theirs += 1;
                raw.server_kexinit = packet;
            }
            Some(packet) => {
                take(&packet);
                continue;
            }
            None => ours += 1,
        }
        let kexinit = raw.send_kexinit(&Offer::default()).await;
        raw.finish_exchange(&kexinit, |packet| {
            take(&packet);
        })
        .await;
    }
    assert_eq!(received, total);
    assert!(ours + theirs > 4, "{ours} of ours, {theirs} of theirs");
}

/// The server wants new keys and has no answer yet; with the numbers of ten channels that stand there.
async fn asked_for_new_keys(gateway: &TestGateway) -> (Raw, Vec<u32>) {
    let mut raw = Raw::logged_in(gateway.address, "web-1", &gateway.key("ada")).await;
    let mut channels = Vec::new();
    for ours in 0..10 {
        channels.push(raw.exec(ours, 1 << 20, 32768, "sleep 60").await);
    }
    raw.exec(10, u32::MAX, 32768, "head -c 2000000 /dev/zero").await;
    raw.server_kexinit = raw.until(20).await;
    (raw, channels)
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_waits_for_an_answer_it_keeps_windows_and_no_more() {
    let gateway = TestGateway::with(|settings| settings.limits.rekey_bytes = 1 << 20).await;
    // what the windows allow may all be under way
    let (mut raw, channels) = asked_for_new_keys(&gateway).await;
    for &channel in &channels {
        for _ in 0..60 {
            raw.data(channel, &[0; 30_000]).await;
        }
    }
    let kexinit = raw.send_kexinit(&Offer::default()).await;
    raw.finish_exchange(&kexinit, |_| ()).await;
    raw.exec(11, 1 << 20, 32768, "echo well").await;
    while !raw.until(94).await.ends_with(b"well\n") {}
    // whatever else there is has a bound that more channels do not move
    let (mut raw, channels) = asked_for_new_keys(&gateway).await;
    let request =
        [&[98], &channels[0].to_be_bytes()[..], &string(b"env"), &[1], &string(b"X"), &string(&[b'x'; 30_000])];
    let request = request.concat();
    for _ in 0..300 {
        if raw.try_send(&request).await.is_err() {
            break;
        }
    }
    assert!(raw.gets_hung_up_on(SOON).await, "9 MB of requests");
    // small ones that cost much
    let (mut raw, _) = asked_for_new_keys(&gateway).await;
    let open = [&[90], &string(b"session")[..], &[0, 0, 0, 99, 0, 16, 0, 0, 0, 0, 128, 0]].concat();
    for _ in 0..3_000 {
        if raw.try_send(&open).await.is_err() {
            break;
        }
    }
    assert!(raw.gets_hung_up_on(SOON).await, "3,000 channels");
    gateway.works().await;
}
