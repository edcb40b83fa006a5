//! `portcullis evidence sinks`: how evidence gets elsewhere, as the gateway that runs knows it.

use serde_json::{Value, json};

use crate::app;
use crate::cli::args::EvidenceSinksArgs;
use crate::cli::exit::Failure;
use crate::cli::failure::config_failure;
use crate::cli::output;
use crate::cli::sessions::ask;
use crate::config::{Overrides, Trust};
use crate::model::{plain_text_up_to, size_text};

/// How much of a sentence is shown.
const LONGEST: usize = 500;

pub(super) fn run(args: &EvidenceSinksArgs) -> Result<(), Failure> {
    let loaded = app::read(&args.config, Trust::Anybodys, &Overrides::default());
    let loaded = loaded.map_err(|error| config_failure(&args.config, &error, ", so its gateway is not known"))?;
    let answer = ask(&loaded.config.evidence.directory, &json!({ "sinks": true }))?;
    if args.json {
        return output::print(&format!("{answer:#}\n"));
    }
    let sinks = answer.get("sinks").and_then(Value::as_array).cloned().unwrap_or_default();
    let lines: String = sinks.iter().map(line).collect();
    output::print(if lines.is_empty() { "no sinks: evidence stays on this disk\n" } else { &lines })
}

fn line(sink: &Value) -> String {
    let text = |name: &str| plain_text_up_to(LONGEST, sink.get(name).and_then(Value::as_str).unwrap_or_default());
    let number = |name: &str| sink.get(name).and_then(Value::as_u64).unwrap_or_default();
    let required = if sink.get("required") == Some(&Value::Bool(true)) { ", required" } else { "" };
    let state = match (text("failing_since"), text("why")) {
        (since, why) if !since.is_empty() => format!("failing since {since}: {why}"),
        (_, why) if !why.is_empty() => why,
        _ => "takes evidence".to_owned(),
    };
    let mut line = format!("{}{required}: {state}\n", text("name"));
    let counts = [
        (number("waiting"), "folders wait"),
        (number("quarantined"), "in quarantine, each beside its reason"),
        (number("rejected"), "events were too old or too new for it"),
    ];
    for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
        line.push_str(&format!("  {count} {what}\n"));
    }
    for (name, what) in [("bytes", "of events wait"), ("dropped", "of events were dropped, since the spool was full")] {
        if number(name) > 0 {
            line.push_str(&format!("  {} {what}\n", size_text(number(name))));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_and_what_fails_is_said_and_nothing_of_what_is_well() {
        let fine =
            json!({"name": "s3", "required": true, "failing_since": null, "why": null, "waiting": 0, "bytes": 0});
        assert_eq!(line(&fine), "s3, required: takes evidence\n");
        let failing = json!({"name": "logs", "required": false, "failing_since": "2026-11-30T07:12:33Z",
            "why": "no\u{1b}[2J route", "waiting": 3, "bytes": 2048, "quarantined": 1});
        let said = line(&failing);
        assert!(said.starts_with("logs: failing since 2026-11-30T07:12:33Z: no"), "{said}");
        assert!(
            !said.contains('\u{1b}') && said.contains("  3 folders wait\n") && said.contains("2 KiB of events wait"),
            "{said}"
        );
    }
}
