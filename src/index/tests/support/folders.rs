//! Sessions' folders as docs/formats.md has them, without signatures.

use std::fs;
use std::path::{Path, PathBuf};

use portcullis_folder::{
    Aws, CommandRecord, Counts, Decision, Ended, File, FileRecord, How, Manifest, NodeEntry, Stream, Streams, path_of,
};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// When the first session of a test was opened.
pub const FIRST: OffsetDateTime = datetime!(2026-11-30 08:00 UTC);

/// A session, of which a test says what it cares about.
#[derive(Clone, Debug)]
pub struct Story {
    pub manifest: Manifest,
    pub commands: Vec<CommandRecord>,
    pub files: Vec<FileRecord>,
    pub shown: Vec<(f64, String)>,
}

/// A time as the formats have it.
pub fn text_of(time: OffsetDateTime) -> String {
    time.format(time::macros::format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
    ))
    .unwrap()
}

impl Story {
    /// One that was opened so many seconds after the first.
    pub fn new(person: &str, node: &str, seconds: i64) -> Self {
        let opened = FIRST + Duration::seconds(seconds);
        let manifest = Manifest {
            v: 1,
            session: Uuid::new_v4(),
            gateway: "portcullis/gate-1".to_owned(),
            connection: Uuid::new_v4(),
            hop: None,
            source: "192.0.2.7:50022".to_owned(),
            client: Some("SSH-2.0-OpenSSH_9.2".to_owned()),
            algorithms: None,
            login: node.to_owned(),
            person: person.to_owned(),
            groups: vec!["on-call".to_owned()],
            proof: "publickey SHA256:abc".to_owned(),
            node: NodeEntry {
                id: format!("i-{node}"),
                realm: "main".to_owned(),
                name: node.to_owned(),
                called: Some(format!("{node}.internal")),
            },
            os_user: Some("root".to_owned()),
            action: "Shell".to_owned(),
            command: None,
            pty: true,
            reason: Some("INC-42".to_owned()),
            decision: Decision { policy: "on-call".to_owned(), policy_set: "ab".repeat(32), ..Decision::default() },
            aws: Aws { identity: "person".to_owned(), ..Aws::default() },
            opened: text_of(opened),
            closed: Some(text_of(opened + Duration::seconds(60))),
            ended: Some(Ended { outcome: "finished".to_owned(), code: Some(0), ..Ended::default() }),
            streams: Some(Streams {
                stdin: Stream { bytes: 10, sha256: String::new() },
                stdout: Stream { bytes: 2000, sha256: String::new() },
                stderr: Stream { bytes: 5, sha256: String::new() },
            }),
            counts: Counts::default(),
            files: Vec::new(),
            forward: None,
            encryption: None,
            private: None,
        };
        Self { manifest, commands: Vec::new(), files: Vec::new(), shown: Vec::new() }
    }

    pub fn id(&self) -> Uuid {
        self.manifest.session
    }

    pub fn opened(&self) -> OffsetDateTime {
        OffsetDateTime::parse(&self.manifest.opened, &time::format_description::well_known::Rfc3339).unwrap()
    }

    pub fn command(mut self, at: u32, command: &str) -> Self {
        self.commands.push(CommandRecord {
            time: text_of(self.opened() + Duration::seconds(at.into())),
            at: at.into(),
            command: command.to_owned(),
            command_sha256: None,
            how: How::Screen,
            confidence: 0.9,
            names: Vec::new(),
            verdict: None,
            policy: None,
            way_out: None,
            exit: Some(0),
        });
        self.manifest.counts.commands += 1;
        self
    }

    pub fn file(mut self, at: u32, path: &str, sha256: &str) -> Self {
        self.files.push(FileRecord {
            time: text_of(self.opened() + Duration::seconds(at.into())),
            action: "Download".to_owned(),
            path: path.to_owned(),
            real_path: Some(format!("/srv{path}")),
            second_path: None,
            direction: Some("from-node".to_owned()),
            bytes: Some(12),
            sha256: Some(sha256.to_owned()),
            sha256_of_part: None,
            part_offset: None,
            outcome: "done".to_owned(),
            code: None,
            policy: None,
            why: None,
        });
        self.manifest.counts.files += 1;
        self
    }

    pub fn shown(mut self, at: f64, text: &str) -> Self {
        self.shown.push((at, text.to_owned()));
        self
    }

    /// Writes its folder.
    pub fn write(&self, evidence: &Path) -> PathBuf {
        let folder = path_of(evidence, self.opened(), self.id());
        fs::create_dir_all(&folder).unwrap();
        let put = |file: File, text: String| {
            if !text.is_empty() {
                fs::write(folder.join(file.name()), text).unwrap();
            }
        };
        let json = |value: serde_json::Value| format!("{value}\n");
        let lines = |all: Vec<serde_json::Value>| all.into_iter().map(json).collect::<String>();
        put(File::Commands, lines(self.commands.iter().map(|one| serde_json::to_value(one).unwrap()).collect()));
        put(File::Files, lines(self.files.iter().map(|one| serde_json::to_value(one).unwrap()).collect()));
        let events = self.shown.iter().map(|(at, text)| serde_json::json!([at, "o", text]));
        let header = serde_json::json!({"version": 2, "width": 80, "height": 24});
        put(File::Terminal, lines(std::iter::once(header).chain(events).collect()));
        put(File::Manifest, json(serde_json::to_value(&self.manifest).unwrap()));
        folder
    }
}
