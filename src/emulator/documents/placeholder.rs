//! Where a parameter's value goes in a document: `{{ name }}`.

use std::sync::LazyLock;

use regex::Regex;

/// `{{ name }}`. `{{ssm:name}}` and `{{ .Names }}` are none: they are the agent's, or the command's.
#[allow(clippy::expect_used, reason = "a constant pattern, which a test compiles")]
pub(super) static PLACEHOLDER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\{\{ *([A-Za-z0-9]+) *\}\}").expect("a constant pattern"));
