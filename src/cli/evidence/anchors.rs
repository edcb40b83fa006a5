//! `portcullis evidence anchors`: the heads that a sink keeps outside the host, in one file.

use portcullis_sinks::Range;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::app::{self, AnchorsFrom};
use crate::cli::args::EvidenceAnchorsArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::failure::config_failure;
use crate::cli::output;
use crate::config::{Overrides, Trust};
use crate::model::counted;

pub(super) async fn run(args: &EvidenceAnchorsArgs) -> Result<(), Failure> {
    let loaded = app::read(&args.config, Trust::Anybodys, &Overrides::default());
    let loaded = loaded.map_err(|error| config_failure(&args.config, &error, ", so its sinks are not known"))?;
    let now = OffsetDateTime::now_utc();
    let from = match &args.since {
        None => now - Duration::days(30),
        Some(text) => moment(text).ok_or_else(|| {
            Failure::new(
                Exit::Usage,
                format!("--since {text:?} is no day as 2026-11-30 and no time as 2026-11-30T07:12:33Z"),
            )
        })?,
    };
    // what is written while this runs is in it as well
    let range = Range { from, until: now + Duration::days(1) };
    let asked = AnchorsFrom { sink: args.sink.clone(), range, file: args.file.clone() };
    let (sink, count) =
        app::fetch_anchors(&loaded.config, &asked).await.map_err(|why| Failure::new(Exit::Failed, why))?;
    output::note(&format!("{} of the sink {sink}, since {}", counted(count, "anchor"), day_and_time(from)));
    Ok(())
}

fn day_and_time(time: OffsetDateTime) -> String {
    time.replace_nanosecond(0).unwrap_or(time).format(&Rfc3339).unwrap_or_default()
}

/// A day, or a time.
fn moment(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339)
        .ok()
        .or_else(|| OffsetDateTime::parse(&format!("{text}T00:00:00Z"), &Rfc3339).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_its_beginning_and_a_time_itself() {
        let day = time::macros::datetime!(2026-11-30 0:00 UTC);
        assert_eq!(moment("2026-11-30"), Some(day));
        assert_eq!(moment("2026-11-30T07:12:33Z"), Some(time::macros::datetime!(2026-11-30 07:12:33 UTC)));
        assert_eq!((moment("yesterday"), moment("2026-13-30")), (None, None));
        assert_eq!(day_and_time(day), "2026-11-30T00:00:00Z");
    }
}
