//! What is asked of IAM, how often, and how long its answers count: against one that answers from a script.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::backend::BoxFuture;

const ADA: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ ada@laptop";
const COUNTS: Duration = Duration::from_secs(600);

/// IAM, as a test has it.
#[derive(Debug, Default)]
struct Script {
    /// Users and their active keys.
    users: Mutex<HashMap<String, Vec<String>>>,
    /// What the calls about a user are answered with instead: of all of them, or of those for a key's text.
    fails: Mutex<HashMap<String, (bool, BackendError)>>,
    asked: Mutex<Vec<String>>,
}

impl Script {
    fn has(&self, user: &str, keys: &[&str]) {
        let keys = keys.iter().map(|&key| key.to_owned()).collect();
        self.users.lock().unwrap().insert(user.to_owned(), keys);
    }

    fn fails(&self, user: &str, everything: bool, error: BackendError) {
        self.fails.lock().unwrap().insert(user.to_owned(), (everything, error));
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    fn failure(&self, user: &str, is_list: bool) -> Result<(), BackendError> {
        match self.fails.lock().unwrap().get(user) {
            Some((everything, error)) if *everything || !is_list => Err(error.clone()),
            _ => Ok(()),
        }
    }
}

impl UserKeys for Script {
    fn active_keys<'a>(&'a self, user: &'a str) -> BoxFuture<'a, Result<Option<Vec<String>>, BackendError>> {
        self.asked.lock().unwrap().push(format!("list {user}"));
        let answer = self.failure(user, true).map(|()| self.users.lock().unwrap().get(user).cloned());
        Box::pin(std::future::ready(answer))
    }

    fn key_text<'a>(&'a self, user: &'a str, id: &'a str) -> BoxFuture<'a, Result<Option<String>, BackendError>> {
        self.asked.lock().unwrap().push(format!("get {id}"));
        let there = self.users.lock().unwrap().get(user).is_some_and(|keys| keys.iter().any(|key| key == id));
        Box::pin(std::future::ready(self.failure(user, false).map(|()| there.then(|| ADA.to_owned()))))
    }
}

fn reader() -> (Arc<Script>, UserKeyReader) {
    let script = Arc::new(Script::default());
    let realms = vec![(RealmName::of_test("main"), script.clone() as Arc<dyn UserKeys>)];
    (script, UserKeyReader::new(realms))
}

fn user(name: &str) -> IamUser {
    IamUser::parse(name, &[RealmName::of_test("main")]).unwrap()
}

fn users(names: &[&str]) -> Vec<IamUser> {
    names.iter().map(|name| user(name)).collect()
}

fn denied() -> BackendError {
    BackendError::Denied { call: "iam:ListSSHPublicKeys".to_owned(), operator: "denied".to_owned() }
}

fn silent() -> BackendError {
    BackendError::Unreachable("no answer".to_owned())
}

async fn read(reader: &UserKeyReader, names: &[&str]) {
    reader.read(&users(names), &IamKeys::default()).await;
}

/// The keys of those that count now, and whether they do.
fn known(reader: &UserKeyReader) -> Vec<(String, Vec<String>, bool)> {
    let ids = |keys: KeysOfUser| keys.keys.unwrap_or_default().iter().map(|key| key.id().to_owned()).collect();
    let known = reader.known(Instant::now(), COUNTS).into_iter();
    known.map(|(user, keys)| (user.name, keys.clone(), keys.counts)).map(|(n, k, c)| (n, ids(k), c)).collect()
}

fn counting(name: &str, keys: &[&str], counts: bool) -> (String, Vec<String>, bool) {
    (name.to_owned(), keys.iter().map(|&key| key.to_owned()).collect(), counts)
}

#[tokio::test(start_paused = true)]
async fn a_reading_is_a_call_for_a_user_and_one_for_a_key_that_is_new() {
    let (iam, reader) = reader();
    iam.has("ada", &["k1", "k2"]);
    read(&reader, &["ada", "gone"]).await;
    assert_eq!(iam.asked(), ["list ada", "get k1", "get k2", "list gone"]);
    assert_eq!(known(&reader), [counting("ada", &["k1", "k2"], true), counting("gone", &[], true)]);
    iam.has("ada", &["k2", "k3"]);
    read(&reader, &["ada"]).await;
    assert_eq!(iam.asked(), ["list ada", "get k3"]);
    assert_eq!(known(&reader), [counting("ada", &["k2", "k3"], true)], "of others nothing is kept");
}

#[tokio::test(start_paused = true)]
async fn what_iam_has_said_counts_for_its_time_and_no_longer() {
    let (iam, reader) = reader();
    iam.has("ada", &["k1"]);
    read(&reader, &["ada"]).await;
    iam.fails("ada", true, silent());
    tokio::time::sleep(COUNTS / 2).await;
    read(&reader, &["ada"]).await;
    tokio::time::sleep(COUNTS / 2 - Duration::from_millis(1)).await;
    assert_eq!(known(&reader), [counting("ada", &["k1"], true)]);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(known(&reader), [counting("ada", &["k1"], false)]);
    // and again as soon as it is heard, without asking for the text another time
    iam.fails.lock().unwrap().clear();
    iam.asked();
    read(&reader, &["ada"]).await;
    assert_eq!((known(&reader), iam.asked()), (vec![counting("ada", &["k1"], true)], vec!["list ada".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn one_user_who_can_t_be_read_keeps_no_other_from_it() {
    let (iam, reader) = reader();
    for name in ["ada", "bob", "eve"] {
        iam.has(name, &["k1"]);
    }
    iam.fails("ada", true, denied());
    read(&reader, &["ada", "bob", "eve"]).await;
    assert_eq!(known(&reader), [counting("bob", &["k1"], true), counting("eve", &["k1"], true)]);
    // what does not answer is not asked about each of them, and the next round begins behind
    iam.fails("ada", true, silent());
    iam.asked();
    read(&reader, &["ada", "bob", "eve"]).await;
    assert_eq!(iam.asked(), ["list ada"]);
    read(&reader, &["ada", "bob", "eve"]).await;
    assert_eq!(iam.asked(), ["list bob", "list eve", "list ada"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_inactive_is_gone_also_where_a_new_one_can_t_be_read() {
    let (iam, reader) = reader();
    iam.has("ada", &["k1", "k2"]);
    read(&reader, &["ada"]).await;
    iam.has("ada", &["k2", "k3", "k4"]);
    iam.fails("ada", false, denied());
    iam.asked();
    read(&reader, &["ada"]).await;
    assert_eq!(
        (known(&reader), iam.asked()),
        (vec![counting("ada", &["k2"], true)], vec!["list ada".to_owned(), "get k3".to_owned()])
    );
    assert_eq!(reader.book().unread, [user("ada")].into());
    iam.fails.lock().unwrap().clear();
    read(&reader, &["ada"]).await;
    assert_eq!(known(&reader), [counting("ada", &["k2", "k3", "k4"], true)]);
}

#[test]
fn it_is_told_once_that_users_can_t_be_read_and_once_that_they_can_again() {
    let mut book = Book::default();
    let unread = |names: &[&str]| names.iter().map(|name| (user(name), format!("{name} fails"))).collect();
    let news = |users: &str, why: &str| Some(News::Unread { users: users.to_owned(), why: why.to_owned() });
    assert_eq!(book.news_of(unread(&[])), None);
    assert_eq!(book.news_of(unread(&["ada", "bob"])), news("main/ada, main/bob", "ada fails"));
    for _ in 0..100 {
        assert_eq!(book.news_of(unread(&["ada", "bob"])), None);
    }
    assert_eq!(book.news_of(unread(&["bob"])), None);
    assert_eq!(book.news_of(unread(&["bob", "eve"])), news("main/bob, main/eve", "eve fails"));
    assert_eq!((book.news_of(unread(&[])), book.news_of(unread(&[]))), (Some(News::Again), None));
    let many = users(&["a", "b", "c", "d", "e", "f", "g"]);
    assert_eq!(listed(&many), "main/a, main/b, main/c, main/d, main/e and 2 more");
    assert_eq!(listed(&many[..5]), "main/a, main/b, main/c, main/d, main/e");
}

#[test]
fn check_says_how_many_keys_are_whose_and_what_is_missing() {
    let (iam, _) = reader();
    iam.has("ada", &["k1"]);
    iam.has("bob", &[]);
    iam.fails("eve", true, denied());
    let realms = [(RealmName::of_test("main"), iam.clone() as Arc<dyn UserKeys>)];
    let text = "[[people]]\nname = \"ada\"\nkeys_from_iam = [\"ada\"]\n[[people]]\nname = \"bob\"\nkeys_from_iam = [\"bob\"]\n\
                [[people]]\nname = \"eve\"\nkeys_from_iam = [\"eve\"]\n[[people]]\nname = \"joe\"\nkeys_from_iam = [\"gone\"]\n\
                [[realms]]\nname = \"main\"\n";
    let config: Config = toml::from_str(text).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let looked = || runtime.block_on(look(&config, &ProofFiles::default(), realms.iter().cloned().collect()));
    let found = looked();
    let counted: Vec<_> =
        found.users.iter().map(|(person, user, keys)| (person.as_str(), &*user.name, *keys)).collect();
    assert_eq!(counted, [("ada", "ada", 1), ("bob", "bob", 0), ("eve", "eve", 0), ("joe", "gone", 0)]);
    let odd: Vec<&str> = found.odd.iter().map(|(message, _)| message.as_str()).collect();
    assert_eq!(
        odd,
        [
            "the IAM user main/bob has no active SSH key",
            "the SSH keys of the IAM user main/eve can't be read: denied",
            "the IAM user main/gone: there is no such user in that account"
        ]
    );
    // what does not answer is asked once
    for name in ["ada", "bob", "eve", "gone"] {
        iam.fails(name, true, silent());
    }
    iam.asked();
    assert_eq!((looked().odd.len(), iam.asked()), (1, vec!["list ada".to_owned()]));
    // the same key of two people is nobody's
    iam.fails.lock().unwrap().clear();
    iam.has("bob", &["k2"]);
    let found = looked();
    assert_eq!(found.users.iter().map(|(.., keys)| keys).sum::<usize>(), 0, "{found:?}");
    assert!(found.odd.iter().any(|(message, _)| message.contains("so it is nobody's")), "{found:?}");
}

/// What may happen between two looks: a reading, a key that comes, goes or can't be read, and time.
#[derive(Clone, Debug)]
enum Step {
    Read,
    Keys(Vec<u8>),
    Fails(Option<bool>),
    Wait(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Read),
        proptest::collection::vec(0..4_u8, 0..4).prop_map(Step::Keys),
        proptest::option::of(any::<bool>()).prop_map(Step::Fails),
        (0..400_u16).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_happens_nothing_counts_that_iam_did_not_list_when_it_was_heard_last(
        steps in proptest::collection::vec(step(), 0..24)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (iam, reader) = reader();
            iam.has("ada", &[]);
            let (mut heard, mut keys, mut fails) = (None::<(Instant, Vec<String>)>, Vec::new(), None);
            for step in steps {
                match step {
                    Step::Keys(ids) => {
                        keys = ids.iter().map(|id| format!("k{id}")).collect();
                        iam.has("ada", &keys.iter().map(String::as_str).collect::<Vec<_>>());
                    }
                    Step::Fails(how) => {
                        fails = how;
                        iam.fails.lock().unwrap().clear();
                        if let Some(everything) = how {
                            iam.fails("ada", everything, silent());
                        }
                    }
                    Step::Wait(seconds) => tokio::time::sleep(Duration::from_secs(seconds.into())).await,
                    Step::Read => {
                        read(&reader, &["ada"]).await;
                        if fails != Some(true) {
                            heard = Some((Instant::now(), keys.clone()));
                        }
                    }
                }
                let counts = known(&reader).into_iter().filter(|(_, _, counts)| *counts).flat_map(|(_, keys, _)| keys);
                let listed = heard.iter().filter(|(when, _)| when.elapsed() < COUNTS).flat_map(|(_, keys)| keys);
                let listed: Vec<&String> = listed.collect();
                for key in counts {
                    assert!(listed.contains(&&key), "{key} of {listed:?}");
                }
            }
        });
    }
}
