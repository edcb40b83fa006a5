//! Whether a session's folder is as it was signed, in a sentence.

use std::path::Path;

use portcullis_folder::{FolderReport, Keyring, Verdict, VerifyingKey, verify_folder_with};

use super::shown::shown;
use crate::model::counted;

/// What verification says of a folder.
#[derive(Debug)]
pub(super) struct Verified {
    /// Every byte is as it was signed, and it was sealed.
    pub(super) whole: bool,
    /// That, or what is wrong, in sentences.
    pub(super) says: Vec<String>,
    /// What was found.
    pub(super) report: Option<FolderReport>,
}

/// Verifies a folder with these keys; without any, it is not known.
pub(super) fn verify(folder: &Path, keys: Result<Vec<VerifyingKey>, String>, keyring: &dyn Keyring) -> Verified {
    let keys = match keys {
        Ok(keys) => keys,
        Err(why) => return Verified { whole: false, says: vec![shown(&format!("not known: {why}"))], report: None },
    };
    let report = verify_folder_with(folder, &keys, keyring);
    let mut says = Vec::new();
    match report.verdict {
        Verdict::Whole => says
            .push(format!("yes: every byte is as it was signed, under {}", counted(report.checkpoints, "signed head"))),
        Verdict::Unsealed => says.push("so far: what was signed is as it was signed, but it has no end yet".to_owned()),
        Verdict::Broken => says.push("NO".to_owned()),
    }
    let faults = report.faults.iter().map(|fault| {
        let place = fault.file.as_deref().map(|file| format!("{file}: ")).unwrap_or_default();
        shown(&format!("{place}{}", fault.what))
    });
    says.extend(faults.take(10));
    says.extend(report.unproved().iter().map(|what| format!("it alone does not prove {what}")));
    Verified { whole: report.is_whole(), says, report: Some(report) }
}
