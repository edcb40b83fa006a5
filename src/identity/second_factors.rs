//! What is remembered of second factors across connections: which codes were used, how often somebody guessed wrong, and who was asked
//! a while ago. Nothing of it is written anywhere; it begins anew with the gateway.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::enough::Asker;
use super::totp::TotpSecret;

/// The memory of all connections.
#[derive(Debug, Default)]
pub struct SecondFactors(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    people: HashMap<String, OfAPerson>,
}

/// What is known of one person.
#[derive(Debug, Default)]
struct OfAPerson {
    /// The step of the newest code that was taken: that one is not taken again (RFC 6238, section 5.2), and neither is an older one.
    newest: Option<u64>,
    /// Wrong codes, of which one is forgotten every [`FORGOTTEN`].
    wrong: u32,
    wrong_since: Option<SystemTime>,
    /// When they were asked last, and by which secret, by where from and with which key.
    asked: HashMap<Asker, Asked>,
}

#[derive(Debug)]
struct Asked {
    at: SystemTime,
    secret: Arc<TotpSecret>,
}

/// Why a code verified nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongCode {
    /// It is none of now, or was used.
    #[error("the code is wrong, over, or was used before")]
    Wrong,
    /// Nobody guesses more often than this.
    #[error("there were too many wrong codes of this person; the next is looked at in {} minutes", .0.as_secs().div_ceil(60))]
    TooMany(Duration),
}

/// Wrong codes at once. RFC 4226, section 7.3, asks for such a limit: whoever has somebody's key may guess so often and then once
/// every [`FORGOTTEN`], which finds one of the three codes that are good among 10^6 with a chance of one in 700 in a day.
const GUESSES: u32 = 5;

/// When one of them is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(180);

/// From how many places one person is remembered; the one that was asked there longest ago goes.
const PLACES: usize = 64;

impl SecondFactors {
    /// How long this person's codes are not looked at, where there were too many wrong ones.
    pub fn barred(&self, asker: &Asker, now: SystemTime) -> Option<Duration> {
        self.memory().people.get_mut(&asker.person)?.barred(now)
    }

    /// Takes a code, once.
    pub(super) fn verify(
        &self,
        asker: &Asker,
        secret: &TotpSecret,
        code: &str,
        now: SystemTime,
    ) -> Result<(), WrongCode> {
        let mut memory = self.memory();
        let person = memory.people.entry(asker.person.clone()).or_default();
        // a good one is not looked at either, or the limit would be none
        if let Some(time) = person.barred(now) {
            return Err(WrongCode::TooMany(time));
        }
        match secret.step_of(code, now) {
            Some(step) if person.newest.is_none_or(|newest| step > newest) => {
                person.newest = Some(step);
                Ok(())
            }
            _ => {
                person.wrong += 1;
                person.wrong_since.get_or_insert(now);
                Err(WrongCode::Wrong)
            }
        }
    }

    /// They have answered now.
    pub(super) fn remember(&self, asker: Asker, secret: Arc<TotpSecret>, now: SystemTime) {
        let mut memory = self.memory();
        let asked = &mut memory.people.entry(asker.person.clone()).or_default().asked;
        if asked.len() >= PLACES
            && !asked.contains_key(&asker)
            && let Some(oldest) = asked.iter().min_by_key(|(_, asked)| asked.at).map(|(asker, _)| asker.clone())
        {
            asked.remove(&oldest);
        }
        asked.insert(asker, Asked { at: now, secret });
    }

    /// When they have answered, where that is no longer ago than this and was by the same secret.
    pub(super) fn recall(
        &self,
        asker: &Asker,
        secret: &Arc<TotpSecret>,
        remembered: Duration,
        now: SystemTime,
    ) -> Option<SystemTime> {
        let memory = self.memory();
        let asked = memory.people.get(&asker.person)?.asked.get(asker)?;
        // a clock that was set back makes it none
        let ago = now.duration_since(asked.at).ok()?;
        (ago < remembered && asked.secret == *secret).then_some(asked.at)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OfAPerson {
    fn barred(&mut self, now: SystemTime) -> Option<Duration> {
        let since = self.wrong_since?;
        // a clock that was set back begins anew, and forgets nothing
        let Ok(passed) = now.duration_since(since) else {
            self.wrong_since = Some(now);
            return (self.wrong >= GUESSES).then_some(FORGOTTEN);
        };
        let forgotten = u32::try_from(passed.as_secs() / FORGOTTEN.as_secs()).unwrap_or(u32::MAX);
        self.wrong = self.wrong.saturating_sub(forgotten);
        self.wrong_since = match self.wrong {
            0 => None,
            _ => since.checked_add(FORGOTTEN.saturating_mul(forgotten)),
        };
        let since = self.wrong_since.filter(|_| self.wrong >= GUESSES)?;
        Some(FORGOTTEN.saturating_sub(now.duration_since(since).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn asker(person: &str) -> Asker {
        Asker::for_test(person)
    }

    fn secret() -> TotpSecret {
        TotpSecret::parse("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").unwrap()
    }

    #[test]
    fn a_code_is_taken_once_whoever_shows_it_again() {
        let factors = SecondFactors::default();
        // RFC 4226, appendix D: the steps 0 to 2
        let codes = ["755224", "287082", "359152"];
        let verify = |person: &str, code: &str, seconds| factors.verify(&asker(person), &secret(), code, at(seconds));
        assert_eq!(verify("ada", codes[1], 30), Ok(()));
        assert_eq!(verify("ada", codes[1], 30), Err(WrongCode::Wrong));
        assert_eq!(verify("ada", codes[1], 59), Err(WrongCode::Wrong), "in its time still");
        assert_eq!(verify("ada", codes[0], 30), Err(WrongCode::Wrong), "older than one that was taken");
        assert_eq!(verify("ada", codes[2], 30), Ok(()));
        assert_eq!(verify("bob", codes[1], 30), Ok(()), "another person's");
    }

    #[test]
    fn guesses_run_out_and_come_back_one_by_one() {
        let factors = SecondFactors::default();
        let verify = |code: &str, seconds| factors.verify(&asker("ada"), &secret(), code, at(seconds));
        for _ in 0..GUESSES {
            assert_eq!(verify("000000", 30), Err(WrongCode::Wrong));
        }
        assert_eq!(verify("287082", 31), Err(WrongCode::TooMany(Duration::from_secs(179))), "a good one");
        assert_eq!(factors.barred(&asker("ada"), at(100)), Some(Duration::from_secs(110)));
        assert_eq!(factors.barred(&asker("bob"), at(100)), None);
        assert_eq!(verify("000000", 30 + 180), Err(WrongCode::Wrong), "one is forgotten");
        assert!(matches!(verify("000000", 30 + 181), Err(WrongCode::TooMany(_))));
        assert_eq!(factors.barred(&asker("ada"), at(0)), Some(FORGOTTEN), "a clock that was set back");
    }

    #[test]
    fn who_was_asked_is_known_for_a_time_and_at_so_many_places() {
        let factors = SecondFactors::default();
        let (secret, keep) = (Arc::new(secret()), Duration::from_secs(60));
        let recall = |asker: &Asker, seconds| factors.recall(asker, &secret, keep, at(seconds));
        factors.remember(asker("ada"), secret.clone(), at(100));
        for (seconds, known) in [(99, false), (100, true), (159, true), (160, false)] {
            assert_eq!(recall(&asker("ada"), seconds), known.then_some(at(100)), "{seconds}");
        }
        assert_eq!(factors.recall(&asker("ada"), &secret, Duration::ZERO, at(100)), None);
        assert_eq!(recall(&asker("bob"), 100), None);
        for n in 0..=255 {
            let source = std::net::Ipv4Addr::new(192, 0, 2, n).into();
            factors.remember(Asker { source, ..asker("ada") }, secret.clone(), at(101 + u64::from(n)));
        }
        let memory = factors.memory();
        assert_eq!(memory.people["ada"].asked.len(), PLACES);
        drop(memory);
        assert_eq!(recall(&asker("ada"), 101), None, "the oldest went");
    }

    proptest! {
        /// Whatever order they come in: no code is taken twice, and no more are looked at than may be.
        #[test]
        fn no_code_is_taken_twice(tries in proptest::collection::vec((0_u64..40, 0_u64..40), 1..60)) {
            let factors = SecondFactors::default();
            let (secret, mut taken) = (secret(), std::collections::BTreeSet::new());
            let (mut looked_at, mut latest) = (0_u64, 0);
            for (step, passed) in tries {
                latest += passed;
                let code = secret.code(step);
                match factors.verify(&asker("ada"), &secret, &code, at(latest)) {
                    Ok(()) => prop_assert!(taken.insert(step)),
                    Err(WrongCode::Wrong) => looked_at += 1,
                    Err(WrongCode::TooMany(_)) => {}
                }
            }
            prop_assert!(looked_at <= u64::from(GUESSES) + latest / FORGOTTEN.as_secs() + 1);
        }
    }
}
