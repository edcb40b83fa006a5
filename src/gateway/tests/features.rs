//! Terminals, and what is refused while the session goes on.

use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use crate::model::WindowSize;
use crate::testing::{TestGateway, content, finish, text};

#[tokio::test]
async fn a_terminals_name_size_and_modes_are_there_before_the_start_and_resizes_follow() {
    let gateway = TestGateway::start().await;
    let (pty, pts) = pty_process::open().unwrap();
    pty.resize(pty_process::Size::new(37, 101)).unwrap();
    let ssh = pty_process::Command::new("ssh")
        .arg("-F")
        .arg(gateway.path("ssh_config"))
        .args(["-t", "web", "sleep 30"])
        .env("TERM", "xterm-256color")
        .kill_on_drop(true);
    let _child = ssh.spawn(pts).unwrap();
    gateway.event(|event| event["event"] == "session.opened" && event["pty"] == true).await;
    let start = loop {
        if let Some(start) = gateway.node.starts.lock().unwrap().first().cloned() {
            break start;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(!start.stdin_closed);
    let asked = start.pty.unwrap();
    assert_eq!(asked.term, "xterm-256color");
    assert_eq!((asked.size.cols, asked.size.rows), (101, 37));
    assert!(asked.modes.contains(&(53, 1)), "ECHO is on: {:?}", asked.modes);
    assert!(asked.modes.iter().all(|&(code, _)| code != 0), "{:?}", asked.modes);
    pty.resize(pty_process::Size::new(50, 120)).unwrap();
    let resized = format!("Resize({:?})", WindowSize { cols: 120, rows: 50, ..WindowSize::default() });
    for _ in 0..100 {
        if gateway.node.controls.lock().unwrap().contains(&resized) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no {resized} in {:?}", gateway.node.controls.lock().unwrap());
}

#[tokio::test]
async fn lines_of_the_gateways_own_fit_a_raw_terminal() {
    let gateway = TestGateway::start().await;
    let refused = gateway.run(&["-tt", "nowhere"]).await;
    assert_eq!(
        text(&refused.stderr).lines().next(),
        Some(
            "portcullis: denied by policy \"default\": no policy lets ada do Shell on db-9; ask whoever keeps the policies"
        )
    );
    let help = gateway.run(&["-tt", "gate", "help"]).await;
    assert!(text(&help.stdout).lines().count() > 3);
    assert_eq!(text(&help.stdout).matches('\n').count(), text(&help.stdout).matches("\r\n").count());
}

#[tokio::test]
async fn a_megabyte_in_one_go_reaches_the_node_whole() {
    let gateway = TestGateway::start().await;
    let paste: Vec<u8> = (0..1 << 20).map(|n: u32| b' ' + u8::try_from(n % 90).unwrap()).collect();
    let ran = gateway.run_with(&["-T", "web", "sha256sum"], paste.clone()).await;
    let mut sum = Command::new("sha256sum");
    let mut child = sum.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&paste).await.unwrap();
    drop(stdin);
    assert_eq!(ran.stdout, child.wait_with_output().await.unwrap().stdout);
}

/// `ssh -C`: both ways, behind the login.
#[tokio::test]
async fn who_asks_for_compression_has_it() {
    let gateway = TestGateway::start().await;
    let line = "the same line again and again\n";
    let given = line.repeat(20_000);
    let ran = gateway.run_with(&["-C", "-o", "LogLevel=DEBUG1", "web", "cat"], given.as_bytes()).await;
    assert!(ran.status.success() && ran.stdout == given.as_bytes());
    let notes = text(&ran.stderr);
    assert!(notes.contains("compression: zlib@openssh.com"), "{notes}");
    for way in ["compress outgoing: raw data", "compress incoming: raw data"] {
        let said = notes.lines().find_map(|note| note.split_once(way)).unwrap().1;
        let numbers: Vec<f64> = said.split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
        assert!(numbers[0] > 500_000.0 && numbers[1] < numbers[0] / 10.0, "{way}{said}");
    }
}

/// A command with an agent and a display, and a forwarding of the remote side where `more` asks for it.
async fn with_offers(gateway: &TestGateway, more: &[&str]) -> std::process::Output {
    let mut ssh = Command::new("ssh-agent");
    ssh.arg("ssh").arg("-F").arg(gateway.path("ssh_config"));
    ssh.args(["-A", "-Y", "-o", "IdentityAgent=SSH_AUTH_SOCK"]).args(more).args(["web", "echo goes on"]);
    ssh.env("DISPLAY", "127.0.0.1:9").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ran = finish(ssh).await;
    assert_eq!((text(&ran.stdout).as_str(), ran.status.code()), ("goes on\n", Some(0)), "{}", text(&ran.stderr));
    ran
}

/// A configuration offers them with every session: what refuses them must not stand on the stderr of every command.
#[tokio::test]
async fn an_agent_and_a_display_that_are_offered_are_refused_silently_but_for_those_who_ask() {
    let gateway = TestGateway::start().await;
    // ssh's own words about a display, whoever refuses it; of an agent it says nothing
    assert_eq!(text(&with_offers(&gateway, &[]).await.stderr), "X11 forwarding request failed on channel 0\r\n");
    let shown = text(&with_offers(&gateway, &["-v"]).await.stderr);
    for line in ["agent forwarding (-A) is refused", "X11 forwarding (-X) is refused"] {
        assert_eq!(shown.matches(&format!("Remote: portcullis: {line}")).count(), 1, "{line}: {shown}");
    }
    for asked in ["agent forwarding", "X11 forwarding"] {
        gateway.event(|event| event["asked"] == asked).await;
    }
}

#[tokio::test]
async fn remote_forwarding_that_is_asked_for_is_refused_in_a_sentence_and_the_session_goes_on() {
    let gateway = TestGateway::start().await;
    let told = text(&with_offers(&gateway, &["-R", "0:127.0.0.1:9"]).await.stderr);
    let line = "portcullis: remote forwarding (-R) is refused; the session goes on without it\n";
    assert_eq!(told.matches(line).count(), 1, "{told}");
    gateway.event(|event| event["asked"].as_str().is_some_and(|asked| asked.starts_with("remote forwarding"))).await;
}

#[tokio::test]
async fn an_unknown_subsystem_is_refused_with_a_sentence() {
    let gateway = TestGateway::start().await;
    let ran = gateway.run(&["-s", "web", "netconf"]).await;
    let told = text(&ran.stderr);
    assert!(told.starts_with("portcullis: the subsystem netconf is not served here, only sftp\n"), "{told}");
    assert!(told.contains("subsystem request failed") && ran.status.code() == Some(255), "{told}");
    let event = gateway.event(|event| event["asked"] == "subsystem netconf").await;
    assert_eq!(event["code"], "subsystem-not-served");
    gateway.works().await;
}

#[tokio::test]
async fn a_forward_that_no_policy_permits_is_refused_in_a_sentence_and_the_session_goes_on() {
    let gateway = TestGateway::start().await;
    let sentence = "no policy lets ada do Forward on web-1";
    let through = gateway.run(&["-o", "LogLevel=INFO", "-W", "10.0.0.1:22", "web"]).await;
    assert!(text(&through.stderr).contains(sentence), "{}", text(&through.stderr));
    assert_ne!(through.status.code(), Some(0));
    let jump = format!("ProxyCommand=ssh -F '{}' -o LogLevel=INFO -W %h:%p web", gateway.path("ssh_config").display());
    let through = gateway.run(&["-o", &jump, "bob", "true"]).await;
    assert!(text(&through.stderr).contains(sentence), "{}", text(&through.stderr));

    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let forward = format!("127.0.0.1:{free}:10.0.0.1:80");
    let mut ssh = gateway.ssh(&["-o", "LogLevel=INFO", "-L", &forward, "web", "sleep 3; echo goes on"]);
    let child = ssh.spawn().unwrap();
    let mut tcp = loop {
        match TcpStream::connect(("127.0.0.1", free)).await {
            Ok(tcp) => break tcp,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    assert_eq!(tcp.read(&mut [0; 16]).await.unwrap_or(0), 0, "nothing behind it");
    let ran = child.wait_with_output().await.unwrap();
    assert_eq!(text(&ran.stdout), "goes on\n");
    assert!(text(&ran.stderr).contains(sentence), "{}", text(&ran.stderr));
    gateway.event(|event| event["asked"] == "forwarding to 10.0.0.1:80 by web-1").await;
}

#[tokio::test]
async fn a_client_that_vanishes_takes_its_command_along() {
    let gateway = TestGateway::start().await;
    let mut ssh = gateway.ssh(&["web", "echo $$; exec sleep 60"]).spawn().unwrap();
    let mut line = Vec::new();
    let stdout = ssh.stdout.as_mut().unwrap();
    while !line.ends_with(b"\n") {
        line.push(stdout.read_u8().await.unwrap());
    }
    let pid = text(&line).trim().to_owned();
    ssh.kill().await.unwrap();
    let closed = gateway.event(|event| event["event"] == "session.closed").await;
    assert_eq!(closed["outcome"], "client-gone");
    for _ in 0..100 {
        if !std::path::Path::new("/proc").join(&pid).exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the command lives on");
}

#[tokio::test]
async fn who_gives_up_while_it_waits_has_nothing_started() {
    let gateway = TestGateway::start().await;
    let mut ssh = gateway.ssh(&["web", "waits!"]).spawn().unwrap();
    let stderr = ssh.stderr.as_mut().unwrap();
    let mut told = Vec::new();
    while !told.ends_with(b"it waits\n") {
        told.push(stderr.read_u8().await.unwrap());
    }
    ssh.kill().await.unwrap();
    // at once, and not when it is forgotten
    let closed = gateway.event(|event| event["event"] == "session.closed").await;
    assert_eq!(closed["outcome"], "client-gone");
}

#[tokio::test]
async fn a_client_that_stands_still_for_a_while_misses_nothing() {
    let gateway = TestGateway::start().await;
    let mut ssh = gateway.ssh(&["web", "head -c 30000000 /dev/zero | tr '\\0' x; sleep 1; echo end"]).spawn().unwrap();
    let pid = rustix::process::Pid::from_raw(ssh.id().unwrap().cast_signed()).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    // and then its reader
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut all = Vec::new();
    ssh.stdout.take().unwrap().read_to_end(&mut all).await.unwrap();
    assert!(ssh.wait().await.unwrap().success());
    assert_eq!(all.len(), 30_000_004);
    assert!(all.ends_with(b"xend\n"));
}

#[tokio::test]
async fn a_client_that_is_silent_for_good_is_given_up() {
    let gateway = TestGateway::with(|settings| {
        settings.limits.keepalive_seconds = 1;
        settings.limits.keepalive_unanswered = 2;
    })
    .await;
    let ssh = gateway.ssh(&["web", "sleep 60"]).spawn().unwrap();
    gateway.event(|event| event["event"] == "session.opened").await;
    let pid = rustix::process::Pid::from_raw(ssh.id().unwrap().cast_signed()).unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(gateway.events().iter().all(|event| event["event"] != "session.closed"), "it answers, so it stays");
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let closed = gateway.event(|event| event["event"] == "session.closed").await;
    assert_eq!(closed["outcome"], "client-gone");
}

/// As `ssh -N` does, and whoever logs in again and again: the inventory's calls have a quota.
#[tokio::test]
async fn a_connection_that_opens_no_channel_asks_about_no_node() {
    let gateway = TestGateway::start().await;
    let asked = || gateway.nodes.asked.load(Ordering::Relaxed);
    let socket = gateway.path("m").display().to_string();
    let _master = gateway.ssh(&["-MN", "-S", &socket, "web"]).spawn().unwrap();
    gateway.event(|event| event["event"] == "login.accepted").await;
    while !gateway.path("m").exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(asked(), 0);
    // the same connection, once it opens one
    let through = ["-S", &socket, "-o", "ProxyCommand=false", "web", "echo in"];
    assert_eq!(content(&gateway.run(&through).await), "in\n");
    assert!(asked() > 0, "nobody had to know where the node is");
}
