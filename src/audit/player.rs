//! When which part of a recording is shown: no clock, no terminal.
//!
//! ```text
//!  recording time ──idle limit──▶ shorter pauses ──speed──▶ how long to wait ──▶ output, sanitized
//! ```

use std::io;
use std::sync::Arc;
use std::time::Duration;

use portcullis_folder::Contents;

use super::cast::{Cast, Event};
use super::replay::{FRESH, Replay};

/// How far the keys go.
pub(super) const STEP: f64 = 5.0;

/// How fast, and what of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) speed: f64,
    pub(super) idle_limit: Option<Duration>,
}

/// A recording that is played.
#[derive(Debug)]
pub(super) struct Player {
    contents: Arc<Contents>,
    cast: Cast,
    pace: Pace,
    replay: Replay,
    next: Option<Event>,
    /// Where it is, in seconds of the recording.
    at: f64,
}

impl Player {
    /// One at its beginning; none where the session has no recording.
    pub(super) fn open(contents: Arc<Contents>, pace: Pace) -> io::Result<Option<Self>> {
        let Some(mut cast) = Cast::open(&contents)? else { return Ok(None) };
        cast.header()?;
        let next = cast.event()?;
        Ok(Some(Self { contents, cast, pace, replay: Replay::default(), next, at: 0.0 }))
    }

    /// How long to wait for the next event; none where there is no other.
    pub(super) fn wait(&self) -> Option<Duration> {
        let pause = self.next.as_ref()?.at - self.at;
        let pause = Duration::try_from_secs_f64(pause.max(0.0)).unwrap_or(Duration::MAX);
        let pause = self.pace.idle_limit.map_or(pause, |limit| pause.min(limit));
        Some(Duration::try_from_secs_f64(pause.as_secs_f64() / self.pace.speed).unwrap_or(Duration::MAX))
    }

    /// The next event's output, which may be nothing; none at the end.
    pub(super) fn step(&mut self) -> io::Result<Option<String>> {
        let Some(event) = self.next.take() else { return Ok(None) };
        self.at = event.at;
        self.next = self.cast.event()?;
        Ok(Some(if event.kind == "o" { self.replay.take(&event.data) } else { String::new() }))
    }

    /// Up to the next that shows something.
    pub(super) fn step_shown(&mut self) -> io::Result<Option<String>> {
        while let Some(shown) = self.step()? {
            if !shown.is_empty() {
                return Ok(Some(shown));
            }
        }
        Ok(None)
    }

    /// Where it is.
    pub(super) fn at(&self) -> f64 {
        self.at
    }

    /// Goes to a time, forwards or back; gives a bit of what is shown until then at each call, and none once it is there.
    pub(super) fn seek(&mut self, to: f64) -> io::Result<Seek<'_>> {
        let to = to.max(0.0);
        let fresh = to < self.at;
        if fresh {
            let again = Self::open(self.contents.clone(), self.pace)?;
            *self = again.ok_or_else(|| io::Error::other("the recording is gone"))?;
        }
        Ok(Seek { player: self, to, fresh })
    }
}

/// On the way to a time.
#[derive(Debug)]
pub(super) struct Seek<'a> {
    player: &'a mut Player,
    to: f64,
    fresh: bool,
}

impl Seek<'_> {
    pub(super) fn next(&mut self) -> io::Result<Option<String>> {
        if std::mem::take(&mut self.fresh) {
            return Ok(Some(FRESH.to_owned()));
        }
        if self.player.next.as_ref().is_some_and(|event| event.at <= self.to) {
            return self.player.step();
        }
        if self.player.next.is_some() {
            self.player.at = self.to;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAST: &str = "{\"version\": 2, \"width\": 80, \"height\": 24}\n[1, \"o\", \"a\"]\n[1.5, \"r\", \"80x25\"]\n[3, \"o\", \"b\\u001b[6n\"]\n[60, \"o\", \"c\"]\n";

    fn player(speed: f64, idle: Option<u64>) -> (tempfile::TempDir, Player) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("terminal.cast"), CAST).unwrap();
        let pace = Pace { speed, idle_limit: idle.map(Duration::from_secs) };
        let contents = Contents::open(dir.path(), &portcullis_folder::NoKeyring).unwrap();
        let player = Player::open(Arc::new(contents), pace).unwrap().unwrap();
        (dir, player)
    }

    fn all(mut seek: Seek<'_>) -> String {
        let mut shown = String::new();
        while let Some(more) = seek.next().unwrap() {
            shown.push_str(&more);
        }
        shown
    }

    #[test]
    fn pauses_are_as_recorded_by_the_speed_and_no_longer_than_the_limit() {
        let (_dir, mut player) = player(2.0, Some(10));
        assert_eq!(player.wait(), Some(Duration::from_millis(500)));
        assert_eq!(player.step().unwrap().as_deref(), Some("a"));
        assert_eq!(player.wait(), Some(Duration::from_millis(250)));
        assert_eq!(player.step_shown().unwrap().as_deref(), Some("b"));
        assert_eq!(player.wait(), Some(Duration::from_secs(5)));
        assert_eq!(player.step().unwrap().as_deref(), Some("c"));
        assert_eq!((player.wait(), player.step().unwrap()), (None, None));
    }

    #[test]
    fn going_back_begins_anew_and_going_forth_shows_what_is_between() {
        let (_dir, mut player) = player(1.0, None);
        assert_eq!(all(player.seek(10.0).unwrap()), "ab");
        assert_eq!(player.at(), 10.0);
        assert_eq!(all(player.seek(2.0).unwrap()), format!("{FRESH}a"));
        assert_eq!(player.wait(), Some(Duration::from_secs(1)));
        assert_eq!(all(player.seek(-1.0).unwrap()), FRESH);
        assert_eq!(all(player.seek(1e9).unwrap()), "abc");
    }
}
