//! `portcullis sessions follow`.

use std::time::Duration;

use super::args::IdArgs;
use super::cast::Cast;
use super::keyboard::{Asked, Keyboard};
use super::place::{Named, Place};
use super::play::broken;
use super::replay::Replay;
use super::{looked, story};
use crate::cli::exit::Failure;
use crate::cli::output;
use crate::cli::runtime::Ending;

/// How often the recording is looked at.
const LOOK: Duration = Duration::from_millis(100);

pub(super) async fn run(place: &Place, args: &IdArgs) -> Result<(), Failure> {
    let named = place.session(&args.id).await?;
    looked::note(&place.evidence, "follow", Some(named.id));
    let mut ending = Ending::new(false)?;
    let mut keyboard = Keyboard::open();
    let quit = async { while keyboard.next().await != Asked::Quit {} };
    let ended = tokio::select! {
        ended = follow(place, &named) => Some(ended?),
        () = quit => None,
        () = ending.asked() => None,
    };
    drop(keyboard);
    match ended {
        Some(how) => output::print(&format!("the session has ended: {how}\n")),
        None => Ok(()),
    }
}

/// Shows what comes until the session is sealed; gives how it ended.
async fn follow(place: &Place, named: &Named) -> Result<String, Failure> {
    let contents = place.contents(named)?;
    let (mut cast, mut replay, mut begun) = (None, Replay::default(), false);
    loop {
        // before what there is is read: what comes after it is the end's own
        let manifest = place.manifest(named, Some(&contents))?;
        if cast.is_none() {
            cast = Cast::open(&contents).map_err(broken)?;
        }
        if let Some(cast) = &mut cast {
            begun = begun || cast.header().map_err(broken)?.is_some();
            while begun && let Some(event) = cast.event().map_err(broken)? {
                if event.kind == "o" {
                    output::print(&replay.take(&event.data))?;
                }
            }
        }
        if let Some(manifest) = manifest {
            return Ok(story::ending(&manifest));
        }
        tokio::time::sleep(LOOK).await;
    }
}
