//! Keys that IAM users hold: uploaded to the IAM of an account, read in the background, and in force without a restart; and an
//! IAM that can't be asked.

use std::io::{BufRead as _, BufReader};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use aws_sdk_iam as iam;
use aws_sdk_iam::types::StatusType;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use serde_json::Value;

use crate::harness::{PATIENCE, run, until};
use crate::serve::Account;

/// Between two readings in these tests, with the time for one and some for a busy machine.
const SOON: Duration = Duration::from_secs(15);

/// The one user that the emulator's IAM has.
const USER: &str = "portcullis";

/// The way from the gateway to IAM alone, which a test can close.
struct Way {
    url: String,
    open: Arc<Mutex<Option<Vec<TcpStream>>>>,
}

impl Way {
    fn to(url: &str) -> Self {
        let to = url.strip_prefix("https://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let open = Arc::new(Mutex::new(Some(Vec::new())));
        let streams = open.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let mut streams = streams.lock().unwrap();
                // whoever comes while it is closed is hung up on
                let Some(streams) = streams.as_mut() else { continue };
                let server = TcpStream::connect(&to).unwrap();
                for (from, into) in [(&client, &server), (&server, &client)] {
                    let (mut from, mut into) = (from.try_clone().unwrap(), into.try_clone().unwrap());
                    thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut into);
                        let _ = into.shutdown(Shutdown::Write);
                    });
                }
                streams.extend([client, server]);
            }
        });
        Self { url, open }
    }

    fn close(&self) {
        for stream in self.open.lock().unwrap().take().into_iter().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn open(&self) {
        *self.open.lock().unwrap() = Some(Vec::new());
    }
}

/// What a user does in IAM.
struct Iam {
    runtime: tokio::runtime::Runtime,
    client: iam::Client,
}

impl Iam {
    fn of(account: &Account) -> Self {
        let keys = std::fs::read_to_string(account.at("keys")).unwrap();
        let value = |name: &str| {
            let line = keys.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim_start_matches([' ', '=']).to_owned()
        };
        let (id, secret) = (value("aws_access_key_id"), value("aws_secret_access_key"));
        let pem = std::fs::read(account.at("ca.pem")).unwrap();
        let context = TlsContext::builder().with_trust_store(TrustStore::empty().with_pem_certificate(pem)).build();
        let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
        let config = iam::Config::builder()
            .behavior_version(iam::config::BehaviorVersion::v2026_01_12())
            .region(iam::config::Region::new("us-east-1"))
            .credentials_provider(iam::config::Credentials::new(id, secret, None, None, "test"))
            .endpoint_url(account.url())
            .http_client(http.tls_context(context.unwrap()).build_https());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, client: iam::Client::from_conf(config.build()) }
    }

    fn upload(&self, line: &str) -> String {
        let call = self.client.upload_ssh_public_key().user_name(USER).ssh_public_key_body(line);
        self.runtime.block_on(call.send()).unwrap().ssh_public_key.unwrap().ssh_public_key_id
    }

    fn set(&self, id: &str, status: StatusType) {
        let call = self.client.update_ssh_public_key().user_name(USER).ssh_public_key_id(id).status(status);
        self.runtime.block_on(call.send()).unwrap();
    }
}

/// An account where ada has her key in IAM, and bob has his in the configuration.
fn account() -> (Account, Way, Iam, String) {
    let account = Account::new("[iam_keys]\nread_seconds = 5\ncounts_seconds = 10\n");
    let keygen = |name: &str, kind: &[&str]| {
        let _ = std::fs::remove_file(account.at(name));
        let mut keygen = Command::new("ssh-keygen");
        run(keygen.args(["-q", "-N", "", "-f"]).arg(account.at(name)).args(kind), b"", PATIENCE).ok();
        std::fs::read_to_string(account.at(&format!("{name}.pub"))).unwrap().trim().to_owned()
    };
    let (ada, bob) = (keygen("user", &["-t", "rsa", "-b", "2048"]), keygen("bob", &["-t", "ed25519"]));
    let way = Way::to(account.url());
    let config = account.at("gateway.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let line = text.lines().find(|line| line.starts_with("keys = ")).unwrap();
    let people = format!("keys_from_iam = [\"{USER}\"]\n[[people]]\nname = \"bob\"\nkeys = [\"{bob}\"]");
    let text = text.replace(line, &people).replace("[evidence]", &format!("iam = \"{}\"\n[evidence]", way.url));
    std::fs::write(&config, text).unwrap();
    let iam = Iam::of(&account);
    (account, way, iam, ada)
}

impl Account {
    fn whoami(&self, person: &str, key: &str) -> String {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "BatchMode=yes"]);
        ssh.args(["-o", "StrictHostKeyChecking=no"]);
        ssh.arg("-o").arg(format!("UserKnownHostsFile={}", self.at("known").display()));
        ssh.arg("-i").arg(self.at(key)).args([
            "-p",
            &self.port().to_string(),
            &format!("{person}@127.0.0.1"),
            "whoami",
        ]);
        run(&mut ssh, b"", PATIENCE).out()
    }

    fn ada_gets_in(&self) -> bool {
        self.whoami("ada", "user").starts_with("ada (publickey ")
    }

    fn events(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.at("evidence/events.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn lines_with(&self, text: &str) -> usize {
        self.log().lines().filter(|line| line.contains(text)).count()
    }
}

/// A command that runs.
fn long(account: &Account) -> Child {
    let mut ssh = account.client("web-1");
    ssh.arg("echo runs; sleep 600").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = ssh.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "runs\n");
    child
}

/// As a line, whatever it is drawn with.
fn plain(text: &str) -> String {
    text.replace(['│', '\n'], " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn said(child: Child) -> String {
    String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap()
}

#[test]
fn z5_a_key_of_an_iam_user_logs_in_and_once_it_is_inactive_ends_what_it_opened_and_opens_nothing() {
    let (account, _way, iam, key) = account();
    let checked = account.portcullis(&["check"]).ok();
    assert!(plain(&checked.err()).contains("the IAM user main/portcullis has no active SSH key"), "{checked}");
    let _serving = account.serve();
    assert!(!account.ada_gets_in(), "being a user of IAM makes nobody a person");
    let id = iam.upload(&key);
    let checked = account.portcullis(&["check"]).ok();
    assert!(checked.out().contains("ada: 1 key of the IAM user main/portcullis"), "{checked}");
    until("the key counts", SOON, || account.ada_gets_in());
    let who = account.whoami("ada", "user");
    assert!(who.contains(&format!(": IAM user main/{USER}, {id})")), "{who}");
    let accepted = |event: &Value| event["event"] == "login.accepted" && event["person"] == "ada";
    let proof = account.events().into_iter().find(accepted).unwrap()["proof"].as_str().unwrap().to_owned();
    assert!(
        proof.starts_with("publickey SHA256:") && proof.ends_with(&format!(": IAM user main/{USER}, {id}")),
        "{proof}"
    );

    let session = long(&account);
    iam.set(&id, StatusType::Inactive);
    let told = said(session);
    assert!(told.contains("how you logged in is no proof any more: nobody here has this key"), "{told}");
    assert!(!account.ada_gets_in());
    let by_iam =
        |event: &Value| event["event"] == "configuration.loaded" && event["cause"] == "iam" && event["ended"] == 1;
    until("the log has why", SOON, || account.events().iter().any(by_iam));
    iam.set(&id, StatusType::Active);
    until("it counts again", SOON, || account.ada_gets_in());

    // whoever is taken out of the configuration is nobody, whatever IAM says
    let config = account.at("gateway.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let session = long(&account);
    std::fs::write(&config, text.replace(&format!("keys_from_iam = [\"{USER}\"]"), "keys = []")).unwrap();
    assert!(said(session).contains("nobody here has this key"));
    assert!(!account.ada_gets_in());
    // and who comes into it is read at once
    std::fs::write(&config, text.replace("read_seconds = 5", "read_seconds = 300").replace("= 10\n", "= 600\n"))
        .unwrap();
    until("it counts again", SOON, || account.ada_gets_in());
    assert!(account.whoami("bob", "bob").starts_with("bob (publickey "));
}

#[test]
fn an_iam_that_can_t_be_asked_for_long_takes_its_users_keys_along_and_nobody_else_s() {
    let (account, way, iam, key) = account();
    iam.upload(&key);
    let serving = account.serve();
    until("the key counts", SOON, || account.ada_gets_in());
    let session = long(&account);
    way.close();
    // what was said last counts for a while
    until("it is told", SOON, || account.lines_with("can't be read: could not reach IAM") == 1);
    let told = said(session);
    assert!(told.contains("IAM could not be asked for too long whether the key of its user main/portcullis"), "{told}");
    assert!(!account.ada_gets_in());
    assert!(account.whoami("bob", "bob").starts_with("bob (publickey "));
    let refused = |event: &Value| event["event"] == "login.refused" && event["code"] == "iam-unanswered";
    until("the log has why", SOON, || account.events().iter().any(refused));
    // told once, however often it is tried
    thread::sleep(SOON);
    let (unread, lapsed) = (account.lines_with("can't be read: "), account.lines_with("SSH keys count no more"));
    assert_eq!((unread, lapsed), (1, 1), "{}", account.log());
    let checked = account.portcullis(&["check"]).ok();
    assert!(
        plain(&checked.err())
            .contains("the SSH keys of the IAM user main/portcullis can't be read: could not reach IAM"),
        "{checked}"
    );

    // a gateway that starts meanwhile lets in who needs no IAM
    drop(serving);
    let _serving = account.serve();
    assert!(account.whoami("bob", "bob").starts_with("bob (publickey ") && !account.ada_gets_in());
    until("it is told", SOON, || account.lines_with("can't be read: ") == 1);
    way.open();
    until("it counts again", SOON, || account.ada_gets_in());
    assert_eq!(account.lines_with("the SSH keys of IAM users can be read again"), 1, "{}", account.log());
}
