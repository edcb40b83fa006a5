//! What somebody is told of a folder.

use serde::Serialize;
use uuid::Uuid;

use super::fault::Fault;

/// How a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every byte is as it was signed, up to the last head.
    Whole,
    /// What was signed is as it was signed, but there is no last head: the session goes on, its gateway was killed and has not
    /// started since, or the end was taken away. From the folder alone nobody can tell which.
    Unsealed,
    /// Something is wrong.
    Broken,
}

/// What was found in a folder.
#[derive(Clone, Debug, Serialize)]
pub struct FolderReport {
    /// In a word.
    pub verdict: Verdict,
    /// Whose folder it is, as its heads say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Uuid>,
    /// Who signed its heads.
    pub signed_by: Vec<SignedBy>,
    /// How many heads there are.
    pub checkpoints: u64,
    /// When the first one was signed, as the gateway's clock had it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<String>,
    /// And the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// The hash of the last head, in hex: what the journal has as `head`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// How the session ended, as a manifest that is as signed says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// How many events there are.
    pub events: u64,
    /// Its files, as they are.
    pub files: Vec<FileReport>,
    /// What stood after the last head of a gateway that was killed, and was signed when it was found at the next start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub found_later: Vec<FoundLater>,
    /// Of an encrypted folder: under which key, and whether what its lines say was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption: Option<EncryptionReport>,
    /// What is wrong; the first hundred.
    pub faults: Vec<Fault>,
    /// How many more faults there are.
    pub more_faults: u64,
}

/// How a folder is encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EncryptionReport {
    /// The key that its own is wrapped by, where that can be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
    /// Whether its lines were opened, each in its place.
    pub opened: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A key that signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SignedBy {
    /// The verifier key.
    pub key: String,
    /// How many heads it signed.
    pub checkpoints: u64,
}

/// A file of a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileReport {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its hash, in hex.
    pub sha256: String,
    /// How much of it is as it was signed.
    pub verified: u64,
}

/// Bytes that nobody had signed when the gateway was killed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FoundLater {
    /// In which file.
    pub file: String,
    /// Where they begin.
    pub from: u64,
    /// Where what follows them begins.
    pub to: u64,
}

impl FolderReport {
    /// Whether every byte is as it was signed, up to the last head.
    pub fn is_whole(&self) -> bool {
        self.verdict == Verdict::Whole
    }

    /// All bytes that were read, but for the heads.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// What a folder and a key can't prove, whatever they have: to be told with what they do.
    pub fn unproved(&self) -> Vec<&'static str> {
        let mut unproved = Vec::new();
        if self.verdict == Verdict::Unsealed {
            unproved.push("that nothing is missing after its last head: ask the journal (verify --journal)");
        }
        if self.encryption.as_ref().is_some_and(|encryption| !encryption.opened) {
            unproved.push(
                "what its lines say, which is encrypted: that each is as it was signed is proved, and not that its key opens it, nor that events follow each other",
            );
        }
        if !self.found_later.is_empty() {
            unproved.push("that what stood there when the gateway was killed was not changed before its next start");
        }
        unproved.extend(UNPROVED);
        unproved
    }
}

/// Of every folder.
const UNPROVED: [&str; 3] = [
    "that no other session's folder is missing: ask the journal (verify --journal)",
    "that the gateway's clock was right",
    "that nobody else had the key: whoever has it can make a folder anew; heads that are kept elsewhere show that (--anchor)",
];
