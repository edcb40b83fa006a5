//! The options in front of a key in `authorized_keys` (sshd(8)): what of them holds here, and what refuses the line.
//!
//! ```text
//!  from="192.0.2.0/24",no-pty,command="uptime"
//!  └┬─┘ └────┬──────┘
//!  name    value, quoted; `\"` stands for a quote in it
//! ```
//!
//! An option that would be left out would make of a key more than its line says, so one that is not known, or that says what
//! only policy says here, refuses the line.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::macros::format_description;
use time::{Date, PrimitiveDateTime, Time};

use super::restrictions::Restrictions;
use super::source_list::{SourceList, SourceListError};

/// What a line says of its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KeyOptions {
    /// From where it counts.
    pub(super) from: Option<SourceList>,
    /// From when on it counts no more.
    pub(super) expires: Option<SystemTime>,
    /// A security key must know who touched it.
    pub(super) verify_required: bool,
    /// What a session by it may not.
    pub(super) restrictions: Restrictions,
    /// It logs nobody in, and signs certificates that do: for these principals, or where there are none for its person's name.
    pub(super) authority: Option<Vec<String>>,
}

/// What is wrong with the options of a line.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyOptionError {
    /// There is none of that name.
    #[error("`{0}` is no option of a key")]
    Unknown(String),
    /// It is known, and does not hold here.
    #[error("`{0}` does not hold here, and without it the key would be more than the line says")]
    NotHeld(&'static str),
    /// It needs a value.
    #[error("`{0}` needs a value in quotes: {0}=\"…\"")]
    NoValue(&'static str),
    /// It has a value and takes none.
    #[error("`{0}` takes no value")]
    Value(&'static str),
    /// It is there twice.
    #[error("`{0}` is there twice")]
    Twice(&'static str),
    /// A quote that does not end, or something behind one.
    #[error("the options are not separated by commas, or a quote does not end")]
    Quotes,
    /// The list of `from`.
    #[error("from: {0}")]
    From(#[from] SourceListError),
    /// No time.
    #[error("expiry-time: `{0}` is no time")]
    Time(String),
    /// A time of some time zone.
    #[error("expiry-time: `{0}` does not say in which time zone")]
    Zone(String),
    /// An empty command.
    #[error("command: there is nothing to run")]
    NoCommand,
    /// Names for a key that signs no certificates.
    #[error("principals: they are those of certificates, and this key signs none")]
    NoAuthority,
    /// A name that is empty.
    #[error("principals: one of them is empty")]
    EmptyPrincipal,
}

impl KeyOptionError {
    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::Unknown(name) => match nearest(name) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("those that hold here are {}", HELD.join(", ")),
            },
            Self::NotHeld(name) => match *name {
                "environment" => {
                    "take it out: environment.accept and policies (SetVariable) say which variables pass".to_owned()
                }
                "permitopen" | "permitlisten" | "tunnel" => {
                    "take it out, and write no-port-forwarding, or a policy about Forward that names hosts and ports"
                        .to_owned()
                }
                "no-touch-required" => "take it out: a security key has to be touched here".to_owned(),
                _ => "take it out".to_owned(),
            },
            Self::NoValue(name) => format!("write {name}=\"…\""),
            Self::Value(name) => format!("write {name} alone"),
            Self::Twice(name) => format!("leave one {name}"),
            Self::Quotes => "no spaces between options; in a value a quote is \\\"".to_owned(),
            Self::From(SourceListError::InsideNetwork(_)) => "write the network's first address, or no /".to_owned(),
            Self::From(_) => "such as from=\"192.0.2.0/24,!192.0.2.7,2001:db8::*\"".to_owned(),
            Self::Time(_) => "write YYYYMMDDZ or YYYYMMDDhhmm[ss]Z, such as expiry-time=\"20270131Z\"".to_owned(),
            Self::Zone(text) => format!("end it with Z, for UTC: expiry-time=\"{text}Z\""),
            Self::NoCommand => "write the command, or take the option out".to_owned(),
            Self::NoAuthority => "write cert-authority besides, or take the option out".to_owned(),
            Self::EmptyPrincipal => "such as principals=\"ada,ops\"".to_owned(),
        }
    }
}

/// Those that hold.
const HELD: [&str; 17] = [
    "agent-forwarding",
    "cert-authority",
    "command",
    "expiry-time",
    "from",
    "no-agent-forwarding",
    "no-port-forwarding",
    "no-pty",
    "no-user-rc",
    "no-X11-forwarding",
    "port-forwarding",
    "principals",
    "pty",
    "restrict",
    "user-rc",
    "verify-required",
    "X11-forwarding",
];

/// Those of sshd that do not, each with a reason in [`KeyOptionError::help`].
const NOT_HELD: [&str; 6] =
    ["environment", "no-touch-required", "permitlisten", "permitopen", "tunnel", "zos-key-ring-label"];

fn nearest(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let all = HELD.iter().chain(&NOT_HELD);
    let near = all.map(|known| (strsim::levenshtein(&name, &known.to_ascii_lowercase()), *known)).min()?;
    (near.0 <= near.1.len().div_ceil(3)).then_some(near.1)
}

impl KeyOptions {
    /// Reads what stands in front of a key.
    pub(super) fn parse(text: &str) -> Result<Self, KeyOptionError> {
        let mut options = Self::default();
        let mut seen: Vec<&'static str> = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (name, value, behind) = one(rest)?;
            let known = |names: &[&'static str]| names.iter().find(|known| known.eq_ignore_ascii_case(name)).copied();
            if let Some(name) = known(&NOT_HELD) {
                return Err(KeyOptionError::NotHeld(name));
            }
            let name = known(&HELD).ok_or_else(|| KeyOptionError::Unknown(name.to_owned()))?;
            options.take(name, value, &mut seen)?;
            rest = behind;
        }
        if seen.contains(&"principals") && !seen.contains(&"cert-authority") {
            return Err(KeyOptionError::NoAuthority);
        }
        Ok(options)
    }

    fn take(
        &mut self,
        name: &'static str,
        value: Option<String>,
        seen: &mut Vec<&'static str>,
    ) -> Result<(), KeyOptionError> {
        let wants_value = matches!(name, "command" | "expiry-time" | "from" | "principals");
        let value = match (wants_value, value) {
            (true, None) => return Err(KeyOptionError::NoValue(name)),
            (false, Some(_)) => return Err(KeyOptionError::Value(name)),
            (_, value) => value.unwrap_or_default(),
        };
        if wants_value && seen.contains(&name) {
            return Err(KeyOptionError::Twice(name));
        }
        seen.push(name);
        let restrictions = &mut self.restrictions;
        match name {
            "from" => self.from = Some(SourceList::patterns(&value)?),
            "expiry-time" => self.expires = Some(moment(&value)?),
            "command" if value.trim().is_empty() => return Err(KeyOptionError::NoCommand),
            "command" => restrictions.command = Some(value),
            "verify-required" => self.verify_required = true,
            "cert-authority" => drop(self.authority.get_or_insert_default()),
            "principals" => {
                let principals: Vec<String> = value.split(',').map(|name| name.trim().to_owned()).collect();
                if principals.iter().any(String::is_empty) {
                    return Err(KeyOptionError::EmptyPrincipal);
                }
                self.authority = Some(principals);
            }
            "restrict" => (restrictions.no_pty, restrictions.no_forwarding) = (true, true),
            "no-pty" => restrictions.no_pty = true,
            "pty" => restrictions.no_pty = false,
            "no-port-forwarding" => restrictions.no_forwarding = true,
            "port-forwarding" => restrictions.no_forwarding = false,
            // agents, displays and rc files are nobody's here, whatever a line says of them
            _ => {}
        }
        Ok(())
    }
}

/// The first option: its name, its value without quotes, and what is behind its comma.
fn one(text: &str) -> Result<(&str, Option<String>, &str), KeyOptionError> {
    let end = text.find(['=', ',']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let Some(quoted) = rest.strip_prefix('=') else {
        return Ok((name, None, behind_comma(rest)?));
    };
    let Some(inner) = quoted.strip_prefix('"') else {
        // a word without quotes is what sshd refuses as well
        return Err(KeyOptionError::Quotes);
    };
    let mut value = String::new();
    let mut chars = inner.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => {
                let rest = inner.get(at + 1..).unwrap_or_default();
                return Ok((name, Some(value), behind_comma(rest)?));
            }
            '\\' if chars.next_if(|(_, next)| *next == '"').is_some() => value.push('"'),
            other => value.push(other),
        }
    }
    Err(KeyOptionError::Quotes)
}

fn behind_comma(rest: &str) -> Result<&str, KeyOptionError> {
    match rest.strip_prefix(',') {
        Some("") => Err(KeyOptionError::Quotes),
        Some(rest) => Ok(rest),
        None if rest.is_empty() => Ok(rest),
        None => Err(KeyOptionError::Quotes),
    }
}

/// `YYYYMMDD`, `YYYYMMDDhhmm` or `YYYYMMDDhhmmss`, each with a Z behind it. What has none is meant in some time zone, and whether
/// in this machine's or in that of whoever wrote it, nobody knows.
fn moment(text: &str) -> Result<SystemTime, KeyOptionError> {
    let wrong = || KeyOptionError::Time(text.to_owned());
    let (digits, utc) = match text.strip_suffix(['Z', 'z']) {
        Some(digits) => (digits, true),
        None => (text, false),
    };
    let format = match digits.len() {
        8 => format_description!("[year][month][day]"),
        12 => format_description!("[year][month][day][hour][minute]"),
        14 => format_description!("[year][month][day][hour][minute][second]"),
        _ => return Err(wrong()),
    };
    let parsed = match digits.len() {
        8 => Date::parse(digits, format).map(|date| PrimitiveDateTime::new(date, Time::MIDNIGHT)),
        _ => PrimitiveDateTime::parse(digits, format),
    };
    let seconds = parsed.map_err(|_| wrong())?.assume_utc().unix_timestamp();
    if !utc {
        return Err(KeyOptionError::Zone(text.to_owned()));
    }
    u64::try_from(seconds)
        .ok()
        .and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)))
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<KeyOptions, KeyOptionError> {
        KeyOptions::parse(text)
    }

    #[test]
    fn what_each_option_says() {
        let options = parse("from=\"192.0.2.0/24\",no-pty,command=\"echo \\\"hi\\\", you\",VERIFY-REQUIRED").unwrap();
        assert!(options.from.unwrap().has("192.0.2.1".parse().unwrap()) && options.verify_required);
        assert_eq!(options.restrictions.command.as_deref(), Some("echo \"hi\", you"));
        assert!(options.restrictions.no_pty && !options.restrictions.no_forwarding);
        let restrictions = |text: &str| {
            let Restrictions { no_pty, no_forwarding, .. } = parse(text).unwrap().restrictions;
            (no_pty, no_forwarding)
        };
        for (text, expected) in [
            ("restrict", (true, true)),
            ("restrict,pty", (false, true)),
            ("pty,restrict", (true, true)),
            ("restrict,port-forwarding", (true, false)),
            ("no-agent-forwarding,no-X11-forwarding,no-user-rc", (false, false)),
            ("no-port-forwarding", (false, true)),
        ] {
            assert_eq!(restrictions(text), expected, "{text}");
        }
        for (text, principals) in [
            ("cert-authority", &[][..]),
            ("principals=\"ada, ops\",cert-authority", &["ada", "ops"]),
            ("cert-authority,principals=\"ada\"", &["ada"]),
        ] {
            assert_eq!(parse(text).unwrap().authority.unwrap(), principals, "{text}");
        }
        let at = |text: &str| parse(&format!("expiry-time=\"{text}\"")).unwrap().expires.unwrap();
        let seconds = |text| at(text).duration_since(UNIX_EPOCH).unwrap().as_secs();
        // date -ud 2027-01-31 +%s
        assert_eq!(seconds("20270131Z"), 1_801_353_600);
        assert_eq!(seconds("202701310102Z"), 1_801_353_600 + 3720);
        assert_eq!(seconds("20270131010203Z"), 1_801_353_600 + 3723);
    }

    #[test]
    fn every_mistake_refuses_and_says_what_to_write() {
        use KeyOptionError as E;
        for (text, error, help) in [
            ("formm=\"x\"", E::Unknown("formm".to_owned()), "did you mean `from`?"),
            ("no-pyt", E::Unknown("no-pyt".to_owned()), "did you mean `no-pty`?"),
            ("frobnicate-everything", E::Unknown("frobnicate-everything".to_owned()), "those that hold"),
            ("environment=\"A=b\"", E::NotHeld("environment"), "environment.accept"),
            ("permitopen=\"h:1\"", E::NotHeld("permitopen"), "Forward"),
            ("tunnel=\"1\"", E::NotHeld("tunnel"), "Forward"),
            ("no-touch-required", E::NotHeld("no-touch-required"), "touched"),
            ("from", E::NoValue("from"), "from=\"…\""),
            ("no-pty=\"yes\"", E::Value("no-pty"), "no-pty alone"),
            ("from=\"*\",from=\"*\"", E::Twice("from"), "leave one from"),
            ("from=192.0.2.1", E::Quotes, "no spaces"),
            ("command=\"unfinished", E::Quotes, "no spaces"),
            ("command=\"x\"no-pty", E::Quotes, "no spaces"),
            ("no-pty,", E::Quotes, "no spaces"),
            ("from=\"gate.example\"", E::From(SourceListError::NoAddress("gate.example".to_owned())), "from=\"192"),
            ("expiry-time=\"20270131\"", E::Zone("20270131".to_owned()), "20270131Z"),
            ("expiry-time=\"20270231Z\"", E::Time("20270231Z".to_owned()), "YYYYMMDDZ"),
            ("expiry-time=\"tomorrow\"", E::Time("tomorrow".to_owned()), "YYYYMMDDZ"),
            ("command=\" \"", E::NoCommand, "write the command"),
            ("principals=\"ada\"", E::NoAuthority, "cert-authority besides"),
            ("cert-authority,principals=\"ada,,ops\"", E::EmptyPrincipal, "such as"),
        ] {
            let found = parse(text).unwrap_err();
            assert_eq!(found, error, "{text}");
            assert!(found.help().contains(help), "{text}: {}", found.help());
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_it_answers(text in "\\PC{0,60}") {
            let _ = parse(&text);
        }

        #[test]
        fn a_command_is_read_back_as_it_was_meant(command in "[ -~äß]{1,40}") {
            prop_assume!(!command.trim().is_empty() && !command.ends_with('\\') && !command.contains("\\\""));
            let text = format!("command=\"{}\",no-pty", command.replace('"', "\\\""));
            let options = parse(&text).unwrap();
            prop_assert_eq!(options.restrictions.command, Some(command));
            prop_assert!(options.restrictions.no_pty);
        }
    }
}
