//! What a session leaves: a folder that tells its story to somebody who has nothing else, and that others' tools read.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::harness::{Demo, PATIENCE, run, until};

/// The folders of a demo's sessions, each sealed.
pub fn folders(demo: &Demo, count: usize) -> Vec<PathBuf> {
    let sessions = demo.dir().join("evidence/sessions");
    let find = || -> Vec<PathBuf> {
        let days = std::fs::read_dir(&sessions).map(|days| days.flatten().collect::<Vec<_>>()).unwrap_or_default();
        let folders = days.iter().flat_map(|day| std::fs::read_dir(day.path()).unwrap().flatten());
        folders.map(|folder| folder.path()).collect()
    };
    let is_sealed = |folder: &Path| {
        let checkpoints = std::fs::read_to_string(folder.join("checkpoints")).unwrap_or_default();
        checkpoints.lines().any(|line| line == "final")
    };
    until("each session has its folder, sealed", PATIENCE, || {
        let found = find();
        found.len() == count && found.iter().all(|folder| is_sealed(folder))
    });
    find()
}

#[test]
fn events_are_what_ocsf_publishes() {
    let demo = Demo::start(&[]);
    demo.ssh("echo out; exit 4", b"").ends(4);
    run(demo.command("ssh").args(["-tt", "demo"]), b"echo seen\nexit\n", PATIENCE).ok();
    let file = demo.dir().join("up");
    std::fs::write(&file, "contents").unwrap();
    let file = file.display();
    demo.sftp(&format!("put \"{file}\" one\nrename one two\nget two \"{file}.back\"\nchmod 600 two\nmkdir d\nls\nrm two\nrmdir d\n-rm none\n")).ok();
    let root = env!("CARGO_MANIFEST_DIR");
    let setup = Command::new("scripts/setup.sh").arg("ocsf").current_dir(root).output().unwrap();
    assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
    let events = folders(&demo, 3).into_iter().map(|folder| folder.join("events.jsonl"));
    let python = format!("{root}/target/ocsf/bin/python");
    let checked =
        run(Command::new(python).arg(format!("{root}/tests/ocsf/validate.py")).args(events), b"", PATIENCE).ok();
    let found: serde_json::Value = serde_json::from_str(&checked.out()).unwrap();
    for (class, least) in [("authentication", 3), ("ssh_activity", 6), ("process_activity", 3), ("file_activity", 8)] {
        assert!(found[class].as_u64().unwrap_or_default() >= least, "{class}: {found}");
    }
}

#[test]
fn a_killed_gateway_loses_nothing_and_its_next_start_seals_what_it_left() {
    let temporary = tempfile::Builder::new().prefix("portcullis e2e ").tempdir().unwrap();
    let dir = temporary.path().join("demo");
    let demo = Demo::start_in(&dir, &[]);
    let mut client = demo.command("ssh");
    client.args(["-n", "demo", "echo seen; exec sleep 1000"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut client = client.spawn().unwrap();
    let mut seen = [0; 5];
    client.stdout.take().unwrap().read_exact(&mut seen).unwrap();
    let evidence = dir.join("evidence");
    let open = || std::fs::read_dir(evidence.join("open")).map_or(0, Iterator::count);
    assert_eq!(open(), 1);
    demo.kill();
    let _ = client.kill();
    let _ = client.wait();
    drop(demo);
    let demo = Demo::start_in(&dir, &[]);
    let folder = folders(&demo, 1).remove(0);
    // what the client has seen is there
    assert_eq!(std::fs::read_to_string(folder.join("stdout.head")).unwrap(), "seen\n");
    let manifest: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("manifest.json")).unwrap()).unwrap();
    assert_eq!((&manifest["ended"]["outcome"], &manifest["person"]), (&"interrupted".into(), &"you".into()));
    assert!(manifest["ended"]["checkpoints"].is_u64() && manifest["counts"]["commands"] == 1, "{manifest}");
    let events = std::fs::read_to_string(folder.join("events.jsonl")).unwrap();
    assert!(events.lines().last().unwrap().contains("session.interrupted"), "{events}");
    until("it is noted as sealed", PATIENCE, || open() == 0);
}
