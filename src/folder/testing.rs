//! Folders for tests: written as a gateway writes them, in memory, with a fixed key and a clock that is an argument.

use std::sync::Arc;

use serde_json::{Value, json};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::checkpoint::{Head, timestamp};
use crate::encrypted::{DataKey, Keyring, KeyringError, WrappedKey};
use crate::folder_seal::FolderSeal;
use crate::key::SigningKey;
use crate::layout::File;
use crate::manifest::Manifest;
use crate::recover::FolderKey;
use crate::signed_head::HeadChain;
use crate::verify::{FolderReport, InMemory, verify_files};

/// The session of most tests.
pub(crate) const SESSION: Uuid = Uuid::from_u128(0x8b1f_a3c2_5d04_4e6b_9a71_0c2d_3e4f_5061);

/// The name of the key of most tests.
pub(crate) const GATE: &str = "portcullis/gate-1";

/// A key that is nobody's.
pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(GATE, &[seed; 32]).unwrap()
}

/// A session that is written.
pub(crate) struct Session {
    pub(crate) key: SigningKey,
    pub(crate) seal: FolderSeal,
    pub(crate) heads: HeadChain,
    pub(crate) folder: InMemory,
    pub(crate) now: OffsetDateTime,
    /// What was written, in order.
    pub(crate) log: Vec<(String, Vec<u8>)>,
    session: Uuid,
    /// Of one that is encrypted.
    pub(crate) lock: Option<FolderKey>,
}

/// Has the key of everybody whose wrapped key is the key itself.
pub(crate) struct OpenKeyring;

impl Keyring for OpenKeyring {
    fn unwrap(&self, wrapped: &WrappedKey) -> Result<DataKey, KeyringError> {
        let bytes = Zeroizing::new(wrapped.bytes().unwrap_or_default());
        let key = wrapped.session().and_then(|session| DataKey::new(session, &bytes));
        key.ok_or_else(|| KeyringError("this is no key".to_owned()))
    }
}

impl Session {
    pub(crate) fn new() -> Self {
        Self::of(SESSION, key(1))
    }

    pub(crate) fn of(session: Uuid, key: SigningKey) -> Self {
        let seal = FolderSeal::new(key.verifying_key().name(), session);
        Self {
            seal,
            heads: HeadChain::default(),
            key,
            folder: InMemory::default(),
            now: datetime!(2026-11-30 07:12:33.123 UTC),
            log: Vec::new(),
            session,
            lock: None,
        }
    }

    /// The same, encrypted.
    pub(crate) fn encrypted(session: Uuid, key: SigningKey, data_key: u8) -> Self {
        let mut new = Self::of(session, key);
        let arn = "arn:aws:kms:eu-west-1:111122223333:key/1234";
        let wrapped = WrappedKey::new(session, new.key.verifying_key().name(), arn, &[data_key; 32]);
        new.write(File::Key, &wrapped.to_line().unwrap());
        new.lock = Some(FolderKey { key: Arc::new(OpenKeyring.unwrap(&wrapped).unwrap()), wrapped });
        new
    }

    /// A session with a terminal, two commands and a file: eight events, a head after every second one.
    pub(crate) fn example() -> Self {
        Self::new().with_example()
    }

    /// What the example says, in this one.
    pub(crate) fn with_example(self) -> Self {
        let mut session = self;
        session.event(3002, "Authentication: Logon", json!({ "user": { "name": "alice" } }));
        session.head();
        session.write(File::Terminal, b"{\"version\": 2, \"width\": 80, \"height\": 24}\n");
        for at in 1..=3 {
            session.event(1007, "Process Activity: Launch", json!({ "process": { "cmd_line": format!("make {at}") } }));
            session.write(File::Terminal, format!("[{at}.25, \"o\", \"$ make {at}\\r\\n\"]\n").as_bytes());
            session.write(File::Commands, format!("{{\"at\":{at}.25,\"command\":\"make {at}\"}}\n").as_bytes());
            session.event(1001, "File System Activity: Read", json!({ "file": { "name": "Makefile" } }));
            session.write(File::Files, format!("{{\"path\":\"Makefile\",\"bytes\":{at}}}\n").as_bytes());
            session.head();
        }
        session.write(File::StdoutHead, b"made\nall");
        session.event(4007, "SSH Activity: Close", json!({ "status": "Success" }));
        session
    }

    /// The example, with its end.
    pub(crate) fn whole() -> InMemory {
        let mut session = Self::example();
        session.close("finished", None);
        session.folder
    }

    pub(crate) fn event(&mut self, class: u32, name: &str, more: Value) -> String {
        let place = self.seal.next(self.now);
        let mut event = json!({
            "class_uid": class, "type_name": name, "time": place.time,
            "metadata": { "version": "1.8.0", "sequence": place.sequence },
        });
        for (key, value) in more.as_object().unwrap() {
            event[key] = value.clone();
        }
        let mut line = event.to_string().into_bytes();
        self.seal.attest(&mut line).unwrap();
        line.push(b'\n');
        self.write(File::Events, &line);
        self.now += Duration::milliseconds(20);
        String::from_utf8(line).unwrap()
    }

    pub(crate) fn write(&mut self, file: File, bytes: &[u8]) {
        let line = self.lock.as_ref().filter(|_| file.is_encrypted()).map(|lock| {
            let line = lock.key.line(file, self.seal.next_line(file), bytes).unwrap();
            self.seal.wrote_encrypted(file, bytes, &line);
            line
        });
        let stands = line.as_deref().unwrap_or(bytes);
        self.log.push((file.name().to_owned(), stands.to_vec()));
        self.folder.0.entry(file.name().to_owned()).or_default().extend_from_slice(stands);
        if line.is_none() {
            self.seal.wrote(file, bytes);
        }
    }

    pub(crate) fn head(&mut self) {
        self.sign(false);
    }

    pub(crate) fn sign(&mut self, last: bool) {
        self.now += Duration::milliseconds(940);
        let head = self.seal.head(self.now, last);
        self.seal.signed(&head);
        self.put(head);
    }

    /// A head, signed.
    pub(crate) fn put(&mut self, head: Head) {
        let signed = self.heads.sign(&self.key, head);
        self.write(File::Checkpoints, signed.lines().as_bytes());
        self.heads.stands(&signed);
    }

    /// The manifest and the last head.
    pub(crate) fn close(&mut self, outcome: &str, checkpoints: Option<u64>) {
        let manifest = self.manifest(outcome, checkpoints);
        self.write(File::Manifest, &manifest);
        self.sign(true);
    }

    pub(crate) fn manifest(&self, outcome: &str, checkpoints: Option<u64>) -> Vec<u8> {
        let files = File::ALL.into_iter().filter_map(|file| {
            let (bytes, hash) = self.seal.file(file)?;
            Some(json!({ "name": file.name(), "bytes": bytes, "sha256": hash.hex() }))
        });
        let manifest = json!({
            "v": 1, "session": self.session, "gateway": self.key.verifying_key().name(), "connection": Uuid::nil(),
            "source": "192.0.2.7:50022", "login": "alice", "person": "alice", "groups": ["developers"],
            "proof": "publickey SHA256:0000", "node": { "id": "i-0123456789abcdef0", "realm": "main", "name": "web-1" },
            "action": "Shell", "pty": true, "decision": { "policy": "developers-shell" }, "aws": { "identity": "person" },
            "opened": timestamp(datetime!(2026-11-30 07:12:33.123 UTC)),
            "ended": { "outcome": outcome, "checkpoints": checkpoints }, "files": files.collect::<Vec<_>>(),
        });
        let mut manifest: Manifest = serde_json::from_value(manifest).unwrap();
        if let Some(lock) = &self.lock {
            manifest.command = Some("make 1".to_owned());
            manifest.hide(&lock.key, &lock.wrapped).unwrap();
        }
        let mut bytes = serde_json::to_vec_pretty(&manifest).unwrap();
        bytes.push(b'\n');
        bytes
    }
}

/// Verifies a folder of the example's session and key.
pub(crate) fn verified(folder: &InMemory) -> FolderReport {
    verify_files(folder, Some(SESSION), &[key(1).verifying_key().clone()])
}

/// A fault's code, file and lines.
pub(crate) type Found = (&'static str, String, Option<(u64, u64)>);

/// Those of what is wrong.
pub(crate) fn faults(report: &FolderReport) -> Vec<Found> {
    assert_eq!(report.more_faults, 0);
    let one = |fault: &crate::verify::Fault| (fault.code.as_str(), fault.file.clone().unwrap_or_default(), fault.lines);
    report.faults.iter().map(one).collect()
}

impl InMemory {
    /// A file of it.
    pub(crate) fn text(&self, file: File) -> String {
        String::from_utf8(self.0[file.name()].clone()).unwrap()
    }

    /// Changes the lines of a file.
    pub(crate) fn lines(&mut self, file: File, change: impl FnOnce(&mut Vec<String>)) {
        let mut lines: Vec<String> = self.text(file).split_inclusive('\n').map(str::to_owned).collect();
        change(&mut lines);
        self.0.insert(file.name().to_owned(), lines.concat().into_bytes());
    }

    /// Changes the checkpoints, each of which is a note.
    pub(crate) fn notes(&mut self, change: impl FnOnce(&mut Vec<String>)) {
        let text = self.text(File::Checkpoints);
        let parts: Vec<&str> = text.trim_end().split("\n\n").collect();
        let mut notes: Vec<String> = parts.chunks(2).map(|part| format!("{}\n\n{}\n", part[0], part[1])).collect();
        change(&mut notes);
        self.0.insert(File::Checkpoints.name().to_owned(), notes.join("\n").into_bytes());
    }
}
