//! `portcullis evidence hold`, `release`, `holds`: what stays although its time is over.

use std::path::{Path, PathBuf};

use portcullis_sinks::retention::{Hold, HoldOn, Holds, HoldsLock, RetentionError};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::app::{self, HOLDS};
use crate::cli::args::{EvidenceHeld, EvidenceHoldArgs, EvidenceReleaseArgs, EvidenceSinksArgs};
use crate::cli::exit::{Exit, Failure};
use crate::cli::failure::config_failure;
use crate::cli::output;
use crate::config::{Overrides, Trust};
use crate::model::{counted, plain_text_up_to};

/// How long the words of a hold may be.
const LONGEST: usize = 500;

pub(super) fn hold(args: &EvidenceHoldArgs) -> Result<(), Failure> {
    let (file, mut holds, _lock) = load_to_change(&args.config)?;
    let on = on(&args.on);
    if holds.holds.iter().any(|hold| hold.on == on) {
        return Err(Failure::new(Exit::Failed, format!("{} is on hold already", shown(&on))));
    }
    let now = OffsetDateTime::now_utc();
    let since = now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339).unwrap_or_default();
    let by = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "unknown".to_owned());
    let (by, why) = (plain_text_up_to(LONGEST, &by), plain_text_up_to(LONGEST, &args.why));
    let text = format!("{} is on hold", shown(&on));
    holds.holds.push(Hold { on, by, why, since });
    holds.store(&file).map_err(|error| failed(&error))?;
    output::note(&text);
    Ok(())
}

pub(super) fn release(args: &EvidenceReleaseArgs) -> Result<(), Failure> {
    let (file, mut holds, _lock) = load_to_change(&args.config)?;
    let on = on(&args.on);
    let before = holds.holds.len();
    holds.holds.retain(|hold| hold.on != on);
    if holds.holds.len() == before {
        return Err(Failure::new(Exit::Failed, format!("there is no hold on {}", shown(&on))));
    }
    holds.store(&file).map_err(|error| failed(&error))?;
    output::note(&format!("{} is released", shown(&on)));
    Ok(())
}

pub(super) fn list(args: &EvidenceSinksArgs) -> Result<(), Failure> {
    let holds = Holds::load(&directory(&args.config)?.join(HOLDS)).map_err(|error| failed(&error))?;
    if args.json {
        let text =
            serde_json::to_string_pretty(&holds).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        return output::print(&format!("{text}\n"));
    }
    let line = |hold: &Hold| {
        format!("{}  since {} by {}: {}\n", shown(&hold.on), plain(&hold.since), plain(&hold.by), plain(&hold.why))
    };
    let lines: String = holds.holds.iter().map(line).collect();
    output::print(&lines)?;
    output::note(&counted(holds.holds.len(), "hold"));
    Ok(())
}

fn directory(config: &Path) -> Result<PathBuf, Failure> {
    let loaded = app::read(config, Trust::Anybodys, &Overrides::default());
    let loaded = loaded.map_err(|error| config_failure(config, &error, ", so its evidence is not known"))?;
    Ok(loaded.config.evidence.directory)
}

/// The holds, which nobody else changes meanwhile, and by which nothing is deleted meanwhile.
fn load_to_change(config: &Path) -> Result<(PathBuf, Holds, HoldsLock), Failure> {
    let directory = directory(config)?;
    let lock = Holds::lock(&directory).map_err(|error| failed(&error))?;
    let file = directory.join(HOLDS);
    let holds = Holds::load(&file).map_err(|error| failed(&error))?;
    Ok((file, holds, lock))
}

fn failed(error: &RetentionError) -> Failure {
    Failure::new(Exit::Failed, error.to_string())
}

fn on(held: &EvidenceHeld) -> HoldOn {
    match (held.session, &held.person, &held.node) {
        (Some(session), ..) => HoldOn::Session(session),
        (None, Some(person), _) => HoldOn::Person(person.clone()),
        (None, None, node) => HoldOn::Node(node.clone().unwrap_or_default()),
    }
}

fn shown(on: &HoldOn) -> String {
    match on {
        HoldOn::Session(session) => format!("session {session}"),
        HoldOn::Person(person) => format!("person {}", plain(person)),
        HoldOn::Node(node) => format!("node {}", plain(node)),
    }
}

fn plain(text: &str) -> String {
    plain_text_up_to(LONGEST, text)
}
