//! One session on one page.

use portcullis_folder::{FileRecord, VerifyingKey};
use portcullis_index::{FolderRecords, read_manifest, read_records};
use serde_json::json;

use super::archive::Named;
use super::args::ShowArgs;
use super::error::{Kind, Trouble};
use super::screen::Screen;
use super::verified::verify;
use super::{Audit, apart, story};

pub(super) async fn run(audit: &Audit<'_>, args: &ShowArgs, screen: &mut dyn Screen) -> Result<(), Trouble> {
    let named = audit.session(&args.session.id, "show").await?;
    let (keys, args) = (audit.archive.keys(), args.clone());
    // all of a folder is read to verify it
    let page = apart(move || page(keys, &named, &args)).await??;
    screen.print(&page).await
}

fn page(keys: Result<Vec<VerifyingKey>, String>, named: &Named, args: &ShowArgs) -> Result<String, Trouble> {
    let limit = args.limit.max(1);
    match read_manifest(&named.folder)? {
        Some(manifest) => {
            let records = read_records(&named.folder, &manifest.opened, limit);
            let verified = verify(&named.folder, keys);
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
            let records = read_records(&named.folder, "", limit);
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
