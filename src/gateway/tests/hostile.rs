//! What no honest client sends. The numbers are those of the project's list of security cases (docs/threats.md).

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::process::{alone, resident};
use super::wire::{Offer, Raw, name_lists, string};
use crate::config::Algorithms;
use crate::testing::{SOON, TestGateway, text};

#[tokio::test]
async fn t1_strict_key_exchange_is_offered_kept_and_resets_the_sequence() {
    let gateway = TestGateway::start().await;
    // that this works at all shows the reset: the packets' MACs cover their numbers
    let mut raw = Raw::logged_in(gateway.address, "web-1", &gateway.key("ada")).await;
    raw.exec(0, 1 << 20, 32768, "echo strict").await;
    raw.until(94).await;
    for extra in [&[2, 0, 0, 0, 0][..], &[4, 1, 0, 0, 0, 0, 0, 0, 0, 0], &[3, 0, 0, 0, 0]] {
        let mut raw = Raw::connect(gateway.address).await;
        raw.send_kexinit(&Offer::default()).await;
        raw.send(extra).await;
        assert!(raw.gets_hung_up_on(SOON).await, "message {} before the first NEWKEYS", extra[0]);
        let mut raw = Raw::connect(gateway.address).await;
        raw.send(extra).await;
        raw.send_kexinit(&Offer::default()).await;
        raw.send(&[&[30], &string(&[9; 32])[..]].concat()).await;
        assert!(raw.gets_hung_up_on(SOON).await, "message {} before KEXINIT", extra[0]);
    }
    gateway.works().await;
}

#[tokio::test]
async fn t2_nothing_that_terrapin_needs_and_t11_no_compression_before_the_login() {
    let gateway = TestGateway::start().await;
    let mut raw = Raw::connect(gateway.address).await;
    let lists = name_lists(&raw.receive().await);
    assert!(lists[0].contains("kex-strict-s-v00@openssh.com"));
    assert!(lists.iter().all(|list| !list.contains("cbc")), "{lists:?}");
    // what is called so begins behind the login
    let delayed = "none,zlib@openssh.com";
    assert_eq!((lists[6].as_str(), lists[7].as_str()), (delayed, delayed), "compression");
    assert!(!lists[1].contains("ssh-rsa") && !lists[1].contains("dss"));
    for offer in [
        Offer { cipher: "aes128-cbc,3des-cbc".to_owned(), ..Offer::default() },
        Offer { mac: "hmac-sha1,hmac-md5".to_owned(), ..Offer::default() },
        Offer { kex: "diffie-hellman-group1-sha1,diffie-hellman-group14-sha1".to_owned(), ..Offer::default() },
        // not weak, but an exchange of these costs us ten times what the dearest of ours does
        Offer { kex: "diffie-hellman-group16-sha512,diffie-hellman-group18-sha512".to_owned(), ..Offer::default() },
        Offer { compression: "zlib".to_owned(), ..Offer::default() },
    ] {
        let mut raw = Raw::connect(gateway.address).await;
        raw.send_kexinit(&offer).await;
        assert!(raw.gets_hung_up_on(SOON).await, "{}", offer.kex);
    }
    gateway.works().await;
}

#[tokio::test]
async fn by_default_no_curve_of_nist_no_finite_field_and_no_mac_before_the_encryption() {
    let gateway = TestGateway::with(|settings| settings.algorithms = Algorithms::Modern).await;
    let mut raw = Raw::connect(gateway.address).await;
    let lists = name_lists(&raw.receive().await);
    assert!(!lists[0].contains("nistp") && !lists[0].contains("group"), "{}", lists[0]);
    assert!(lists[0].starts_with("mlkem768x25519-sha256,"), "{}", lists[0]);
    for macs in [&lists[4], &lists[5]] {
        assert!(macs.split(',').all(|mac| mac.ends_with("-etm@openssh.com")), "{macs}");
    }
    // with AES in the counter mode, too
    gateway.works().await;
    assert_eq!(text(&gateway.run(&["-c", "aes128-ctr", "web", "echo fine"]).await.stdout), "fine\n");
}

#[tokio::test]
async fn t3_messages_out_of_their_time_end_the_connection() {
    let gateway = TestGateway::start().await;
    let strict = Offer::default().kex;
    for (kex, is_strict) in [(strict.as_str(), true), ("curve25519-sha256", false)] {
        let offer = Offer { kex: kex.to_owned(), ..Offer::default() };
        // NEWKEYS, SERVICE_ACCEPT, USERAUTH_SUCCESS, an open channel
        for early in [&[21][..], &[6, 0, 0, 0, 0], &[52], &[90]] {
            let mut raw = Raw::connect(gateway.address).await;
            raw.send(early).await;
            assert!(raw.gets_hung_up_on(SOON).await, "{early:?} before KEXINIT");
            let mut raw = Raw::connect(gateway.address).await;
            raw.send_kexinit(&offer).await;
            raw.send(early).await;
            assert!(raw.gets_hung_up_on(SOON).await, "{early:?} in the exchange, strict: {is_strict}");
        }
    }
    // after it, a client that speaks the server's lines: that it is let in, that it is logged in
    for claim in [&[6][..], &[51], &[52], &[6, 0, 0, 0, 0]] {
        let mut raw = Raw::encrypted(gateway.address).await;
        raw.send(claim).await;
        assert!(raw.gets_hung_up_on(SOON).await, "{claim:?} before the login");
    }
    // what belongs after the login has no effect before it, and none after it either
    let mut raw = Raw::encrypted(gateway.address).await;
    let session = [&[90], &string(b"session")[..], &[0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 128, 0]].concat();
    let exec = [&[98, 0, 0, 0, 0], &string(b"exec")[..], &[1], &string(b"echo early")].concat();
    for early in [&session, &exec, &vec![99, 0, 0, 0, 0]] {
        raw.send(early).await;
    }
    raw.log_in("web-1", &gateway.key("ada")).await;
    assert!(gateway.node.starts.lock().unwrap().is_empty());
    raw.exec(7, 1 << 20, 32768, "echo in time").await;
    assert!(raw.until(94).await.ends_with(b"in time\n"));
    gateway.works().await;
}

#[tokio::test]
async fn a_stranger_has_one_key_exchange_and_no_other() {
    let gateway = TestGateway::start().await;
    let key = gateway.key("ada");
    for stage in ["nothing said", "a service asked for", "a key refused"] {
        let mut raw = Raw::encrypted(gateway.address).await;
        match stage {
            "nothing said" => {}
            "a service asked for" => {
                raw.ask_to_log_in().await;
            }
            _ => {
                let stranger = gateway.key("stranger").public_key().to_bytes().unwrap();
                assert_eq!(raw.offer_key("web-1", "ssh-ed25519", &stranger).await.0, 51);
            }
        }
        raw.send_kexinit(&Offer::default()).await;
        assert!(raw.gets_hung_up_on(SOON).await, "{stage}");
    }
    // the login's answer ends that, whatever comes next
    let mut raw = Raw::logged_in(gateway.address, "web-1", &key).await;
    raw.exchange().await;
    raw.exchange().await;
    raw.exec(0, 1 << 20, 32768, "echo with new keys").await;
    assert!(raw.until(94).await.ends_with(b"with new keys\n"));
    gateway.works().await;
}

#[tokio::test]
async fn t5_identifications_that_are_none_have_an_end() {
    let gateway = TestGateway::start().await;
    let lines = "hello\r\n".repeat(10_000).into_bytes();
    for noise in [vec![b'A'; 1 << 20], vec![0; 1 << 20], lines, b"SSH-1.5-old\r\n".to_vec()] {
        let mut raw = Raw::silent(gateway.address).await;
        let _ = raw.tcp.write_all(&noise).await;
        assert!(raw.gets_hung_up_on(SOON).await, "{:?}", &noise[..9]);
    }
    gateway.works().await;
    // one that never ends its line has the time of a login
    let gateway = TestGateway::with(|settings| settings.limits.login_seconds = 1).await;
    let mut raw = Raw::silent(gateway.address).await;
    raw.tcp.write_all(b"SSH-2.0-x").await.unwrap();
    assert!(raw.gets_hung_up_on(SOON).await);
}

#[tokio::test]
async fn t6_points_of_the_wrong_length_or_low_order_are_refused() {
    let gateway = TestGateway::start().await;
    let cases: [(&str, usize, u8); 10] = [
        ("curve25519-sha256", 0, 0),
        ("curve25519-sha256", 31, 9),
        ("curve25519-sha256", 33, 9),
        ("curve25519-sha256", 32, 0),
        ("ecdh-sha2-nistp256", 65, 4),
        ("ecdh-sha2-nistp384", 1, 4),
        ("ecdh-sha2-nistp521", 0, 0),
        ("mlkem768x25519-sha256", 1216, 0),
        ("mlkem768x25519-sha256", 1215, 1),
        ("mlkem768x25519-sha256", 32, 9),
    ];
    for (kex, length, byte) in cases {
        let mut raw = Raw::connect(gateway.address).await;
        raw.send_kexinit(&Offer { kex: kex.to_owned(), ..Offer::default() }).await;
        raw.send(&[&[30], &string(&vec![byte; length])[..]].concat()).await;
        assert!(raw.gets_hung_up_on(SOON).await, "{kex} with {length} bytes of {byte}");
    }
    for value in [0, 1] {
        let mut raw = Raw::connect(gateway.address).await;
        raw.send_kexinit(&Offer { kex: "diffie-hellman-group14-sha256".to_owned(), ..Offer::default() }).await;
        raw.send(&[&[30], &string(&[value])[..]].concat()).await;
        assert!(raw.gets_hung_up_on(SOON).await, "group 14 with {value}");
    }
    gateway.works().await;
}

#[tokio::test]
async fn t8_lists_of_names_without_end() {
    let gateway = TestGateway::start().await;
    for names in ["a,".repeat(28_000), ",".repeat(56_000), "x".repeat(56_000), "curve25519-sha256,".repeat(3_000)] {
        let mut raw = Raw::connect(gateway.address).await;
        raw.send_kexinit(&Offer { kex: names, ..Offer::default() }).await;
        let _ = raw.try_send(&[0xff; 16]).await;
        assert!(raw.gets_hung_up_on(SOON).await);
    }
    gateway.works().await;
}

#[tokio::test]
async fn t10_a_slow_exchange_is_held_in_bytes_and_ended_in_time() {
    let gateway = TestGateway::with(|settings| settings.limits.login_seconds = 2).await;
    let mut raw = Raw::connect(gateway.address).await;
    let before = Instant::now();
    let packet = Offer::default().packet();
    let dribble = async {
        for byte in packet {
            if raw.tcp.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        raw.gets_hung_up_on(SOON).await
    };
    assert!(dribble.await);
    assert!(before.elapsed() < Duration::from_secs(15));
    // one that never reads either: the server's own bytes must not hold it
    let raw = Raw::silent(gateway.address).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(raw.gets_hung_up_on(SOON).await);
    // more than a login ever takes, and in time
    let gateway = TestGateway::start().await;
    let mut raw = Raw::encrypted(gateway.address).await;
    let ignore = [&[2], &string(&[0; 30_000])[..]].concat();
    let mut sent = 0;
    while sent < 10 && raw.try_send(&ignore).await.is_ok() {
        sent += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(raw.gets_hung_up_on(SOON).await, "64 KiB before a login");
    gateway.works().await;
}

#[tokio::test]
async fn t12_t13_answers_to_nothing_and_keepalives_do_no_harm() {
    let gateway = TestGateway::start().await;
    let keepalive = [&[80], &string(b"keepalive@openssh.com")[..], &[1]].concat();
    let mut raw = Raw::encrypted(gateway.address).await;
    raw.send(&keepalive).await;
    raw.send(&[81]).await;
    raw.log_in("web-1", &gateway.key("ada")).await;
    for _ in 0..2000 {
        raw.send(&[81]).await;
        raw.send(&[82]).await;
        raw.send(&[193, 0, 0, 0, 0]).await;
        raw.send(&[7, 0, 0, 0, 0]).await;
    }
    raw.send(&keepalive).await;
    raw.until(82).await;
    raw.exec(0, 1 << 20, 32768, "echo well").await;
    assert!(raw.until(94).await.ends_with(b"well\n"));
    gateway.works().await;
}

#[tokio::test]
async fn d1_ten_thousand_refused_channels_cost_nothing() {
    if !alone("gateway::tests::hostile::d1_ten_thousand_refused_channels_cost_nothing").await {
        return;
    }
    let gateway = TestGateway::start().await;
    let mut raw = Raw::logged_in(gateway.address, "web-1", &gateway.key("ada")).await;
    let mut open = vec![90];
    open.extend(string(b"direct-tcpip"));
    open.extend([0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 128, 0]);
    open.extend(string(b"169.254.169.254"));
    open.extend(80_u32.to_be_bytes());
    open.extend(string(b"127.0.0.1"));
    open.extend(1_u32.to_be_bytes());
    let mut refuse = async |count: usize| {
        for _ in 0..count / 100 {
            for _ in 0..100 {
                raw.send(&open).await;
            }
            for _ in 0..100 {
                raw.until(92).await;
            }
        }
    };
    refuse(2_000).await;
    let before = resident();
    refuse(10_000).await;
    let grown = resident().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes for 10,000 refused channels");
    let noted = gateway.events().iter().filter(|event| event["event"] == "channel.refused").count();
    assert_eq!(noted, 1, "what is refused again is counted");
    gateway.works().await;
}

#[tokio::test]
async fn closes_that_are_never_answered_leave_nothing_behind() {
    if !alone("gateway::tests::hostile::closes_that_are_never_answered_leave_nothing_behind").await {
        return;
    }
    let gateway = TestGateway::start().await;
    // the gateway's own command: no node, no process
    let mut raw = Raw::logged_in(gateway.address, "ada", &gateway.key("ada")).await;
    let mut next = 0..;
    let mut open_and_leave = async |count: usize| {
        for ours in next.by_ref().take(count) {
            raw.exec(ours, 1 << 20, 32768, "whoami").await;
            raw.until(97).await;
        }
    };
    open_and_leave(500).await;
    let before = resident();
    open_and_leave(2_000).await;
    let grown = resident().saturating_sub(before);
    assert!(grown < 2 << 20, "{grown} bytes for 2,000 channels that only we have closed");
    gateway.works().await;
}

#[tokio::test]
async fn d2_windows_that_overflow_are_empty_or_overrun() {
    let gateway = TestGateway::start().await;
    let key = gateway.key("ada");
    // more window than a number can say
    let mut raw = Raw::logged_in(gateway.address, "web-1", &key).await;
    let channel = raw.exec(0, u32::MAX, 32768, "cat").await;
    for _ in 0..10 {
        raw.adjust(channel, u32::MAX).await;
    }
    raw.data(channel, b"still").await;
    assert!(raw.until(94).await.ends_with(b"still"));
    // none at all: nothing comes until there is some
    let mut raw = Raw::logged_in(gateway.address, "web-1", &key).await;
    let channel = raw.exec(0, 0, 32768, "echo abc").await;
    assert!(tokio::time::timeout(Duration::from_millis(300), raw.until(94)).await.is_err(), "no window, no data");
    drop((raw, channel));
    let mut raw = Raw::logged_in(gateway.address, "web-1", &key).await;
    let channel = raw.exec(0, 1, 1, "echo abc").await;
    for expected in [b'a', b'b', b'c', b'\n'] {
        let data = raw.until(94).await;
        assert_eq!((data.len(), data.last()), (10, Some(&expected)), "a byte at a time");
        raw.adjust(channel, 1).await;
    }
    // packets of no size: no channel can live on those
    let mut raw = Raw::logged_in(gateway.address, "web-1", &key).await;
    let open = [&[90], &string(b"session")[..], &[0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0]].concat();
    raw.send(&open).await;
    assert!(raw.gets_hung_up_on(SOON).await, "a maximum packet size of 0");
    // more data than the window allows: the client has left the protocol
    let mut raw = Raw::logged_in(gateway.address, "web-1", &key).await;
    let channel = raw.exec(0, 1 << 20, 32768, "sleep 20").await;
    let block = vec![0; 32 * 1024];
    for _ in 0..130 {
        let packet = [&[94], &channel.to_be_bytes()[..], &string(&block)].concat();
        if raw.try_send(&packet).await.is_err() {
            break;
        }
    }
    assert!(raw.gets_hung_up_on(SOON).await, "an overrun window");
    // data, ends and closes for channels that are not there
    let mut raw = Raw::logged_in(gateway.address, "web-1", &key).await;
    for kind in [94_u8, 96, 97, 93, 98] {
        let mut stray = vec![kind];
        stray.extend(77_u32.to_be_bytes());
        match kind {
            94 => stray.extend(string(b"x")),
            93 => stray.extend([0, 0, 0, 1]),
            98 => stray.extend([&string(b"shell")[..], &[1]].concat()),
            _ => {}
        }
        raw.send(&stray).await;
    }
    raw.exec(0, 1 << 20, 32768, "echo there").await;
    assert!(raw.until(94).await.ends_with(b"there\n"));
    gateway.works().await;
}

#[tokio::test]
async fn d3_those_who_never_log_in_have_few_places_and_give_them_back() {
    let gateway = TestGateway::with(|settings| {
        settings.limits.login_seconds = 2;
        settings.limits.unauthenticated = 5;
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..5 {
        let mut raw = Raw::encrypted(gateway.address).await;
        raw.offer_key("web-1", "ssh-ed25519", &[]).await;
        held.push(raw);
    }
    let mut sixth = Raw::silent(gateway.address).await;
    assert!(matches!(sixth.tcp.read(&mut [0; 16]).await, Ok(0) | Err(_)), "no place, no words");
    // but nobody else is locked out by those who stand still
    tokio::time::sleep(Duration::from_millis(1050)).await;
    let mut welcome = Raw::silent(gateway.address).await;
    assert_eq!(welcome.tcp.read_u8().await.unwrap(), b'S', "an identification");
    let mut oldest = held.remove(0);
    while !matches!(oldest.tcp.read(&mut [0; 4096]).await, Ok(0) | Err(_)) {}
    tokio::time::sleep(Duration::from_millis(1500)).await;
    gateway.works().await;
}

#[tokio::test]
async fn who_says_nothing_goes_after_three_seconds() {
    let gateway = TestGateway::start().await;
    let (silent, said) = (Raw::silent(gateway.address).await, Raw::connect(gateway.address).await);
    let began = Instant::now();
    assert!(silent.gets_hung_up_on(Duration::from_secs(5)).await);
    assert!(began.elapsed() > Duration::from_secs(2), "after {:?}", began.elapsed());
    assert!(!said.gets_hung_up_on(Duration::from_millis(100)).await, "an identification buys the time of a login");
}

#[tokio::test]
async fn requests_of_every_kind_are_answered() {
    let gateway = TestGateway::start().await;
    let mut raw = Raw::logged_in(gateway.address, "web-1", &gateway.key("ada")).await;
    let channel = {
        let mut open = vec![90];
        open.extend(string(b"session"));
        open.extend([0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 128, 0]);
        raw.send(&open).await;
        let confirmed = raw.until(91).await;
        u32::from_be_bytes(confirmed[5..9].try_into().unwrap())
    };
    let window = [0_u32, 80, 24, 0, 0].map(u32::to_be_bytes).concat();
    let pty = [&string(b"xterm")[..], &window[4..], &string(&[0])].concat();
    let x11 = [&[0], &string(b"MIT-MAGIC-COOKIE-1")[..], &string(b"00"), &[0, 0, 0, 0]].concat();
    for (name, body, yes) in [
        ("pty-req", pty.clone(), true),
        ("pty-req", pty, false),
        ("env", [string(b"LANG"), string(b"C")].concat(), true),
        ("env", [string(b"LD_PRELOAD"), string(b"/x")].concat(), false),
        ("x11-req", x11, false),
        ("auth-agent-req@openssh.com", Vec::new(), false),
        ("window-change", window[4..].to_vec(), true),
        ("signal", string(b"TERM"), false),
        ("break", 500_u32.to_be_bytes().to_vec(), false),
        ("eow@openssh.com", Vec::new(), false),
        ("exec", string(b"sleep 20"), true),
        ("exec", string(b"echo twice"), false),
        ("shell", Vec::new(), false),
        ("subsystem", string(b"sftp"), false),
        ("env", [string(b"LANG"), string(b"C")].concat(), false),
        ("window-change", window[4..].to_vec(), true),
        ("signal", string(b"USR1"), true),
        ("break", 0_u32.to_be_bytes().to_vec(), true),
    ] {
        let request = [&[98], &channel.to_be_bytes()[..], &string(name.as_bytes()), &[1], &body].concat();
        raw.send(&request).await;
        loop {
            let answer = raw.receive().await;
            match answer[0] {
                99 | 100 => {
                    assert_eq!(answer[0] == 99, yes, "{name}");
                    break;
                }
                _ => {}
            }
        }
    }
    // this one ends its channel
    let open = [&[90], &string(b"session")[..], &[0, 0, 0, 1, 0, 16, 0, 0, 0, 0, 128, 0]].concat();
    raw.send(&open).await;
    let confirmed = raw.until(91).await;
    raw.send(&[&[98], &confirmed[5..9], &string(b"subsystem"), &[1], &string(b"netconf")].concat()).await;
    raw.until(100).await;
    for name in
        ["tcpip-forward", "streamlocal-forward@openssh.com", "cancel-tcpip-forward", "hostkeys-prove-00@openssh.com"]
    {
        let body = match name {
            "streamlocal-forward@openssh.com" => string(b"/tmp/x"),
            "hostkeys-prove-00@openssh.com" => Vec::new(),
            _ => [&string(b"")[..], &[0, 0, 0, 80]].concat(),
        };
        raw.send(&[&[80], &string(name.as_bytes())[..], &[1], &body].concat()).await;
        raw.until(82).await;
    }
}
