//! Tells somebody on a terminal that their session is about to end: because what they logged in by does, or the time that it may last.
//!
//! ```text
//!  ──────────────┬──────────────────────────┬───────────────┬▶ the end, with its own sentence
//!            5 minutes                  1 minute
//!                └ a line                   └ a line, unless it was put off meanwhile
//! ```
//!
//! Nobody is told who has no terminal: a line between a program's own would be taken for one of them.

use std::time::{Duration, SystemTime};

use super::client_channel::ClientChannel;
use crate::model::counted;
use crate::session::{ComingEnd, EndOf, Left};

/// Tells it, so long before. Comes back only when the client takes nothing any more.
pub(super) async fn tell(mut coming: ComingEnd, marks: &[Duration], client: &ClientChannel) {
    let mut told = Told::default();
    loop {
        let left = coming.left(SystemTime::now()).filter(|_| !marks.is_empty());
        let (tells, wait) = told.look(left, marks);
        if let Some(sentence) = left.filter(|_| tells).map(sentence)
            && client.tell(&sentence).await.is_err()
        {
            return;
        }
        tokio::select! {
            () = coming.changed() => {}
            () = sleep(wait) => {}
        }
    }
}

/// What somebody was told last: that so little is left, of what.
#[derive(Debug, Default)]
struct Told(Option<(EndOf, Duration)>);

impl Told {
    /// Whether they are told now, and after which time to look again.
    fn look(&mut self, left: Option<Left>, marks: &[Duration]) -> (bool, Option<Duration>) {
        let Some(Left { time, of, certain }) = left else {
            self.0 = None;
            return (false, None);
        };
        // what a provider puts off again and again is told of when it has not done so
        let least = marks.iter().min().copied();
        let marks = || marks.iter().copied().filter(|mark| certain || Some(*mark) == least);
        let reached = marks().filter(|mark| time <= *mark).min();
        let next = marks().filter(|mark| time > *mark).max().map(|mark| time - mark);
        let tells = reached.is_some_and(|mark| self.0.is_none_or(|(what, known)| what != of || mark < known));
        self.0 = reached.map(|mark| (of, mark));
        (tells, next)
    }
}

fn sentence(left: Left) -> String {
    let seconds = left.time.saturating_add(Duration::from_millis(500)).as_secs();
    let when = match seconds {
        0..60 => counted(seconds, "second"),
        _ => counted(seconds.div_ceil(60), "minute"),
    };
    let why = match left.of {
        EndOf::Proof => "when the time of what you logged in with is over: log in again, and begin another one",
        EndOf::Time => "which is as long as it may last",
    };
    format!("portcullis: this session ends in {when}, {why}")
}

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const MARKS: [Duration; 2] = [MINUTE.saturating_mul(5), MINUTE];

    fn left(minutes: u32, of: EndOf) -> Option<Left> {
        Some(Left { time: minutes * MINUTE, of, certain: true })
    }

    #[test]
    fn each_mark_is_told_once_and_what_is_put_off_is_told_again_when_it_comes() {
        let mut told = Told::default();
        let mut look = |left| told.look(left, &MARKS);
        assert_eq!(look(None), (false, None));
        assert_eq!(look(left(60, EndOf::Proof)), (false, Some(55 * MINUTE)));
        assert_eq!(look(left(5, EndOf::Proof)), (true, Some(4 * MINUTE)));
        assert_eq!(look(left(4, EndOf::Proof)), (false, Some(3 * MINUTE)), "once");
        assert_eq!(look(left(1, EndOf::Proof)), (true, None));
        assert_eq!(look(left(1, EndOf::Proof)), (false, None));
        assert_eq!(look(left(9, EndOf::Proof)), (false, Some(4 * MINUTE)), "it was put off");
        assert_eq!(look(left(5, EndOf::Proof)), (true, Some(4 * MINUTE)));
        assert_eq!(look(left(5, EndOf::Time)), (true, Some(4 * MINUTE)), "another end is another");
        assert_eq!(look(left(0, EndOf::Time)), (true, None));
    }

    #[test]
    fn who_comes_late_is_told_at_once_how_little_is_left() {
        let mut told = Told::default();
        assert_eq!(told.look(left(3, EndOf::Time), &MARKS), (true, Some(2 * MINUTE)));
        let told = sentence(left(3, EndOf::Time).unwrap());
        assert_eq!(told, "portcullis: this session ends in 3 minutes, which is as long as it may last");
        let soon = Left { time: Duration::from_millis(9_800), of: EndOf::Proof, certain: true };
        assert!(sentence(soon).starts_with("portcullis: this session ends in 10 seconds, when the time"));
        let minute = Left { time: Duration::from_millis(59_990), ..soon };
        assert!(sentence(minute).contains("in 1 minute, "));
    }

    #[test]
    fn what_a_provider_puts_off_is_told_of_when_it_has_not() {
        let mut told = Told::default();
        let asked_about = |minutes: u32| Some(Left { time: minutes * MINUTE, of: EndOf::Proof, certain: false });
        for _ in 0..3 {
            // asked again each minute, and good for two more then
            assert_eq!(told.look(asked_about(3), &MARKS), (false, Some(2 * MINUTE)));
            assert_eq!(told.look(asked_about(2), &MARKS), (false, Some(MINUTE)));
        }
        assert_eq!(told.look(asked_about(1), &MARKS), (true, None));
    }
}
