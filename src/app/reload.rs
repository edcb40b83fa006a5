//! A configuration that takes another's place while the gateway runs: people, their roles and policies at once, and all else
//! at a restart.
//!
//! ```text
//!  files ─read, checked whole─▶ people, policies ─swapped─▶ what runs is asked about again, and ends where it is allowed no more
//!              │ wrong
//!              └─▶ the one before stays
//! ```

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::configuration::{people, policy, read_proofs};
use super::start::AppError;
use crate::backend::lanes::Lanes;
use crate::config::{Config, ConfigError, Loaded, Person, PolicyFile, Problem, ProofFiles, Signature};
use crate::evidence::{
    self, ConfigurationLoaded, ConfigurationRefused, Event, EventLog, EvidenceError, KeptPerson, KeptPolicies,
};
use crate::identity::{Purpose, Roster};
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
    in_force: Mutex<InForce>,
}

/// What was read last of what could be used.
#[derive(Debug)]
pub(super) struct InForce {
    pub(super) config: Config,
    pub(super) policies: Vec<PolicyFile>,
    pub(super) proofs: ProofFiles,
}

/// What has it read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It is the first.
    Start,
    /// A file has changed.
    Change,
    /// SIGHUP.
    Signal,
}

impl Cause {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Change => "change",
            Self::Signal => "signal",
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
        in_force: InForce,
    ) -> Result<Self, EvidenceError> {
        let people_set = keep(&in_force.config, &in_force.policies, policies.current().version().sha256())?;
        let reloader = Self { roster, policies, sessions, lanes, log, in_force: Mutex::new(in_force) };
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
        let parts =
            people(&applied, &proofs).map_err(AppError::from).and_then(|people| Ok((people, policy(&policies)?)));
        let (everybody, policy) = match parts {
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
        *in_force = InForce { config: applied, policies, proofs };
        drop(in_force);
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
        let mut in_force = self.in_force();
        let (proofs, unusable) = read_proofs(&in_force.config);
        if in_force.proofs == proofs {
            return;
        }
        say_unusable(&unusable);
        let count = in_force.config.people.len();
        match people(&in_force.config, &proofs) {
            Ok(everybody) => self.roster.replace(everybody),
            // what of the configuration itself was right once is so still
            Err(error) => return tracing::error!("the files of keys can't be used: {error}"),
        }
        in_force.proofs = proofs;
        let policy = self.policies.current();
        // it is there already; where it isn't, a key that is taken out does not wait for it
        let people_set =
            keep(&in_force.config, &in_force.policies, policy.version().sha256()).unwrap_or_else(|error| {
                tracing::error!("who could reach what is not kept beside the log: {error}");
                String::new()
            });
        drop(in_force);
        let ended = self.judge_anew();
        tracing::info!(people = count, ended, "the files of keys alone were put in force");
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

    fn in_force(&self) -> std::sync::MutexGuard<'_, InForce> {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
