//! A change as a visitor wishes it: shown as a dry run first, made when it is confirmed.

use axum::http::{HeaderName, Method};
use conclave_api::{change::Change, path, problem::Problem};
use data_encoding::HEXLOWER;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{
    api::{Api, Call},
    form::Fields,
    show,
};

/// A request for a change, not sent yet. A clone is the same operation: both sent, it is done once.
#[derive(Clone)]
pub(crate) struct Wish {
    /// What it does, as the heading of its page.
    pub(crate) title: String,
    pub(crate) method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    pub(crate) version: Option<u64>,
    /// JSON, which may hold a pasted private key: wiped.
    pub(crate) body: Zeroizing<Vec<u8>>,
    /// The same on the command line; empty: there is no such command.
    pub(crate) command: String,
    /// What the visitor has to type, because there is no way back.
    pub(crate) typed: Option<String>,
    /// Whether it can be tried out.
    pub(crate) can_try: bool,
    /// What is asked for, where the dry run does not say it.
    pub(crate) facts: Vec<(&'static str, String)>,
    /// What there is to know before.
    pub(crate) note: &'static str,
    /// The domain that it is about, and its scope as the API names it; empty: it was not said.
    pub(crate) domain: Option<String>,
    pub(crate) scope: String,
    /// Whether the version before can be had again afterwards.
    pub(crate) can_undo: bool,
    /// The page of its form, and what the form had, without secrets: the way back.
    pub(crate) page: String,
    pub(crate) filled: Vec<(String, String)>,
    /// Why the visitor wants it, for the history.
    pub(crate) reason: Option<String>,
    /// The page to go to afterwards; empty: that of the form.
    after: String,
    /// Name of a file for what the answer contains.
    pub(crate) file: String,
    /// Id of the operation: however often it is sent, it is done once.
    pub(crate) operation: String,
}

impl Wish {
    pub(crate) fn new(title: impl Into<String>, method: Method, path: String) -> Wish {
        Wish {
            title: title.into(),
            method,
            path,
            query: Vec::new(),
            version: None,
            body: Zeroizing::default(),
            command: String::new(),
            typed: None,
            can_try: true,
            facts: Vec::new(),
            note: "",
            domain: None,
            scope: String::new(),
            can_undo: false,
            page: "/ui".to_owned(),
            filled: Vec::new(),
            reason: None,
            after: String::new(),
            file: String::new(),
            operation: new_id(),
        }
    }

    /// Adds the body.
    pub(crate) fn json(mut self, body: &impl Serialize) -> Wish {
        // Structs of texts and numbers always serialize.
        self.body = serde_json::to_vec(body).unwrap_or_default().into();
        self
    }

    /// Adds a query parameter, if it has a value.
    pub(crate) fn query(mut self, name: &'static str, value: Option<String>) -> Wish {
        self.query.extend(value.map(|value| (name, value)));
        self
    }

    /// Adds what every form about a domain has: its name, its family of keys, and the version that
    /// was seen.
    pub(crate) fn of_domain(mut self, fields: &Fields) -> Wish {
        self.domain = fields.some("name");
        fields.get("scope").clone_into(&mut self.scope);
        self.can_undo = true;
        self.version = fields.get("version").parse().ok();
        self.query(path::FAMILY_PARAMETER, fields.some("family"))
            .query(path::SCOPE_PARAMETER, fields.some("scope"))
    }

    /// Adds the same on the command line.
    pub(crate) fn command(mut self, words: &[&str]) -> Wish {
        // Without the option a command is about the shared domain of that name.
        let local: &[&str] = if self.scope == "local" { &["--scope", "local"] } else { &[] };
        self.command = show::command(&[words, local].concat());
        self
    }

    /// Wants `name` typed.
    pub(crate) fn typed(mut self, name: &str) -> Wish {
        self.typed = Some(name.to_owned());
        self
    }

    /// Leads to another page than that of its form.
    pub(crate) fn then(mut self, path: String) -> Wish {
        self.after = path;
        self
    }

    /// Names the file in which the visitor can keep the answer.
    pub(crate) fn kept_in(mut self, file: String) -> Wish {
        self.file = file;
        self
    }

    /// Returns the page to go to afterwards.
    pub(crate) fn after(&self) -> &str {
        if self.after.is_empty() { &self.page } else { &self.after }
    }

    /// Returns the way back to the form, which then has what it had.
    pub(crate) fn way_back(&self) -> String {
        let form = self.filled.iter().find(|(name, _)| name == "do");
        let form = form.map(|(_, form)| form.as_str()).unwrap_or_default();
        format!("{}?held={}#{form}", self.page, self.operation)
    }

    /// Says what is asked for.
    pub(crate) fn fact(mut self, name: &'static str, value: impl Into<String>) -> Wish {
        self.facts.push((name, value.into()));
        self
    }

    /// Says what there is to know before.
    pub(crate) fn noted(mut self, note: &'static str) -> Wish {
        self.note = note;
        self
    }

    /// Has no dry run, and no place in the history; `note` says what it does.
    pub(crate) fn untried(mut self, note: &'static str) -> Wish {
        self.can_try = false;
        self.noted(note)
    }

    /// Takes out the version: the operation has none.
    pub(crate) fn unversioned(mut self) -> Wish {
        self.version = None;
        self
    }

    /// Returns about how many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        let query = self.query.iter().map(|(_, value)| value.len()).sum::<usize>();
        let fields = self.filled.iter().map(|(name, value)| name.len() + value.len());
        let texts = [&self.title, &self.path, &self.command, &self.page, &self.after];
        let texts = texts.into_iter().chain([&self.scope, &self.file]);
        let texts = texts.chain(&self.typed).chain(&self.domain).chain(&self.reason);
        texts.map(String::len).sum::<usize>() + query + fields.sum::<usize>() + self.body.len()
    }

    /// Takes out the way back: what it changes is not kept with the versions.
    pub(crate) fn for_ever(mut self) -> Wish {
        self.can_undo = false;
        self
    }

    /// Tries it out, if that is possible.
    pub(crate) async fn tried(&self, api: &Api) -> Option<Change> {
        match self.can_try {
            true => self.send(api, true).await.ok(),
            false => None,
        }
    }

    /// Sends it.
    pub(crate) async fn send<T: serde::de::DeserializeOwned>(
        &self,
        api: &Api,
        is_dry_run: bool,
    ) -> Result<T, Problem> {
        let mut query = self.query.clone();
        let mut headers = Vec::new();
        if self.can_try {
            headers.push((HeaderName::from_static(path::OPERATION_HEADER), self.operation.clone()));
        }
        if is_dry_run {
            query.push((path::DRY_RUN_PARAMETER, "true".to_owned()));
        } else if let Some(reason) = &self.reason {
            query.push((path::REASON_PARAMETER, reason.clone()));
        }
        if let Some(version) = self.version {
            headers
                .push((HeaderName::from_static(path::IF_MATCH_HEADER), format!("\"{version}\"")));
        }
        let path = show::with_query(&self.path, &query);
        api.call(Call { method: self.method.clone(), path, headers, body: self.body.clone() }).await
    }
}

/// Returns an id that nobody guesses. As the id of an operation it makes a second confirmation of
/// the same form harmless.
fn new_id() -> String {
    HEXLOWER.encode(&conclave_system::entropy::array::<16>())
}
