//! The eight bytes in front of every frame of the multiplexer, little-endian, unlike everything around them.
//!
//! ```text
//!   0  version  u8    1
//!   1  command  u8    0 SYN, 1 FIN, 2 PSH, 3 NOP
//!   2  length   u16   of what follows; 0 but for PSH
//!   4  stream   u32   client's are odd from 3, server's even from 2
//! ```
//!
//! It is smux's frame.go, version 1. There is no other specification.

use super::stream::StreamId;

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame is for.
    pub command: Command,
    /// How many bytes follow.
    pub length: u16,
    /// The stream, 0 for NOP.
    pub stream: StreamId,
}

/// What a frame is for: cmdSYN to cmdNOP of smux's frame.go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// 0: opens the stream.
    Syn,
    /// 1: ends the stream.
    Fin,
    /// 2: data of the stream.
    Psh,
    /// 3: a sign of life; there is no answer to it.
    Nop,
}

/// The bytes are no frame of the multiplexer; there is no way to find the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The command is not known.
    #[error("the multiplexer's frame has command {0}; only 0 to 3 are known in version 1")]
    Command(u8),
    /// A frame other than PSH has a body.
    #[error("the multiplexer's {command:?} frame has a body of {length} bytes")]
    Length {
        /// The command.
        command: Command,
        /// The body's length.
        length: u16,
    },
    /// The version is not 1.
    #[error("the multiplexer's frame has version {0} and not 1")]
    Version(u8),
}

impl Header {
    /// How long a header is, in bytes: headerSize in smux's frame.go.
    pub const LENGTH: usize = 8;

    /// Reads a header.
    ///
    /// # Errors
    ///
    /// [`FrameError`] if the version or the command is unknown.
    pub fn decode(bytes: [u8; Self::LENGTH]) -> Result<Self, FrameError> {
        let [version, command, l0, l1, s0, s1, s2, s3] = bytes;
        // smux, too, gives up the whole session: session.go, recvLoop
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        let command = match command {
            SYN => Command::Syn,
            FIN => Command::Fin,
            PSH => Command::Psh,
            NOP => Command::Nop,
            // and here
            other => return Err(FrameError::Command(other)),
        };
        let length = u16::from_le_bytes([l0, l1]);
        // smux does not look at the length then and would read a body as the next header: better to say it at once
        if length > 0 && command != Command::Psh {
            return Err(FrameError::Length { command, length });
        }
        Ok(Self { command, length, stream: StreamId::new(u32::from_le_bytes([s0, s1, s2, s3])) })
    }

    /// Writes a header.
    pub fn encode(self) -> [u8; Self::LENGTH] {
        let command = match self.command {
            Command::Syn => SYN,
            Command::Fin => FIN,
            Command::Psh => PSH,
            Command::Nop => NOP,
        };
        let [l0, l1] = self.length.to_le_bytes();
        let [s0, s1, s2, s3] = self.stream.number().to_le_bytes();
        [VERSION, command, l0, l1, s0, s1, s2, s3]
    }
}

/// DefaultConfig in smux's mux.go, which agent and client take.
const VERSION: u8 = 1;
// cmdSYN, cmdFIN, cmdPSH and cmdNOP in smux's frame.go
const SYN: u8 = 0;
const FIN: u8 = 1;
const PSH: u8 = 2;
const NOP: u8 = 3;
