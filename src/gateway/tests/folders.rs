//! What is left of a session in its folder, as somebody finds it who has nothing else.

use std::path::PathBuf;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::testing::{TestGateway, text};

/// The one folder of a gateway, once it is sealed.
async fn folder(gateway: &TestGateway) -> PathBuf {
    let sealed = gateway.event(|event| event["event"] == "session.sealed").await;
    gateway.path("sessions").join(sealed["folder"].as_str().unwrap())
}

fn lines(folder: &std::path::Path, file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn manifest(folder: &std::path::Path) -> Value {
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
