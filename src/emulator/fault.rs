//! A fault that somebody asks for, and how it is written: on the command line, in a script, in a test.
//!
//! ```text
//!   cut agent|client after N frames [for TIME]   once in each session; what is on its way then is lost
//!   pause after N frames [for TIME]          once in each session: pause_publication to the agent
//!   drop|duplicate|reorder P%   [of data|acknowledgements] [to agent|client]
//!   delay P% by TIME            [of data|acknowledgements] [to agent|client]
//!   latency TIME                             every frame, both ways, in order and at full bandwidth
//!   fail CALL with 500|503|throttling [N times]     the call is not done
//!   lose CALL with 500|503|throttling [N times]     it is done, and answered so all the same
//! ```

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::end::End;

/// One thing that goes wrong from the start of a service.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Once in each session, after so many stream frames of both directions.
    Once(u64, Moment),
    /// What happens to some of the frames.
    Frames(FrameFault),
    /// Every frame arrives that much later.
    Latency(Duration),
    /// The next calls of a name.
    Call(CallFault),
}

/// What happens at one moment of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// That end's websocket is taken away, and what is on its way is lost, until that end is back: at once, or after so long.
    Cut(End, Option<Duration>),
    /// The agent is told to pause; after so long, if ever, to start again.
    Pause(Option<Duration>),
}

/// What happens to some of the frames.
#[derive(Clone, Debug, PartialEq)]
pub struct FrameFault {
    /// Only in this session; `None` means in all of them.
    pub session: Option<String>,
    /// Only frames towards this end; `None` means both.
    pub towards: Option<End>,
    /// Which frames.
    pub frames: Frames,
    /// How many of them, in percent.
    pub percent: f64,
    /// What happens to them.
    pub effect: Effect,
}

/// Which frames a fault concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frames {
    /// All that are relayed.
    All,
    /// Data, sizes, flags and the handshake.
    Stream,
    /// Acknowledgements.
    Acknowledgements,
}

/// What a fault does to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is lost.
    Drop,
    /// It comes twice.
    Duplicate,
    /// It comes later, and so perhaps after its successors.
    Delay(Duration),
}

/// What happens to the next calls of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallFault {
    /// Which.
    pub call: Call,
    /// How they are answered.
    pub failure: Failure,
    /// Whether they are done all the same: the answer is what is lost.
    pub done: bool,
    /// How many of them.
    pub times: u32,
}

/// The calls that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// By a client, for a role.
    AssumeRole,
    /// By a client, for a role, with a token of an OpenID provider.
    AssumeRoleWithWebIdentity,
    /// By a client.
    StartSession,
    /// By a client.
    ResumeSession,
    /// By a client.
    TerminateSession,
    /// By a client.
    DescribeSessions,
    /// By an agent, before it opens its websocket.
    CreateDataChannel,
}

/// How a service fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Status 500.
    Internal,
    /// Status 503.
    Unavailable,
    /// `ThrottlingException`.
    Throttling,
}

impl Call {
    const ALL: [Self; 7] = [
        Self::AssumeRole,
        Self::AssumeRoleWithWebIdentity,
        Self::StartSession,
        Self::ResumeSession,
        Self::TerminateSession,
        Self::DescribeSessions,
        Self::CreateDataChannel,
    ];

    /// Its name in the API.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AssumeRole => "AssumeRole",
            Self::AssumeRoleWithWebIdentity => "AssumeRoleWithWebIdentity",
            Self::StartSession => "StartSession",
            Self::ResumeSession => "ResumeSession",
            Self::TerminateSession => "TerminateSession",
            Self::DescribeSessions => "DescribeSessions",
            Self::CreateDataChannel => "CreateDataChannel",
        }
    }
}

/// Why a text is no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// It begins with no word that is known.
    #[error("a fault begins with cut, pause, drop, duplicate, reorder, delay, latency, fail or lose")]
    Unknown,
    /// Its first word is known, the rest can't be read.
    #[error("write it as \"{form}\", such as \"{example}\"")]
    Form {
        /// The form.
        form: &'static str,
        /// One of that form.
        example: &'static str,
    },
    /// A part in a hundred that is none.
    #[error("{0:?} is no percentage above 0% and at most 100%")]
    Percent(String),
    /// A time that is none.
    #[error("{0:?} is no time: write 40ms or 2s, at most 10m")]
    Time(String),
    /// A count that is none.
    #[error("{0:?} is no count: write a number from 1")]
    Count(String),
    /// A call that can't be made to fail.
    #[error(
        "{0:?} is no call that can fail here: AssumeRole, AssumeRoleWithWebIdentity, StartSession, ResumeSession, TerminateSession, DescribeSessions, CreateDataChannel"
    )]
    Call(String),
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        match words.as_slice() {
            ["cut", rest @ ..] => match rest {
                [end, "after", frames, "frames"] if let Some(end) = named_end(end) => {
                    Ok(Self::Once(count(frames)?, Moment::Cut(end, None)))
                }
                [end, "after", frames, "frames", "for", long] if let Some(end) = named_end(end) => {
                    Ok(Self::Once(count(frames)?, Moment::Cut(end, Some(time(long)?))))
                }
                _ => Err(form("cut agent|client after N frames [for TIME]", "cut agent after 700 frames")),
            },
            ["pause", rest @ ..] => match rest {
                ["after", frames, "frames"] => Ok(Self::Once(count(frames)?, Moment::Pause(None))),
                ["after", frames, "frames", "for", long] => {
                    Ok(Self::Once(count(frames)?, Moment::Pause(Some(time(long)?))))
                }
                _ => Err(form("pause after N frames [for TIME]", "pause after 700 frames for 2s")),
            },
            ["drop", rest @ ..] => frames(Effect::Drop, rest, "drop 2% to client"),
            ["duplicate", rest @ ..] => frames(Effect::Duplicate, rest, "duplicate 5% of data"),
            ["reorder", rest @ ..] => frames(Effect::Delay(OVERTAKEN), rest, "reorder 5% to agent"),
            ["delay", share, "by", long, which @ ..] => {
                let rest: Vec<&str> = std::iter::once(*share).chain(which.iter().copied()).collect();
                frames(Effect::Delay(time(long)?), &rest, DELAY_EXAMPLE)
            }
            ["delay", ..] => Err(form(DELAY_FORM, DELAY_EXAMPLE)),
            ["latency", long] => Ok(Self::Latency(time(long)?)),
            ["latency", ..] => Err(form("latency TIME", "latency 40ms")),
            [verb @ ("fail" | "lose"), rest @ ..] => failing_call(*verb == "lose", rest),
            _ => Err(FaultError::Unknown),
        }
    }
}

fn failing_call(done: bool, rest: &[&str]) -> Result<Fault, FaultError> {
    let wrong = || match done {
        false => form("fail CALL with 500|503|throttling [N times]", "fail StartSession with 503 2 times"),
        true => form("lose CALL with 500|503|throttling [N times]", "lose StartSession with 500"),
    };
    let (name, failure, times) = match rest {
        [name, "with", failure] => (name, failure, 1),
        [name, "with", failure, times, "times"] => {
            (name, failure, u32::try_from(count(times)?).map_err(|_| FaultError::Count((*times).to_owned()))?)
        }
        _ => return Err(wrong()),
    };
    let call = Call::ALL.into_iter().find(|call| call.name() == *name);
    let call = call.ok_or_else(|| FaultError::Call((*name).to_owned()))?;
    let failure = match *failure {
        "500" => Failure::Internal,
        "503" => Failure::Unavailable,
        "throttling" => Failure::Throttling,
        _ => return Err(wrong()),
    };
    Ok(Fault::Call(CallFault { call, failure, done, times }))
}

/// `P% [of data|acknowledgements] [to agent|client]`.
fn frames(effect: Effect, rest: &[&str], example: &'static str) -> Result<Fault, FaultError> {
    let wrong = || match effect {
        Effect::Drop => form("drop P% [of data|acknowledgements] [to agent|client]", example),
        Effect::Duplicate => form("duplicate P% [of data|acknowledgements] [to agent|client]", example),
        Effect::Delay(_) if example == DELAY_EXAMPLE => form(DELAY_FORM, example),
        Effect::Delay(_) => form("reorder P% [of data|acknowledgements] [to agent|client]", example),
    };
    let [share, which @ ..] = rest else { return Err(wrong()) };
    let percent = percentage(share)?;
    let (frames, which) = match which {
        ["of", "data", which @ ..] => (Frames::Stream, which),
        ["of", "acknowledgements", which @ ..] => (Frames::Acknowledgements, which),
        which => (Frames::All, which),
    };
    let towards = match which {
        [] => None,
        ["to", end] => Some(named_end(end).ok_or_else(wrong)?),
        _ => return Err(wrong()),
    };
    Ok(Fault::Frames(FrameFault { session: None, towards, frames, percent, effect }))
}

fn form(form: &'static str, example: &'static str) -> FaultError {
    FaultError::Form { form, example }
}

fn named_end(word: &str) -> Option<End> {
    match word {
        "agent" => Some(End::Agent),
        "client" => Some(End::Client),
        _ => None,
    }
}

fn count(word: &str) -> Result<u64, FaultError> {
    let wrong = || FaultError::Count(word.to_owned());
    word.parse().ok().filter(|count| *count > 0).ok_or_else(wrong)
}

fn percentage(word: &str) -> Result<f64, FaultError> {
    let number = word.strip_suffix('%').and_then(|number| number.parse().ok());
    number
        .filter(|percent: &f64| *percent > 0.0 && *percent <= 100.0)
        .ok_or_else(|| FaultError::Percent(word.to_owned()))
}

fn time(word: &str) -> Result<Duration, FaultError> {
    let wrong = || FaultError::Time(word.to_owned());
    let digits = word.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = word.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        _ => None,
    };
    milliseconds.map(Duration::from_millis).filter(|time| *time <= LONGEST).ok_or_else(wrong)
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

const DELAY_FORM: &str = "delay P% by TIME [of data|acknowledgements] [to agent|client]";
const DELAY_EXAMPLE: &str = "delay 5% by 200ms";
/// How much later a frame comes that others are to overtake: some dozens of them at the speed of a lane.
const OVERTAKEN: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Fault {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(parsed("cut agent after 700 frames"), Fault::Once(700, Moment::Cut(End::Agent, None)));
        assert_eq!(parsed(" cut  client after 1 frames "), Fault::Once(1, Moment::Cut(End::Client, None)));
        let second = Some(Duration::from_secs(1));
        assert_eq!(parsed("cut agent after 1 frames for 1s"), Fault::Once(1, Moment::Cut(End::Agent, second)));
        assert_eq!(parsed("pause after 9 frames"), Fault::Once(9, Moment::Pause(None)));
        let two = Some(Duration::from_secs(2));
        assert_eq!(parsed("pause after 9 frames for 2s"), Fault::Once(9, Moment::Pause(two)));
        let fault = |percent, frames, towards, effect| {
            Fault::Frames(FrameFault { session: None, towards, frames, percent, effect })
        };
        assert_eq!(parsed("drop 1.5%"), fault(1.5, Frames::All, None, Effect::Drop));
        assert_eq!(
            parsed("duplicate 5% of data to agent"),
            fault(5.0, Frames::Stream, Some(End::Agent), Effect::Duplicate)
        );
        assert_eq!(
            parsed("reorder 5% to client"),
            fault(5.0, Frames::All, Some(End::Client), Effect::Delay(OVERTAKEN))
        );
        assert_eq!(
            parsed("delay 100% by 1m of acknowledgements"),
            fault(100.0, Frames::Acknowledgements, None, Effect::Delay(Duration::from_secs(60)))
        );
        assert_eq!(parsed("latency 40ms"), Fault::Latency(Duration::from_millis(40)));
        let call = |call, failure, done, times| Fault::Call(CallFault { call, failure, done, times });
        assert_eq!(parsed("fail StartSession with 500"), call(Call::StartSession, Failure::Internal, false, 1));
        assert_eq!(
            parsed("lose CreateDataChannel with 503 3 times"),
            call(Call::CreateDataChannel, Failure::Unavailable, true, 3)
        );
        assert_eq!(
            parsed("fail ResumeSession with throttling"),
            call(Call::ResumeSession, Failure::Throttling, false, 1)
        );
    }

    #[test]
    fn what_cannot_be_read_says_how_it_is_written() {
        for (text, told) in [
            ("", "a fault begins with"),
            ("burn agent", "a fault begins with"),
            ("cut node after 7 frames", "\"cut agent|client after N frames [for TIME]\""),
            ("cut agent after 0 frames", "\"0\" is no count"),
            ("pause after 7", "\"pause after 700 frames for 2s\""),
            ("drop 0%", "\"0%\" is no percentage"),
            ("drop 2", "\"2\" is no percentage"),
            ("drop 2% to nobody", "\"drop P% [of data"),
            ("reorder", "\"reorder P% [of data"),
            ("delay 5%", "\"delay P% by TIME"),
            ("delay 5% by 2s to", "\"delay P% by TIME"),
            ("latency 40", "\"40\" is no time"),
            ("latency 11m", "at most 10m"),
            ("latency 99999999999999999999s", "is no time"),
            ("fail GetDocument with 500", "is no call that can fail here"),
            ("fail StartSession with 418", "500|503|throttling"),
            ("lose StartSession with 500 many times", "\"many\" is no count"),
        ] {
            let error = text.parse::<Fault>().unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,60}", word in 0_usize..9, rest in "[a-z0-9% .]{0,40}") {
            let _ = text.parse::<Fault>();
            let first = ["cut", "pause", "drop", "duplicate", "reorder", "delay", "latency", "fail", "lose"][word];
            let _ = format!("{first} {rest}").parse::<Fault>();
        }
    }
}
