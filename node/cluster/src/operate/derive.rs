//! Derivation of the command of an operation, and recognition of operations that need none.
//!
//! An operation that changes nothing is answered without a place in the order: no version, no entry
//! of the history, no log entry. This node decides that, after a read that contains everything
//! acknowledged before.

use std::{sync::Arc, time::Duration};

use conclave_api::{
    change::DryRun,
    finding::Severity,
    problem::{Code, Problem},
};
use conclave_store::{
    command::{Action, Command},
    id::{ListenerName, LogIndex, OperationId, ServerName},
    machine,
    outcome::{Done, Outcome, Rejection},
    record::{Principal, RowKey, TrustSet},
    scope::Scope,
    state::State,
};
use conclave_system::{clock, entropy};
use tokio::time::Instant;

use super::{Operator, dry_run, lost_trust};
use crate::{
    admit::{self, Admitted, View, rejection_problem},
    fault::internal,
    replica::{UPGRADE_HINT, version_of},
    view,
};

/// Longest wait for the level of the rules that a change needs. A new cluster reaches it within a
/// second; a cluster with an older member does not.
const LEVEL_WAIT: Duration = Duration::from_secs(2);

/// First level whose commands tell from where they were asked for.
const ORIGIN_LEVEL: u32 = 4;

/// The admission of a change; it may run several times.
pub(super) type Derive = Arc<dyn Fn(&View<'_>) -> Result<Admitted, Problem> + Send + Sync>;

/// The result of an admission.
pub(super) enum Derived {
    /// A command to order, after those of its parts.
    Command(Box<Command>, Vec<Command>, Told),
    /// The answer of the finished operation, and the index of its command.
    Repeated(Done, LogIndex, Told),
    /// Nothing to order.
    Unchanged(Unchanged),
}

/// The answer to an operation that changes nothing.
pub(super) struct Unchanged {
    pub(super) done: Done,
    /// Index of the last change of the object; 0 if it is not known.
    pub(super) index: LogIndex,
    pub(super) told: Told,
    /// The comparison, in a dry run.
    pub(super) compared: Option<DryRun>,
}

/// The parts of an admission that the answer contains.
pub(super) struct Told {
    pub(super) object: String,
    pub(super) warnings: Vec<String>,
}

impl Operator {
    /// Derives a command from this node's State. This node may lag behind, so a refusal, and that
    /// nothing changes, is final only if it is repeated after a linearizable read.
    pub(super) async fn admitted(&self, scope: Scope, derive: &Derive) -> Result<Derived, Problem> {
        let mut reports = self.node.live().reports(scope);
        let mut first = self.derive(scope, Arc::clone(derive)).await;
        let until = (Instant::now() + LEVEL_WAIT).min(self.deadline);
        while is_level_missing(&first)
            && matches!(tokio::time::timeout_at(until, reports.changed()).await, Ok(Ok(())))
        {
            first = self.derive(scope, Arc::clone(derive)).await;
        }
        if matches!(first, Ok(Derived::Command(..))) || is_level_missing(&first) {
            return first;
        }
        let derived = match scope {
            Scope::Local => first,
            Scope::Shared => {
                if self.node.replica()?.linearizable(self.left()).await.is_err() {
                    let is_excused = self.is_if_exists || self.is_if_missing;
                    return Err(first.err().filter(|_| !is_excused).unwrap_or(self.no_leader()));
                }
                self.derive(scope, Arc::clone(derive)).await
            }
        };
        let problem = match derived {
            Ok(derived) => return Ok(derived),
            Err(problem) => problem,
        };
        let absent = problem.code;
        match (self.repeated(scope, problem), &self.removed) {
            (Err(problem), Some(object)) if self.is_if_exists && is_absence(absent) => {
                let told = Told { object: object.clone(), warnings: vec![problem.title] };
                let (done, index) = (Done::Changed, LogIndex(0));
                let compared = self.is_dry_run.then(DryRun::default);
                Ok(Derived::Unchanged(Unchanged { done, index, told, compared }))
            }
            (other, _) => other,
        }
    }

    async fn derive(&self, scope: Scope, derive: Derive) -> Result<Derived, Problem> {
        let asked = self.clone();
        let derived = tokio::task::spawn_blocking(move || {
            let point = match scope {
                Scope::Shared => asked.node.replica()?.point(),
                Scope::Local => asked.node.local().point(),
            };
            let view = View {
                node: &asked.node,
                scope,
                state: &point.state,
                now: clock::now(),
                if_version: asked.if_version,
                family: asked.family,
                is_if_missing: asked.is_if_missing,
                is_if_exists: asked.is_if_exists,
                access: &asked.caller.access,
                principal: &asked.caller.principal,
                reason: asked.reason.as_deref(),
            };
            let admitted = derive(&view)?;
            asked.command(&view, admitted)
        });
        derived.await.map_err(|error| internal("admission failed", error))?
    }

    /// Returns the author of the command. A sealed node passes on what a person typed at its socket,
    /// marked as such, and nothing that decides who opens secrets.
    fn principal(&self, view: &View<'_>, action: &Action) -> Result<Principal, Problem> {
        let present = &self.caller.principal;
        let is_sealed = self.node.keyring().sealed_reason().is_some();
        if view.scope == Scope::Local || view.state.level() < admit::PROOFS_LEVEL || !is_sealed {
            return Ok(present.clone());
        }
        match present {
            Principal::Socket { uid } if !action.is_of_trust() => {
                let node = self.node.replica()?.id();
                Ok(Principal::SealedSocket { uid: *uid, node })
            }
            Principal::Socket { .. } => {
                Err(self.sealed("it decides who opens private keys".to_owned()))
            }
            _ => Err(self.sealed("a sealed node takes changes at its socket only".to_owned())),
        }
    }

    /// Makes the command of an admission, and tries it out on a copy of State.
    fn command(&self, view: &View<'_>, admitted: Admitted) -> Result<Derived, Problem> {
        let mut expects = admitted.expects;
        let is_versioned = |key: &RowKey| {
            matches!(
                key,
                RowKey::Domain(_)
                    | RowKey::TlsSettings
                    | RowKey::Account(_)
                    | RowKey::SmimeIssuer(_)
            )
        };
        let mut concerned = expects.iter().map(|one| &one.key).chain(&admitted.rows);
        let has_version = concerned.any(is_versioned);
        if self.if_version.is_some() && !has_version {
            let title = format!("{} has no version that can be expected", admitted.object);
            return Err(Problem::new(Code::Malformed, title)
                .why("domains, their S/MIME issuers and accounts that exist have versions, and the TLS settings")
                .hint("leave --if-version out"));
        }
        let told = Told { object: admitted.object, warnings: admitted.warnings };
        let Some(action) = admitted.action else {
            self.check_rows(&admitted.rows)?;
            return self.nothing(view, told, &admitted.rows);
        };
        self.check_action(view.state, &action)?;
        check_level(view.state, &action)?;
        let principal = self.principal(view, &action)?;
        if view.scope == Scope::Shared {
            expects.extend(self.caller.expects.iter().cloned());
        }
        let is_always_new = is_always_new(&action);
        let has_origin = view.state.level() >= ORIGIN_LEVEL;
        let part = |action: Action| Command {
            operation: OperationId::new(view.now, entropy::array()),
            principal: principal.clone(),
            request: self.request,
            time: view.now,
            reason: None,
            expects: self.caller.expects.clone(),
            action,
            origin: has_origin.then(|| self.caller.origin(&self.node)),
        };
        let parts: Vec<Command> = admitted.parts.into_iter().map(&part).collect();
        let (operation, reason) = (self.operation.clone(), self.reason.clone());
        let command = Command { operation, reason, expects, ..part(action) };
        let mut told = told;
        // The answer of a finished operation comes from the rules, with the command.
        let is_known = view.state.operation(&self.operation).is_some();
        if !is_known && !is_always_new {
            let begun = with_parts(view.state, &parts);
            let applied = machine::apply(&begun, LogIndex(u64::MAX), &command);
            if let Outcome::Rejected(rejection) = &applied.outcome
                && self.is_if_exists
                && self.removed.is_some()
                && is_absence(rejection_problem(rejection).code)
            {
                return Err(rejection_problem(rejection));
            }
            told.warnings.extend(new_problems(view, &applied.state, &command.action));
            if let Some(done) = applied.unchanged(view.state) {
                let index = changed_at(view.state, &rows_of(view.state, &command.action));
                let compared = self.is_dry_run.then(|| {
                    let (after, changes) = (&applied.state, &applied.changes);
                    dry_run::compare(view.scope, view.state, after, changes, view.now)
                });
                return Ok(Derived::Unchanged(Unchanged { done, index, told, compared }));
            }
        }
        Ok(Derived::Command(Box::new(command), parts, told))
    }

    /// Decides whether the caller may do this.
    fn check_action(&self, state: &State, action: &Action) -> Result<(), Problem> {
        let domain = action.domain().and_then(|name| state.domain(name));
        let present: Vec<ServerName> =
            domain.map(|domain| domain.server_names().collect()).unwrap_or_default();
        self.caller.access.check_action(&self.caller.principal.to_string(), action, &present)
    }

    /// Decides whether the caller may hear that these rows are as it wants them.
    fn check_rows(&self, rows: &[RowKey]) -> Result<(), Problem> {
        let who = self.caller.principal.to_string();
        rows.iter().try_for_each(|row| match row {
            RowKey::Domain(name) => self.caller.access.check_domain(&who, name),
            _ => Ok(()),
        })
    }

    /// Answers an admission that found nothing to do. A finished operation under this id was a
    /// change then; its answer is repeated.
    fn nothing(&self, view: &View<'_>, told: Told, rows: &[RowKey]) -> Result<Derived, Problem> {
        if view.state.operation(&self.operation).is_some() {
            return Err(rejection_problem(&Rejection::OperationReused(self.operation.clone())));
        }
        let domain = rows.iter().find_map(|row| match row {
            RowKey::Domain(name) => view.state.domain(name),
            _ => None,
        });
        let done = match domain {
            Some(domain) => Done::Domain { name: domain.name.clone(), version: domain.version },
            None => Done::Changed,
        };
        let index = changed_at(view.state, rows);
        let compared = self.is_dry_run.then(DryRun::default);
        Ok(Derived::Unchanged(Unchanged { done, index, told, compared }))
    }

    /// Looks up the replicated answer of a finished operation. A retry may no longer be derivable
    /// precisely because the change was made; then its first answer counts, not the current
    /// problem.
    fn repeated(&self, scope: Scope, problem: Problem) -> Result<Derived, Problem> {
        let point = match scope {
            Scope::Shared => self.node.replica()?.point(),
            Scope::Local => self.node.local().point(),
        };
        let before = point.state.operation(&self.operation).filter(|before| {
            before.principal == self.caller.principal && before.request == self.request
        });
        let Some(before) = before else { return Err(problem) };
        let object = match &before.done {
            Done::Domain { name, .. } => name.to_string(),
            _ => self.operation.to_string(),
        };
        let told = Told { object, warnings: Vec::new() };
        Ok(Derived::Repeated(before.done.clone(), before.index, told))
    }

    /// Returns whether a rejection is no error to this caller if admission finds the same.
    pub(super) fn excuses(&self, rejection: &Rejection) -> bool {
        use Rejection as R;
        let is_present = matches!(
            rejection,
            R::NameTaken { .. }
                | R::KeyExists { .. }
                | R::ListenerExists(_)
                | R::PortTaken(_)
                | R::AccountExists(_)
        );
        let is_absent = is_absence(rejection_problem(rejection).code);
        self.is_if_missing && is_present || self.is_if_exists && is_absent
    }
}

/// Returns what clients of a domain will not accept because of a change. An import says so itself.
fn new_problems(view: &View<'_>, after: &State, action: &Action) -> Vec<String> {
    if let Action::RemoveTrusted(None, removed) = action {
        return lost_trust::lost(view, after, removed);
    }
    let is_told = matches!(
        action,
        Action::SetCertificate(_)
            | Action::StartCanary(_)
            | Action::SetChain(..)
            | Action::RenameDomain(..)
            | Action::DeleteDomain(_)
            | Action::Account(_)
    );
    let Some(name) = action.domain().filter(|_| !is_told) else { return Vec::new() };
    let problems = |state: &State| -> Vec<String> {
        let Some(domain) = state.domain(name) else { return Vec::new() };
        let found = view::of_domain(view.scope, state, domain, view.now).findings;
        let heavy = found.into_iter().filter(|one| one.severity > Severity::Note);
        heavy.map(|one| one.text).collect()
    };
    let before = problems(view.state);
    problems(after).into_iter().filter(|text| !before.contains(text)).collect()
}

/// Returns a State to which the parts of a command were applied.
pub(super) fn with_parts(state: &State, parts: &[Command]) -> State {
    parts
        .iter()
        .fold(state.clone(), |state, part| machine::apply(&state, LogIndex(u64::MAX), part).state)
}

/// Refuses an action that older members could not read.
fn check_level(state: &State, action: &Action) -> Result<(), Problem> {
    let (level, known) = (action.level(), state.level());
    if level <= known {
        return Ok(());
    }
    Err(Problem::new(Code::VersionTooOld, "a member of the cluster does not know this change yet")
        .why(format!(
            "it needs level {level} of the rules ({} or later), and the cluster is at {known}",
            version_of(level)
        ))
        .hint(UPGRADE_HINT))
}

fn is_level_missing(derived: &Result<Derived, Problem>) -> bool {
    matches!(derived, Err(problem) if problem.code == Code::VersionTooOld)
}

/// Returns whether an action makes something new each time, so that it need not be tried out.
fn is_always_new(action: &Action) -> bool {
    matches!(
        action,
        Action::CreateDomain(_)
            | Action::CreateJoinToken(..)
            | Action::CreateAccessToken(..)
            | Action::AddAccessToken(..)
            | Action::GrantToken(_)
            | Action::RotateKeyring(_)
            | Action::TurnKeyring(_)
            | Action::RemoveMember(_)
            | Action::FlushSessions
    )
}

/// Returns whether a problem says that the object, or the part to remove, does not exist.
fn is_absence(code: Code) -> bool {
    matches!(
        code,
        Code::NodeUnknown
            | Code::DomainUnknown
            | Code::KeyMissing
            | Code::CertificateMissing
            | Code::ChainMissing
            | Code::ListenerUnknown
            | Code::TrustedCertificateUnknown
            | Code::AccountUnknown
            | Code::SmimeIssuerMissing
            | Code::NotFound
    )
}

/// Returns the rows whose last change tells since when an object is as it is.
fn rows_of(state: &State, action: &Action) -> Vec<RowKey> {
    let listener = |name: &ListenerName| {
        vec![RowKey::Listener(name.clone()), RowKey::ListenerPolicy(name.clone())]
    };
    match action {
        Action::AddListener(one) => listener(&one.name),
        Action::SetListener(one) => listener(&one.name),
        Action::PutListener(put) => listener(&put.listener.name),
        Action::SetTlsSettings(_) => vec![RowKey::TlsSettings],
        Action::AddTrusted(None, _) | Action::AddLongCrl(None, _) => {
            admit::trust_rows(state, &TrustSet::System)
        }
        other => other.domain().map(|name| RowKey::Domain(name.clone())).into_iter().collect(),
    }
}

/// Returns when the youngest of some rows was changed.
fn changed_at(state: &State, keys: &[RowKey]) -> LogIndex {
    let rows = keys.iter().filter_map(|key| state.row(key));
    rows.map(|row| row.changed_at).max().unwrap_or(LogIndex(0))
}
