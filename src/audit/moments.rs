//! Times and durations as people write them.

use std::time::Duration;

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, Time};

/// `2026-11-30`, `2026-11-30T08:00:00Z`, or how long ago.
pub(super) fn moment(text: &str) -> Result<OffsetDateTime, String> {
    if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(time);
    }
    if let Ok(date) = Date::parse(text, format_description!("[year]-[month]-[day]")) {
        return Ok(date.with_time(Time::MIDNIGHT).assume_utc());
    }
    let ago = duration(text)
        .map_err(|_| "write 2026-11-30, 2026-11-30T08:00:00Z, or how long ago: 30m, 12h, 7d".to_owned())?;
    OffsetDateTime::now_utc()
        .checked_sub(ago.try_into().unwrap_or(time::Duration::MAX))
        .ok_or_else(|| "that is too long ago".to_owned())
}

/// `1.5s`, `90`, `2m`, `12h`, `7d`, `1m30s`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "write a time as 2s, 1m30s, 12h or 7d".to_owned();
    let (mut seconds, mut number) = (0.0_f64, String::new());
    for found in text.trim().chars() {
        let unit = match found {
            '0'..='9' | '.' => {
                number.push(found);
                continue;
            }
            's' => 1.0,
            'm' => 60.0,
            'h' => 3600.0,
            'd' => 86_400.0,
            _ => return Err(wrong()),
        };
        seconds += number.parse::<f64>().map_err(|_| wrong())? * unit;
        number.clear();
    }
    if !number.is_empty() {
        seconds += number.parse::<f64>().map_err(|_| wrong())?;
    } else if text.trim().is_empty() {
        return Err(wrong());
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

/// `1:02:03`, `2:03`: where in a recording something is.
pub(super) fn clock(seconds: f64) -> String {
    let whole = if seconds.is_finite() && seconds > 0.0 {
        Duration::try_from_secs_f64(seconds).map_or(0, |time| time.as_secs())
    } else {
        0
    };
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// `2026-11-30 08:00:00`, in UTC.
pub(super) fn date_and_time(time: OffsetDateTime) -> String {
    let utc = time.to_offset(time::UtcOffset::UTC);
    utc.format(format_description!("[year]-[month]-[day] [hour]:[minute]:[second]")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, seconds) in [("90", 90.0), ("1.5s", 1.5), ("1m30s", 90.0), ("7d", 604_800.0), ("12h", 43_200.0)] {
            assert_eq!(duration(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
        for wrong in ["", "m", "1x", "-5", "1..5s", "1e400", "99999999999999999999999d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_is_a_date_a_moment_or_how_long_ago() {
        assert_eq!(moment("2026-11-30").unwrap().unix_timestamp(), 1_795_996_800);
        assert_eq!(moment("2026-11-30T01:00:00+01:00").unwrap().unix_timestamp(), 1_795_996_800);
        let ago = OffsetDateTime::now_utc() - moment("2h").unwrap();
        assert!((7199..=7201).contains(&ago.whole_seconds()));
        assert!(moment("yesterday").is_err());
    }

    #[test]
    fn places_in_a_recording_are_told_as_on_a_clock() {
        assert_eq!(
            (clock(63.9).as_str(), clock(3723.0).as_str(), clock(f64::NAN).as_str()),
            ("1:03", "1:02:03", "0:00")
        );
    }
}
