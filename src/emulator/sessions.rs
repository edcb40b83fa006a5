//! All sessions: who may open one more, and which of the ended ones are still known.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::config::Limits;
use super::relay::faults::FaultState;
use super::session::{NewSession, Record, Session};

/// All sessions: the live ones, and the last of the ended ones.
pub(crate) struct Sessions {
    most_live: usize,
    most_ended: usize,
    queue: usize,
    pause: bool,
    faults: Arc<FaultState>,
    all: Mutex<HashMap<String, Arc<Session>>>,
}

impl Sessions {
    pub(crate) fn new(limits: Limits, pause: bool, faults: Arc<FaultState>) -> Self {
        Self {
            most_live: limits.sessions,
            most_ended: limits.history,
            queue: limits.queue,
            pause,
            faults,
            all: Mutex::default(),
        }
    }

    /// Takes up a new session; `None` if there are too many.
    pub(crate) fn open(&self, new: NewSession) -> Option<Arc<Session>> {
        let mut all = self.lock();
        if all.values().filter(|session| !session.is_over()).count() >= self.most_live {
            return None;
        }
        let session = Arc::new(Session::new(new, self.queue, self.pause, self.faults.clone()));
        all.insert(session.id().to_owned(), session.clone());
        Some(session)
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Session>> {
        self.lock().get(id).cloned()
    }

    #[cfg(test)]
    pub(crate) fn live(&self) -> Vec<Arc<Session>> {
        self.lock().values().filter(|session| !session.is_over()).cloned().collect()
    }

    /// Every session, newest first.
    pub(crate) fn records(&self) -> Vec<Record> {
        let mut all: Vec<Record> = self.lock().values().map(|session| session.record()).collect();
        all.sort_by(|a, b| b.started.cmp(&a.started).then_with(|| b.id.cmp(&a.id)));
        all
    }

    /// Applies limits, and forgets what ended longest ago. Gives the sessions whose nodes must hear of their end.
    pub(crate) fn tick(&self, now: Instant) -> Vec<(Arc<Session>, &'static str)> {
        let sessions: Vec<Arc<Session>> = self.lock().values().cloned().collect();
        let mut ended: Vec<(Instant, &str)> = Vec::new();
        let mut over = Vec::new();
        for session in &sessions {
            if let Some(text) = session.tick(now) {
                over.push((session.clone(), text));
            }
            if let Some(at) = session.settled_at(now) {
                ended.push((at, session.id()));
            }
        }
        if ended.len() > self.most_ended {
            ended.sort_unstable();
            let mut all = self.lock();
            for (_, id) in &ended[..ended.len() - self.most_ended] {
                all.remove(*id);
            }
        }
        over
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::end::End;
    use super::super::session::{IDLE, LINGER, Status, TOO_LONG};
    use std::time::Duration;

    use super::*;

    fn sessions() -> Sessions {
        let limits = Limits { sessions: 2, history: 1, ..Default::default() };
        Sessions::new(limits, true, Arc::new(FaultState::new()))
    }

    fn new(id: &str) -> NewSession {
        NewSession {
            id: id.into(),
            target: "i-1".into(),
            document: "D".into(),
            owner: "arn:x".into(),
            owner_id: "AIDAX".into(),
            reason: Some("why".into()),
            idle: Duration::from_secs(10),
            duration: Some(Duration::from_secs(60)),
            duration_minutes: Some(1),
        }
    }

    #[test]
    fn the_life_of_a_session() {
        let sessions = sessions();
        let session = sessions.open(new("s-1")).unwrap();
        let status = || session.record().status;
        assert_eq!(status(), Status::Connecting);
        let agent = session.attach(End::Agent);
        let client = session.attach(End::Client);
        assert_eq!(status(), Status::Connected);
        session.detach(End::Client, client);
        assert_eq!((status(), session.describe().paused), (Status::Disconnected, true));
        let client = session.attach(End::Client);
        assert_eq!((status(), session.describe().paused), (Status::Connected, false));
        session.task_complete(true, "");
        assert_eq!(status(), Status::Connected, "the agent's last frames may still be on their way");
        session.detach(End::Agent, agent);
        assert_eq!(status(), Status::Terminated);
        assert!(session.record().ended.is_some());
        assert_eq!(session.issue_token(End::Client, Duration::from_secs(9)), None);
        session.detach(End::Client, client);
        assert_eq!(status(), Status::Terminated);
    }

    #[test]
    fn a_replaced_socket_does_not_count_as_a_departure() {
        let sessions = sessions();
        let session = sessions.open(new("s-1")).unwrap();
        session.attach(End::Agent);
        let first = session.attach(End::Client);
        session.attach(End::Client);
        session.detach(End::Client, first);
        assert_eq!((session.record().status, session.describe().paused), (Status::Connected, false));
    }

    #[test]
    fn limits_end_it_and_activity_keeps_it() {
        let sessions = sessions();
        let session = sessions.open(new("s-1")).unwrap();
        let at = |seconds| session.started_at + Duration::from_secs(seconds);
        assert!(sessions.tick(at(9)).is_empty());
        session.note_activity();
        assert!(sessions.tick(at(9)).is_empty() && sessions.tick(at(18)).is_empty());
        let over = sessions.tick(at(19));
        assert_eq!((over.len(), over[0].1), (1, IDLE));
        assert_eq!(session.record().details, IDLE);
        let session = sessions.open(new("s-2")).unwrap();
        session.note_activity();
        let over = sessions.tick(session.started_at + Duration::from_secs(61));
        assert_eq!(over[0].1, TOO_LONG);
    }

    #[test]
    fn live_sessions_and_history_are_bounded() {
        let sessions = sessions();
        let first = sessions.open(new("s-1")).unwrap();
        let second = sessions.open(new("s-2")).unwrap();
        assert!(sessions.open(new("s-3")).is_none());
        assert!(first.terminate("") && !first.terminate("") && second.terminate(""));
        sessions.tick(Instant::now() + LINGER + Duration::from_secs(1));
        let left: Vec<String> = sessions.records().into_iter().map(|record| record.id).collect();
        assert_eq!(left, ["s-2"]);
    }
}
