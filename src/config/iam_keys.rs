//! The keys that IAM users hold: how they are read, and what can be said of who is named.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Config;
use super::check::{Findings, Key, number};
use crate::model::{IamUser, RealmName};

/// How the keys are read that IAM users hold, of people who have `keys_from_iam`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IamKeys {
    /// Seconds between two readings: a key that a user has made inactive or deleted ends what it opened after the next one. Each
    /// reading is a call for each user.
    #[schemars(range(min = 5, max = 3600))]
    pub read_seconds: u32,
    /// Seconds for which what IAM has said counts where it can't be asked; then its users' keys count no more until it can. At least
    /// twice `read_seconds`.
    #[schemars(range(min = 10, max = 86_400))]
    pub counts_seconds: u32,
}

impl Default for IamKeys {
    fn default() -> Self {
        Self { read_seconds: 60, counts_seconds: 600 }
    }
}

/// Users whose keys a gateway reads, all together: one round of calls has to fit between two.
const MOST_USERS: usize = 500;

impl Config {
    /// Whose keys IAM is asked for: people's places in the list, and the users. What names none is left out.
    pub fn iam_users(&self) -> Vec<(usize, IamUser)> {
        let named = self.iam_users_as_written();
        named.into_iter().filter_map(|(person, _, user)| Some((person, user.ok()?))).collect()
    }

    /// What is written for users and is none with these realms: while a change of realms waits for a restart.
    pub fn no_iam_users(&self) -> Vec<String> {
        let named = self.iam_users_as_written();
        named.into_iter().filter_map(|(_, _, user)| user.err()).map(|error| error.to_string()).collect()
    }

    fn iam_users_as_written(&self) -> Vec<(usize, usize, Result<IamUser, crate::model::IamUserError>)> {
        let realms: Vec<RealmName> =
            self.realms.iter().filter_map(|realm| RealmName::parse(&realm.name).ok()).collect();
        let of_person = |(index, person): (usize, &super::Person)| {
            let users = person.keys_from_iam.iter().enumerate();
            let users = users.map(|(number, text)| (index, number, IamUser::parse(text, &realms)));
            users.collect::<Vec<_>>()
        };
        self.people.iter().enumerate().flat_map(of_person).collect()
    }
}

pub(super) fn check(config: &Config, findings: &mut Findings) {
    let IamKeys { read_seconds, counts_seconds } = config.iam_keys;
    let (read, counts) = (u64::from(read_seconds), u64::from(counts_seconds));
    number("iam_keys", "read_seconds", read, &(5..=3600), findings);
    number("iam_keys", "counts_seconds", counts, &(10..=86_400), findings);
    if counts < 2 * read {
        let path = [Key::Name("iam_keys"), Key::Name("counts_seconds")];
        let message = format!("counts_seconds = {counts} is less than twice read_seconds, which is {read}");
        findings.add(&path, message, Some("else these keys would not count between two readings"));
    }
    let mut named: Vec<IamUser> = Vec::new();
    for (person, number, user) in config.iam_users_as_written() {
        let at = [Key::Name("people"), Key::Index(person), Key::Name("keys_from_iam"), Key::Index(number)];
        match user {
            Err(error) => findings.add(&at, error.to_string(), Some(error.help())),
            Ok(user) if named.iter().any(|other| other.is_same_as(&user)) => {
                let help = "the keys of a user are one person's";
                findings.add(&at, format!("the IAM user `{user}` is here twice"), Some(help));
            }
            Ok(user) => named.push(user),
        }
    }
    if named.len() > MOST_USERS {
        let message = format!("the keys of {} IAM users would be read, and {MOST_USERS} at most are", named.len());
        findings.add(&[Key::Name("people")], message, Some("give the others their keys in files, or certificates"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Person, Realm};
    use super::*;

    fn found(realms: &[&str], users: &[&[&str]], keys: IamKeys) -> Vec<String> {
        let realm = |name: &&str| Realm { name: (*name).to_owned(), ..Realm::default() };
        let person = |users: &&[&str]| Person {
            name: "ada".to_owned(),
            keys: Vec::new(),
            keys_from: Vec::new(),
            keys_from_iam: users.iter().map(|&user| user.to_owned()).collect(),
            password: None,
            groups: Vec::new(),
        };
        let config = Config {
            realms: realms.iter().map(realm).collect(),
            people: users.iter().map(person).collect(),
            iam_keys: keys,
            ..Config::default()
        };
        let mut findings = Findings::default();
        check(&config, &mut findings);
        findings.0.into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn a_user_is_one_person_s_and_in_a_realm_that_there_is() {
        let fine = IamKeys::default;
        assert!(found(&["main"], &[&["ada", "ada2"], &["main/bob"]], fine()).is_empty());
        assert!(found(&["dev", "prod"], &[&["dev/ada", "prod/ada"]], fine()).is_empty());
        for (realms, users, says) in [
            (&["main"][..], &[&["ada"][..], &["main/Ada"]][..], "the IAM user `main/Ada` is here twice"),
            (&["main"], &[&["ada lovelace"]], "`ada lovelace` is no name of an IAM user"),
            (&["dev", "prod"], &[&["ada"]], "the IAM user `ada` could be in each of several realms"),
            (&["dev", "prod"], &[&["qa/ada"]], "there is no realm `qa`"),
        ] {
            let said = found(realms, users, fine());
            assert!(said.len() == 1 && said[0].starts_with(says), "{said:?}");
        }
        let many: Vec<String> = (0..=MOST_USERS).map(|number| format!("u{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(found(&["main"], &[&many], fine())[0].contains("the keys of 501 IAM users would be read"));
    }

    #[test]
    fn keys_would_not_count_between_two_readings_that_are_too_far_apart() {
        for (read_seconds, counts_seconds, says) in [
            (60, 119, "counts_seconds = 119 is less than twice read_seconds"),
            (4, 600, "read_seconds = 4 is outside 5..=3600"),
            (60, 86_401, "counts_seconds = 86401 is outside"),
        ] {
            let said = found(&["main"], &[], IamKeys { read_seconds, counts_seconds });
            assert!(said.len() == 1 && said[0].starts_with(says), "{said:?}");
        }
        assert!(found(&["main"], &[], IamKeys { read_seconds: 5, counts_seconds: 10 }).is_empty());
    }
}
