//! Policies in one layout, comments and all.

/// As wide as the samples are.
const LINE: usize = 100;
const INDENT: isize = 4;

/// The same policies in the usual layout; or what is wrong with them.
pub fn formatted(text: &str) -> Result<String, String> {
    let config = cedar_policy_formatter::Config { line_width: LINE, indent_width: INDENT };
    let mut text = cedar_policy_formatter::policies_str_to_pretty(text, &config).map_err(|error| error.to_string())?;
    if !text.ends_with('\n') && !text.is_empty() {
        text.push('\n');
    }
    Ok(text)
}
