//! A connection to OpenSSH's own server, over a socket in the place of a port session.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use uuid::Uuid;

use super::begin::{What, begin};
use super::connect::{Connection, NodeChannel, Peer};
use super::credential::{Credential, UserCa};
use super::error::SshdError;
use super::host_key::{HostKeyRules, HostNames};
use super::inbox::{Stream, Word};
use super::options::SshdOptions;
use crate::config::Rung;
use crate::emulator::agent::Fidelity;
use crate::evidence::SessionRecord;
use crate::model::{Exit, NodeFacts};
use crate::policy::{Action, Grant};
use crate::testing::{EmbeddedService, EmbeddedTransport, NODE};
use crate::transport::channel::{ChannelSetup, OpenChannel, Out};
use crate::transport::helper::output_window::OutputWindow;
use crate::transport::plain_port::Ended;
use crate::transport::{Herald, TransportError, TransportOptions};

const PATIENCE: Duration = Duration::from_secs(30);

struct Sshd {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
    credential: Credential,
}

fn output(program: &str, args: &[&str]) -> String {
    let ran = Command::new(program).args(args).output().unwrap();
    assert!(ran.status.success(), "{program}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap().trim().to_owned()
}

fn keygen(path: &Path) {
    output("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", path.to_str().unwrap()]);
}

impl Sshd {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca = UserCa::load_or_create(&dir.path().join("ca")).unwrap();
        keygen(&dir.path().join("host"));
        let _ = std::fs::create_dir_all("/run/sshd");
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // whose shells have no start-up files, which may say something
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/host\nTrustedUserCAKeys {0}/ca.pub\nAuthorizedKeysFile none\n\
             PidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nSetEnv HOME={0}\n",
            dir.path().display()
        );
        std::fs::write(dir.path().join("config"), config).unwrap();
        let mut sshd = Command::new("/usr/sbin/sshd");
        sshd.args(["-D", "-E"]).arg(dir.path().join("log")).arg("-f").arg(dir.path().join("config"));
        let child = sshd.stdin(Stdio::null()).spawn().unwrap();
        let sshd = Self { child, port, dir, credential: Credential::UserCa(ca) };
        timeout(PATIENCE, async {
            while TcpStream::connect(("127.0.0.1", sshd.port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .unwrap();
        sshd
    }

    async fn connect(&self, credential: &Credential) -> Result<Arc<Connection>, SshdError> {
        let rules = Arc::new(HostKeyRules::new(Vec::new(), Some(self.dir.path().join("seen"))));
        let node = HostNames::of(&NodeFacts::named("i-0abc", "web-1"), "web-1");
        let peer = Peer { rules, node, user: output("id", &["-un"]), port: self.port };
        let grant = Grant::for_test("web-1", Action::Shell);
        let proof = credential.prove(&grant, &peer.user, Uuid::nil())?;
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        Connection::over(stream, Ended::default(), &peer, credential, proof).await
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn exec(connection: &Arc<Connection>, line: &str) -> NodeChannel {
    let mut channel = connection.open(OutputWindow::default()).await.unwrap();
    begin(&mut channel, &What::Command(line.into()), &ChannelSetup::default()).await.unwrap();
    channel
}

/// All that it says: how many bytes, their beginning, and its end.
async fn all(channel: &mut NodeChannel) -> (usize, Vec<u8>, Option<Exit>) {
    let (mut count, mut head, mut exit) = (0, Vec::new(), None);
    loop {
        match timeout(PATIENCE, channel.next()).await.unwrap() {
            Word::Data(Stream::Stdout | Stream::Stderr, bytes) => {
                channel.take(bytes.len());
                count += bytes.len();
                head.extend(bytes.iter().take(100_usize.saturating_sub(head.len())));
            }
            Word::Exit(how) => exit = Some(how),
            Word::Reply(_) => {}
            Word::Closed => return (count, head, exit),
            Word::Lost(why) => panic!("{why}"),
        }
    }
}

#[tokio::test]
async fn a_channel_that_nobody_reads_holds_up_no_other() {
    let sshd = Sshd::start().await;
    let connection = sshd.connect(&sshd.credential).await.unwrap();
    // more than its window is wide
    let mut stalled = exec(&connection, "head -c 30000000 /dev/zero").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    for number in 0..30 {
        let mut other = exec(&connection, &format!("echo {number}; exit {number}")).await;
        let (_, said, exit) = all(&mut other).await;
        assert_eq!((said, exit), (format!("{number}\n").into_bytes(), Some(Exit::Code(number))));
    }
    let (count, _, exit) = all(&mut stalled).await;
    assert_eq!((count, exit), (30_000_000, Some(Exit::Code(0))));
    // and what was closed here is hung up there, and forgotten
    let marked = format!("sleep 9{}", sshd.port);
    drop(exec(&connection, &marked).await);
    connection.hang_up().await;
}

#[tokio::test]
async fn another_authority_s_certificate_opens_nothing_and_is_said() {
    let sshd = Sshd::start().await;
    let refused = sshd.connect(&Credential::UserCa(UserCa::for_test())).await.unwrap_err();
    assert!(matches!(refused, SshdError::NotLoggedIn { .. }) && refused.to_string().contains("user-ca"), "{refused}");
}

/// Whatever it says: the sentence is ours, and nothing panics or waits for ever.
#[tokio::test]
async fn what_is_no_ssh_server_is_told_in_a_sentence() {
    for said in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"SSH-2.0-x\r\n\0\0\0\x0c\x0a\x14", b"", &[0xff; 4096]] {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        tokio::io::AsyncWriteExt::write_all(&mut far, said).await.unwrap();
        tokio::io::AsyncWriteExt::shutdown(&mut far).await.unwrap();
        let rules = Arc::new(HostKeyRules::new(Vec::new(), None));
        let node = HostNames::of(&NodeFacts::named("i-0abc", "web-1"), "web-1");
        let peer = Peer { rules, node, user: "ada".into(), port: 22 };
        let credential = Credential::UserCa(UserCa::for_test());
        let proof = credential.prove(&Grant::for_test("web-1", Action::Shell), "ada", Uuid::nil()).unwrap();
        let told =
            timeout(PATIENCE, Connection::over(near, Ended::default(), &peer, &credential, proof)).await.unwrap();
        let told = told.unwrap_err().to_string();
        assert!(told.contains("no connection to the sshd of web-1"), "{told}");
    }
}

/// What a channel says: its output, and its end or why it has none.
async fn heard(opened: Result<OpenChannel, TransportError>) -> Result<(Vec<u8>, Exit), TransportError> {
    let OpenChannel { input: _input, mut output } = opened?;
    let (mut said, mut exit) = (Vec::new(), Exit::Unknown);
    while let Some(out) = timeout(PATIENCE * 2, output.deliver()).await.unwrap() {
        match out? {
            Out::Stdout(bytes) | Out::Stderr(bytes) => said.extend_from_slice(&bytes),
            Out::Exit(how) => exit = how,
            Out::Notice(_) => {}
        }
    }
    Ok((said, exit))
}

#[tokio::test]
async fn a_node_on_which_no_helper_runs_is_reached_by_its_sshd_from_then_on() {
    let sshd = Sshd::start().await;
    let nothing = tempfile::tempdir().unwrap();
    let service = EmbeddedService::builder().with_path(nothing.path().into()).start().await;
    let host_keys = Arc::new(HostKeyRules::new(Vec::new(), Some(sshd.dir.path().join("seen"))));
    let credential = Some(sshd.credential.clone());
    let options = SshdOptions { credential, user: Some(output("id", &["-un"])), port: sshd.port, host_keys };
    let options = TransportOptions { sshd: options, ..TransportOptions::default() };
    let embedded = EmbeddedTransport::to(service, "{}", options).await;
    let first = heard(embedded.exec("echo here", true).await).await.unwrap_err().to_string();
    assert!(first.contains("from now on the node's own sshd is tried there"), "{first}");
    let (said, exit) = heard(embedded.exec("echo here; exit 4", true).await).await.unwrap();
    assert_eq!((said.as_slice(), exit), (&b"here\n"[..], Exit::Code(4)));
    // this one has no SFTP server, and says so
    let grant = Grant::for_test(NODE, Action::Files);
    let files = embedded.transport.open_files(grant, SessionRecord::for_test().lanes(), Herald::default()).await;
    assert!(matches!(files, Err(TransportError::Sshd(SshdError::NoFiles))), "{files:?}");
}

#[tokio::test]
async fn without_a_user_or_a_credential_nothing_is_opened_and_that_is_said() {
    for (options, expected) in [
        (SshdOptions::default(), "nothing to log in with"),
        (
            SshdOptions { credential: Some(Credential::UserCa(UserCa::for_test())), ..SshdOptions::default() },
            "ec2-user%",
        ),
    ] {
        let options = TransportOptions { rung: Some(Rung::Sshd), sshd: options, ..TransportOptions::default() };
        let embedded = EmbeddedTransport::new(Fidelity::Fast, options).await;
        let refused = embedded.exec("true", true).await.unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
    }
}

#[tokio::test]
async fn limits_end_it_there_as_elsewhere() {
    let sshd = Sshd::start().await;
    let host_keys = Arc::new(HostKeyRules::new(Vec::new(), Some(sshd.dir.path().join("seen"))));
    let credential = Some(sshd.credential.clone());
    let options = SshdOptions { credential, user: Some(output("id", &["-un"])), port: sshd.port, host_keys };
    let idle_limit = Some(Duration::from_secs(2));
    let options = TransportOptions { rung: Some(Rung::Sshd), sshd: options, idle_limit, ..TransportOptions::default() };
    let embedded = EmbeddedTransport::new(Fidelity::Fast, options).await;
    let ended = heard(embedded.exec("echo begun; sleep 100", false).await).await.unwrap_err();
    assert!(matches!(ended, TransportError::Limit(_)), "{ended}");
    // nobody needs it any more: the session of Session Manager goes with it
    embedded.service.no_session_is_left().await;
}
