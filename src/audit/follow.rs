//! A live session's terminal, as it goes.

use std::time::Duration;

use portcullis_folder::Contents;
use tokio::time::{Instant, timeout_at};

use super::archive::{self, Named};
use super::args::IdArgs;
use super::cast::Cast;
use super::error::Trouble;
use super::play::broken;
use super::replay::Replay;
use super::screen::{Asked, Screen};
use super::{Audit, story};

/// How often the recording is looked at.
const LOOK: Duration = Duration::from_millis(100);

pub(super) async fn run(audit: &Audit<'_>, args: &IdArgs, screen: &mut dyn Screen) -> Result<(), Trouble> {
    let (named, subject) = audit.session(&args.id, "follow").await?;
    let contents = audit.contents(&named).await?;
    let ended = audit.while_they_may(&subject, follow(&named, &contents, screen)).await?;
    match ended {
        Some(how) => screen.print(&format!("the session has ended: {how}\n")).await,
        None => Ok(()),
    }
}

/// Shows what comes until the session is sealed; gives how it ended, unless whoever watches has enough.
async fn follow(named: &Named, contents: &Contents, screen: &mut dyn Screen) -> Result<Option<String>, Trouble> {
    let (mut cast, mut replay, mut begun) = (None, Replay::default(), false);
    loop {
        // before what there is is read: what comes after it is the end's own
        let manifest = archive::manifest(named, Some(contents))?;
        if cast.is_none() {
            cast = Cast::open(contents).map_err(broken)?;
        }
        if let Some(cast) = &mut cast {
            begun = begun || cast.header().map_err(broken)?.is_some();
            while begun && let Some(event) = cast.event().map_err(broken)? {
                if event.kind == "o" {
                    screen.show(replay.take(&event.data).into()).await?;
                }
            }
        }
        if let Some(manifest) = manifest {
            return Ok(Some(story::ending(&manifest)));
        }
        // keys of which none means anything here do not hold it up
        let again = Instant::now() + LOOK;
        while let Ok(asked) = timeout_at(again, screen.asked()).await {
            if asked == Asked::Quit {
                return Ok(None);
            }
        }
    }
}
