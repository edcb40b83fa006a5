//! What a session leaves: a folder that tells its story to somebody who has nothing else, and that others' tools read.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Demo, PATIENCE, run, until};

/// The folders of a demo's sessions, each sealed.
fn folders(demo: &Demo, count: usize) -> Vec<PathBuf> {
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
