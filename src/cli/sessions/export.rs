//! `portcullis sessions export --to`.

use super::args::ExportToArgs;
use super::export_file::ExportFile;
use super::terminal::Terminal;
use crate::audit::{Audit, shown, write_export};
use crate::cli::exit::{Exit, Failure};

pub(super) async fn run(audit: &Audit<'_>, args: &ExportToArgs) -> Result<(), Failure> {
    let Some(path) = &args.to else { return Ok(()) };
    let exported = audit.exported(&args.export, &mut Terminal::default()).await?;
    let mut file = ExportFile::create(path, args.force)?;
    let written = write_export(&exported, args.export.format, &mut file).and_then(|()| file.finish());
    written.map_err(|error| {
        let text = format!("{}: it could not be exported: {error}", path.display());
        Failure::new(Exit::Failed, shown(&text))
    })
}
