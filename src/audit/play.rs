//! What a session's terminal showed, as it came.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Audit;
use super::args::PlayArgs;
use super::error::{Kind, Trouble};
use super::player::{Pace, Player, STEP};
use super::screen::{Asked, Screen};
use super::shown::shown;

/// A pause that nobody waits for to its end; a timer has to have one.
const FAR: Duration = Duration::from_secs(86_400);

pub(super) async fn run(audit: &Audit<'_>, args: &PlayArgs, screen: &mut dyn Screen) -> Result<(), Trouble> {
    let (named, subject) = audit.session(&args.session.id, "play").await?;
    let pace = Pace { speed: args.speed, idle_limit: args.idle_limit };
    let player = Player::open(Arc::new(audit.contents(&named).await?), pace).map_err(broken)?;
    let none = || Trouble::new(Kind::Failed, "that session has no recording: it had no terminal, or has shown nothing");
    let mut player = player.ok_or_else(none)?;
    let played = play(&mut player, screen, args.from.unwrap_or_default());
    audit.while_they_may(&subject, played).await
}

async fn play(player: &mut Player, screen: &mut dyn Screen, from: Duration) -> Result<(), Trouble> {
    let mut paused = false;
    if !from.is_zero() {
        seek(player, screen, from.as_secs_f64()).await?;
    }
    let mut due = due(player);
    while let Some(at) = due {
        let asked = tokio::select! {
            biased;
            asked = screen.asked() => Some(asked),
            () = sleep_until(at), if !paused => None,
        };
        match asked {
            None => {
                let Some(shown) = player.step().map_err(broken)? else { return Ok(()) };
                screen.show(shown.into()).await?;
            }
            Some(Asked::Pause) => paused = !paused,
            Some(Asked::Step) => {
                let Some(shown) = player.step_shown().map_err(broken)? else { return Ok(()) };
                screen.show(shown.into()).await?;
            }
            Some(Asked::Back) => seek(player, screen, player.at() - STEP).await?,
            Some(Asked::Forth) => seek(player, screen, player.at() + STEP).await?,
            Some(Asked::Quit) => return Ok(()),
        }
        due = self::due(player);
        // whoever holds down a key, or plays at once, still lets others run
        tokio::task::yield_now().await;
    }
    Ok(())
}

fn due(player: &Player) -> Option<Instant> {
    Some(Instant::now() + player.wait()?.min(FAR))
}

async fn seek(player: &mut Player, screen: &mut dyn Screen, to: f64) -> Result<(), Trouble> {
    let mut way = player.seek(to).map_err(broken)?;
    while let Some(shown) = way.next().map_err(broken)? {
        screen.show(shown.into()).await?;
    }
    Ok(())
}

pub(super) fn broken(error: io::Error) -> Trouble {
    Trouble::new(Kind::Failed, shown(&format!("the recording can't be played on: {error}")))
}
