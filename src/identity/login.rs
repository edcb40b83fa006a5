//! The SSH user name (RFC 4252, section 5), which says where to and why:
//!
//! ```text
//!  [<person>/][<os-user>%]<node>[.<realm>][+<reason>]
//!
//!  web-1                      the node, as the agent's own user
//!  web-1.prod                 the one in the realm prod, where a realm is called so; else a node of that name
//!  ec2-user%web-1             as ec2-user; `@` does for `%` (the last one counts)
//!  web-1+INC-42 disk full     why: all that follows the first `+`
//!  ada/root%i-0abc+INC-42     the person too, where the proof needs a name
//!  ada/                       no node: the gateway itself
//! ```
//!
//! The parser is strict: what it does not understand it refuses in a sentence, and what it accepts prints back the same.

use std::fmt;

use crate::model::{NodeName, NodeNameError, ReasonText};

/// A login name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub(super) person: Option<String>,
    pub(super) os_user: Option<String>,
    pub(super) node: Option<NodeName>,
    pub(super) reason: Option<ReasonText>,
}

/// Why a login name was refused, in a sentence for the person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// Longer than [`Login::MAX_BYTES`].
    #[error("the login name is longer than {} bytes; shorten the reason", Login::MAX_BYTES)]
    TooLong,
    /// Nothing at all.
    #[error("the login name is empty; write ssh <node>@<gateway>, or <os-user>%<node>@<gateway>")]
    Empty,
    /// The part before `/`.
    #[error("the person before '/' must be 1 to 64 letters, digits, '.', '-', '_' or '@'")]
    Person,
    /// The part before `%`.
    #[error("the user before '%' must be 1 to 64 letters, digits, '.', '-', '_' or '@', not starting with '-'")]
    OsUser,
    /// The node.
    #[error(
        "the node must be an id (i-…, mi-…, ecs:…), a name of letters, digits, '.', '-' and '_', or tag:Key=Value; \
         write [<os-user>%]<node>[.<realm>][+<reason>]"
    )]
    Node,
    /// The node's characters are fine, its form is not.
    #[error(transparent)]
    NodeForm(#[from] NodeNameError),
    /// After `+`.
    #[error("the reason after '+' must be 1 to {} characters, without control characters", ReasonText::MAX_CHARS)]
    Reason,
    /// The user name of a hop to another node.
    #[error("this is a hop to {0}, and the user name says another node: hop to that one, or leave out the node")]
    OtherNode(String),
    /// The user name of a hop that is somebody else's.
    #[error(
        "a hop is whose login to the gateway it came by, and its user name says somebody else before '/': leave that out"
    )]
    OtherPerson,
    /// `+?`.
    #[error("'+?' asks to be prompted, which this gateway does not do yet; write the reason itself after the '+'")]
    Prompt,
}

impl Login {
    /// The longest login name taken.
    pub const MAX_BYTES: usize = 2048;

    /// Takes a login name apart.
    pub fn parse(text: &str) -> Result<Self, LoginError> {
        if text.len() > Self::MAX_BYTES {
            return Err(LoginError::TooLong);
        }
        let (target, reason) = without_reason(text)?;
        // a tag's value may hold '/', a person comes before everything else
        let (person, target) = match target.split_once('/') {
            Some((person, rest)) if !person.contains([':', '%']) => {
                (Some(checked(person, is_person, LoginError::Person)?), rest)
            }
            _ => (None, target),
        };
        let (os_user, node) = match target.split_once('%').or_else(|| target.rsplit_once('@')) {
            Some((user, node)) => (Some(checked(user, os_user_is_askable, LoginError::OsUser)?), node),
            None => (None, target),
        };
        let node = match node {
            "" if os_user.is_none() && person.is_some() => None,
            "" if os_user.is_none() => return Err(LoginError::Empty),
            node => Some(Self::node_of(node)?),
        };
        Ok(Self { person, os_user, node, reason })
    }

    /// A node by itself, as a login names one and a hop's host does.
    pub fn node_of(name: &str) -> Result<NodeName, LoginError> {
        if node_is_askable(name) { Ok(NodeName::parse(name)?) } else { Err(LoginError::Node) }
    }

    /// The person, where the login names one.
    pub fn person(&self) -> Option<&str> {
        self.person.as_deref()
    }

    /// Who somebody says they are, where nothing else says it: the person in front, or the plain name that would be the gateway's own
    /// (`ssh ada@gate`).
    pub fn named(&self) -> Option<&str> {
        self.person().or_else(|| self.node().filter(|_| self.is_plain()).map(NodeName::as_str))
    }

    /// The operating-system user; none means the agent's own.
    pub fn os_user(&self) -> Option<&str> {
        self.os_user.as_deref()
    }

    /// The node, as the person wrote it.
    pub fn node(&self) -> Option<&NodeName> {
        self.node.as_ref()
    }

    /// Why.
    pub fn reason(&self) -> Option<&ReasonText> {
        self.reason.as_ref()
    }

    /// The node this login is for; none when it is for the gateway itself: no node is named, or the plain name is the
    /// person's own (`ssh gate`, where the client sends the local user name). `ada/ada` is the node called ada.
    pub fn node_for(&self, person: &str) -> Option<&NodeName> {
        self.node().filter(|node| !(self.is_plain() && node.as_str() == person))
    }

    /// Whether this text is the same login, however it is written (`%` or `@`).
    pub fn is_written(&self, text: &[u8]) -> bool {
        std::str::from_utf8(text).is_ok_and(|text| Self::parse(text).as_ref() == Ok(self))
    }

    /// What in one of its parts could be taken for anything but a name or a text, if there were such a thing: for tests of the parser.
    #[cfg(any(test, feature = "testing"))]
    pub fn fault(&self) -> Option<&'static str> {
        let path = |text: &str| text.contains(['/', '\\']) || [".", ".."].contains(&text);
        let word = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@:=/".contains(&b));
        let name = |text: &str| {
            (1..=MAX_NAME).contains(&text.len()) && word(text) && !path(text) && !text.contains([':', '='])
        };
        let user = |text: &str| name(text) && !text.starts_with('-');
        let node = |text: &str| {
            let is_plain =
                !text.starts_with('-') && (text.starts_with("tag:") || !path(text) && !text.contains(['=', '@']));
            (1..=MAX_NODE).contains(&text.len()) && word(text) && is_plain
        };
        let reason = |text: &str| !text.chars().any(char::is_control) && (1..=256).contains(&text.chars().count());
        let faults = [
            (self.person().is_none_or(name), "the person"),
            (self.os_user().is_none_or(user), "the user"),
            (self.node().is_none_or(|name| node(name.as_str())), "the node"),
            (self.reason().is_none_or(|text| reason(text.as_str())), "the reason"),
        ];
        faults.into_iter().find_map(|(is_fine, part)| (!is_fine).then_some(part))
    }

    /// Whether it is one name, as a client sends it that was told no user.
    pub fn is_plain(&self) -> bool {
        self.person.is_none() && self.os_user.is_none()
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(person) = &self.person {
            write!(f, "{person}/")?;
        }
        if let Some(user) = &self.os_user {
            write!(f, "{user}%")?;
        }
        if let Some(node) = &self.node {
            f.write_str(node.as_str())?;
        }
        match &self.reason {
            Some(reason) => write!(f, "+{}", reason.as_str()),
            None => Ok(()),
        }
    }
}

/// What is before the first `+`, and the reason behind it.
pub(super) fn without_reason(text: &str) -> Result<(&str, Option<ReasonText>), LoginError> {
    match text.split_once('+') {
        None => Ok((text, None)),
        Some((_, "?")) => Err(LoginError::Prompt),
        Some((target, reason)) => {
            let valid = ReasonText::new(reason).filter(|valid| valid.as_str() == reason);
            Ok((target, Some(valid.ok_or(LoginError::Reason)?)))
        }
    }
}

/// The longest name of a person or of an operating-system user, in bytes; Linux's own are shorter.
const MAX_NAME: usize = 64;

/// The longest name of a node that a login takes, in bytes: a tag's key and value as EC2 allows them (128 and 256).
const MAX_NODE: usize = 400;

/// Whether a name can stand before the `/`.
pub(super) fn is_person(name: &str) -> bool {
    let named = name.bytes().any(|b| b.is_ascii_alphanumeric());
    named && name.len() <= MAX_NAME && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@".contains(&b))
}

/// Whether a login can ask for such a user of a node.
pub(super) fn os_user_is_askable(name: &str) -> bool {
    is_person(name) && !name.starts_with('-')
}

/// Which characters a login may have for a node: ids, names and `tag:Key=Value`; `.realm` at the end is part of the characters.
fn node_is_askable(name: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if name.len() > MAX_NODE || name.starts_with('-') {
        return false;
    }
    if let Some(tag) = name.strip_prefix("tag:") {
        return tag.split_once('=').is_some_and(|(key, value)| {
            let part = |text: &str| !text.is_empty() && text.bytes().all(|b| word(b) || b"/:".contains(&b));
            part(key) && part(value)
        });
    }
    let plain = name.strip_prefix("ecs:").unwrap_or(name);
    !plain.is_empty() && plain.bytes().all(word) && plain.bytes().any(|b| b.is_ascii_alphanumeric())
}

pub(super) fn checked(text: &str, valid: fn(&str) -> bool, error: LoginError) -> Result<String, LoginError> {
    if valid(text) { Ok(text.to_owned()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Parts<'a> = (Option<&'a str>, Option<&'a str>, Option<&'a str>, Option<&'a str>);

    fn parts(login: &Login) -> Parts<'_> {
        (login.person(), login.os_user(), login.node().map(NodeName::as_str), login.reason().map(ReasonText::as_str))
    }

    #[test]
    fn every_form_of_the_grammar() {
        let cases: [(&str, Parts<'_>); 15] = [
            ("web-1", (None, None, Some("web-1"), None)),
            ("ec2-user%web-1", (None, Some("ec2-user"), Some("web-1"), None)),
            ("ec2-user@web-1", (None, Some("ec2-user"), Some("web-1"), None)),
            ("ada@corp@web-1", (None, Some("ada@corp"), Some("web-1"), None)),
            ("ada@corp%web-1", (None, Some("ada@corp"), Some("web-1"), None)),
            ("web-1+INC-42 disk full", (None, None, Some("web-1"), Some("INC-42 disk full"))),
            ("web-1+a+b%c@d/e", (None, None, Some("web-1"), Some("a+b%c@d/e"))),
            ("ada/root%i-0abc+x", (Some("ada"), Some("root"), Some("i-0abc"), Some("x"))),
            ("ada/", (Some("ada"), None, None, None)),
            ("ada/ada", (Some("ada"), None, Some("ada"), None)),
            ("mi-0123456789abcdef0.prod", (None, None, Some("mi-0123456789abcdef0.prod"), None)),
            ("ecs:web_0af_0af-12", (None, None, Some("ecs:web_0af_0af-12"), None)),
            ("tag:Role=db", (None, None, Some("tag:Role=db"), None)),
            ("root%tag:team=a/b", (None, Some("root"), Some("tag:team=a/b"), None)),
            ("web-1+größer ☃", (None, None, Some("web-1"), Some("größer ☃"))),
        ];
        for (text, expected) in cases {
            assert_eq!(parts(&Login::parse(text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn what_it_refuses_and_how() {
        use LoginError::{Empty, Node, NodeForm, OsUser, Person, Prompt, Reason, TooLong};
        let long = "x".repeat(4096);
        let cases = [
            ("", Empty),
            ("+why", Empty),
            ("/web-1", Person),
            ("../web-1", Person),
            ("a b/web-1", Person),
            ("%web-1", OsUser),
            ("@web-1", OsUser),
            ("-x%web-1", OsUser),
            ("..%web-1", OsUser),
            ("ro ot%web-1", OsUser),
            ("root%", Node),
            ("a%b%c", Node),
            ("..", Node),
            ("ada/../x", Node),
            ("-oProxyCommand=x", Node),
            ("web 1", Node),
            ("web\n1", Node),
            ("wéb", Node),
            ("tag:Role", Node),
            ("tag:=db", Node),
            ("ecs:", Node),
            ("ecs:one", NodeForm(NodeNameError::Task("ecs:one".to_owned()))),
            ("web-1+", Reason),
            ("web-1+ padded", Reason),
            ("web-1+a\nb", Reason),
            ("web-1+?", Prompt),
            (long.as_str(), TooLong),
        ];
        for (text, expected) in cases {
            assert_eq!(Login::parse(text), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn a_plain_name_that_is_the_persons_own_means_the_gateway() {
        let node_for = |text: &str| Login::parse(text).unwrap().node_for("ada").map(NodeName::to_string);
        assert_eq!(node_for("ada"), None);
        assert_eq!(node_for("ada/"), None);
        assert_eq!(node_for("ada/ada").as_deref(), Some("ada"));
        assert_eq!(node_for("root%ada").as_deref(), Some("ada"));
        assert_eq!(node_for("web-1").as_deref(), Some("web-1"));
    }

    /// What a login is made of, and what somebody would put into one who looks for a gap.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            prop::sample::select(vec![
                "ada",
                "root",
                "web-1",
                "i-0123456789abcdef0",
                "tag:",
                "ecs:",
                "Role",
                "/",
                "//",
                "%",
                "%%",
                "%2e",
                "@",
                "+",
                "?",
                "=",
                ".",
                "..",
                "../",
                "-",
                "-o",
                "\n",
                "\r\n",
                "\0",
                "\u{1b}[2J",
                " ",
                "\t",
                "\\",
                "'",
                "\"",
                "$(id)",
                "`",
                ";",
                "é",
                "e\u{301}",
                "日本",
                "／",
                "％",
                "\u{202e}",
                "\u{feff}",
                "\u{200b}",
                "\u{2028}",
                "\u{85}",
                "\u{10ffff}",
            ])
            .prop_map(str::to_owned),
            "\\PC{0,8}",
            "[a-z0-9._@-]{0,80}",
            (1..5000_usize).prop_map(|long| "x".repeat(long)),
        ];
        prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn au14_whatever_is_sent_as_a_login_is_refused_or_is_harmless_in_each_of_its_parts(text in pieces()) {
            let parsed = Login::parse(&text);
            if text.len() > Login::MAX_BYTES {
                prop_assert_eq!(&parsed, &Err(LoginError::TooLong));
            }
            let Ok(login) = parsed else { return Ok(()) };
            prop_assert_eq!(login.fault(), None);
            prop_assert_eq!(Login::parse(&login.to_string()), Ok(login));
        }

        #[test]
        fn never_panics_and_what_it_accepts_prints_back_to_the_same(text in "\\PC{0,80}") {
            if let Ok(login) = Login::parse(&text) {
                prop_assert_eq!(&Login::parse(&login.to_string()), &Ok(login));
            }
        }

        #[test]
        fn grammar_shaped_noise(text in "[a-c.+%@/:=?\\- \u{0}\n]{0,14}") {
            if let Ok(login) = Login::parse(&text) {
                prop_assert_eq!(&Login::parse(&login.to_string()), &Ok(login.clone()));
                let safe = |part: Option<&str>| part.is_none_or(|p| !p.contains(['\n', '\0', ' ']) && !p.starts_with('-'));
                prop_assert!(safe(login.node().map(NodeName::as_str)) && safe(login.os_user()));
            }
        }
    }
}
