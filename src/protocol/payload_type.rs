//! The number in a frame's header that says what its payload is: PayloadType in agent/session/contracts/model.go, and
//! the same in src/message/clientmessage.go.

/// What the payload of a frame of stream data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PayloadType {
    /// 0: the frame is no stream data. No source names it: it is what Go writes for a field that was not set
    /// (agent/session/datachannel/datachannel.go, sendAgentMessage).
    Unset,
    /// 1: data in both directions.
    Output,
    /// 2: unused by agent and client.
    Error,
    /// 3: [`Size`](crate::payload::Size).
    Size,
    /// 4: unused by agent and client.
    Parameter,
    /// 5: [`HandshakeRequest`](crate::payload::HandshakeRequest).
    HandshakeRequest,
    /// 6: [`HandshakeResponse`](crate::payload::HandshakeResponse).
    HandshakeResponse,
    /// 7: [`HandshakeComplete`](crate::payload::HandshakeComplete).
    HandshakeComplete,
    /// 8: the agent tests the key that both should have.
    EncChallengeRequest,
    /// 9: the client's answer.
    EncChallengeResponse,
    /// 10: [`Flag`](crate::payload::Flag).
    Flag,
    /// 11: the standard error of a command with separate streams.
    StdErr,
    /// 12: [`ExitCode`](crate::payload::ExitCode).
    ExitCode,
    /// Any other number.
    Unknown(u32),
}

impl PayloadType {
    /// Whether it belongs to the handshake, which this crate does by itself.
    pub fn is_handshake(self) -> bool {
        matches!(
            self,
            Self::HandshakeRequest
                | Self::HandshakeResponse
                | Self::HandshakeComplete
                | Self::EncChallengeRequest
                | Self::EncChallengeResponse
        )
    }
}

impl From<u32> for PayloadType {
    fn from(number: u32) -> Self {
        match number {
            0 => Self::Unset,
            1 => Self::Output,
            2 => Self::Error,
            3 => Self::Size,
            4 => Self::Parameter,
            5 => Self::HandshakeRequest,
            6 => Self::HandshakeResponse,
            7 => Self::HandshakeComplete,
            8 => Self::EncChallengeRequest,
            9 => Self::EncChallengeResponse,
            10 => Self::Flag,
            11 => Self::StdErr,
            12 => Self::ExitCode,
            other => Self::Unknown(other),
        }
    }
}

impl From<PayloadType> for u32 {
    fn from(payload_type: PayloadType) -> Self {
        match payload_type {
            PayloadType::Unset => 0,
            PayloadType::Output => 1,
            PayloadType::Error => 2,
            PayloadType::Size => 3,
            PayloadType::Parameter => 4,
            PayloadType::HandshakeRequest => 5,
            PayloadType::HandshakeResponse => 6,
            PayloadType::HandshakeComplete => 7,
            PayloadType::EncChallengeRequest => 8,
            PayloadType::EncChallengeResponse => 9,
            PayloadType::Flag => 10,
            PayloadType::StdErr => 11,
            PayloadType::ExitCode => 12,
            PayloadType::Unknown(number) => number,
        }
    }
}
