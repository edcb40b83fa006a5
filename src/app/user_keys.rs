//! The keys that IAM users hold, read again and again in the background, so that no login waits for IAM.
//!
//! ```text
//!  IAM of each realm ──a call for a user, one for each new key──▶ Book ──what counts now──▶ Reloader: people, sessions judged anew
//!        │ can't be asked                                          │
//!        └─▶ what was said last counts for a while ───────────────▶└─▶ and then no more
//! ```
//!
//! What has changed is told once, and not at each reading.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::configuration::{PeopleFault, people};
use crate::backend::{BackendError, Realm, UserKeys};
use crate::config::{Config, IamKeys, ProofFiles};
use crate::identity::{KeysOfUser, KeysOfUsers, People, UserKey, UserKeyFault};
use crate::model::{IamUser, RealmName, lasting};

/// Reads them.
#[derive(Debug)]
pub(super) struct UserKeyReader {
    realms: Vec<(RealmName, Arc<dyn UserKeys>)>,
    book: Mutex<Book>,
    /// A round is over.
    news: Notify,
    /// Other users are named now.
    renamed: Notify,
}

/// What was answered, and when.
#[derive(Debug, Default)]
struct Book {
    answers: BTreeMap<IamUser, Answer>,
    /// Where in each realm a round begins, so that one user who can't be read does not keep others from it.
    begins: BTreeMap<RealmName, usize>,
    /// Those who could not be read the last time, which was told.
    unread: BTreeSet<IamUser>,
}

/// When what was asked that was answered so.
#[derive(Debug)]
struct Answer {
    asked: Instant,
    keys: Option<Vec<UserKey>>,
}

/// What came of one user.
struct Reading {
    /// The active keys; none where there is no such user.
    keys: Option<Vec<UserKey>>,
    /// Why some of them are not among these.
    missing: Option<BackendError>,
}

impl UserKeyReader {
    pub(super) fn of(realms: &[Realm]) -> Self {
        Self::new(realms.iter().map(|realm| (realm.name().clone(), realm.user_keys())).collect())
    }

    fn new(realms: Vec<(RealmName, Arc<dyn UserKeys>)>) -> Self {
        Self { realms, book: Mutex::default(), news: Notify::new(), renamed: Notify::new() }
    }

    /// Waits for the end of a round.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// Has users read at once who are new.
    pub(super) fn others_are_named(&self) {
        self.renamed.notify_one();
    }

    /// Waits until the next reading.
    pub(super) async fn next(&self, every: Duration) {
        let _ = tokio::time::timeout(every, self.renamed.notified()).await;
    }

    /// What counts now, of what was answered.
    pub(super) fn known(&self, now: Instant, counts: Duration) -> KeysOfUsers {
        self.book().known(now, counts)
    }

    /// Asks about all of these users, realm beside realm.
    pub(super) async fn read(&self, users: &[IamUser], settings: &IamKeys) {
        self.book().retain(users);
        let of = |realm: &RealmName| users.iter().filter(|user| user.realm == *realm).collect::<Vec<_>>();
        let asking = self.realms.iter().map(async |(realm, keys)| self.read_realm(realm, &**keys, &of(realm)).await);
        let unread = join_all(asking).await.into_iter().flatten().collect();
        self.tell(unread, settings);
        self.news.notify_one();
    }

    /// Asks about the users of one realm; who could not be read, and why.
    async fn read_realm(&self, realm: &RealmName, keys: &dyn UserKeys, users: &[&IamUser]) -> Vec<(IamUser, String)> {
        let begin = self.book().begins.get(realm).copied().unwrap_or_default() % users.len().max(1);
        let (before, after) = users.split_at_checked(begin).unwrap_or_default();
        let (mut unread, mut silent) = (Vec::new(), None::<String>);
        for (place, &user) in after.iter().chain(before).enumerate() {
            // what does not answer for one is not asked about all others
            if let Some(why) = &silent {
                unread.push((user.clone(), why.clone()));
                continue;
            }
            let asked = Instant::now();
            let known = self.book().known_keys(user);
            let read = read_user(keys, user, &known).await;
            let error = match read {
                Ok(Reading { keys, missing }) => {
                    self.book().answers.insert(user.clone(), Answer { asked, keys });
                    missing
                }
                Err(error) => Some(error),
            };
            let Some(error) = error else { continue };
            let why = error.for_operator();
            // IAM may let one user be read and not another
            if !matches!(error, BackendError::Denied { .. }) {
                silent = Some(why.clone());
                self.book().begins.insert(realm.clone(), begin + place + 1);
            }
            unread.push((user.clone(), why));
        }
        unread
    }

    fn tell(&self, unread: BTreeMap<IamUser, String>, settings: &IamKeys) {
        match self.book().news_of(unread) {
            None => {}
            Some(News::Unread { users, why }) => {
                let counts = lasting(u64::from(settings.counts_seconds));
                tracing::warn!(
                    %users,
                    "the SSH keys of IAM users can't be read: {why}; what IAM has said of them before counts for {counts}"
                );
            }
            Some(News::Again) => tracing::info!("the SSH keys of IAM users can be read again"),
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is told of a round.
#[derive(Debug, PartialEq, Eq)]
enum News {
    /// Users can't be read of whom one could be before.
    Unread { users: String, why: String },
    /// All can be read that could not be.
    Again,
}

impl Book {
    /// What there is to tell of a round in which these could not be read: once, and not of each round.
    fn news_of(&mut self, unread: BTreeMap<IamUser, String>) -> Option<News> {
        let first = unread.iter().find(|(user, _)| !self.unread.contains(user));
        let news = match first {
            Some((_, why)) => Some(News::Unread { users: listed(unread.keys()), why: why.clone() }),
            None if unread.is_empty() && !self.unread.is_empty() => Some(News::Again),
            None => None,
        };
        self.unread = unread.into_keys().collect();
        news
    }

    /// Lets go of what is known of others.
    fn retain(&mut self, users: &[IamUser]) {
        self.answers.retain(|user, _| users.contains(user));
        self.unread.retain(|user| users.contains(user));
    }

    /// The keys of a user whose text is known.
    fn known_keys(&self, user: &IamUser) -> Vec<UserKey> {
        self.answers.get(user).and_then(|answer| answer.keys.clone()).unwrap_or_default()
    }

    fn known(&self, now: Instant, counts: Duration) -> KeysOfUsers {
        let of = |(user, Answer { asked, keys }): (&IamUser, &Answer)| {
            let counts = now.saturating_duration_since(*asked) < counts;
            (user.clone(), KeysOfUser { keys: keys.clone(), counts })
        };
        self.answers.iter().map(of).collect()
    }
}

/// Asks about one user. What is known of a key is not asked for again: its text never changes.
async fn read_user(keys: &dyn UserKeys, user: &IamUser, known: &[UserKey]) -> Result<Reading, BackendError> {
    let Some(ids) = keys.active_keys(&user.name).await? else { return Ok(Reading { keys: None, missing: None }) };
    let (mut read, mut missing) = (Vec::new(), None);
    for id in ids {
        if let Some(known) = known.iter().find(|known| known.id() == id) {
            read.push(known.clone());
            continue;
        }
        if missing.is_some() {
            continue;
        }
        match keys.key_text(&user.name, &id).await {
            Ok(Some(text)) => read.push(UserKey::read(&id, &text)),
            // it was deleted a moment ago
            Ok(None) => {}
            Err(error) => missing = Some(error),
        }
    }
    Ok(Reading { keys: Some(read), missing })
}

/// Everybody, with the keys that they hold in IAM as far as those are known; and what of these proves nothing.
pub(super) fn everybody(
    config: &Config,
    proofs: &ProofFiles,
    known: &KeysOfUsers,
) -> Result<(People, Vec<UserKeyFault>), PeopleFault> {
    let mut people = people(config, proofs)?;
    let users = config.iam_users();
    let named = users.iter().filter_map(|(index, user)| {
        let person = config.people.get(*index)?;
        Some((person.name.as_str(), user, known.get(user)?))
    });
    let faults = people.add_keys_of_users(named);
    Ok((people, faults))
}

/// The users of a configuration, each once.
pub(super) fn users_of(config: &Config) -> Vec<IamUser> {
    config.iam_users().into_iter().map(|(_, user)| user).collect()
}

/// What a look at the keys of all users has found.
#[derive(Debug, Default)]
pub struct UserKeysFound {
    /// Each user's person, and how many keys are theirs by it.
    pub users: Vec<(String, IamUser, usize)>,
    /// What is missing, or proves nothing, and what to do about it.
    pub odd: Vec<(String, String)>,
}

/// Asks IAM once, for whoever only looks.
pub async fn look_at_user_keys(config: &Config, proofs: &ProofFiles, realms: &[Realm]) -> UserKeysFound {
    let realms = realms.iter().map(|realm| (realm.name().clone(), realm.user_keys())).collect();
    look(config, proofs, realms).await
}

async fn look(config: &Config, proofs: &ProofFiles, realms: BTreeMap<RealmName, Arc<dyn UserKeys>>) -> UserKeysFound {
    let users = config.iam_users();
    let (mut found, mut known) = (UserKeysFound::default(), KeysOfUsers::new());
    let mut silent = BTreeSet::new();
    for (index, user) in &users {
        let (Some(person), Some(keys)) = (config.people.get(*index), realms.get(&user.realm)) else { continue };
        // said once
        if silent.contains(&user.realm) {
            continue;
        }
        let (keys, why) = match read_user(&**keys, user, &[]).await {
            Ok(Reading { keys, missing }) => (keys, missing),
            Err(error) => (Some(Vec::new()), Some(error)),
        };
        let count = keys.as_ref().map_or(0, Vec::len);
        if let Some(why) = why {
            if !matches!(why, BackendError::Denied { .. }) {
                silent.insert(user.realm.clone());
            }
            let message = format!("the SSH keys of the IAM user {user} can't be read: {}", why.for_operator());
            let help = format!("{} can't log in by them until that ends; --offline asks nobody", person.name);
            found.odd.push((message, help));
        } else if keys.is_some() && count == 0 {
            let message = format!("the IAM user {user} has no active SSH key");
            found.odd.push((message, format!("{} uploads one, of kind ssh-rsa, as for CodeCommit", person.name)));
        }
        found.users.push((person.name.clone(), user.clone(), count));
        known.insert(user.clone(), KeysOfUser { keys, counts: true });
    }
    // what is wrong with the people themselves is told elsewhere
    let faults = everybody(config, proofs, &known).map(|(_, faults)| faults).unwrap_or_default();
    for fault in &faults {
        if let Some((_, _, count)) = found.users.iter_mut().find(|(_, user, _)| *user == fault.user) {
            *count = count.saturating_sub(usize::from(fault.id.is_some()));
        }
    }
    found.odd.extend(faults.into_iter().map(|fault| (fault.to_string(), fault.help)));
    found
}

/// Some of them by name.
pub(super) fn listed<'a>(users: impl IntoIterator<Item = &'a IamUser>) -> String {
    let names: Vec<String> = users.into_iter().map(ToString::to_string).collect();
    match names.get(..MOST_NAMED) {
        Some(some) if some.len() < names.len() => {
            format!("{} and {} more", some.join(", "), names.len() - some.len())
        }
        _ => names.join(", "),
    }
}

/// In a line of the log.
const MOST_NAMED: usize = 5;

#[cfg(test)]
#[path = "user_keys_tests.rs"]
mod tests;
