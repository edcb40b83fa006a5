//! Which of the commands was asked for.

use super::args::{SessionsArgs, SessionsCommand};
use super::looked::Anybody;
use super::terminal::Terminal;
use super::{end, export, place, rebuild};
use crate::audit::{Audit, LookArgs};
use crate::cli::exit::Failure;
use crate::cli::runtime::Ending;

pub(in crate::cli) async fn run(args: SessionsArgs) -> Result<(), Failure> {
    let archive = place::archive(&args.place)?;
    let leave = Anybody { evidence: archive.evidence.clone() };
    let audit = Audit { archive: &archive, leave: &leave };
    let what = match args.command {
        None => LookArgs::List(Box::new(args.list)),
        Some(SessionsCommand::List(args)) => LookArgs::List(args),
        Some(SessionsCommand::Show(args)) => LookArgs::Show(args),
        Some(SessionsCommand::Play(args)) => LookArgs::Play(args),
        Some(SessionsCommand::Follow(args)) => LookArgs::Follow(args),
        Some(SessionsCommand::Export(args)) if args.to.is_none() => LookArgs::Export(args.export),
        Some(SessionsCommand::Export(args)) => return export::run(&audit, &args).await,
        Some(SessionsCommand::End(args)) => return end::run(&archive, &args),
        Some(SessionsCommand::Rebuild(_)) => return rebuild::run(&archive).await,
    };
    let watches = matches!(what, LookArgs::Play(_) | LookArgs::Follow(_));
    let mut screen = if watches { Terminal::with_keys() } else { Terminal::default() };
    let mut ending = Ending::new(false)?;
    tokio::select! {
        looked = audit.look(&what, &mut screen) => Ok(looked?),
        () = ending.asked() => Ok(()),
    }
}
