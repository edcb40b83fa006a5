//! What a policy that permits obliges to, as its annotations say it.
//!
//! ```text
//!  @id("prod-by-ticket")
//!  @reason("a ticket, such as INC-1234") @reason_pattern("(INC|CHG)-[0-9]+.*")
//!  @second_factor("required") @max_duration("4h") @idle_timeout("15m") @upload_limit("100MiB") @alert("somebody is on production")
//!  permit ( … )
//! ```
//!
//! Where several policies permit, all of them oblige: the shortest time holds, and a reason must suit each. It makes no
//! difference whether they permit what opens a session or what is done in it: a policy that permits nothing but `Upload`
//! obliges whoever uploads by its leave.

use std::collections::BTreeMap;
use std::time::Duration;

use regex::Regex;

use crate::model::ReasonText;

/// What one policy obliges to.
#[derive(Clone, Debug, Default)]
pub(super) struct Obligations {
    pub(super) reason: Option<WantedReason>,
    pub(super) second_factor: bool,
    max_duration: Option<Duration>,
    idle_timeout: Option<Duration>,
    upload_limit: Option<u64>,
    /// What somebody is to be told at once when it permits something.
    alert: Option<String>,
    session_per_command: bool,
    recording: RecordingTerms,
}

/// What is kept of a session, more or less than of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordingTerms {
    /// The beginning of what a command without a terminal is sent is kept as well, and not only its length and hash.
    pub input: bool,
    /// Of command lines no more is kept, or told AWS, than a hash.
    pub hashed_commands: bool,
    /// What is typed at a shell's prompt is judged as commands are, before it runs.
    pub guarded: bool,
}

/// A reason that a policy wants.
#[derive(Clone, Debug)]
pub(super) struct WantedReason {
    /// In words, for the person.
    words: String,
    /// What all of it must look like.
    pattern: Option<Regex>,
}

/// What an allow obliges those to who carry it out: the strictest of what the policies that permit say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// How long the session may last.
    pub max_duration: Option<Duration>,
    /// How long it may go without a byte in either direction.
    pub idle_timeout: Option<Duration>,
    /// How many bytes may be uploaded in it by the leave of which policies.
    pub upload_limits: BTreeMap<String, u64>,
    /// What somebody is to be told at once, and which policies say so.
    pub alerts: BTreeMap<String, String>,
    /// Each command is carried by Session Manager sessions of its own.
    pub session_per_command: bool,
    /// What is kept of it.
    pub recording: RecordingTerms,
}

/// What is wrong with an annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AnnotationFault {
    pub(super) annotation: String,
    pub(super) message: String,
    pub(super) help: String,
}

/// What stands in `@reason` when any reason will do.
const ANY_REASON: &str = "required";

/// Those of any policy.
const COMMON: [&str; 2] = ["id", "message"];

/// Those of a policy that permits.
const OBLIGATIONS: [&str; 10] = [
    "reason",
    "reason_pattern",
    "second_factor",
    "max_duration",
    "idle_timeout",
    "upload_limit",
    "alert",
    "record",
    "guard",
    "session_per_command",
];

impl Obligations {
    /// Reads a policy's annotations.
    pub(super) fn read<'a>(
        annotations: impl Iterator<Item = (&'a str, &'a str)>,
        permits: bool,
    ) -> Result<Self, AnnotationFault> {
        let mut obligations = Self::default();
        let (mut words, mut pattern) = (None, None);
        for (name, value) in annotations {
            let fault = |message: String, help: &str| AnnotationFault {
                annotation: name.to_owned(),
                message,
                help: help.to_owned(),
            };
            if COMMON.contains(&name) {
                continue;
            }
            if !OBLIGATIONS.contains(&name) {
                let known: Vec<&str> = COMMON.into_iter().chain(OBLIGATIONS).collect();
                let help = nearest(name, &known).map(|near| format!("did you mean `{near}`?"));
                let help = help.unwrap_or_else(|| format!("there is {}", known.join(", ")));
                return Err(fault(format!("there is no annotation @{name}"), &help));
            }
            if !permits {
                let help = "whoever is forbidden has nothing to keep to; write it above the policy that permits";
                return Err(fault(format!("@{name} obliges, and a policy that forbids can't"), help));
            }
            match name {
                "reason" => words = Some(value.to_owned()),
                "reason_pattern" => pattern = Some(whole(value).map_err(|why| fault(why, PATTERN_HELP))?),
                "max_duration" => {
                    obligations.max_duration = Some(duration(value).ok_or_else(|| fault(no_time(value), TIME_HELP))?);
                }
                "idle_timeout" => {
                    obligations.idle_timeout = Some(duration(value).ok_or_else(|| fault(no_time(value), TIME_HELP))?);
                }
                "upload_limit" => {
                    let bytes = size(value).ok_or_else(|| fault(format!("\"{value}\" is no size"), SIZE_HELP))?;
                    obligations.upload_limit = Some(bytes);
                }
                "alert" if value.is_empty() => {
                    return Err(fault("@alert says nothing".to_owned(), "write what somebody is to read"));
                }
                "alert" => obligations.alert = Some(value.to_owned()),
                "second_factor" if value == "required" => obligations.second_factor = true,
                "session_per_command" if value == "required" => obligations.session_per_command = true,
                "record" => {
                    let known = obligations.recording.read(value);
                    known.map_err(|word| fault(format!("@record(\"{word}\") is none"), RECORD_HELP))?;
                }
                "guard" if value == "commands" => obligations.recording.guarded = true,
                "guard" => return Err(fault(format!("@guard(\"{value}\") is none"), "write @guard(\"commands\")")),
                name => {
                    let help = format!("write @{name}(\"required\")");
                    return Err(fault(format!("@{name}(\"{value}\") is none"), &help));
                }
            }
        }
        obligations.reason = match (words, pattern) {
            (None, None) => None,
            (words, pattern) => {
                let words = words.filter(|words| words != ANY_REASON);
                let words = words.unwrap_or_else(|| match &pattern {
                    Some(pattern) => format!("one that fits {}", shown(pattern)),
                    None => "why you are there".to_owned(),
                });
                Some(WantedReason { words, pattern })
            }
        };
        Ok(obligations)
    }
}

impl RecordingTerms {
    /// Reads what stands in `@record`; or gives the word that is none.
    fn read<'a>(&mut self, value: &'a str) -> Result<(), &'a str> {
        for word in value.split(',').map(str::trim) {
            match word {
                // every session is recorded: there is no less than that to ask for
                "required" => {}
                "input" => self.input = true,
                "hashed-commands" => self.hashed_commands = true,
                word => return Err(word),
            }
        }
        Ok(())
    }

    fn add(&mut self, other: Self) {
        self.input |= other.input;
        self.hashed_commands |= other.hashed_commands;
        self.guarded |= other.guarded;
    }
}

impl WantedReason {
    /// Whether a reason is one.
    pub(super) fn suits(&self, reason: &ReasonText) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(reason.as_str()))
    }

    /// What is wanted, in words.
    pub(super) fn words(&self) -> &str {
        &self.words
    }
}

impl Terms {
    /// These, and those of another policy.
    pub(super) fn add(&mut self, policy: &str, obligations: &Obligations) {
        self.keep_to_times(obligations.max_duration, obligations.idle_timeout);
        if let Some(limit) = obligations.upload_limit {
            self.limit_uploads(policy, limit);
        }
        if let Some(alert) = &obligations.alert {
            self.alerts.insert(policy.to_owned(), alert.clone());
        }
        self.session_per_command |= obligations.session_per_command;
        self.recording.add(obligations.recording);
    }

    /// These, and those of something that is done besides.
    pub fn and(mut self, others: Self) -> Self {
        self.keep_to_times(others.max_duration, others.idle_timeout);
        for (policy, limit) in &others.upload_limits {
            self.limit_uploads(policy, *limit);
        }
        self.alerts.extend(others.alerts);
        self.session_per_command |= others.session_per_command;
        self.recording.add(others.recording);
        self
    }

    /// What they oblige to, for the record: by the annotations' names; times in seconds, sizes in bytes.
    pub fn written(&self) -> BTreeMap<String, String> {
        let mut written = BTreeMap::new();
        let times = [("max_duration", self.max_duration), ("idle_timeout", self.idle_timeout)];
        written.extend(
            times.into_iter().filter_map(|(name, time)| Some((name.to_owned(), format!("{}s", time?.as_secs())))),
        );
        written.extend(
            self.upload_limits.iter().map(|(policy, limit)| (format!("upload_limit of {policy}"), limit.to_string())),
        );
        written.extend(self.alerts.iter().map(|(policy, text)| (format!("alert of {policy}"), text.clone())));
        let RecordingTerms { input, hashed_commands, guarded } = self.recording;
        let others = [
            ("record input", input),
            ("record hashed-commands", hashed_commands),
            ("guard commands", guarded),
            ("session_per_command", self.session_per_command),
        ];
        written.extend(others.into_iter().filter(|(_, is)| *is).map(|(name, _)| (name.to_owned(), "yes".to_owned())));
        written
    }

    /// The least size of those that several policies let, and whose it is.
    pub fn least_upload_limit(&self) -> Option<(u64, &str)> {
        self.upload_limits.iter().map(|(policy, limit)| (*limit, policy.as_str())).min()
    }

    /// The shorter ones hold.
    pub(super) fn keep_to_times(&mut self, max_duration: Option<Duration>, idle_timeout: Option<Duration>) {
        let shorter = |a: Option<Duration>, b: Option<Duration>| a.into_iter().chain(b).min();
        self.max_duration = shorter(self.max_duration, max_duration);
        self.idle_timeout = shorter(self.idle_timeout, idle_timeout);
    }

    fn limit_uploads(&mut self, policy: &str, limit: u64) {
        let known = self.upload_limits.entry(policy.to_owned()).or_insert(limit);
        *known = limit.min(*known);
    }
}

/// A pattern of all of a reason.
fn whole(pattern: &str) -> Result<Regex, String> {
    Regex::new(&format!("^(?:{pattern})$")).map_err(|_| format!("\"{pattern}\" is no pattern"))
}

fn shown(pattern: &Regex) -> &str {
    let text = pattern.as_str();
    text.strip_prefix("^(?:").and_then(|rest| rest.strip_suffix(")$")).unwrap_or(text)
}

const RECORD_HELP: &str =
    "write required, input (what a command is sent), hashed-commands, or several with commas between them";
const PATTERN_HELP: &str = "a regular expression that all of the reason must match, such as (INC|CHG)-[0-9]+.*";
const TIME_HELP: &str = "a number and s, m, h or d behind it, such as 90s, 15m, 8h or 1d";
const SIZE_HELP: &str = "a number of bytes, or a number and KiB, MiB or GiB behind it, such as 100MiB";

fn no_time(value: &str) -> String {
    format!("\"{value}\" is no length of time")
}

/// `90s`, `15m`, `8h`, `1d`: never none at all.
fn duration(text: &str) -> Option<Duration> {
    let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
    let (number, unit) = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, *seconds)))?;
    number_of(number)?.checked_mul(unit).map(Duration::from_secs)
}

/// `4096`, `64KiB`, `100MiB`, `2GiB`.
fn size(text: &str) -> Option<u64> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
    let found = units.iter().find_map(|(unit, bits)| Some((text.strip_suffix(unit)?, *bits)));
    let (number, bits) = found.unwrap_or((text, 0));
    number_of(number)?.checked_mul(1 << bits)
}

/// Digits, and more than none.
fn number_of(text: &str) -> Option<u64> {
    let digits = text.trim_end();
    let all = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| all && *number > 0)
}

/// The word that was probably meant.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let near = known.iter().map(|known| (strsim::levenshtein(word, known), *known)).min();
    near.filter(|(distance, best)| *distance <= best.len().div_ceil(3)).map(|(_, best)| best)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(annotations: &[(&str, &str)], permits: bool) -> Result<Obligations, AnnotationFault> {
        Obligations::read(annotations.iter().copied(), permits)
    }

    #[test]
    fn the_strictest_of_all_that_permit_holds() {
        let long = read(&[("max_duration", "8h"), ("idle_timeout", "90s"), ("upload_limit", "2GiB")], true).unwrap();
        let short = read(&[("max_duration", "15m"), ("upload_limit", "4096")], true).unwrap();
        for order in [[("a", &long), ("b", &short)], [("b", &short), ("a", &long)]] {
            let mut terms = Terms::default();
            for (policy, obligations) in order {
                terms.add(policy, obligations);
            }
            assert_eq!(terms.max_duration, Some(Duration::from_secs(900)));
            assert_eq!(terms.idle_timeout, Some(Duration::from_secs(90)));
            assert_eq!(terms.least_upload_limit(), Some((4096, "b")));
            assert_eq!(terms.upload_limits.len(), 2, "each is its own policy's");
        }
    }

    #[test]
    fn a_reason_is_matched_whole() {
        let ticket = read(&[("reason_pattern", "INC-[0-9]+|CHG-[0-9]+.*")], true).unwrap().reason.unwrap();
        let suits = |text: &str| ticket.suits(&ReasonText::new(text).unwrap());
        assert!(suits("INC-42") && suits("CHG-7 new disk"));
        assert!(!suits("see INC-42") && !suits("INC-42 disk") && !suits("INC-"));
        assert_eq!(ticket.words(), "one that fits INC-[0-9]+|CHG-[0-9]+.*");
        let any = read(&[("reason", "required")], true).unwrap().reason.unwrap();
        assert!(any.suits(&ReasonText::new("そこにセッションがあるから").unwrap()));
    }

    #[test]
    fn mistakes_are_sentences_with_what_to_write_instead() {
        for (name, value, message, help) in [
            ("max_durration", "8h", "there is no annotation @max_durration", "did you mean `max_duration`?"),
            ("frobnicate", "", "there is no annotation @frobnicate", "there is id, message"),
            ("max_duration", "8 hours", "\"8 hours\" is no length of time", "such as 90s"),
            ("idle_timeout", "0m", "\"0m\" is no length of time", "such as 90s"),
            ("max_duration", "99999999999999999999d", "is no length of time", "such as 90s"),
            ("upload_limit", "100MB", "\"100MB\" is no size", "100MiB"),
            ("upload_limit", "-5", "\"-5\" is no size", "100MiB"),
            ("reason_pattern", "(INC", "\"(INC\" is no pattern", "a regular expression"),
            ("alert", "", "@alert says nothing", "write what somebody is to read"),
            ("record", "no", "@record(\"no\") is none", "write required, input"),
            ("record", "input, all", "@record(\"all\") is none", "hashed-commands"),
            ("guard", "files", "@guard(\"files\") is none", "@guard(\"commands\")"),
            ("second_factor", "totp", "@second_factor(\"totp\") is none", "@second_factor(\"required\")"),
            ("session_per_command", "", "@session_per_command(\"\") is none", "@session_per_command(\"required\")"),
        ] {
            let fault = read(&[(name, value)], true).unwrap_err();
            assert!(fault.message.contains(message) && fault.help.contains(help), "{fault:?}");
            assert_eq!(fault.annotation, name);
        }
        let fault = read(&[("max_duration", "8h")], false).unwrap_err();
        assert!(fault.message.contains("a policy that forbids can't"), "{fault:?}");
        assert!(read(&[("id", "x"), ("message", "ask Ada")], false).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_written_it_answers(name in "[a-z_]{0,16}", value in ".{0,32}", permits: bool) {
            let _ = read(&[(&name, &value)], permits);
            let _ = read(&[("max_duration", &value)], permits);
            let _ = read(&[("upload_limit", &value)], permits);
            let _ = read(&[("reason_pattern", &value)], permits);
        }
    }
}
