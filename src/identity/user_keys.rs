//! SSH public keys that IAM users hold: those that a user uploads for CodeCommit, of whom the configuration says whose they are.
//!
//! ```text
//!  IAM ──text, id──▶ UserKey ─┐
//!  [[people]] keys_from_iam ──┴─▶ People::add_keys_of_users ──▶ a person's key, as one of the configuration without options
//! ```
//!
//! A key that is wrong, or that somebody else has as well, proves nothing, and the others do.

use std::collections::BTreeMap;

use super::authorized_key::{KeyLineError, MOST_BYTES};
use super::people::{Known, People};
use super::proof::KeyFingerprint;
use super::public_key::wire_form;
use crate::model::IamUser;

/// A key that a user holds and that is active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserKey {
    /// What IAM calls it, `APKA…`.
    id: String,
    wire: Result<Vec<u8>, KeyLineError>,
}

/// What IAM has said of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysOfUser {
    /// The active ones; none where there is no such user.
    pub keys: Option<Vec<UserKey>>,
    /// Whether that is still to be believed: it was said so lately.
    pub counts: bool,
}

/// What IAM has said of users; nothing of those that it was not asked about yet.
pub type KeysOfUsers = BTreeMap<IamUser, KeysOfUser>;

/// Whose a key is in IAM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HeldBy {
    pub(super) user: IamUser,
    pub(super) id: String,
    pub(super) counts: bool,
}

/// What of it proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("the IAM user {user}{}: {why}", self.key())]
pub struct UserKeyFault {
    /// Whose.
    pub user: IamUser,
    /// What IAM calls the key, where it is about one.
    pub id: Option<String>,
    /// What is wrong, in words.
    pub why: String,
    /// What to do about it.
    pub help: String,
}

impl UserKeyFault {
    fn key(&self) -> String {
        self.id.as_ref().map(|id| format!(", key {id}")).unwrap_or_default()
    }
}

impl UserKey {
    /// Reads the text that IAM has of a key, which is that of a `.pub` file. It has no options: what looks like one is no key.
    pub fn read(id: &str, text: &str) -> Self {
        let text = text.trim();
        let wire = match text {
            _ if text.len() > MOST_BYTES => Err(KeyLineError::TooLong),
            _ if text.contains(['\n', '\r']) => Err(KeyLineError::Damaged),
            _ => wire_form(text),
        };
        // what IAM calls keys by is told in the log, and whoever answers in its place chooses it
        Self { id: crate::model::plain_text_up_to(LONGEST_ID, id), wire }
    }

    /// What IAM calls it.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// As IAM's own documentation has it: 20 to 128 characters.
const LONGEST_ID: usize = 128;

impl People {
    /// Adds the keys of these users, each with the person whose they are. Where two people have one key, it is neither's: which of
    /// the two is meant nobody knows. One that the configuration has already is what the configuration says.
    pub fn add_keys_of_users<'a>(
        &mut self,
        users: impl IntoIterator<Item = (&'a str, &'a IamUser, &'a KeysOfUser)>,
    ) -> Vec<UserKeyFault> {
        let (mut faults, mut offered) = (Vec::new(), BTreeMap::<KeyFingerprint, Vec<Known>>::new());
        for (person, user, found) in users {
            let Some(keys) = &found.keys else {
                let why = "there is no such user in that account".to_owned();
                let help = "make it there, or take it out of keys_from_iam".to_owned();
                faults.push(UserKeyFault { user: user.clone(), id: None, why, help });
                continue;
            };
            for key in keys {
                let wire = match &key.wire {
                    Ok(wire) => wire.clone(),
                    Err(why) => {
                        faults.push(fault(user, key.id(), why));
                        continue;
                    }
                };
                let fingerprint = KeyFingerprint::of(&wire);
                if let Some(owner) = self.owner(&fingerprint) {
                    faults.push(fault(user, key.id(), &KeyLineError::Twice(format!("{owner}'s"))));
                    continue;
                }
                let held = HeldBy { user: user.clone(), id: key.id.clone(), counts: found.counts };
                offered.entry(fingerprint).or_default().push(Known::held(person, wire, held));
            }
        }
        for (fingerprint, offers) in offered {
            match self.take_offer(fingerprint, offers) {
                Ok(()) => {}
                Err(refused) => faults.extend(refused),
            }
        }
        faults.sort();
        faults
    }

    /// A key that IAM's users have, if all who have it are one person.
    fn take_offer(&mut self, key: KeyFingerprint, offers: Vec<Known>) -> Result<(), Vec<UserKeyFault>> {
        let other_than = |known: &Known| offers.iter().find(|other| other.person() != known.person());
        let refused = offers.iter().filter_map(|known| {
            let (held, other) = (known.held_by()?, other_than(known)?);
            let why = format!("this key is also that of {}, so it is nobody's", other.person());
            let help = "one of the two has to delete it; a key stands for one person".to_owned();
            Some(UserKeyFault { user: held.user.clone(), id: Some(held.id.clone()), why, help })
        });
        let refused: Vec<UserKeyFault> = refused.collect();
        if !refused.is_empty() {
            return Err(refused);
        }
        // of one person's two users the one that was asked lately
        let counts = |known: &Known| known.held_by().is_some_and(|held| held.counts);
        let best = offers.iter().position(counts).unwrap_or_default();
        if let Some(known) = offers.into_iter().nth(best) {
            self.insert(key, known);
        }
        Ok(())
    }
}

fn fault(user: &IamUser, id: &str, why: &KeyLineError) -> UserKeyFault {
    UserKeyFault { user: user.clone(), id: Some(id.to_owned()), why: why.to_string(), help: why.help() }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::SystemTime;

    use proptest::prelude::*;

    use super::super::proof::VerifiedKey;
    use super::super::{Identity, Proved, Purpose, Unproved, key_of_line};
    use super::*;
    use crate::model::RealmName;

    const ADA: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ ada@laptop";
    const OTHER: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEpO0zQeokg94WBU53OHHvVvv0+PdhB4HAahfFu85pNftmKOYgJ0Cj+1ckEt93rrrBy4lfEOp/JeSvsPQu3CN/A=";
    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

    fn user(name: &str) -> IamUser {
        IamUser::parse(name, &[RealmName::of_test("main")]).unwrap()
    }

    fn holds(keys: &[(&str, &str)], counts: bool) -> KeysOfUser {
        KeysOfUser { keys: Some(keys.iter().map(|(id, text)| UserKey::read(id, text)).collect()), counts }
    }

    /// People with these lines in the configuration and these users in IAM.
    fn people(lines: &[(&str, &str)], users: &[(&str, &str, KeysOfUser)]) -> (People, Vec<String>) {
        let lines: Vec<_> = lines.iter().map(|(name, key)| (*name, vec![(*key).to_owned()])).collect();
        let mut people = People::new(lines.iter().map(|(name, keys)| (*name, keys.as_slice()))).unwrap();
        let users: Vec<_> = users.iter().map(|(person, name, keys)| (*person, user(name), keys)).collect();
        let faults = people.add_keys_of_users(users.iter().map(|(person, user, keys)| (*person, user, *keys)));
        (people, faults.into_iter().map(|fault| fault.to_string()).collect())
    }

    fn proved(people: &People, line: &str) -> Result<Identity, Unproved> {
        let wire = key_of_line(line).unwrap();
        let (key, now) = (VerifiedKey::signature_checked(wire.clone(), false), SystemTime::now());
        let offered = people.would_prove(&wire, HERE, now);
        let proved = people.identify(&key, None, HERE, now).map(|proved| match proved {
            Proved::Enough(identity) => identity,
            Proved::Half(half) => panic!("{half:?}"),
        });
        assert_eq!(offered.err(), proved.as_ref().err().cloned(), "what is asked for is what is taken");
        proved
    }

    #[test]
    fn a_key_of_an_iam_user_is_its_person_s_and_the_proof_says_so() {
        let (everybody, faults) = people(&[("bob", OTHER)], &[("ada", "ada.l", holds(&[("APKA1", ADA)], true))]);
        let ada = proved(&everybody, ADA).unwrap();
        assert_eq!((ada.person(), ada.method(), faults.len()), ("ada", "publickey", 0));
        let key = KeyFingerprint::of(&key_of_line(ADA).unwrap());
        assert_eq!(ada.proof(), format!("publickey {key}: IAM user main/ada.l, APKA1"));
        assert_eq!(proved(&everybody, OTHER).unwrap().person(), "bob");
    }

    #[test]
    fn a_key_counts_no_more_once_iam_has_not_been_heard_for_too_long_and_others_do() {
        let users = |counts| [("ada", "ada", holds(&[("APKA1", ADA)], counts))];
        let (before, _) = people(&[("bob", OTHER)], &users(true));
        let ada = proved(&before, ADA).unwrap();
        let (after, _) = people(&[("bob", OTHER)], &users(false));
        let unanswered = proved(&after, ADA).unwrap_err();
        assert_eq!((unanswered.code().name(), &unanswered), ("iam-unanswered", &Unproved::IamUnanswered(user("ada"))));
        assert_eq!(after.renew(&ada, SystemTime::now(), Purpose::GoOn), Err(unanswered));
        assert!(proved(&after, OTHER).is_ok());
        assert_eq!(before.renew(&ada, SystemTime::now(), Purpose::GoOn), Ok(ada));
        // and where it was taken away it is nobody's
        let (gone, _) = people(&[("bob", OTHER)], &[("ada", "ada", holds(&[], true))]);
        assert_eq!(proved(&gone, ADA), Err(Unproved::Unknown));
    }

    #[test]
    fn au1_a_key_that_two_people_hold_is_neither_s_and_what_the_configuration_says_holds() {
        let holds_ada = || holds(&[("APKA1", ADA)], true);
        let (everybody, faults) = people(&[], &[("ada", "ada", holds_ada()), ("bob", "bob", holds_ada())]);
        assert_eq!(proved(&everybody, ADA), Err(Unproved::Unknown));
        assert_eq!(
            faults,
            [
                "the IAM user main/ada, key APKA1: this key is also that of bob, so it is nobody's",
                "the IAM user main/bob, key APKA1: this key is also that of ada, so it is nobody's"
            ]
        );
        let (everybody, faults) = people(&[("ada", ADA)], &[("bob", "bob", holds_ada())]);
        assert_eq!(proved(&everybody, ADA).unwrap().proof().split(": ").count(), 1);
        assert_eq!(faults, ["the IAM user main/bob, key APKA1: this key is here twice: it is ada's already"]);
        // two users of one person are one, and the one that was heard lately counts
        let late = holds(&[("APKA0", ADA)], false);
        let (everybody, faults) = people(&[], &[("ada", "old", late), ("ada", "new", holds_ada())]);
        assert!(faults.is_empty() && proved(&everybody, ADA).unwrap().proof().ends_with("main/new, APKA1"));
    }

    #[test]
    fn what_is_no_key_proves_nothing_and_is_said() {
        let texts = [
            (
                "APKA1",
                "cert-authority ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ",
            ),
            ("APKA2", "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----"),
            ("APKA3", ""),
            ("APKA4", "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAQQD"),
            ("APKA5", &format!("{ADA}\n{OTHER}")),
            ("APKA6\u{1b}]0;x", ADA),
        ];
        let nobody = KeysOfUser { keys: None, counts: true };
        let (everybody, faults) = people(&[], &[("ada", "ada", holds(&texts, true)), ("bob", "bob", nobody)]);
        assert!(proved(&everybody, OTHER).is_err());
        assert!(proved(&everybody, ADA).unwrap().proof().ends_with("main/ada, APKA6 ]0;x"));
        for (fault, says) in faults.iter().zip([
            "the IAM user main/ada, key APKA1: `cert-authority` is no key type",
            "the IAM user main/ada, key APKA2: this public key is damaged",
            "the IAM user main/ada, key APKA3: `` is no key type",
            "the IAM user main/ada, key APKA4: this public key is damaged",
            "the IAM user main/ada, key APKA5: this public key is damaged",
            "the IAM user main/bob: there is no such user in that account",
        ]) {
            assert!(fault.starts_with(says), "{fault}");
        }
        assert_eq!(faults.len(), 6, "{faults:?}");
    }

    proptest! {
        #[test]
        fn whatever_iam_answers_it_is_a_key_or_a_sentence(id in "\\PC{0,12}", text in "(ssh-rsa |ssh-ed25519 )?\\PC{0,80}") {
            let key = UserKey::read(&id, &text);
            if let Err(why) = &key.wire {
                prop_assert!(!why.to_string().is_empty() && !why.help().is_empty());
            }
            prop_assert!(!key.id().contains(|c: char| c.is_control()));
        }

        #[test]
        fn whatever_stands_around_a_key_no_other_comes_out(front in "[a-z\",= \n-]{0,12}", behind in "[a-zA-Z \n=]{0,12}") {
            if let Ok(wire) = UserKey::read("APKA1", &format!("{front}{ADA}{behind}")).wire {
                prop_assert_eq!(wire, key_of_line(ADA).unwrap());
            }
        }
    }
}
