//! A syslog server that is not ours: rsyslog, with TLS both ways.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::json;
use time::OffsetDateTime;
use tokio::net::TcpStream;
use uuid::Uuid;

use super::outage::options;
use crate::{SessionName, SinkConfig, Sinks, testing};

const PATIENCE: Duration = Duration::from_secs(30);

/// An authority, a certificate of it for `localhost`, and one for the gateway.
fn certificates(dir: &Path) {
    let mut of_authority = CertificateParams::new(Vec::new()).unwrap();
    of_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // by its own name: OpenSSL takes a certificate whose issuer is called as itself for one that signed itself
    of_authority.distinguished_name.push(DnType::CommonName, "an authority");
    let key = KeyPair::generate().unwrap();
    std::fs::write(dir.join("ca.pem"), of_authority.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(of_authority, key);
    for name in ["localhost", "gateway"] {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        std::fs::write(dir.join(format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

struct Rsyslog {
    server: Child,
    log: PathBuf,
}

impl Rsyslog {
    /// Writes what it parsed out of each message, tab-separated, behind what is there.
    async fn start(dir: &Path, port: u16) -> Self {
        let setup = Command::new("scripts/setup.sh").arg("rsyslogd").current_dir(testing::ROOT).output().unwrap();
        assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
        let (at, log) = (dir.display(), dir.join("log"));
        let config = format!(
            r#"
global(workDirectory="{at}" defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="{at}/ca.pem"
       defaultNetstreamDriverCertFile="{at}/localhost.pem" defaultNetstreamDriverKeyFile="{at}/localhost.key")
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")
template(name="parsed" type="string" string="%pri%\t%hostname%\t%app-name%\t%msgid%\t%structured-data%\t%msg%\n")
input(type="imtcp" address="127.0.0.1" port="{port}")
action(type="omfile" file="{at}/log" template="parsed")
"#
        );
        std::fs::write(dir.join("rsyslog.conf"), config).unwrap();
        let mut server = Command::new("/usr/sbin/rsyslogd");
        server.arg("-n").arg("-f").arg(dir.join("rsyslog.conf")).arg("-i").arg(dir.join("pid"));
        let said = std::fs::File::create(dir.join("said")).unwrap();
        let server = server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).spawn().unwrap();
        let listens = async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, listens).await.expect("rsyslog listens");
        Self { server, log }
    }

    fn lines(&self) -> Vec<Vec<String>> {
        let log = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log).lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
    }

    /// Until it has written something.
    async fn has(&self, is_it: impl Fn(&[Vec<String>]) -> bool) -> Vec<Vec<String>> {
        let there = async {
            while !is_it(&self.lines()) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let said = || std::fs::read_to_string(self.log.with_file_name("said")).unwrap_or_default();
        assert!(tokio::time::timeout(PATIENCE, there).await.is_ok(), "{:?}\n{}", self.lines(), said());
        self.lines()
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn sink(dir: &Path, port: u16, host: &str) -> SinkConfig {
    let file = |name: &str| dir.join(name).display().to_string();
    let syslog = json!({"name": "syslog", "host": host, "port": port, "anchor": true, "required": true, "resend_seconds": 1,
        "ca_file": file("ca.pem"), "certificate_file": file("gateway.pem"), "key_file": file("gateway.key")});
    SinkConfig::Syslog(serde_json::from_value(syslog).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_reads_every_message_also_those_of_when_it_was_down_and_has_a_receipt_after_a_while() {
    let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
    certificates(dir.path());
    let sinks = Sinks::start(options(dir.path(), vec![sink(dir.path(), port, "localhost")])).unwrap();
    let session = SessionName { session: Uuid::from_u128(1), person: r#"a"d]a\"#.into(), node: "i-1".into() };
    let tell = async |range: std::ops::Range<u32>| {
        for n in range {
            sinks.event(&session, OffsetDateTime::now_utc(), "command", &format!("{{\"n\":{n}}}")).unwrap();
        }
    };
    let numbers = |lines: &[Vec<String>]| -> Vec<String> {
        let commands = lines.iter().filter(|line| line[3] == "command");
        commands.map(|line| line[5].trim_start().to_owned()).collect()
    };
    let wanted = |range: std::ops::Range<u32>| range.map(|n| format!("{{\"n\":{n}}}")).collect::<Vec<_>>();

    tell(0..20).await;
    let server = Rsyslog::start(dir.path(), port).await;
    let first = server.has(|lines| lines.len() >= 20).await;
    assert_eq!(numbers(&first), wanted(0..20));
    let data = concat!(
        r#"[portcullis@32473 session="00000000-0000-0000-0000-000000000001" person="a\"d\]a\\" node="i-1" "#,
        r#"event="command"]"#
    );
    assert_eq!(first[0][..5], ["110", "gate-1", "portcullis", "command", data]);

    // it is killed and comes back; a message that is longer than it takes, and an anchor
    drop(server);
    tell(20..40).await;
    let long = "é—".repeat(5000);
    sinks.event(&session, OffsetDateTime::now_utc(), "long", &long).unwrap();
    sinks.anchor(OffsetDateTime::now_utc(), "one\n\n— k A=\n").unwrap();
    let server = Rsyslog::start(dir.path(), port).await;
    let all = server.has(|lines| lines.iter().any(|line| line[3] == "anchor")).await;
    let mut once = numbers(&all);
    once.dedup();
    assert_eq!(once.iter().filter(|line| wanted(20..40).contains(line)).count(), 20, "{once:?}");
    let parts: String = all.iter().filter(|line| line[3] == "long").map(|line| &*line[5]).collect();
    assert_eq!(parts.replace([' ', '\u{feff}'], ""), long);
    let anchor = all.iter().find(|line| line[3] == "anchor").unwrap();
    let anchor: serde_json::Value = serde_json::from_str(anchor[5].trim()).unwrap();
    assert_eq!(anchor["note"], "one\n\n— k A=\n");

    let name = testing::folder(dir.path(), 1, "ada", "main", OffsetDateTime::now_utc());
    sinks.sealed(Uuid::from_u128(1), &name).unwrap();
    assert!(sinks.drain(PATIENCE).await, "{:?}", sinks.health());
    assert!(sinks.delivered(&name).unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_another_name_in_its_certificate_gets_nothing() {
    let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
    certificates(dir.path());
    let server = Rsyslog::start(dir.path(), port).await;
    let sinks = Sinks::start(options(dir.path(), vec![sink(dir.path(), port, "127.0.0.1")])).unwrap();
    let session = SessionName { session: Uuid::from_u128(1), person: "ada".into(), node: "i-1".into() };
    sinks.event(&session, OffsetDateTime::now_utc(), "command", "{}").unwrap();
    let refused = async {
        loop {
            let why = sinks.health().into_iter().find(|sink| sink.name == "syslog").and_then(|sink| sink.why);
            if let Some(why) = why {
                return why;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let why = tokio::time::timeout(PATIENCE, refused).await.unwrap();
    assert!(why.contains("agree on no TLS") && why.contains("certificate"), "{why}");
    assert_eq!(server.lines(), Vec::<Vec<String>>::new());
}
