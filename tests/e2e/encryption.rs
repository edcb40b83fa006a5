//! Evidence that is encrypted at rest, as whoever runs the gateway has it: a KMS that is not ours, a session, a kill, and who looks.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use crate::harness::{PATIENCE, until};
use crate::serve::Account;

/// What must be in no file.
const CANARY: &str = "kanarienvogel";

/// AWS KMS, as moto has it.
struct Kms {
    server: Child,
    url: String,
}

impl Kms {
    fn start() -> Self {
        let root = env!("CARGO_MANIFEST_DIR");
        let setup = Command::new("scripts/setup.sh").arg("moto_server").current_dir(root).output().unwrap();
        assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Command::new(format!("{root}/target/moto/bin/moto_server"));
        server.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let server = server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        until("moto listens", PATIENCE, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { server, url: format!("http://127.0.0.1:{port}") }
    }

    fn key(&self) -> String {
        let code = format!(
            "import boto3\nkms = boto3.client('kms', 'eu-west-1', endpoint_url='{}', aws_access_key_id='a', aws_secret_access_key='b')\nprint(kms.create_key()['KeyMetadata']['Arn'])",
            self.url
        );
        let python = format!("{}/target/moto/bin/python3", env!("CARGO_MANIFEST_DIR"));
        let made = Command::new(python).args(["-c", &code]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    }

    fn stop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Drop for Kms {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The folders of an account's sessions that have a manifest, once there are so many.
fn sealed(account: &Account, count: usize) -> Vec<PathBuf> {
    let find = || -> Vec<PathBuf> {
        let days = std::fs::read_dir(account.at("evidence/sessions")).into_iter().flatten().flatten();
        let folders = days.flat_map(|day| std::fs::read_dir(day.path()).unwrap().flatten()).map(|entry| entry.path());
        let is_sealed = |folder: &PathBuf| {
            let heads = std::fs::read_to_string(folder.join("checkpoints")).unwrap_or_default();
            heads.lines().any(|line| line == "final")
        };
        folders.filter(is_sealed).collect()
    };
    until("the folders are sealed", PATIENCE, || find().len() == count);
    find()
}

fn assert_nowhere(directory: &Path) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            assert_nowhere(&path);
        } else if let Ok(bytes) = std::fs::read(&path) {
            let has = bytes.windows(CANARY.len()).any(|part| part == CANARY.as_bytes());
            assert!(!has, "{} has it", path.display());
        }
    }
}

#[test]
fn encrypted_evidence_is_proved_without_its_key_read_with_it_and_never_replaced_by_plain() {
    let mut kms = Kms::start();
    let config = format!("kms_key = \"{}\"\nkms_endpoint = \"{}\"\n", kms.key(), kms.url);
    let account = Account::new(&config);
    account.portcullis(&["check"]).ok();
    let mut serving = account.serve();
    assert_eq!(account.ssh("web-1", &format!("echo {CANARY}")).ok().out(), format!("{CANARY}\n"));
    let [folder] = &sealed(&account, 1)[..] else { panic!("one session") };
    let (path, id) = (folder.display().to_string(), folder.file_name().unwrap().to_str().unwrap().to_owned());

    // whoever has the signing key's public half
    let proved = account.portcullis(&["verify", &path]).ok();
    assert!(proved.out().contains(": whole") && proved.out().contains("not opened: nobody was asked"), "{proved}");
    assert!(proved.out().contains("what its lines say, which is encrypted"), "{proved}");
    // whoever may use the key besides
    let opened = account.portcullis(&["verify", &path, "--decrypt"]).ok();
    assert!(opened.out().contains("opened, line by line") && !opened.out().contains("not opened"), "{opened}");
    let story = account.portcullis(&["sessions", "show", &id]).ok();
    assert!(story.out().contains(&format!("Exec: echo {CANARY}")), "{story}");
    let exported = account.portcullis(&["sessions", "export", &id, "--format", "json"]).ok();
    let exported: serde_json::Value = serde_json::from_str(&exported.out()).unwrap();
    assert_eq!(exported["commands"][0]["command"], format!("echo {CANARY}"));
    assert_eq!(exported["manifest"]["command"], format!("echo {CANARY}"));

    // a gateway that is killed: its next start gets the key back
    let mut client = account.client("web-1");
    client.args(["-n", &format!("echo {CANARY}; exec sleep 1000")]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut client = client.spawn().unwrap();
    let mut seen = vec![0; CANARY.len()];
    client.stdout.take().unwrap().read_exact(&mut seen).unwrap();
    serving.signal(Signal::KILL);
    let _ = client.kill();
    let _ = client.wait();
    let mut serving = account.serve();
    let folders = sealed(&account, 2);
    let interrupted = folders.iter().find(|other| *other != folder).unwrap();
    let path = interrupted.display().to_string();
    let whole = account.portcullis(&["verify", &path, "--decrypt"]).ok();
    assert!(whole.out().contains("interrupted") && whole.out().contains("opened, line by line"), "{whole}");
    account.portcullis(&["verify", "--journal", &account.at("evidence").display().to_string()]).ok();

    // without the service of keys nobody reads, and nothing opens; what is signed is proved all the same
    kms.stop();
    let refused = account.ssh("web-1", &format!("echo {CANARY}")).ends(254);
    assert!(refused.err().contains("this session's evidence can't be encrypted"), "{refused}");
    assert!(!refused.out().contains(CANARY));
    let story = account.portcullis(&["sessions", "show", &id]).ok();
    assert!(story.out().contains("ada") && !story.out().contains(CANARY), "{story}");
    assert!(story.out().contains("the key is not to be had: AWS KMS could not be reached"), "{story}");
    let exported = account.portcullis(&["sessions", "export", &id, "--format", "json"]);
    assert_eq!(exported.err().lines().count(), 1, "{exported}");
    assert!(exported.err().contains("its contents are encrypted") && exported.code() != Some(0), "{exported}");
    account.portcullis(&["verify", &path]).ok();
    assert_eq!(serving.signal(Signal::TERM), Some(0), "{}", account.log());
    assert!(account.log().contains("its evidence can't be encrypted"), "{}", account.log());
    assert_eq!(sealed(&account, 2).len(), 2);
    assert_nowhere(&account.at("evidence"));
    assert!(!account.log().contains(CANARY), "{}", account.log());
}
