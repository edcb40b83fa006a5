//! The records that gateway and helper exchange: what each says. How they are written is [`codec`](super::codec)'s.
//!
//! Number 0 marks state that a later record replaces (hello, ready, acknowledgement, lease); the others are counted from
//! 1 in each direction, and both ends keep what the other has not acknowledged, so a lost lane loses nothing.

use bytes::Bytes;

use super::deflate::Data;

use crate::model::{Exit, WindowSize, plain_text_up_to};

/// What the helper says on the in lane, on which it is silent otherwise, when the out lane broke.
pub(in crate::transport) const OUT_LOST: &[u8] = b"PCR1 the way out is lost\n";

/// What a lane's process says that was to join a helper and finds it gone.
pub(in crate::transport) const NOBODY: &[u8] = b"portcullis: that command has ended";

/// The longest payload that either end accepts.
pub const LONGEST_PAYLOAD: usize = 128 * 1024;

/// A record from the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromNode {
    /// Who speaks; the first record on every lane.
    Hello(Hello),
    /// An in lane is attached, raw and silent; records up to this number have arrived.
    Ready {
        /// The last number received.
        received: u32,
        /// Which in lane it is, as the gateway has numbered it.
        lane: u32,
    },
    /// That in lane is no more.
    InGone {
        /// Which.
        lane: u32,
        /// The helper has let go of it; else it broke, or somebody has ended it.
        let_go: bool,
    },
    /// What has arrived, and how many bytes of input may be sent in all.
    State {
        /// The last number received.
        received: u32,
        /// The total of input bytes allowed.
        credit: u64,
    },
    /// Standard output.
    Stdout(Data),
    /// Standard error.
    Stderr(Data),
    /// Standard output has ended after so many bytes.
    StdoutEnd(u64),
    /// Standard error has ended after so many bytes.
    StderrEnd(u64),
    /// How the command ended.
    Exit(Exit),
    /// The helper can't go on; a sentence.
    Fault(String),
    /// An answer to the state of this stamp; records up to this number have arrived.
    Pong {
        /// The stamp.
        stamp: u32,
        /// The last number received.
        received: u32,
    },
    /// Everything has been said.
    Done,
}

/// Who speaks on a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// `python3.11`, `sh`.
    pub helper: String,
    /// The helper's directory, percent-encoded as it came: handed back to the next lane.
    pub directory: String,
    /// The user id it runs as.
    pub uid: u32,
    /// Whether another out lane may take the place of a lost one.
    pub resumable: bool,
    /// Which of its out lanes this is, in its own count from 0.
    pub lane: u32,
    /// Which of them ended without its having let go of them: only those can somebody else have ended. The last few.
    pub lost: Vec<u32>,
    /// Whether it can inflate.
    pub inflates: bool,
}

impl Hello {
    /// `key=value;…`
    pub(super) fn parse(text: &[u8]) -> Result<Self, RecordError> {
        let malformed = RecordError::Malformed("the hello");
        let text = std::str::from_utf8(text).map_err(|_| malformed.clone())?;
        let value =
            |key: &str| text.split(';').find_map(|item| item.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned);
        let directory = value("d").ok_or_else(|| malformed.clone())?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "%/._-".contains(c);
        if value("v").as_deref() != Some("1") || !directory.chars().all(plain) {
            return Err(malformed);
        }
        let uid = value("u").and_then(|uid| uid.parse().ok()).ok_or_else(|| malformed.clone())?;
        let resumable = value("r").as_deref() != Some("0");
        // one that takes no other has nothing to count
        let lane = if resumable { value("n").and_then(|lane| lane.parse().ok()) } else { Some(0) };
        let lane = lane.ok_or_else(|| malformed.clone())?;
        let lost = value("k").unwrap_or_default();
        let lost: Result<_, _> = lost.split(',').filter(|lane| !lane.is_empty()).map(str::parse).collect();
        let lost = lost.map_err(|_| malformed)?;
        let inflates = value("z").as_deref() == Some("1");
        Ok(Self { helper: value("h").unwrap_or_default(), directory, uid, resumable, lane, lost, inflates })
    }
}

/// A record towards the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToNode {
    /// What has arrived, how many bytes of output may be sent in all, and for how many seconds the command may live on.
    State {
        /// The last number received.
        received: u32,
        /// The total of output bytes allowed.
        credit: u64,
        /// Seconds.
        lease: u32,
    },
    /// Standard input.
    Stdin(Bytes),
    /// Standard input has ended after so many bytes.
    StdinEnd(u64),
    /// The window's size.
    Size(WindowSize),
    /// A signal, named without `SIG`.
    Signal(String),
    /// A part of a command too long for a parameter; an empty one ends it.
    Command(Bytes),
    /// Variables of the command, which waits for them: `name=value`, each with a NUL behind it.
    Variables(Bytes),
    /// Nobody reads the standard output any more: the command is to get a broken pipe.
    CloseOutput,
    /// The client has gone: hang up.
    Bye,
}

impl ToNode {
    /// The letter that begins it, in either dialect.
    pub(super) fn kind(&self) -> u8 {
        match self {
            Self::State { .. } => b'S',
            Self::Stdin(_) => b'i',
            Self::StdinEnd(_) => b'I',
            Self::Size(_) => b'W',
            Self::Signal(_) => b'K',
            Self::Command(_) => b'c',
            Self::Variables(_) => b'v',
            Self::CloseOutput => b'C',
            Self::Bye => b'B',
        }
    }
}

/// What came on a lane is not the helper's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Something else spoke first: the text, for the person.
    #[error("the node answered with something else than the helper: {0}")]
    Foreign(String),
    /// A record is not what it must be.
    #[error("the node's helper sent a malformed record ({0})")]
    Malformed(&'static str),
}

/// Node output as part of a sentence: one line, no control characters, not long.
pub(super) fn sentence(bytes: &[u8]) -> String {
    plain_text_up_to(300, &String::from_utf8_lossy(bytes))
}
