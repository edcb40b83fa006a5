//! `portcullis sessions show`.

use portcullis_index::{FolderRecords, read_records};
use serde_json::json;

use super::args::ShowArgs;
use super::place::{Named, Place};
use super::{looked, story, verified};
use crate::cli::exit::{Exit, Failure};
use crate::cli::output;

pub(super) async fn run(place: &Place, args: &ShowArgs) -> Result<(), Failure> {
    let named = place.session(&args.session.id).await?;
    looked::note(&place.evidence, "show", Some(named.id));
    output::print(&page(place, &named, args)?)
}

fn page(place: &Place, named: &Named, args: &ShowArgs) -> Result<String, Failure> {
    let limit = args.limit.max(1);
    // who may not read what it says is shown the rest, and why not
    let (contents, why) = match place.contents(named) {
        Ok(contents) => (Some(contents), None),
        Err(failure) => (None, Some(failure.text)),
    };
    let records = |opened: &str| {
        let mut records = contents.as_ref().map(|all| read_records(all, opened, limit)).unwrap_or_default();
        records.unreadable.extend(why.clone());
        records
    };
    match place.manifest(named, contents.as_ref())? {
        Some(manifest) => {
            let records = records(&manifest.opened);
            let verified = verified::verify(&named.folder, place.keys(), place.keyring());
            if args.json {
                let verified = json!({ "whole": verified.whole, "says": verified.says, "report": verified.report });
                let story = json!({ "manifest": manifest, "commands": records.commands, "files": files(&records), "unreadable": records.unreadable, "verified": verified });
                return Ok(format!("{story:#}\n"));
            }
            Ok(story::of_manifest(&manifest, &records, &verified, limit))
        }
        None => {
            let Some(session) = &named.session else {
                let text = format!(
                    "{} has no manifest yet: its session is live, or its gateway was killed and seals it when it starts again",
                    named.folder.display()
                );
                return Err(Failure::new(Exit::Failed, text));
            };
            let records = records("");
            if args.json {
                return Ok(format!(
                    "{:#}\n",
                    json!({ "session": session, "commands": records.commands, "files": files(&records) })
                ));
            }
            Ok(story::of_live(session, &records, limit))
        }
    }
}

fn files(records: &FolderRecords) -> Vec<&portcullis_folder::FileRecord> {
    records.files.iter().map(|(_, record)| record).collect()
}
