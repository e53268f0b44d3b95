//! Findings of a check.

use conclave_api::finding::Severity;
use serde::Serialize;

use super::ATTENTION;
use crate::output;

/// Findings by weight: passed checks, notes, warnings, problems.
#[derive(Default, Serialize)]
pub(super) struct Findings {
    checks: Vec<String>,
    notes: Vec<String>,
    warnings: Vec<String>,
    problems: Vec<String>,
}

impl Findings {
    pub(super) fn right(&mut self, text: String) {
        self.checks.push(text);
    }

    pub(super) fn wrong(&mut self, text: String) {
        self.problems.push(text);
    }

    /// Adds the one sentence or the other.
    pub(super) fn judge(&mut self, is_right: bool, right: String, wrong: String) {
        if is_right { self.right(right) } else { self.wrong(wrong) }
    }

    /// Adds a finding with its next step.
    pub(super) fn add(&mut self, severity: Severity, text: &str, hint: Option<String>) {
        let hint = hint.map(|hint| format!("    {hint}")).unwrap_or_default();
        let said = format!("{text}{hint}");
        match severity {
            Severity::Note => self.notes.push(said),
            Severity::Warning => self.warnings.push(said),
            Severity::Error => self.problems.push(said),
        }
    }

    pub(super) fn show(&self) {
        self.checks.iter().for_each(|text| output::line(&format!("ok  {text}")));
        self.notes.iter().for_each(|text| output::line(&format!("-   {text}")));
        self.warnings.iter().for_each(|text| output::line(&format!("!   {text}")));
        self.problems.iter().for_each(|text| output::line(&format!("x   {text}")));
    }

    /// Returns the number of problems and warnings, in words.
    pub(super) fn sum(&self) -> String {
        let count = |count: usize, what: &str| match count {
            1 => format!("1 {what}"),
            count => format!("{count} {what}s"),
        };
        match (self.problems.len(), self.warnings.len()) {
            (0, 0) => "nothing is wrong".to_owned(),
            (problems, warnings) => {
                format!("{}, {}", count(problems, "problem"), count(warnings, "warning"))
            }
        }
    }

    /// Returns the exit code of the command: whether there are warnings or problems.
    pub(super) fn code(&self) -> u8 {
        if self.problems.is_empty() && self.warnings.is_empty() { 0 } else { ATTENTION }
    }
}
