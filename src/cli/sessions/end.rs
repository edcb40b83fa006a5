//! `portcullis sessions end`.

use serde_json::{Value, json};

use super::control;
use crate::audit::{Archive, EndArgs, shown};
use crate::cli::exit::Failure;
use crate::cli::output;

pub(super) fn run(archive: &Archive, args: &EndArgs) -> Result<(), Failure> {
    let question = json!({ "end": args.session.id, "message": args.message });
    let answer = control::ask(&archive.evidence, &question)?;
    let word = |name: &str| shown(answer.get(name).and_then(Value::as_str).unwrap_or_default());
    output::print(&format!("ending {} ({} of {} on {})\n", word("id"), word("action"), word("person"), word("node")))
}
