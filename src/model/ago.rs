//! How long something has lasted or is past, as people say it.

use std::time::{SystemTime, UNIX_EPOCH};

/// `14 min ago`, of seconds since the epoch; nothing of what is to come.
pub fn ago(then: i64) -> Option<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    let seconds = now.checked_sub(u64::try_from(then).ok()?)?;
    Some(match seconds {
        172_800.. => format!("{} days ago", seconds / 86_400),
        seconds => format!("{} ago", lasting(seconds)),
    })
}

/// So many seconds in one unit, of hours at most: `14 min`.
pub fn lasting(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_is_said_in_one_unit() {
        for (seconds, text) in [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (90_000, "25 h")] {
            assert_eq!(lasting(seconds), text);
        }
    }

    #[test]
    fn a_last_ping_reads_as_people_say_it() {
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        for (before, expected) in [(5, "5 s ago"), (845, "14 min ago"), (3 * 3600, "3 h ago"), (200_000, "2 days ago")]
        {
            assert_eq!(ago(now - before).as_deref(), Some(expected));
        }
        assert_eq!((ago(now + 60), ago(-1)), (None, None));
    }
}
