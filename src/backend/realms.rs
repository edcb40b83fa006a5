//! All realms that a gateway serves: which of them a name's node is in, and what each has. They are asked side by side, and none
//! waits for another longer than it must.
//!
//! ```text
//!  name, realms that it may be in ─┬─▶ dev   ─▶ a node │ several │ none │ no answer ─┐
//!                                  └─▶ prod  ─▶ a node │ several │ none │ no answer ─┴─▶ Resolved
//! ```
//!
//! Found in one, a name is that node's; found in several it is none's, and whoever asks says which. Where one did not answer, a name
//! that was found in none is not absent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::lanes::{Lanes, RealmLanes};
use super::{BackendError, Directory, Node, UserKeys};
use crate::model::{NodeForm, NodeName, RealmName};

/// One account and region, as both halves of it are reached.
#[derive(Clone, Debug)]
pub struct Realm {
    name: RealmName,
    directory: Arc<dyn Directory>,
    lanes: Arc<dyn Lanes>,
    user_keys: Arc<dyn UserKeys>,
}

/// The control planes of all realms, in the configuration's order.
#[derive(Debug)]
pub struct Realms {
    names: Vec<RealmName>,
    each: Vec<Arc<Served>>,
}

/// What came of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The node, or why it is none, or not one.
    pub node: Result<Node, BackendError>,
    /// Why a realm that may have it as well did not say so.
    pub silent: Option<BackendError>,
}

/// The nodes of realms.
#[derive(Debug, Default)]
pub struct Listing {
    /// In no order.
    pub nodes: Vec<Node>,
    /// Whether these are all that the realms have that answered.
    pub is_whole: bool,
    /// The realms that did not answer, and why.
    pub silent: Vec<(RealmName, BackendError)>,
}

#[derive(Debug)]
struct Served {
    name: RealmName,
    directory: Arc<dyn Directory>,
    /// It did not answer when it was asked last.
    is_silent: AtomicBool,
}

/// What one realm says of a name.
type Answer = (RealmName, Result<Node, BackendError>);

/// How long a realm may take to say whether it has a node, where others may have it, too: its inventory may have many pages.
const PATIENCE: Duration = Duration::from_secs(30);

/// The same once another has it. Who did not answer the last time is not waited for then.
const GRACE: Duration = Duration::from_secs(5);

/// How long a realm may take for all of its nodes.
const PATIENCE_WITH_ALL: Duration = Duration::from_secs(60);

impl Realm {
    /// What is reached by that backend.
    pub fn new(name: RealmName, backend: impl Directory + Lanes + UserKeys + Clone + 'static) -> Self {
        let backend = Arc::new(backend);
        Self { name, directory: backend.clone(), lanes: backend.clone(), user_keys: backend }
    }

    /// What it is called.
    pub fn name(&self) -> &RealmName {
        &self.name
    }

    /// The keys of its account's users.
    pub fn user_keys(&self) -> Arc<dyn UserKeys> {
        self.user_keys.clone()
    }
}

impl Realms {
    /// Both halves of all of them.
    pub fn of(realms: Vec<Realm>) -> (Self, RealmLanes) {
        let lanes = realms.iter().map(|realm| (realm.name.clone(), realm.lanes.clone())).collect();
        (Self::new(realms.into_iter().map(|realm| (realm.name, realm.directory))), RealmLanes::new(lanes))
    }

    /// Those directories, by their realms.
    pub fn new(directories: impl IntoIterator<Item = (RealmName, Arc<dyn Directory>)>) -> Self {
        let served = |(name, directory)| Arc::new(Served { name, directory, is_silent: AtomicBool::new(false) });
        let each: Vec<_> = directories.into_iter().map(served).collect();
        Self { names: each.iter().map(|realm| realm.name.clone()).collect(), each }
    }

    /// The only realm that a test knows.
    #[cfg(test)]
    pub(crate) fn for_test(directory: Arc<dyn Directory>) -> Self {
        Self::new([(RealmName::for_test(), directory)])
    }

    /// What they are called.
    pub fn names(&self) -> &[RealmName] {
        &self.names
    }

    /// The control plane of one.
    pub fn directory(&self, realm: &RealmName) -> Option<&Arc<dyn Directory>> {
        self.each.iter().find(|served| served.name == *realm).map(|served| &served.directory)
    }

    /// The node of that name, in whichever of these has it.
    pub async fn resolve(&self, name: &NodeName, within: &[RealmName]) -> Resolved {
        let asked: Vec<&Arc<Served>> = self.within(within).collect();
        match asked[..] {
            // its own words, and as long as it takes
            [one] => Resolved { node: one.ask(name).await, silent: None },
            _ => resolved(name, answers(name, &asked).await),
        }
    }

    /// The nodes of these.
    pub async fn nodes(&self, within: &[RealmName]) -> Listing {
        let listed = join_all(self.within(within).map(async |realm| {
            let listed = timeout(PATIENCE_WITH_ALL, realm.directory.nodes()).await;
            (&realm.name, listed.unwrap_or_else(|_| Err(late(PATIENCE_WITH_ALL))))
        }));
        let mut listing = Listing { is_whole: true, ..Listing::default() };
        for (realm, listed) in listed.await {
            match listed {
                Ok(list) => {
                    listing.nodes.extend(list.nodes.iter().cloned());
                    listing.is_whole &= list.is_whole;
                }
                Err(why) => listing.silent.push((realm.clone(), why)),
            }
        }
        listing
    }

    fn within<'a>(&'a self, within: &'a [RealmName]) -> impl Iterator<Item = &'a Arc<Served>> {
        self.each.iter().filter(|realm| within.contains(&realm.name))
    }
}

impl Served {
    async fn ask(&self, name: &NodeName) -> Result<Node, BackendError> {
        let answer = self.directory.resolve(name).await;
        self.is_silent.store(answer.as_ref().is_err_and(|error| !says_something(error)), Ordering::Relaxed);
        answer
    }

    async fn ask_in_time(&self, name: &NodeName) -> Result<Node, BackendError> {
        timeout(PATIENCE, self.ask(name)).await.unwrap_or_else(|_| {
            self.is_silent.store(true, Ordering::Relaxed);
            Err(late(PATIENCE))
        })
    }
}

/// What each says, of those that are waited for.
async fn answers(name: &NodeName, asked: &[&Arc<Served>]) -> Vec<Answer> {
    let was_silent: Vec<bool> = asked.iter().map(|realm| realm.is_silent.load(Ordering::Relaxed)).collect();
    let mut answers: Vec<Option<Result<Node, BackendError>>> = vec![None; asked.len()];
    let mut asking = JoinSet::new();
    for (place, realm) in asked.iter().enumerate() {
        let (realm, name) = (Arc::clone(realm), name.clone());
        asking.spawn(async move { (place, realm.ask_in_time(&name).await) });
    }
    let mut until = None;
    loop {
        let outstanding = |place: &usize| answers.get(*place).is_some_and(Option::is_none);
        let waited_for = |place: &usize| until.is_none() || was_silent.get(*place) == Some(&false);
        if !(0..asked.len()).any(|place| outstanding(&place) && waited_for(&place)) {
            break;
        }
        let next = match until {
            None => asking.join_next().await,
            Some(until) => timeout_at(until, asking.join_next()).await.ok().flatten(),
        };
        // none are left, or there is no more time
        let Some(next) = next else { break };
        let Ok((place, answer)) = next else { continue };
        if is_found(&answer) {
            until.get_or_insert_with(|| Instant::now() + GRACE);
        }
        if let Some(said) = answers.get_mut(place) {
            *said = Some(answer);
        }
    }
    // whoever answers later is not silent from then on
    let said = |(realm, answer): (&&Arc<Served>, Option<_>)| {
        let answer = answer.unwrap_or_else(|| {
            realm.is_silent.store(true, Ordering::Relaxed);
            Err(BackendError::Unreachable("it has not answered while another did".to_owned()))
        });
        (realm.name.clone(), answer)
    };
    let said = asked.iter().zip(answers).map(said).collect();
    asking.detach_all();
    said
}

/// What a name is, by what each of several realms says of it.
fn resolved(name: &NodeName, answers: Vec<Answer>) -> Resolved {
    let (mut found, mut silent, mut without) = (Vec::new(), Vec::new(), Vec::new());
    for (realm, answer) in answers {
        match answer {
            Ok(node) => found.push(node),
            Err(BackendError::Several { nodes, .. }) => {
                found.extend(nodes);
            }
            Err(error) if says_something(&error) => without.push(realm),
            Err(error) => silent.push((realm, error)),
        }
    }
    // of a task only its connection is known, which it has in one realm at most
    if matches!(name.form(), NodeForm::Task(_)) && found.iter().any(|node| node.online) {
        found.retain(|node| node.online);
    }
    let silence =
        (!silent.is_empty()).then(|| silence(name, &silent, found.first().map(Node::realm).or(without.first())));
    let node = match (<[Node; 1]>::try_from(found), &silence) {
        (Ok([one]), _) => Ok(one),
        (Err(none), Some(silence)) if none.is_empty() => Err(silence.clone()),
        (Err(none), None) if none.is_empty() => Err(nowhere(name, &without)),
        (Err(nodes), _) => Err(BackendError::Several { name: name.clone(), nodes }),
    };
    Resolved { node, silent: silence }
}

/// Whether it is an answer about a name, and not the lack of one.
fn says_something(error: &BackendError) -> bool {
    matches!(error, BackendError::Target(_) | BackendError::Several { .. })
}

fn is_found(answer: &Result<Node, BackendError>) -> bool {
    matches!(answer, Ok(_) | Err(BackendError::Several { .. }))
}

fn nowhere(name: &NodeName, without: &[RealmName]) -> BackendError {
    BackendError::Target(match without {
        [] => format!("no policy lets you use a realm that may have {name}"),
        some => format!(
            "{name} is no managed node in {}: see its name, its Name tag and that its agent has registered",
            listed(some.iter())
        ),
    })
}

/// Who did not answer. It does not say whether others have it: that is not for everybody.
fn silence(name: &NodeName, silent: &[(RealmName, BackendError)], answered: Option<&RealmName>) -> BackendError {
    let realms = listed(silent.iter().map(|(realm, _)| realm));
    let why: Vec<String> = silent.iter().map(|(realm, why)| format!("{realm}: {why}")).collect();
    let elsewhere = answered.map(|realm| format!("; a node of another realm is named with it, as in {name}.{realm}"));
    let (why, elsewhere) = (why.join("; "), elsewhere.unwrap_or_default());
    BackendError::Unreachable(format!(
        "{name} may be in {realms}, and there is no answer from there ({why}){elsewhere}"
    ))
}

fn listed<'a>(realms: impl Iterator<Item = &'a RealmName>) -> String {
    realms.map(RealmName::as_str).collect::<Vec<_>>().join(", ")
}

fn late(patience: Duration) -> BackendError {
    BackendError::Unreachable(format!("it has not answered in {} s", patience.as_secs()))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::backend::{BoxFuture, NodeList};
    use crate::model::NodeFacts;

    fn node(realm: &str, id: &str, online: bool) -> Node {
        let facts = NodeFacts::named(id, "web").within(realm).into();
        Node { facts, name: "web".to_owned(), computer_name: None, online, last_ping: None }
    }

    /// What a realm of a test says of a name: `+` that it has it, `-` that it has it and it is not connected, `2` that two have it,
    /// `0` that none has it, `!` that it can't say, `?` nothing at all.
    fn said(realm: &str, what: char) -> Result<Node, BackendError> {
        match what {
            '+' => Ok(node(realm, "i-1", true)),
            '-' => Ok(node(realm, "i-1", false)),
            '2' => Err(BackendError::Several {
                name: NodeName::for_test("web"),
                nodes: vec![node(realm, "i-1", true), node(realm, "i-2", true)],
            }),
            '0' => Err(BackendError::Target("there is none".to_owned())),
            _ => Err(BackendError::Credentials { operator: "they are wrong".to_owned() }),
        }
    }

    const REALMS: [&str; 3] = ["dev", "prod", "test"];

    fn meant(name: &str, what: &str) -> Resolved {
        let answers =
            REALMS.iter().zip(what.chars()).map(|(realm, what)| (RealmName::of_test(realm), said(realm, what)));
        resolved(&NodeName::for_test(name), answers.collect())
    }

    /// In a few words: the node, how many, or that there is none.
    fn shown(node: &Result<Node, BackendError>) -> String {
        match node {
            Ok(node) => node.node_ref().to_string(),
            Err(BackendError::Several { nodes, .. }) => {
                nodes.iter().map(|node| node.node_ref().to_string()).collect::<Vec<_>>().join(" ")
            }
            Err(BackendError::Target(_)) => "none".to_owned(),
            Err(BackendError::Unreachable(_)) => "silent".to_owned(),
            Err(error) => panic!("{error:?}"),
        }
    }

    #[test]
    fn a_name_is_the_node_of_the_one_realm_that_has_it() {
        for (what, node, is_silent) in [
            ("+00", "i-1.dev", false),
            ("0+0", "i-1.prod", false),
            ("0-0", "i-1.prod", false),
            ("++0", "i-1.dev i-1.prod", false),
            ("+0-", "i-1.dev i-1.test", false),
            ("020", "i-1.prod i-2.prod", false),
            ("+2", "i-1.dev i-1.prod i-2.prod", false),
            ("000", "none", false),
            ("0!0", "silent", true),
            ("!!!", "silent", true),
            ("+!0", "i-1.dev", true),
            ("+!+", "i-1.dev i-1.test", true),
            ("", "none", false),
        ] {
            let found = meant("web", what);
            assert_eq!((shown(&found.node).as_str(), found.silent.is_some()), (node, is_silent), "{what}");
        }
        // a task that is not connected may be none there
        for (what, node) in
            [("-+-", "i-1.prod"), ("--0", "i-1.dev i-1.prod"), ("-0", "i-1.dev"), ("++", "i-1.dev i-1.prod")]
        {
            assert_eq!(shown(&meant("ecs:a_b_c", what).node), node, "{what}");
        }
    }

    #[test]
    fn what_is_said_of_no_answer_is_the_same_whether_others_have_it_or_not() {
        let sentence = |what: &str| meant("web", what).silent.unwrap().to_string();
        let expected = "web may be in prod, and there is no answer from there (prod: this gateway has no AWS credentials that \
                        work; whoever runs the gateway finds more in its log); a node of another realm is named with it, as in web.dev";
        assert_eq!((sentence("0!"), sentence("+!")), (expected.to_owned(), expected.to_owned()));
        assert_eq!(meant("web", "0!").node, Err(meant("web", "0!").silent.unwrap()));
        let nobody = sentence("!!");
        assert!(nobody.starts_with("web may be in dev, prod, and") && nobody.ends_with("in its log)"), "{nobody}");
        let Err(BackendError::Target(none)) = meant("web", "00").node else { panic!() };
        assert!(none.starts_with("web is no managed node in dev, prod: "), "{none}");
    }

    /// A realm that says this after a while, and how often it was asked.
    #[derive(Debug)]
    struct Slow {
        realm: &'static str,
        says: Mutex<(char, Duration)>,
        asked: Mutex<usize>,
    }

    impl Directory for Slow {
        fn resolve(&self, _: &NodeName) -> BoxFuture<'_, Result<Node, BackendError>> {
            *self.asked.lock().unwrap() += 1;
            Box::pin(async {
                let (what, after) = *self.says.lock().unwrap();
                tokio::time::sleep(after).await;
                if what == '?' {
                    std::future::pending::<()>().await;
                }
                said(self.realm, what)
            })
        }

        fn nodes(&self) -> BoxFuture<'_, Result<Arc<NodeList>, BackendError>> {
            Box::pin(async {
                let found = self.resolve(&NodeName::for_test("web")).await?;
                Ok(Arc::new(NodeList { nodes: vec![found], is_whole: true }))
            })
        }

        fn document(&self, _: &str) -> BoxFuture<'_, Result<Option<String>, BackendError>> {
            Box::pin(async { Ok(None) })
        }

        fn put_document(&self, _: &str, _: &str) -> BoxFuture<'_, Result<(), BackendError>> {
            Box::pin(async { Ok(()) })
        }
    }

    fn realms(says: &[(char, u64)]) -> (Realms, Vec<Arc<Slow>>) {
        let slow = REALMS.iter().zip(says).map(|(&realm, &(what, seconds))| {
            Arc::new(Slow { realm, says: Mutex::new((what, Duration::from_secs(seconds))), asked: Mutex::new(0) })
        });
        let slow: Vec<_> = slow.collect();
        let named = slow.iter().map(|slow| (RealmName::of_test(slow.realm), slow.clone() as Arc<dyn Directory>));
        (Realms::new(named), slow)
    }

    async fn look(realms: &Realms) -> (String, u64) {
        let start = Instant::now();
        let found = realms.resolve(&NodeName::for_test("web"), realms.names()).await;
        (shown(&found.node), start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn realms_are_asked_side_by_side_and_only_those_that_are_meant() {
        let (realms, slow) = realms(&[('0', 3), ('+', 2), ('0', 1)]);
        assert_eq!(look(&realms).await, ("i-1.prod".to_owned(), 3));
        let dev = [RealmName::of_test("dev")];
        let found = realms.resolve(&NodeName::for_test("web"), &dev).await;
        assert_eq!(found.node, Err(BackendError::Target("there is none".to_owned())), "in its own words");
        assert_eq!(slow.iter().map(|slow| *slow.asked.lock().unwrap()).collect::<Vec<_>>(), [2, 1, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_answer_delays_what_another_has_once_and_briefly() {
        let (realms, slow) = realms(&[('+', 0), ('?', 0)]);
        assert_eq!(look(&realms).await, ("i-1.dev".to_owned(), GRACE.as_secs()));
        assert_eq!(look(&realms).await, ("i-1.dev".to_owned(), 0), "it is known by now");
        // what nobody else has is waited for
        slow[0].says.lock().unwrap().0 = '0';
        assert_eq!(look(&realms).await, ("silent".to_owned(), PATIENCE.as_secs()));
        // once it answers it is heard again, without anybody's asking for that
        *slow[1].says.lock().unwrap() = ('+', Duration::from_secs(1));
        slow[0].says.lock().unwrap().0 = '+';
        assert_eq!(look(&realms).await, ("i-1.dev".to_owned(), 0));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(look(&realms).await, ("i-1.dev i-1.prod".to_owned(), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_has_what_the_others_have() {
        let (realms, _) = realms(&[('+', 1), ('?', 0), ('!', 0)]);
        let start = Instant::now();
        let listing = realms.nodes(realms.names()).await;
        assert_eq!(start.elapsed(), PATIENCE_WITH_ALL);
        assert_eq!(listing.nodes, [node("dev", "i-1", true)]);
        let silent: Vec<&str> = listing.silent.iter().map(|(realm, _)| realm.as_str()).collect();
        assert!(listing.is_whole && silent == ["prod", "test"], "{listing:?}");
    }
}
