//! What is left of a session in its folder, as somebody finds it who has nothing else.

use std::path::{Path, PathBuf};

use portcullis_folder::{Contents, File, SigningKey};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::evidence::{Bounds, EventLog, Keeping, Place, Shares};
use crate::policy::Policy;
use crate::testing::{Moto, TestGateway, encryption, keys_at, text};

/// The one folder of a gateway, once it is sealed.
async fn folder(gateway: &TestGateway) -> PathBuf {
    let sealed = gateway.event(|event| event["event"] == "session.sealed").await;
    gateway.path("sessions").join(sealed["folder"].as_str().unwrap())
}

fn lines(folder: &Path, file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn manifest(folder: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder.join("manifest.json")).unwrap()).unwrap()
}

#[tokio::test]
async fn a_command_leaves_its_line_the_beginning_of_its_output_and_who_when_and_why() {
    let gateway = TestGateway::start().await;
    let ran = gateway.run(&["web", "echo out; echo err >&2; exit 3"]).await;
    assert_eq!(ran.status.code(), Some(3), "{}", text(&ran.stderr));
    let folder = folder(&gateway).await;
    let manifest = manifest(&folder);
    assert_eq!((&manifest["person"], &manifest["action"]), (&"ada".into(), &"Exec".into()));
    assert_eq!(manifest["command"], "echo out; echo err >&2; exit 3");
    assert_eq!((&manifest["ended"]["outcome"], &manifest["ended"]["code"]), (&"finished".into(), &3.into()));
    assert!(manifest["client"].as_str().unwrap().starts_with("SSH-2.0-OpenSSH"), "{manifest}");
    let algorithms = &manifest["algorithms"];
    assert_eq!(algorithms["profile"], "compatible");
    assert!(algorithms["kex"].as_str().is_some_and(|kex| kex.contains("25519")), "{algorithms}");
    assert!(["cipher", "host_key"].iter().all(|name| !algorithms[name].as_str().unwrap().is_empty()), "{algorithms}");
    let commands = lines(&folder, "commands.jsonl");
    assert_eq!(commands.len(), 1);
    assert_eq!((&commands[0]["how"], &commands[0]["confidence"]), (&"exec".into(), &1.0.into()));
    let events: Vec<_> =
        lines(&folder, "events.jsonl").iter().map(|event| event["type_uid"].as_u64().unwrap()).collect();
    // the channel, the login, the command, what carries it, its end, the session's
    assert_eq!(events, [400_701, 300_201, 100_701, 400_799, 100_702, 400_702]);
    for file in manifest["files"].as_array().unwrap() {
        let bytes = std::fs::read(folder.join(file["name"].as_str().unwrap())).unwrap();
        assert_eq!(file["sha256"], hex::encode(Sha256::digest(&bytes)), "{file}");
    }
}

#[tokio::test]
async fn a_terminal_leaves_what_it_showed_whether_or_not_it_has_a_command() {
    for args in [&["-tt", "web", "echo seen; stty size"][..], &["-tt", "web"]] {
        let gateway = TestGateway::start().await;
        let ran = gateway.run_with(args, "echo seen; exit\n").await;
        assert!(text(&ran.stderr).contains("this session is recorded; its number is "), "{}", text(&ran.stderr));
        let folder = folder(&gateway).await;
        let cast = lines(&folder, "terminal.cast");
        assert_eq!(cast[0]["version"], 2, "{args:?}");
        let shown: String =
            cast.iter().skip(1).filter(|event| event[1] == "o").map(|event| event[2].as_str().unwrap()).collect();
        assert!(shown.contains("seen"), "{args:?}: {shown}");
        assert_eq!(manifest(&folder)["pty"], true);
    }
}

/// A log whose folders may take so much.
fn with_room_for(session: u64, required: bool) -> impl FnOnce(&Path) -> EventLog {
    move |directory| {
        let shares = Shares { session, ..Shares::UNLIMITED };
        let keeping = Keeping { required, folders: true, output_head: 0, shares };
        let bounds = Bounds { shares: Shares::UNLIMITED, questions_a_minute: u32::MAX, keeping };
        EventLog::open(directory, 64 << 20).unwrap().bounded(bounds)
    }
}

const FLOOD: &[&str] = &["-tt", "web", "head -c 300000 /dev/zero | tr '\\0' x; sleep 1; echo never"];

#[tokio::test]
async fn a_session_that_fills_its_part_ends_with_254_and_others_live() {
    let gateway = TestGateway::recording(with_room_for(100_000, true)).await;
    let ran = gateway.run(FLOOD).await;
    assert_eq!(ran.status.code(), Some(254), "{}", text(&ran.stderr));
    let said = text(&ran.stderr);
    assert!(said.contains("has filled its part") && said.contains("evidence.session_recording_bytes"), "{said}");
    assert!(!text(&ran.stdout).contains("never"));
    let folder = folder(&gateway).await;
    let manifest = manifest(&folder);
    assert_eq!(manifest["ended"]["outcome"], "failed");
    // what went on is what is recorded
    let shown: usize =
        lines(&folder, "terminal.cast").iter().skip(1).map(|event| event[2].as_str().unwrap().len()).sum();
    assert!(shown >= text(&ran.stdout).len(), "{shown} of {}", ran.stdout.len());
    gateway.works().await;
}

#[tokio::test]
async fn where_recording_is_not_required_the_session_goes_on_and_the_gap_is_told() {
    let gateway = TestGateway::recording(with_room_for(100_000, false)).await;
    let ran = gateway.run(FLOOD).await;
    assert!(ran.status.success() && text(&ran.stdout).contains("never"), "{}", text(&ran.stderr));
}

#[tokio::test]
async fn where_nothing_can_be_recorded_nothing_opens_and_the_status_says_so() {
    let log = |directory: &Path| {
        let (key, _) = SigningKey::generate("portcullis/test").unwrap();
        EventLog::open_at(Place { directory, limit: 64 << 20, reserve: u64::MAX, key: key.into(), index: None })
            .unwrap()
    };
    let gateway = TestGateway::recording(log).await;
    for args in [&["web", "echo never"][..], &["-tt", "web"]] {
        let ran = gateway.run(args).await;
        assert_eq!(ran.status.code(), Some(254), "{}", text(&ran.stderr));
        assert!(text(&ran.stderr).contains("are kept free (evidence.reserve_bytes)"), "{}", text(&ran.stderr));
        assert!(!text(&ran.stdout).contains("never"));
    }
    let refused = gateway.event(|event| event["event"] == "channel.refused").await;
    assert_eq!(refused["code"], "not-recordable");
}

#[tokio::test]
async fn with_the_journal_alone_no_session_has_a_folder_but_what_policy_wants_recorded() {
    let shares = Shares::UNLIMITED;
    let keeping = Keeping { required: true, folders: false, output_head: 1024, shares };
    let bounds = Bounds { shares, questions_a_minute: u32::MAX, keeping };
    let log = |directory: &Path| EventLog::open(directory, 64 << 20).unwrap().bounded(bounds);
    let gateway = TestGateway::recording(log).await;
    let ran = gateway.run_with(&["-tt", "web"], "echo seen; exit\n").await;
    assert!(ran.status.success() && !text(&ran.stderr).contains("is recorded"), "{}", text(&ran.stderr));
    let closed = gateway.event(|event| event["event"] == "session.closed").await;
    assert_eq!(closed["outcome"], "finished");
    assert!(!gateway.path("sessions").exists());
    // input is kept where a policy says so, and so is all else of such a session
    let wanted = "@id(\"kept\") @record(\"input\") permit (principal, action, resource);";
    gateway.policies.replace(Policy::for_test(wanted));
    let ran = gateway.run_with(&["web", "cat"], "given").await;
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    let folder = folder(&gateway).await;
    assert_eq!(std::fs::read_to_string(folder.join("stdin.head")).unwrap(), "given");
}

/// What a folder says that is encrypted.
fn said(folder: &Path, keyring: &dyn portcullis_folder::Keyring, file: File) -> String {
    let contents = Contents::open(folder, keyring).unwrap();
    std::io::read_to_string(contents.file(file).unwrap()).unwrap()
}

/// The files under a directory that have this in them.
fn having(directory: &Path, canary: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(having(&path, canary));
        } else if std::fs::read(&path).is_ok_and(|all| all.windows(canary.len()).any(|part| part == canary.as_bytes()))
        {
            found.push(path);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn where_evidence_is_encrypted_nothing_of_a_command_a_terminal_or_a_stream_is_in_any_file() {
    let moto = Moto::start().await;
    let keys = moto.keys(&moto.kms_key());
    let canary = "kanarienvogel";
    for (args, input, file) in [
        (&["web", "cat; echo kanarienvogel >&2; exit 3"][..], "kanarienvogel in\n", File::StdoutHead),
        (&["-tt", "web"][..], "echo kanarienvogel; exit 3\n", File::Terminal),
    ] {
        let with = encryption(keys.clone());
        let log = |directory: &Path| {
            let keeping = Keeping { required: true, folders: true, output_head: 1 << 16, shares: Shares::UNLIMITED };
            let bounds = Bounds { shares: Shares::UNLIMITED, questions_a_minute: u32::MAX, keeping };
            EventLog::open(directory, 64 << 20).unwrap().bounded(bounds).encrypted(with)
        };
        let gateway = TestGateway::recording(log).await;
        let ran = gateway.run_with(args, input).await;
        assert_eq!(ran.status.code(), Some(3), "{}", text(&ran.stderr));
        assert!(text(&ran.stdout).contains(canary));
        let folder = folder(&gateway).await;
        let in_the_clear = having(&gateway.path(""), canary);
        assert!(in_the_clear.is_empty(), "{args:?}: {in_the_clear:?}");
        let shown = said(&folder, &keys, file);
        assert!(shown.contains(canary), "{args:?}: {shown}");
        // what was run in a shell without a prompt nobody can say
        if file == File::StdoutHead {
            assert!(said(&folder, &keys, File::Commands).contains(canary), "{args:?}");
        }
        // the journal still tells who was where, and for how long
        let opened = gateway.event(|event| event["event"] == "session.opened").await;
        assert_eq!((&opened["person"], &opened["node_name"]), (&"ada".into(), &"web-1".into()));
        let closed = gateway.event(|event| event["event"] == "session.closed").await;
        assert_eq!((&closed["outcome"], closed["stdout"]["bytes"].is_u64()), (&"finished".into(), true));
        assert_eq!(closed["withheld"], serde_json::json!(["stdin.sha256", "stdout.sha256", "stderr.sha256"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_key_of_evidence_a_session_ends_with_254_and_a_sentence() {
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let log = |directory: &Path| {
        let encryption = encryption(keys_at(&closed, "alias/evidence"));
        EventLog::open(directory, 64 << 20).unwrap().encrypted(encryption)
    };
    let gateway = TestGateway::recording(log).await;
    let ran = gateway.run(&["web", "echo never"]).await;
    assert_eq!(ran.status.code(), Some(254), "{}", text(&ran.stderr));
    assert!(text(&ran.stderr).contains("this session's evidence can't be encrypted"), "{}", text(&ran.stderr));
    assert!(!text(&ran.stdout).contains("never") && !gateway.path("sessions").exists());
    let refused = gateway.event(|event| event["event"] == "channel.refused").await;
    assert_eq!((&refused["code"], refused.get("command")), (&"not-recordable".into(), None));
}
