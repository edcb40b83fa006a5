//! Which of the commands was asked for.

use super::args::{SessionsArgs, SessionsCommand};
use super::place::Place;
use super::{end, export, follow, list, looked, play, rebuild, show};
use crate::cli::exit::Failure;

pub(in crate::cli) async fn run(args: &SessionsArgs) -> Result<(), Failure> {
    let place = Place::of(&args.place)?;
    match &args.command {
        None => {
            looked::note(&place.evidence, "list", None);
            list::run(&place, &args.list).await
        }
        Some(SessionsCommand::List(args)) => {
            looked::note(&place.evidence, "list", None);
            list::run(&place, args).await
        }
        Some(SessionsCommand::Show(args)) => show::run(&place, args).await,
        Some(SessionsCommand::Play(args)) => play::run(&place, args).await,
        Some(SessionsCommand::Follow(args)) => follow::run(&place, args).await,
        Some(SessionsCommand::End(args)) => end::run(&place, args),
        Some(SessionsCommand::Export(args)) => export::run(&place, args).await,
        Some(SessionsCommand::Rebuild(_)) => rebuild::run(&place).await,
    }
}
