//! Folders for the tests of this crate.

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

/// The tree, whose scripts bring the servers.
pub(crate) const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A sealed folder with some events; its name is returned, `2026-11-30/<session>`.
pub(crate) fn folder(evidence: &Path, n: u128, person: &str, realm: &str, opened: OffsetDateTime) -> String {
    folder_with(evidence, n, person, realm, opened, &[("events.jsonl", b"{\"event\":1}\n{\"event\":2}\n")])
}

/// The same with these files.
pub(crate) fn folder_with(
    evidence: &Path,
    n: u128,
    person: &str,
    realm: &str,
    opened: OffsetDateTime,
    files: &[(&str, &[u8])],
) -> String {
    let session = Uuid::from_u128(n);
    let path = portcullis_folder::path_of(evidence, opened, session);
    std::fs::create_dir_all(&path).unwrap();
    let mut entries = Vec::new();
    for (name, bytes) in files {
        std::fs::write(path.join(name), bytes).unwrap();
        let sha256 = hex::encode(digest(&SHA256, bytes));
        entries.push(json!({ "name": name, "bytes": bytes.len(), "sha256": sha256 }));
    }
    let time = opened.format(&Rfc3339).unwrap();
    let manifest = json!({
        "v": 1, "session": session, "gateway": "gate-1", "connection": Uuid::nil(), "source": "192.0.2.1:2", "login": "l",
        "person": person, "proof": "p", "node": { "id": "i-1", "realm": realm, "name": "web" }, "action": "Shell",
        "pty": true, "decision": {}, "aws": {}, "opened": time, "closed": time, "ended": { "outcome": "finished", "code": 0 },
        "files": entries,
    });
    std::fs::write(path.join("manifest.json"), manifest.to_string()).unwrap();
    std::fs::write(path.join("checkpoints"), b"a note\n").unwrap();
    format!("{}/{}", portcullis_folder::day_of(opened), session.hyphenated())
}
