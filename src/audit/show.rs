//! One session on one page.

use std::sync::Arc;

use portcullis_folder::{FileRecord, Keyring, VerifyingKey};
use portcullis_index::{FolderRecords, read_records};
use serde_json::json;

use super::archive::{self, Named};
use super::args::ShowArgs;
use super::error::{Kind, Trouble};
use super::screen::Screen;
use super::verified::verify;
use super::{Audit, apart, story};

pub(super) async fn run(audit: &Audit<'_>, args: &ShowArgs, screen: &mut dyn Screen) -> Result<(), Trouble> {
    let (named, _) = audit.session(&args.session.id, "show").await?;
    let (keys, keyring, args) = (audit.archive.keys(), audit.archive.keyring.clone(), args.clone());
    // all of a folder is read to verify it
    let page = apart(move || page(keys, &keyring, &named, &args)).await??;
    screen.print(&page).await
}

fn page(
    keys: Result<Vec<VerifyingKey>, String>,
    keyring: &Arc<dyn Keyring>,
    named: &Named,
    args: &ShowArgs,
) -> Result<String, Trouble> {
    let limit = args.limit.max(1);
    // who may not read what it says is shown the rest, and why not
    let (contents, why) = match archive::contents(named, &**keyring) {
        Ok(contents) => (Some(contents), None),
        Err(trouble) => (None, Some(trouble.text)),
    };
    let records = |opened: &str| {
        let mut records = contents.as_ref().map(|all| read_records(all, opened, limit)).unwrap_or_default();
        records.unreadable.extend(why.clone());
        records
    };
    match archive::manifest(named, contents.as_ref())? {
        Some(manifest) => {
            let records = records(&manifest.opened);
            let verified = verify(&named.folder, keys, &**keyring);
            if args.json {
                let verified = json!({ "whole": verified.whole, "says": verified.says, "report": verified.report });
                let story = json!({ "manifest": manifest, "commands": records.commands, "files": files(&records), "unreadable": records.unreadable, "verified": verified });
                return Ok(format!("{story:#}\n"));
            }
            Ok(story::of_manifest(&manifest, &records, &verified, limit))
        }
        None => {
            let Some(session) = &named.session else {
                return Err(Trouble::new(Kind::Failed, "that session is not known yet: ask again in a moment"));
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

fn files(records: &FolderRecords) -> Vec<&FileRecord> {
    records.files.iter().map(|(_, record)| record).collect()
}
