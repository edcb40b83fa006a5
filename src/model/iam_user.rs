//! A user of an account's IAM, as the configuration names one.

use std::fmt;

use super::RealmName;

/// A user, and the realm in whose account it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IamUser {
    /// Where.
    pub realm: RealmName,
    /// What it is called there, without a path.
    pub name: String,
}

/// What names no user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IamUserError {
    /// No name.
    #[error("`{0}` is no name of an IAM user: it has 1 to 64 letters, digits and characters of _+=,.@-")]
    Name(String),
    /// It could be in several realms.
    #[error("the IAM user `{0}` could be in each of several realms")]
    NoRealm(String),
    /// A realm that there is not.
    #[error("there is no realm `{0}`")]
    Realm(String),
}

impl IamUserError {
    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Name(_) => "write its name without a path, such as \"ada\", or \"main/ada\" with its realm",
            Self::NoRealm(_) => "write the realm in front of it, such as \"main/ada\"",
            Self::Realm(_) => "write the name of one of [[realms]] in front of the /",
        }
    }
}

impl IamUser {
    /// Its longest name (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>).
    const MAX_CHARS: usize = 64;

    /// Reads `<realm>/<user>`, or `<user>` alone where there is one realm. No name of a user has a `/`.
    pub fn parse(text: &str, realms: &[RealmName]) -> Result<Self, IamUserError> {
        let (realm, name) = match text.split_once('/') {
            Some((realm, name)) => (Some(realm), name),
            None => (None, text),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
        // without a name IAM would answer for whoever asks
        if !(1..=Self::MAX_CHARS).contains(&name.len()) || !name.chars().all(plain) {
            return Err(IamUserError::Name(text.to_owned()));
        }
        let realm = match (realm, realms) {
            (None, [one]) => one,
            (None, _) => return Err(IamUserError::NoRealm(name.to_owned())),
            (Some(named), realms) => realms
                .iter()
                .find(|realm| realm.as_str() == named)
                .ok_or_else(|| IamUserError::Realm(named.to_owned()))?,
        };
        Ok(Self { realm: realm.clone(), name: name.to_owned() })
    }

    /// Whether both are one user: IAM has no two whose names differ in case alone.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.realm == other.realm && self.name.eq_ignore_ascii_case(&other.name)
    }
}

impl fmt::Display for IamUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.realm, self.name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn realms(names: &[&str]) -> Vec<RealmName> {
        names.iter().map(|name| RealmName::of_test(name)).collect()
    }

    #[test]
    fn a_user_is_named_with_its_realm_or_without_where_there_is_one() {
        let (one, two) = (realms(&["main"]), realms(&["dev", "prod"]));
        let read = |text: &str, realms: &[RealmName]| IamUser::parse(text, realms).map(|user| user.to_string());
        assert_eq!(read("ada", &one), Ok("main/ada".to_owned()));
        assert_eq!(read("main/ada@example.com", &one), Ok("main/ada@example.com".to_owned()));
        assert_eq!(read("prod/ada", &two), Ok("prod/ada".to_owned()));
        assert_eq!(read("ada", &two), Err(IamUserError::NoRealm("ada".to_owned())));
        assert_eq!(read("ada", &[]), Err(IamUserError::NoRealm("ada".to_owned())));
        assert_eq!(read("qa/ada", &two), Err(IamUserError::Realm("qa".to_owned())));
        assert_eq!(read("arn:aws:iam::1:user/ada", &one), Err(IamUserError::Realm("arn:aws:iam::1:user".to_owned())));
        let long = "x".repeat(65);
        for wrong in ["", "/", "main/", "main/team/ada", "ada lovelace", "ädä", "a\n", &long] {
            assert_eq!(read(wrong, &one), Err(IamUserError::Name(wrong.to_owned())));
        }
        let user = |text: &str| IamUser::parse(text, &two).unwrap();
        assert!(user("dev/Ada").is_same_as(&user("dev/ada")) && !user("dev/ada").is_same_as(&user("prod/ada")));
    }

    proptest! {
        #[test]
        fn what_is_taken_is_what_was_written(text in "(main/|prod/)?[a-zA-Z0-9_+=,.@/-]{0,70}|\\PC{0,8}") {
            if let Ok(user) = IamUser::parse(&text, &realms(&["main"])) {
                let whole = format!("main/{text}");
                prop_assert!([&text, &whole].contains(&&user.to_string()));
                prop_assert!(!user.name.is_empty() && !user.name.contains('/'));
            }
        }
    }
}
