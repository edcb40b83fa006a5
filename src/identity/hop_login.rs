//! The SSH user name inside a hop (`ssh -J gate <user>@<node>`). Who it is was proved to the connection around it, and which
//! node by its name; what is left to say is as which user of the node, and why:
//!
//! ```text
//!  [<os-user>][+<reason>]      as in any ssh: ec2-user@web-1
//!  a whole login               [<person>/][<os-user>%]<node>[+<reason>], with that person and that node
//! ```
//!
//! A client always sends a user name, also where its person has named none: its local user's, or what a `Host` block says. So three
//! names stand for no user of the node: the person's own, the node's, and the one that the connection around was logged in with. A
//! user of the node of such a name is written out: `ada%web-1`.

use super::login::{Login, LoginError, checked, os_user_is_askable, without_reason};
use crate::model::{NodeName, ReasonText};

/// What is known from around a hop.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    /// Whose it is.
    pub person: &'a str,
    /// Where it leads.
    pub node: &'a NodeName,
    /// The user name that was logged in with around it.
    pub login: &'a str,
    /// The reason that was given there.
    pub reason: Option<&'a ReasonText>,
}

impl Login {
    /// The login that a user name inside a hop stands for.
    pub fn inside(user: &str, around: Around<'_>) -> Result<Self, LoginError> {
        if user.len() > Self::MAX_BYTES {
            return Err(LoginError::TooLong);
        }
        let (target, reason) = without_reason(user)?;
        let outer = around.login.split_once('+').map_or(around.login, |(target, _)| target);
        let nobody_meant = ["", around.person, around.node.as_str(), outer];
        let os_user = if nobody_meant.contains(&target) { None } else { os_user_of(target, around)? };
        Ok(Self {
            person: Some(around.person.to_owned()),
            os_user: os_user.map(str::to_owned),
            node: Some(around.node.clone()),
            reason: reason.or_else(|| around.reason.cloned()),
        })
    }
}

/// The user of the node, where one is named.
fn os_user_of<'a>(target: &'a str, around: Around<'_>) -> Result<Option<&'a str>, LoginError> {
    let target = match target.split_once('/') {
        Some((person, rest)) if !person.contains(['%', ':']) => {
            if person != around.person {
                return Err(LoginError::OtherPerson);
            }
            if rest.is_empty() || rest == around.node.as_str() {
                return Ok(None);
            }
            rest
        }
        _ => target,
    };
    let node = around.node.as_str();
    let user = match target.split_once('%') {
        Some((user, named)) if named == node => user,
        Some(_) => return Err(LoginError::OtherNode(node.to_owned())),
        // an '@' may be part of a user's name
        None => target.strip_suffix(node).and_then(|user| user.strip_suffix('@')).unwrap_or(target),
    };
    checked(user, os_user_is_askable, LoginError::OsUser)?;
    Ok(Some(user))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn inside(user: &str, login: &str) -> Result<Login, LoginError> {
        let (node, reason) = (NodeName::for_test("web-1"), ReasonText::new("INC-1"));
        Login::inside(user, Around { person: "ada", node: &node, login, reason: reason.as_ref() })
    }

    fn parts(user: &str, login: &str) -> (Option<String>, String) {
        let login = inside(user, login).unwrap();
        assert_eq!((login.person(), login.node().map(NodeName::as_str)), (Some("ada"), Some("web-1")));
        (login.os_user().map(str::to_owned), login.reason().unwrap().as_str().to_owned())
    }

    #[test]
    fn a_name_is_a_user_of_the_node_unless_nobody_meant_one() {
        for user in ["root", "ec2-user", "ada@corp", "bob", "alice"] {
            assert_eq!(parts(user, "ada/"), (Some(user.to_owned()), "INC-1".to_owned()));
        }
        for user in ["", "ada", "web-1", "alice", "ada/", "ada/web-1"] {
            assert_eq!(parts(user, "alice"), (None, "INC-1".to_owned()), "{user}");
            assert_eq!(parts(&format!("{user}+CHG-2 x"), "alice+INC-9"), (None, "CHG-2 x".to_owned()), "{user}");
        }
        for user in ["root%web-1", "root@web-1", "ada/root%web-1", "ada/root@web-1", "ada/root"] {
            assert_eq!(parts(user, "root").0.as_deref(), Some("root"), "{user}");
        }
        for written_out in ["ada%web-1", "web-1%web-1", "ada/ada"] {
            assert!(parts(written_out, "alice").0.is_some(), "{written_out}");
        }
    }

    #[test]
    fn it_changes_neither_the_person_nor_the_node() {
        assert_eq!(inside("bob/", "ada"), Err(LoginError::OtherPerson));
        assert_eq!(inside("bob/root%web-1", "ada"), Err(LoginError::OtherPerson));
        assert_eq!(inside("root%web-2", "ada"), Err(LoginError::OtherNode("web-1".to_owned())));
        assert_eq!(inside("%web-1", "ada"), Err(LoginError::OsUser));
        assert_eq!(inside("-o", "ada"), Err(LoginError::OsUser));
        assert_eq!(inside("root+?", "ada"), Err(LoginError::Prompt));
        assert_eq!(inside(&"x".repeat(3000), "ada"), Err(LoginError::TooLong));
    }

    proptest! {
        #[test]
        fn whatever_it_is_it_is_the_persons_on_that_node_and_harmless(
            user in "([a-z]{0,3}|ada|web-1|bob)[/%@+?:=. \u{0}\n-]{0,2}([a-z]{0,3}|ada|web-1|web-2)[/%@+?\u{0}é]{0,2}(web-1|ada|x)?",
            login in "(ada|alice|ada/|web-1)?(\\+x)?",
        ) {
            if let Ok(login) = inside(&user, &login) {
                prop_assert_eq!(login.person(), Some("ada"));
                prop_assert_eq!(login.node().map(NodeName::as_str), Some("web-1"));
                prop_assert_eq!(login.fault(), None);
                prop_assert_eq!(&Login::parse(&login.to_string()), &Ok(login.clone()));
            }
        }

        #[test]
        fn never_panics(user in "\\PC{0,60}", login in "\\PC{0,20}") {
            let _ = inside(&user, &login);
        }
    }
}
