//! Findings of a check.

use serde::Serialize;

use crate::output;

/// Exit code if there are problems.
const FOUND: u8 = 9;

/// Findings by severity: passed checks, warnings, problems.
#[derive(Default, Serialize)]
pub(super) struct Findings {
    checks: Vec<String>,
    warnings: Vec<String>,
    problems: Vec<String>,
}

impl Findings {
    pub(super) fn right(&mut self, text: String) {
        self.checks.push(text);
    }

    pub(super) fn warn(&mut self, text: String) {
        self.warnings.push(text);
    }

    pub(super) fn wrong(&mut self, text: String) {
        self.problems.push(text);
    }

    /// Adds the one sentence or the other.
    pub(super) fn judge(&mut self, is_right: bool, right: String, wrong: String) {
        if is_right { self.right(right) } else { self.wrong(wrong) }
    }

    /// Adds where a chain leads. A private authority is not a problem: its clients know it.
    pub(super) fn lead(&mut self, of: &str, anchor: Option<String>) {
        match anchor {
            Some(anchor) => self.right(format!("{of}leads to {anchor}")),
            None => self.warn(format!(
                "{of}leads to no trusted certificate: clients must know its authority"
            )),
        }
    }

    pub(super) fn show(&self) {
        self.checks.iter().for_each(|text| output::line(&format!("ok  {text}")));
        self.warnings.iter().for_each(|text| output::line(&format!("!   {text}")));
        self.problems.iter().for_each(|text| output::line(&format!("x   {text}")));
    }

    /// Returns the exit code of the command.
    pub(super) fn code(&self) -> u8 {
        if self.problems.is_empty() { 0 } else { FOUND }
    }
}
