//! `portcullis sessions rebuild`.

use portcullis_index::{Index, Told};

use crate::audit::{Archive, Trouble, shown};
use crate::cli::exit::{Exit, Failure};
use crate::cli::output;
use crate::model::counted;

pub(super) async fn run(place: &Archive) -> Result<(), Failure> {
    if !place.evidence.is_dir() {
        let text = format!("{} is no directory of evidence", place.evidence.display());
        return Err(Failure::new(Exit::Directory, text));
    }
    let (index, anew) = Index::open_or_make_anew(&place.location).await.map_err(Trouble::from)?;
    if anew {
        output::note("the index was damaged, and is made anew");
    }
    let mut unreadable = 0_usize;
    let mut tell = |told: Told| match told {
        Told::Progress(progress) => {
            output::note(&format!("{} of {} read", progress.indexed, counted_folders(progress.seen)))
        }
        Told::Unreadable(why) => {
            unreadable += 1;
            output::note(&shown(&why));
        }
    };
    let done = index.rebuild(&place.evidence, &mut tell).await.map_err(Trouble::from)?;
    let mut text =
        format!("{} are in the index", counted(usize::try_from(done.indexed).unwrap_or(usize::MAX), "session"));
    if done.unsealed > 0 {
        text.push_str(&format!(
            "; {} have no manifest yet: live, or sealed when their gateway starts again",
            done.unsealed
        ));
    }
    if done.removed > 0 {
        text.push_str(&format!("; {} whose folders are gone were taken out", done.removed));
    }
    output::print(&format!("{text}\n"))?;
    match unreadable {
        0 => Ok(()),
        count => Err(Failure::new(Exit::Failed, format!("{} can't be read, as told above", counted(count, "thing")))),
    }
}

fn counted_folders(seen: u64) -> String {
    counted(usize::try_from(seen).unwrap_or(usize::MAX), "folder")
}
