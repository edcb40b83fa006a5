//! `portcullis sessions play`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::args::PlayArgs;
use super::keyboard::{Asked, Keyboard};
use super::looked;
use super::place::Place;
use super::player::{Pace, Player, STEP};
use super::shown::shown;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output;
use crate::cli::runtime::Ending;

/// A pause that nobody waits for to its end; a timer has to have one.
const FAR: Duration = Duration::from_secs(86_400);

pub(super) async fn run(place: &Place, args: &PlayArgs) -> Result<(), Failure> {
    let named = place.session(&args.session.id).await?;
    looked::note(&place.evidence, "play", Some(named.id));
    let pace = Pace { speed: args.speed, idle_limit: args.idle_limit };
    let player = Player::open(Arc::new(place.contents(&named)?), pace).map_err(broken)?;
    let Some(mut player) = player else {
        return Err(Failure::new(
            Exit::Failed,
            "that session has no recording: it had no terminal, or has shown nothing",
        ));
    };
    let mut ending = Ending::new(false)?;
    let keyboard = Keyboard::open();
    tokio::select! {
        played = play(&mut player, keyboard, args.from.unwrap_or_default()) => played,
        () = ending.asked() => Ok(()),
    }
}

async fn play(player: &mut Player, mut keyboard: Keyboard, from: Duration) -> Result<(), Failure> {
    let mut paused = false;
    if !from.is_zero() {
        seek(player, from.as_secs_f64())?;
    }
    let mut due = due(player);
    while let Some(at) = due {
        let asked = tokio::select! {
            biased;
            asked = keyboard.next() => Some(asked),
            () = sleep_until(at), if !paused => None,
        };
        match asked {
            None => {
                let Some(shown) = player.step().map_err(broken)? else { return Ok(()) };
                output::print(&shown)?;
            }
            Some(Asked::Pause) => paused = !paused,
            Some(Asked::Step) => {
                let Some(shown) = player.step_shown().map_err(broken)? else { return Ok(()) };
                output::print(&shown)?;
            }
            Some(Asked::Back) => seek(player, player.at() - STEP)?,
            Some(Asked::Forth) => seek(player, player.at() + STEP)?,
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

fn seek(player: &mut Player, to: f64) -> Result<(), Failure> {
    let mut way = player.seek(to).map_err(broken)?;
    while let Some(shown) = way.next().map_err(broken)? {
        output::print(&shown)?;
    }
    Ok(())
}

pub(super) fn broken(error: io::Error) -> Failure {
    Failure::new(Exit::Failed, shown(&format!("the recording can't be played on: {error}")))
}
