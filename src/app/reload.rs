//! A configuration that takes another's place while the gateway runs: people, their roles and policies at once, and all else
//! at a restart.
//!
//! ```text
//!  files ─read, checked whole─▶ people, policies ─swapped─▶ what runs is asked about again, and ends where it is allowed no more
//!              │ wrong
//!              └─▶ the one before stays
//! ```
//!
//! What IAM says of its users' keys takes the same way, without any file.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, timeout};

use super::configuration::{policy, read_proofs};
use super::start::AppError;
use super::user_keys::{UserKeyReader, everybody, listed, users_of};
use crate::backend::lanes::Lanes;
use crate::config::{Config, ConfigError, Loaded, Person, PolicyFile, Problem, ProofFiles, Signature};
use crate::evidence::{
    self, ConfigurationLoaded, ConfigurationRefused, Event, EventLog, EvidenceError, KeptPerson, KeptPolicies,
};
use crate::identity::{KeysOfUsers, Purpose, Roster, UserKeyFault};
use crate::model::lasting;
use crate::policy::Policies;
use crate::session::SessionOpener;

/// Puts configurations in force.
#[derive(Debug)]
pub struct Reloader {
    roster: Roster,
    policies: Policies,
    sessions: Arc<SessionOpener>,
    lanes: Arc<dyn Lanes>,
    log: Arc<EventLog>,
    user_keys: UserKeyReader,
    in_force: Mutex<InForce>,
}

/// What was read last of what could be used.
#[derive(Debug)]
pub(super) struct InForce {
    pub(super) config: Config,
    pub(super) policies: Vec<PolicyFile>,
    pub(super) proofs: ProofFiles,
    /// What IAM has said of its users' keys.
    pub(super) user_keys: KeysOfUsers,
    /// What of that proves nothing, which was told.
    pub(super) told: BTreeSet<UserKeyFault>,
}

/// How often it is looked whether a key of an IAM user counts no more because nothing was heard of it.
const LOOK: Duration = Duration::from_secs(1);

/// What has it read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It is the first.
    Start,
    /// A file has changed.
    Change,
    /// SIGHUP.
    Signal,
    /// IAM says something else of its users' keys, or has not been heard for too long.
    Iam,
}

impl Cause {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Change => "change",
            Self::Signal => "signal",
            Self::Iam => "iam",
        }
    }
}

impl Reloader {
    pub(super) fn new(
        roster: Roster,
        policies: Policies,
        sessions: Arc<SessionOpener>,
        lanes: Arc<dyn Lanes>,
        log: Arc<EventLog>,
        user_keys: UserKeyReader,
        in_force: InForce,
    ) -> Result<Self, EvidenceError> {
        let people_set = keep(&in_force.config, &in_force.policies, policies.current().version().sha256())?;
        let reloader = Self { roster, policies, sessions, lanes, log, user_keys, in_force: Mutex::new(in_force) };
        let people = reloader.in_force().config.people.len();
        reloader.note(Cause::Start, None, (people, &people_set), &[], 0);
        Ok(reloader)
    }

    /// What the configuration's files look like from outside.
    pub fn signature(&self, file: &Path) -> Signature {
        Signature::of(file, &self.in_force().config)
    }

    /// Puts what was read in force, or says why it can't be. The sections that wait for a restart are said as well.
    pub fn reload(&self, read: Result<Loaded, ConfigError>, cause: Cause) {
        let loaded = match read {
            Ok(loaded) => loaded,
            Err(error) => {
                self.refused(cause, &error.to_string());
                return self.reload_proofs(cause);
            }
        };
        let Loaded { config, policies, proofs, warnings, unusable } = loaded;
        let mut in_force = self.in_force();
        // the rest stays what it was until a restart, whatever the people's part of it says now
        let applied = in_force.config.with_people_of(&config);
        let (now, waiting) = (in_force.config.differing(&applied), applied.differing(&config));
        if !waiting.is_empty() {
            let sections = waiting.join(", ");
            tracing::warn!(%sections, "these sections of the configuration have changed, and take a restart to apply");
        }
        if in_force.policies == policies && in_force.proofs == proofs && now.is_empty() {
            tracing::info!("people and policies are what they were");
            return;
        }
        for warning in &warnings {
            tracing::warn!(help = warning.help, "{warning}");
        }
        say_unusable(&unusable);
        for why in applied.no_iam_users() {
            tracing::warn!("{why} that this gateway serves before a restart: those keys are nobody's until then");
        }
        // of those who are gone from the configuration nothing is kept
        let named = users_of(&applied);
        let mut user_keys = in_force.user_keys.clone();
        user_keys.retain(|user, _| named.contains(user));
        let parts = everybody(&applied, &proofs, &user_keys).map_err(AppError::from);
        let parts = parts.and_then(|(people, faults)| Ok((people, faults, policy(&policies)?)));
        let (everybody, faults, policy) = match parts {
            Ok(parts) => parts,
            Err(error) => {
                drop(in_force);
                self.refused(cause, &error.to_string());
                return self.reload_proofs(cause);
            }
        };
        let kept = keep(&applied, &policies, policy.version().sha256());
        let people_set = match kept {
            Ok(people_set) => people_set,
            // who could reach what would be nowhere
            Err(error) => {
                drop(in_force);
                self.refused(cause, &error.to_string());
                return self.reload_proofs(cause);
            }
        };
        let count = applied.people.len();
        self.roster.replace(everybody);
        let before = self.policies.replace(policy);
        let told = say_new(faults, &in_force.told);
        *in_force = InForce { config: applied, policies, proofs, user_keys, told };
        drop(in_force);
        self.user_keys.others_are_named();
        let ended = self.judge_anew();
        tracing::info!(
            people = count,
            policies = self.policies.current().count(),
            ended,
            "people and policies were put in force"
        );
        self.note(cause, Some(before.version().sha256()), (count, &people_set), &waiting, ended);
    }

    /// Where all else has to stay what it was, for the files of keys and of what is revoked alone: a key that is taken out does not
    /// wait until somebody has mended a policy.
    fn reload_proofs(&self, cause: Cause) {
        let in_force = self.in_force();
        let (proofs, unusable) = read_proofs(&in_force.config);
        if in_force.proofs == proofs {
            return;
        }
        say_unusable(&unusable);
        let user_keys = in_force.user_keys.clone();
        self.replace_proofs(in_force, proofs, user_keys, cause);
    }

    /// Reads the keys of IAM users again and again, and puts in force what IAM says of them.
    pub async fn keep_user_keys(&self) -> Infallible {
        let reading = async {
            loop {
                let (users, settings) = {
                    let in_force = self.in_force();
                    (users_of(&in_force.config), in_force.config.iam_keys.clone())
                };
                self.user_keys.read(&users, &settings).await;
                self.user_keys.next(Duration::from_secs(u64::from(settings.read_seconds))).await;
            }
        };
        let heeding = async {
            loop {
                // while IAM does not answer, too: what it said counts for so long and no longer
                let _ = timeout(LOOK, self.user_keys.news()).await;
                self.heed_user_keys();
            }
        };
        tokio::select! {
            never = reading => never,
            never = heeding => never,
        }
    }

    fn heed_user_keys(&self) {
        let in_force = self.in_force();
        let seconds = u64::from(in_force.config.iam_keys.counts_seconds);
        let named = users_of(&in_force.config);
        let mut known = self.user_keys.known(Instant::now(), Duration::from_secs(seconds));
        known.retain(|user, _| named.contains(user));
        if known == in_force.user_keys {
            return;
        }
        let counted = |user| in_force.user_keys.get(user).is_none_or(|before| before.counts);
        let lapsed = known.iter().filter(|(user, keys)| !keys.counts && counted(user)).map(|(user, _)| user);
        let lapsed = listed(lapsed);
        if !lapsed.is_empty() {
            let seconds = lasting(seconds);
            tracing::error!(users = %lapsed, "IAM could not be asked for {seconds}, so these users' SSH keys count no more");
        }
        let proofs = in_force.proofs.clone();
        self.replace_proofs(in_force, proofs, known, Cause::Iam);
    }

    /// Puts other proofs of the people in force, who are who they were.
    fn replace_proofs(
        &self,
        mut in_force: MutexGuard<'_, InForce>,
        proofs: ProofFiles,
        user_keys: KeysOfUsers,
        cause: Cause,
    ) {
        let count = in_force.config.people.len();
        match everybody(&in_force.config, &proofs, &user_keys) {
            Ok((everybody, faults)) => {
                self.roster.replace(everybody);
                in_force.told = say_new(faults, &in_force.told);
            }
            // what of the configuration itself was right once is so still
            Err(error) => return tracing::error!("these proofs can't be used: {error}"),
        }
        in_force.proofs = proofs;
        in_force.user_keys = user_keys;
        let policy = self.policies.current();
        // it is there already; where it isn't, a key that is taken out does not wait for it
        let people_set =
            keep(&in_force.config, &in_force.policies, policy.version().sha256()).unwrap_or_else(|error| {
                tracing::error!("who could reach what is not kept beside the log: {error}");
                String::new()
            });
        drop(in_force);
        let ended = self.judge_anew();
        let what =
            if cause == Cause::Iam { "what IAM says of its users' keys was" } else { "the files of keys alone were" };
        tracing::info!(people = count, ended, "{what} put in force");
        self.note(cause, Some(policy.version().sha256()), (count, &people_set), &[], ended);
    }

    fn judge_anew(&self) -> usize {
        let (current, now) = (self.roster.current(), SystemTime::now());
        // who somebody is in AWS is asked for again by those who are still let in
        self.lanes.forget();
        self.sessions.judge_anew(|identity| current.renew(identity, now, Purpose::GoOn))
    }

    /// Ends what goes on by a proof whose time is over.
    pub fn end_expired(&self) {
        let (current, now) = (self.roster.current(), SystemTime::now());
        let ended = self.sessions.end_expired(now, |identity| current.renew(identity, now, Purpose::GoOn));
        if ended > 0 {
            tracing::info!(ended, "sessions were ended, because the time of what they were logged in by is over");
        }
    }

    fn refused(&self, cause: Cause, reason: &str) {
        tracing::error!("the configuration has changed, and can't be used; what was in force stays: {reason}");
        let policy = self.policies.current();
        let policy_set = policy.version().sha256();
        let event = ConfigurationRefused { cause: cause.name(), policy_set, reason };
        self.log.note_own(&Event::ConfigurationRefused(event));
    }

    fn note(&self, cause: Cause, before: Option<&str>, people: (usize, &str), waiting: &[String], ended: usize) {
        let (people, people_set) = people;
        let policy = self.policies.current();
        let policy_set = policy.version().sha256();
        let (cause, policies) = (cause.name(), policy.count());
        let event = ConfigurationLoaded { cause, policy_set, people_set, before, policies, people, waiting, ended };
        self.log.note_own(&Event::ConfigurationLoaded(event));
    }

    fn in_force(&self) -> MutexGuard<'_, InForce> {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says what of IAM's users proves nothing, where that was not said before.
fn say_new(faults: Vec<UserKeyFault>, told: &BTreeSet<UserKeyFault>) -> BTreeSet<UserKeyFault> {
    for fault in faults.iter().filter(|fault| !told.contains(fault)) {
        tracing::error!(help = fault.help, "{fault}");
    }
    faults.into_iter().collect()
}

/// Says which files of keys, and which lines, prove nothing.
pub fn say_unusable(unusable: &[Problem]) {
    for problem in unusable {
        tracing::error!(help = problem.help, "{problem}");
    }
}

/// Keeps what is about to be in force beside the event log; gives the hash of the people.
fn keep(config: &Config, files: &[PolicyFile], policy_set: &str) -> Result<String, EvidenceError> {
    let directory = &config.evidence.directory;
    let kept = |file: &PolicyFile| KeptPolicies { file: file.path.display().to_string(), text: file.text.clone() };
    evidence::keep_policies(directory, policy_set, &files.iter().map(kept).collect::<Vec<_>>())?;
    let person = |person: &Person| {
        let mut groups = person.groups.clone();
        groups.sort();
        KeptPerson { name: person.name.clone(), groups }
    };
    evidence::keep_people(directory, &config.people.iter().map(person).collect::<Vec<_>>())
}
