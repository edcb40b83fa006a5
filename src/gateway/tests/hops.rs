//! Hops (`ssh -J`): the gateway answers in a node's name, and what is done there is judged and recorded as anywhere.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::process::Command;

use super::wire::{Raw, string, take};
use crate::policy::Policy;
use crate::testing::{SOON, TestGateway, finish, text};

const ALL: &str = "@id(\"all\") permit (principal, action, resource);";

/// All that a session is made of, on a node that may be hopped to.
const HOPPERS: &str = "
@id(\"hop\") permit (principal == Person::\"ada\", action == Action::\"Hop\", resource);
@id(\"work\") permit (principal == Person::\"ada\", action in Action::\"Sessions\", resource) when { resource.name == \"web-1\" };
@id(\"as-www\") permit (principal == Person::\"ada\", action == Action::\"RunAs\", resource)
when { context has os_user && context.os_user == \"www\" };
";

impl TestGateway {
    /// `ssh` that knows the gateway by its key and the nodes by one line, that of the host CA, whatever else it is told.
    pub(super) fn hops(&self, args: &[&str]) -> Command {
        let (dir, port) = (self.dir.path().display(), self.address.port());
        let mut config = String::new();
        for (gate, user, key) in
            [("gate", "ada", "ada"), ("gate-of-bob", "bob", "bob"), ("gate-of-alice", "alice", "ada")]
        {
            config += &format!(
                "Host {gate}\n  HostName 127.0.0.1\n  Port {port}\n  User {user}\n  IdentityFile {dir}/{key}\n  \
                 UserKnownHostsFile {dir}/known_hosts\n"
            );
        }
        config += &format!(
            "Host *\n  UserKnownHostsFile {dir}/known_ca\n  GlobalKnownHostsFile /dev/null\n  IdentitiesOnly yes\n  \
             StrictHostKeyChecking yes\n  BatchMode yes\n  IdentityAgent none\n"
        );
        let path = self.path("hops_config");
        std::fs::write(&path, config).unwrap();
        let mut ssh = Command::new("ssh");
        ssh.arg("-F").arg(path).args(args);
        ssh.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        ssh
    }

    async fn hop(&self, args: &[&str]) -> std::process::Output {
        finish(self.hops(args)).await
    }

    fn of(&self, name: &str) -> Vec<Value> {
        self.events().into_iter().filter(|event| event["event"] == name).collect()
    }

    /// Where whoever connects is inside a hop of ada's to that node.
    pub(super) async fn inside(&self, node: &str) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut ssh = self.hops(&["-W", &format!("{node}:22"), "gate"]);
        ssh.stdin(Stdio::piped()).stderr(Stdio::inherit());
        tokio::spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let mut child = ssh.spawn().unwrap();
            let (mut to, mut from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
            let (mut read, mut write) = tcp.split();
            let up = async {
                let _ = tokio::io::copy(&mut read, &mut to).await;
                drop(to);
            };
            let down = async {
                let _ = tokio::io::copy(&mut from, &mut write).await;
                let _ = write.shutdown().await;
            };
            tokio::join!(up, down);
        });
        address
    }
}

#[tokio::test]
async fn one_line_of_known_hosts_is_enough_for_every_node_and_each_session_is_as_any() {
    let gateway = TestGateway::under(HOPPERS).await;
    let ran = gateway.hop(&["-J", "gate", "ada@web-1", "echo out; echo err >&2; exit 3"]).await;
    assert_eq!((text(&ran.stdout).as_str(), ran.status.code()), ("out\n", Some(3)), "{ran:?}");
    assert!(text(&ran.stderr).contains("err\n"), "{ran:?}");
    // the events: a login, a hop on its connection, a login in that, a session on that connection
    gateway.event(|event| event["event"] == "session.closed").await;
    let (logins, opened) = (gateway.of("login.accepted"), gateway.of("session.opened"));
    let [outer, inner] = &logins[..] else { panic!("{logins:#?}") };
    let [hop, exec] = &opened[..] else { panic!("{opened:#?}") };
    assert_eq!((&hop["action"], &hop["connection"], &hop["node"]), (&"Hop".into(), &outer["id"], &"i-web-1".into()));
    assert_eq!((&inner["hop_connection"], &inner["hop_session"]), (&outer["id"], &hop["id"]));
    assert_eq!((&inner["person"], &inner["proof"]), (&"ada".into(), &outer["proof"]));
    assert_eq!((&exec["action"], &exec["connection"]), (&"Exec".into(), &inner["id"]));
    assert_eq!((&exec["hop_connection"], &exec["hop_session"]), (&outer["id"], &hop["id"]));
    assert!(outer.get("hop_connection").is_none() && hop.get("hop_connection").is_none());
    let closed = gateway.event(|event| event["event"] == "session.closed" && event["id"] == hop["id"]).await;
    assert_eq!(closed["outcome"], "finished");
    assert!(closed["stdin"]["bytes"].as_u64().unwrap() > 1000, "what passed is counted: {closed}");
    // the other ways of saying so
    let jump = format!("ProxyCommand=ssh -F '{}' -W %h:%p gate", gateway.path("hops_config").display());
    let ran = gateway.hop(&["-o", &jump, "ada@web-1", "echo by command"]).await;
    assert_eq!(text(&ran.stdout), "by command\n", "{ran:?}");
    let ran = gateway.hop(&["-o", "ProxyJump=gate", "-l", "ada", "web-1", "echo by jump"]).await;
    assert_eq!(text(&ran.stdout), "by jump\n", "{ran:?}");
}

#[tokio::test]
async fn files_and_shared_connections_pass_through_a_hop() {
    let gateway = TestGateway::under(HOPPERS).await;
    drop(gateway.hops(&[]));
    let config = gateway.path("hops_config");
    let (here, back) = (gateway.path("here"), gateway.path("back"));
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[(n % 4) as usize]).collect();
    std::fs::write(&here, &bytes).unwrap();
    for (program, args) in
        [("scp", [here.to_str().unwrap(), "ada@web-1:there"]), ("scp", ["ada@web-1:there", back.to_str().unwrap()])]
    {
        let mut scp = Command::new(program);
        scp.arg("-F").arg(&config).args(["-J", "gate"]).args(args).stdin(Stdio::null());
        let ran = finish(scp).await;
        assert!(ran.status.success(), "{program} {args:?}: {ran:?}");
    }
    assert!(std::fs::read(&back).unwrap() == bytes);
    std::fs::write(gateway.path("batch"), "get there again\n").unwrap();
    let mut sftp = Command::new("sftp");
    sftp.arg("-F").arg(&config).args(["-J", "gate", "-b"]).arg(gateway.path("batch")).arg("ada@web-1");
    sftp.current_dir(gateway.dir.path()).stdin(Stdio::null());
    let ran = finish(sftp).await;
    assert!(ran.status.success(), "{ran:?}");
    assert!(std::fs::read(gateway.path("again")).unwrap() == bytes);
    // one connection inside, for many commands
    let socket = gateway.path("mux").display().to_string();
    let shared = ["-J", "gate", "-o", "ControlMaster=auto", "-o", "ControlPersist=30", "-S", &socket, "ada@web-1"];
    for n in 0..5 {
        let ran = gateway.hop(&[&shared[..], &[&format!("echo {n}; exit {n}")]].concat()).await;
        assert_eq!((text(&ran.stdout), ran.status.code()), (format!("{n}\n"), Some(n)));
    }
    let hops = |event: &&Value| event["action"] == "Hop";
    assert_eq!(gateway.of("session.opened").iter().filter(hops).count(), 4, "one for each connection");
    drop(gateway.hop(&["-O", "exit", "-S", &socket, "web-1"]).await);
}

#[tokio::test]
async fn the_name_inside_is_a_user_of_the_node_and_never_a_person() {
    let gateway = TestGateway::under(HOPPERS).await;
    for (jump, user, os_user) in [
        ("gate", "ada", None),
        ("gate", "web-1", None),
        ("gate", "www", Some("www")),
        ("gate", "www%web-1", Some("www")),
        ("gate", "ada/www%web-1", Some("www")),
        // nobody meant what a client sends by itself, to the gateway and inside
        ("gate-of-alice", "alice", None),
    ] {
        let before = gateway.events().len();
        let ran = gateway.hop(&["-J", jump, "-l", user, "web-1", "echo in"]).await;
        assert_eq!(text(&ran.stdout), "in\n", "{user}: {ran:?}");
        let opened = gateway.events().split_off(before).into_iter().find(|event| event["action"] == "Exec").unwrap();
        assert_eq!((&opened["person"], opened["os_user"].as_str()), (&"ada".into(), os_user), "{user}");
    }
    for (user, sentence) in [
        ("root", "portcullis: denied by policy \"default\": no policy lets ada do Exec on web-1 as root"),
        ("alice", "on web-1 as alice"),
        ("bob/", "a hop is whose login to the gateway it came by"),
        ("bob/www%web-1", "a hop is whose login to the gateway it came by"),
        ("www%down-1", "this is a hop to web-1"),
    ] {
        let ran = gateway.hop(&["-J", "gate", "-o", &format!("User={user}"), "web-1", "echo in"]).await;
        assert_eq!((text(&ran.stdout).as_str(), ran.status.code()), ("", Some(255)), "{user}: {ran:?}");
        assert!(text(&ran.stderr).contains(sentence), "{user}: {}", text(&ran.stderr));
    }
    // and what to do where nobody meant it
    let ran = gateway.hop(&["-J", "gate", "alice@web-1", "true"]).await;
    assert!(text(&ran.stderr).contains("ssh -J <gateway> ada@web-1"), "{}", text(&ran.stderr));
    assert!(gateway.of("session.opened").iter().all(|event| event["person"] == "ada"));
}

/// Why `ssh -J` did not get through.
async fn refused(gateway: &TestGateway, jump: &str, host: &str) -> String {
    let ran = gateway.hop(&["-J", jump, "-l", "ada", host, "echo in"]).await;
    assert_eq!((text(&ran.stdout).as_str(), ran.status.code()), ("", Some(255)), "{ran:?}");
    text(&ran.stderr)
}

#[tokio::test]
async fn a_hop_that_is_denied_or_leads_nowhere_is_refused_before_anything_is_said_inside() {
    let gateway = TestGateway::under(HOPPERS).await;
    let denied = refused(&gateway, "gate-of-bob", "web-1").await;
    assert!(
        denied
            .contains("administratively prohibited: denied by policy \"default\": no policy lets bob do Hop on web-1"),
        "{denied}"
    );
    let event = gateway.event(|event| event["event"] == "channel.refused").await;
    assert_eq!((&event["asked"], &event["code"]), (&"Hop on web-1".into(), &"no-rule".into()));
    // leave to be there is none to come this way
    let work = HOPPERS.lines().filter(|line| !line.contains("\"hop\"")).collect::<Vec<_>>().join("\n");
    gateway.policies.replace(Policy::for_test(&work));
    assert!(gateway.run(&["web", "true"]).await.status.success());
    assert!(refused(&gateway, "gate", "web-1").await.contains("no policy lets ada do Hop on web-1"));
    // nor the other way round
    gateway.policies.replace(Policy::for_test("@id(\"hop\") permit (principal, action == Action::\"Hop\", resource);"));
    assert!(refused(&gateway, "gate", "web-1").await.contains("no policy lets ada do Exec on web-1"));
    gateway.policies.replace(Policy::for_test(ALL));
    assert!(
        refused(&gateway, "gate", "wbe-1")
            .await
            .contains("connect failed: no node is called wbe-1; did you mean web-1?")
    );
    assert!(
        refused(&gateway, "gate", "down-1")
            .await
            .contains("connect failed: down-1 is not connected to Systems Manager")
    );
    assert!(refused(&gateway, "gate", "web").await.contains("3 nodes are called web; use one of i-web-1"));
    let port = gateway.hop(&["-J", "gate", "-p", "2222", "web-1", "true"]).await;
    assert!(text(&port.stderr).contains("your login names no node, so it reaches nodes by their port 22"), "{port:?}");
    let event = gateway.event(|event| event["code"] == "port-of-no-node").await;
    assert_eq!(event["asked"], "hop to web-1:2222");
    // a reason is the gateway's login's
    let wants = "@id(\"why\") @reason(\"a ticket\") permit (principal, action, resource);";
    gateway.policies.replace(Policy::for_test(wants));
    let needs = refused(&gateway, "gate", "web-1").await;
    assert!(
        needs.contains("needs a reason (a ticket)") && needs.contains("ssh -J 'ada/+<reason>@<gateway>' web-1"),
        "{needs}"
    );
    let ran = gateway.hop(&["-J", "ada/+INC-1@gate", "-l", "ada", "web-1", "echo in"]).await;
    assert_eq!(text(&ran.stdout), "in\n", "{ran:?}");
    let reasons: Vec<Value> =
        gateway.of("session.opened").iter().rev().take(2).map(|event| event["reason"].clone()).collect();
    assert_eq!(reasons, ["INC-1", "INC-1"], "what is inside is for the same reason unless it says another");
}

fn direct_tcpip(host: &str, port: u32) -> Vec<u8> {
    let numbers = [7_u32, 1 << 20, 32768].map(u32::to_be_bytes).concat();
    let rest = [&string(host.as_bytes())[..], &port.to_be_bytes(), &string(b"127.0.0.1"), &40_000_u32.to_be_bytes()];
    [&[90], &string(b"direct-tcpip")[..], &numbers, &rest.concat()].concat()
}

#[tokio::test]
async fn no_name_of_a_host_gets_into_a_certificate_that_would_be_a_pattern_and_nothing_is_dialled() {
    let gateway = TestGateway::under(ALL).await;
    let reached = TcpListener::bind("127.0.0.1:22").await.ok();
    let mut raw = Raw::logged_in(gateway.address, "ada", &gateway.key("ada")).await;
    for host in [
        "*",
        "web-?",
        "web-1,*",
        "!web-1",
        "web 1",
        "web-1\n",
        "",
        "[web-1]",
        "::1",
        "-oProxyCommand=id",
        "wéb",
        "..",
        &"w".repeat(1000),
    ] {
        raw.send(&direct_tcpip(host, 22)).await;
        let failure = raw.until(92).await;
        assert!(String::from_utf8_lossy(&take(&mut &failure[9..])).starts_with("a hop goes to a node: "), "{host:?}");
    }
    for host in
        ["localhost", "127.0.0.1", "127.1", "0.0.0.0", "2130706433", "169.254.169.254", "instance-data.ec2.internal"]
    {
        raw.send(&direct_tcpip(host, 22)).await;
        let failure = raw.until(92).await;
        let told = String::from_utf8_lossy(&take(&mut &failure[9..])).into_owned();
        assert!(told.starts_with(&format!("no node is called {host}")), "{told}");
    }
    if let Some(reached) = reached {
        assert!(tokio::time::timeout(Duration::from_millis(300), reached.accept()).await.is_err());
    }
    raw.exec(9, 1 << 20, 32768, "whoami").await;
}

#[tokio::test]
async fn whatever_is_offered_inside_lets_in_the_person_of_the_hop_and_nobody_outside() {
    let gateway = TestGateway::under(ALL).await;
    let request = |user: &str, method: &str, rest: &[u8]| {
        [&[50], &[user.as_bytes(), b"ssh-connection", method.as_bytes()].map(string).concat()[..], rest].concat()
    };
    let password = [&[0], &string(b"a guess")[..]].concat();
    let asked = [string(b""), string(b"")].concat();
    for (method, rest) in [("none", &b""[..]), ("password", &password), ("keyboard-interactive", &asked)] {
        // outside it proves nothing
        let mut raw = Raw::encrypted(gateway.address).await;
        raw.ask_to_log_in().await;
        raw.send(&request("ada", method, rest)).await;
        assert_eq!(raw.until(51).await[0], 51, "{method}");
        let mut raw = Raw::encrypted(gateway.inside("web-1").await).await;
        raw.ask_to_log_in().await;
        raw.send(&request("bob", method, rest)).await;
        assert_eq!(raw.until(52).await, [52], "{method}");
    }
    // a stranger's key is as good, and is nobody's
    let stranger = gateway.key("stranger");
    let mut raw = Raw::encrypted(gateway.inside("web-1").await).await;
    let (answer, _) = raw.offer_key("root", "ssh-ed25519", &stranger.public_key().to_bytes().unwrap()).await;
    assert_eq!(answer, 60);
    raw.log_in("root", &stranger).await;
    // the client hears of it before the log does
    gateway.event(|event| event["event"] == "login.accepted" && event["login"] == "root").await;
    let logins: Vec<Value> =
        gateway.of("login.accepted").into_iter().filter(|event| event.get("hop_session").is_some()).collect();
    assert_eq!(logins.len(), 4);
    assert!(
        logins.iter().all(|login| login["person"] == "ada" && !login["proof"].as_str().unwrap().contains("stranger"))
    );
}

#[tokio::test]
async fn inside_a_hop_there_is_no_other_and_a_login_that_names_a_node_hops_nowhere() {
    let gateway = TestGateway::under(ALL).await;
    let mut raw = Raw::logged_in(gateway.inside("web-1").await, "ada", &gateway.key("ada")).await;
    for host in ["web-1", "down-1", "localhost"] {
        raw.send(&direct_tcpip(host, 22)).await;
        let failure = raw.until(92).await;
        let told = String::from_utf8_lossy(&take(&mut &failure[9..])).into_owned();
        // the node itself is asked, and nobody answers there
        assert!(told.contains("nobody answers at"), "{told}");
    }
    let twice = gateway.hop(&["-J", "gate,ada@web-1", "ada@web-1", "true"]).await;
    assert!(!twice.status.success(), "{twice:?}");
    // a node, and not a word that need be none
    let mut raw = Raw::logged_in(gateway.address, "web-1", &gateway.key("ada")).await;
    raw.send(&direct_tcpip("down-1", 22)).await;
    let failure = raw.until(92).await;
    assert!(String::from_utf8_lossy(&failure).contains("nobody answers at down-1:22"));
    let dialled = std::mem::take(&mut *gateway.node.dialled.lock().unwrap());
    assert_eq!(dialled, ["tunnel:22", "down-1:22", "tunnel:22", "down-1:22"], "and not by leave to forward");
    assert!(gateway.of("session.opened").iter().filter(|event| event["action"] == "Hop").count() <= 2);
}

#[tokio::test]
async fn a_stream_that_does_not_get_on_inside_ends_at_the_deadline_and_takes_nobody_along() {
    let gateway = TestGateway::with(|settings| settings.limits.login_seconds = 2).await;
    gateway.policies.replace(Policy::for_test(ALL));
    // a client that says what it is, and then nothing
    let silent = Raw::connect(gateway.inside("web-1").await).await;
    assert!(silent.gets_hung_up_on(SOON).await);
    // junk, and more of it than anybody may send
    for junk in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 200_000], b"SSH-2.0-x\r\n\xff\xff\xff\xff\xff\xff\xff\xff"] {
        let mut raw = Raw::silent(gateway.inside("web-1").await).await;
        let _ = raw.tcp.write_all(junk).await;
        assert!(raw.gets_hung_up_on(SOON).await);
    }
    gateway.runs(0).await;
    let outcomes: Vec<Value> = gateway.of("session.closed").iter().map(|event| event["outcome"].clone()).collect();
    assert_eq!(outcomes, ["failed", "failed", "failed", "failed"]);
    gateway.works().await;
}

/// A command that stands there inside a hop until something ends it.
async fn standing(gateway: &TestGateway) -> tokio::process::Child {
    let child = gateway.hops(&["-J", "gate", "ada@web-1", "echo here; exec sleep 60"]).spawn().unwrap();
    gateway.runs(2).await;
    child
}

async fn ends(gateway: &TestGateway, child: tokio::process::Child) -> String {
    let ran = tokio::time::timeout(SOON, child.wait_with_output()).await.expect("it goes on").unwrap();
    assert_eq!(ran.status.code(), Some(255), "{ran:?}");
    gateway.runs(0).await;
    text(&ran.stderr)
}

#[tokio::test]
async fn what_ends_the_hop_ends_what_is_inside_with_a_sentence() {
    let gateway = TestGateway::under(HOPPERS).await;
    let renew = |identity: &crate::identity::Identity| Ok(identity.clone());
    // leave to hop is taken back, and nothing else
    let child = standing(&gateway).await;
    let work = HOPPERS.lines().filter(|line| !line.contains("\"hop\"")).collect::<Vec<_>>().join("\n");
    gateway.policies.replace(Policy::for_test(&work));
    assert_eq!(gateway.sessions.judge_anew(renew), 1, "of the two the hop");
    let told = ends(&gateway, child).await;
    assert!(told.contains("the policies have changed") && told.contains("Hop on web-1"), "{told}");
    let why: Vec<Value> = gateway.of("session.closed").iter().map(|event| event["outcome"].clone()).collect();
    assert_eq!(why, ["killed", "killed"]);
    // leave to be there
    gateway.policies.replace(Policy::for_test(HOPPERS));
    let child = standing(&gateway).await;
    gateway.policies.replace(Policy::for_test("@id(\"hop\") permit (principal, action == Action::\"Hop\", resource);"));
    assert_eq!(gateway.sessions.judge_anew(renew), 1, "of the two the command");
    assert!(ends(&gateway, child).await.contains("Exec on web-1"));
    // both, as when somebody is nobody any more
    gateway.policies.replace(Policy::for_test(HOPPERS));
    let child = standing(&gateway).await;
    assert_eq!(gateway.sessions.judge_anew(|_| Err(crate::identity::Unproved::Unknown)), 2);
    assert!(ends(&gateway, child).await.contains("no proof any more"));
    // by hand
    let child = standing(&gateway).await;
    let hop = gateway.sessions.registry().running().into_iter().find(|session| session.action == "Hop").unwrap();
    assert!(gateway.sessions.registry().kill(hop.id, "ended by ada"));
    assert!(ends(&gateway, child).await.contains("ended by ada"));
    // by policy's clock, which is the hop's own
    let short = HOPPERS.replace("@id(\"hop\")", "@id(\"hop\") @max_duration(\"2s\")");
    gateway.policies.replace(Policy::for_test(&short));
    let child = standing(&gateway).await;
    assert!(ends(&gateway, child).await.contains("Max session duration reached."));
}

#[tokio::test]
async fn the_end_of_the_connection_around_is_the_end_of_what_is_inside() {
    let gateway = TestGateway::under(HOPPERS).await;
    let mut around = gateway.hops(&["-W", "web-1:22", "gate"]);
    let mut around = around.stdin(Stdio::piped()).spawn().unwrap();
    let (mut to, mut from) = (around.stdin.take().unwrap(), around.stdout.take().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let pipe = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let (mut read, mut write) = tcp.split();
        tokio::select! {
            _ = tokio::io::copy(&mut read, &mut to) => {}
            _ = tokio::io::copy(&mut from, &mut write) => {}
        }
    });
    let mut raw = Raw::logged_in(address, "ada", &gateway.key("ada")).await;
    raw.exec(1, 1 << 20, 32768, "echo here; exec sleep 60").await;
    gateway.runs(2).await;
    around.kill().await.unwrap();
    gateway.runs(0).await;
    let outcomes: Vec<Value> = gateway.of("session.closed").iter().map(|event| event["outcome"].clone()).collect();
    assert_eq!(outcomes.len(), 2);
    assert!(outcomes.contains(&"client-gone".into()), "{outcomes:?}");
    pipe.abort();
}

#[tokio::test]
async fn hops_have_their_part_in_what_a_person_may_hold() {
    let gateway = TestGateway::with(|settings| settings.limits.connections_per_person = 2).await;
    gateway.policies.replace(Policy::for_test(ALL));
    // the one around, and one inside
    let _inside = Raw::logged_in(gateway.inside("web-1").await, "ada", &gateway.key("ada")).await;
    let told = refused(&gateway, "gate", "web-1").await;
    assert!(told.contains("you have 2 connections already, which is the limit"), "{told}");
    // and channels
    let gateway = TestGateway::with(|settings| settings.limits.channels = 2).await;
    gateway.policies.replace(Policy::for_test(ALL));
    let mut raw = Raw::logged_in(gateway.address, "ada", &gateway.key("ada")).await;
    for _ in 0..2 {
        raw.send(&direct_tcpip("web-1", 22)).await;
        raw.until(91).await;
    }
    raw.send(&direct_tcpip("web-1", 22)).await;
    let failure = raw.until(92).await;
    assert!(String::from_utf8_lossy(&failure).contains("2 channels already"));
    drop(raw);
    gateway.runs(0).await;
    gateway.until_nothing_is_held().await;
}

#[tokio::test]
async fn a_certificate_of_another_authority_or_for_another_name_is_refused_by_the_client() {
    let gateway = TestGateway::under(ALL).await;
    drop(gateway.hops(&[]));
    let other = crate::gateway::HostCa::for_test();
    std::fs::write(gateway.path("other_ca"), format!("@cert-authority * {}\n", other.public_line())).unwrap();
    let option = format!("UserKnownHostsFile={}", gateway.path("other_ca").display());
    let jump = format!("ProxyCommand=ssh -F '{}' -W %h:%p gate", gateway.path("hops_config").display());
    let ran = gateway.hop(&["-o", &option, "-o", &jump, "ada@web-1", "true"]).await;
    assert!(text(&ran.stderr).contains("Host key verification failed"), "{ran:?}");
    // the name is compared by the client: an alias that is none of it is not believed
    let ran = gateway.hop(&["-J", "gate", "-o", "HostKeyAlias=db-1", "ada@web-1", "true"]).await;
    assert!(text(&ran.stderr).contains("Host key verification failed"), "{ran:?}");
    // who knows no certificates knows the nodes by the gateway's own key
    let keys = std::fs::read_to_string(gateway.path("known_hosts")).unwrap();
    let plain: String = keys.lines().map(|line| format!("web-1 {}\n", line.split_once(' ').unwrap().1)).collect();
    std::fs::write(gateway.path("plain"), plain).unwrap();
    let option = format!("UserKnownHostsFile={}", gateway.path("plain").display());
    let ran =
        gateway.hop(&["-o", &option, "-o", &jump, "-o", "HostKeyAlgorithms=ssh-ed25519", "ada@web-1", "echo in"]).await;
    assert_eq!(text(&ran.stdout), "in\n", "{ran:?}");
    let mut shown = String::new();
    let mut raw = tokio::net::TcpStream::connect(gateway.inside("web-1").await).await.unwrap();
    let mut line = [0; 64];
    let read = raw.read(&mut line).await.unwrap();
    shown.push_str(&String::from_utf8_lossy(&line[..read]));
    assert!(shown.starts_with("SSH-2.0-OpenSSH_9.9 Portcullis"), "{shown}");
}
