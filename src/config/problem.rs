//! What is wrong with a configuration, and where: one sentence, the place in the file, and what to do.

use std::path::Path;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, Severity, SourceSpan};

/// Everything that is wrong with one configuration.
#[derive(Debug, Default)]
pub struct ConfigError {
    /// At least one, in the file's order.
    pub problems: Vec<Problem>,
    /// What is odd beside that.
    pub warnings: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{file}{}: {message}", place(.line_column))]
pub struct Problem {
    /// The file's name.
    pub file: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Line and column, from 1.
    pub line_column: Option<(usize, usize)>,
    severity: Severity,
    span: Option<SourceSpan>,
    source_text: String,
}

impl ConfigError {
    /// The problems with their places in the file drawn, for a person.
    pub fn render(&self, colour: bool) -> String {
        render(self.problems.iter().chain(&self.warnings), colour)
    }
}

/// Problems with their places in the file drawn, for a person.
pub fn render<'a>(problems: impl IntoIterator<Item = &'a Problem>, colour: bool) -> String {
    let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_context_lines(1);
    let mut text = String::new();
    for problem in problems {
        let start = text.len();
        if handler.render_report(&mut text, problem).is_err() {
            text.truncate(start);
            text.push_str(&problem.to_string());
        }
    }
    text
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem], warnings: Vec::new() }
    }
}

impl Problem {
    /// A problem with the file as a whole.
    pub fn with_file(file: &Path, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            file: file.display().to_string(),
            message: message.into(),
            help: Some(help.into()),
            line_column: None,
            severity: Severity::Error,
            span: None,
            source_text: String::new(),
        }
    }

    /// A problem at a place in the text.
    pub(super) fn at(file: &Path, text: &str, span: Option<std::ops::Range<usize>>, message: String) -> Self {
        Self {
            file: file.display().to_string(),
            message,
            help: None,
            line_column: span.as_ref().map(|span| line_column(text, span.start)),
            severity: Severity::Error,
            span: span.map(Into::into),
            source_text: text.to_owned(),
        }
    }

    /// Not so bad that nothing can be done.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// With this to do about it, or nothing more than the sentence says.
    #[must_use]
    pub fn help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }
}

impl Diagnostic for Problem {
    fn severity(&self) -> Option<Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn std::fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        self.span.is_some().then_some(&self.source_text as &dyn miette::SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.span?;
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(Some("here".to_owned()), span))))
    }
}

fn place(line_column: &Option<(usize, usize)>) -> String {
    line_column.map(|(line, column)| format!(":{line}:{column}")).unwrap_or_default()
}

fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}
