//! Statuses of the answers of each operation. The gate of a node tells its log of any other, and
//! the suites fail then.

use super::{Answer, Body, Method, Operation};
use crate::need::{Need, need};

/// Operations that a node without a cluster carries out too.
const WITHOUT_CLUSTER: [&str; 6] =
    ["openapi", "status", "who_am_i", "roles", "unlocking", "tls_served"];
/// Operations without a name in the path that are about something else, which may not exist.
const NAMING_OTHERS: [&str; 6] =
    ["join", "transfer_leader", "note_backup", "create_user", "log_out", "create_account"];
/// Operations with secrets that could be guessed.
const GUESSED: [&str; 8] = [
    "log_in",
    "account_login",
    "unseal",
    "rekey",
    "generate_account_key",
    "import_account_key",
    "export_account_key",
    "set_account_passphrase",
];
/// Operations that ask another cluster.
const OF_OTHERS: [&str; 1] = ["join"];

impl Operation {
    /// Returns what it needs of its caller. Every operation has a row in the table of needs.
    pub fn need(&self) -> Option<Need> {
        need(self.method.as_str(), self.path)
    }

    /// Returns the status of success.
    pub fn success(&self) -> u16 {
        if matches!(self.answer, Answer::Upgrade(_)) { 101 } else { 200 }
    }

    /// Whether an answer may have this status.
    pub fn answers_with(&self, status: u16) -> bool {
        let (has_name, has_body) = (self.path.contains('{'), !matches!(self.body, Body::Empty));
        let is_one_of = |ids: &[&str]| ids.contains(&self.id);
        let is_change = self.method != Method::Get
            && !matches!(self.answer, Answer::Stream(_) | Answer::Upgrade(_));
        match status {
            400 => {
                let is_document = matches!(self.answer, Answer::Document(_));
                has_name || has_body || !self.parameters.is_empty() || is_document
            }
            401 | 403 | 500 | 503 => true,
            404 => has_name || is_one_of(&NAMING_OTHERS),
            409 => !is_one_of(&WITHOUT_CLUSTER),
            410 => matches!(self.answer, Answer::Events),
            // A body that nobody wants is read all the same, and must not be larger either.
            413 => !matches!(self.answer, Answer::Document(_)),
            422 => has_name || has_body || self.has_parameter("after"),
            429 => is_one_of(&GUESSED),
            502 => is_one_of(&OF_OTHERS),
            504 | 507 => is_change,
            other => other == self.success(),
        }
    }

    fn has_parameter(&self, name: &str) -> bool {
        self.parameters.iter().flat_map(|group| group.iter()).any(|one| one.name == name)
    }
}
