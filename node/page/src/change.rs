//! The way of a change on the page: a form, its dry run, the confirmation.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::State,
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use conclave_api::{
    change::{Change, List},
    domain::{Domain, DomainVersion},
    path,
    problem::{Code, Problem},
};
use serde_json::Value;

use crate::{
    FORM_BYTES_MAX, SHORT_FORM_BYTES_MAX, Site,
    form::{Form, own_path},
    held::{Told, Undo},
    pages::{self, refused},
    visit::Visit,
    wish::Wish,
};

/// Where forms go.
pub(crate) const ASK: &str = "/ui/change";
/// Where confirmations go.
pub(crate) const CONFIRM: &str = "/ui/change/confirm";

#[derive(Template)]
#[template(path = "confirm.html")]
struct ConfirmPage<'a> {
    v: &'a Visit,
    wish: &'a Wish,
    change: Option<Change>,
}

#[derive(Template)]
#[template(path = "stale.html")]
struct StalePage<'a> {
    v: &'a Visit,
    wish: &'a Wish,
    seen: u64,
    now: u64,
    /// What others did meanwhile.
    others: Vec<DomainVersion>,
    change: Option<Change>,
}

#[derive(Template)]
#[template(path = "unknown.html")]
struct UnknownPage<'a> {
    v: &'a Visit,
    wish: &'a Wish,
}

#[derive(Template)]
#[template(path = "result.html")]
struct ResultPage<'a> {
    v: &'a Visit,
    title: &'a str,
    back: &'a str,
    /// What is shown this once: its name and its text.
    shown: Vec<(&'static str, String)>,
    /// Name of a file to keep it in.
    file: Option<&'a str>,
}

/// Takes a form. Answers with its dry run, or with the form and what is wrong with it.
pub(crate) async fn ask(
    mut visit: Visit,
    parts: Parts,
    Form(fields): Form<FORM_BYTES_MAX>,
) -> Response {
    visit.path = own_path(fields.get("back"));
    let filled = fields.shown();
    // Of a form with several buttons the pressed one says what is wanted.
    let form = fields.all("do").last().unwrap_or_default().to_owned();
    let checked = visit.check_form(&parts, ASK, &fields);
    let mut wish = match checked.and_then(|()| pages::wish(&form, &fields)) {
        Ok(wish) => wish,
        Err(problem) => return refused(visit, filled, problem).await,
    };
    drop(fields);
    visit.path_alone().clone_into(&mut wish.page);
    wish.filled = filled;
    if pages::is_at_once(&form) {
        return done(visit, wish).await;
    }
    if !wish.can_try {
        return confirmation(&visit, &wish, None);
    }
    match wish.send::<Change>(&visit.api, true).await {
        Ok(change) => confirmation(&visit, &wish, Some(change)),
        Err(problem) if problem.code == Code::VersionConflict => stale(visit, wish, problem).await,
        Err(problem) => refused(visit, wish.filled, problem).await,
    }
}

/// Makes a change that was shown before.
pub(crate) async fn confirm(
    State(site): State<Arc<Site>>,
    mut visit: Visit,
    parts: Parts,
    Form(fields): Form<SHORT_FORM_BYTES_MAX>,
) -> Response {
    visit.path = own_path(fields.get("back"));
    if let Err(problem) = visit.check_form(&parts, CONFIRM, &fields) {
        return refused(visit, Vec::new(), problem).await;
    }
    let id = fields.get("id");
    let Some(mut wish) = site.held.take(&visit.key, id) else {
        // A second click on the button finds what the first one has done.
        if site.held.told(&visit.key, id).is_some() {
            return visit.go(&format!("{}?told={id}", visit.path_alone()));
        }
        let problem =
            Problem::new(Code::Malformed, "this form was confirmed already, or is too old")
                .hint("look whether the change is made; if not, begin again");
        return refused(visit, Vec::new(), problem).await;
    };
    visit.path.clone_from(&wish.page);
    wish.reason = fields.some("reason");
    // A visitor who has seen what others did meanwhile decides for the present version.
    if let Some(version) = fields.some("version") {
        wish.version = version.parse().ok();
    }
    if let Some(name) = wish.typed.clone().filter(|name| fields.get("typed").trim() != name) {
        visit.problem = Some(Problem::new(Code::Malformed, format!("type {name} to go on")));
        let change = wish.tried(&visit.api).await;
        return confirmation(&visit, &wish, change);
    }
    done(visit, wish).await
}

/// Sends a change, and shows what came of it.
async fn done(mut visit: Visit, wish: Wish) -> Response {
    match wish.send::<Value>(&visit.api, false).await {
        Ok(answer) => shown(&visit, &wish, &answer),
        Err(problem) if problem.code == Code::VersionConflict => stale(visit, wish, problem).await,
        // It may have happened: the same operation again does it at most once.
        Err(problem) if problem.code == Code::OutcomeUnknown && wish.can_try => {
            visit.problem = Some(problem);
            visit.hold(wish.clone());
            let page = UnknownPage { v: &visit, wish: &wish };
            visit.page(StatusCode::SERVICE_UNAVAILABLE, &page)
        }
        Err(problem) => refused(visit, wish.filled, problem).await,
    }
}

fn confirmation(visit: &Visit, wish: &Wish, change: Option<Change>) -> Response {
    let status = match visit.problem.is_some() {
        true => StatusCode::BAD_REQUEST,
        false => StatusCode::OK,
    };
    visit.hold(wish.clone());
    visit.page(status, &ConfirmPage { v: visit, wish, change })
}

/// Shows what others changed meanwhile beside what the visitor wants.
async fn stale(visit: Visit, mut wish: Wish, problem: Problem) -> Response {
    let Some((seen, name)) = wish.version.zip(wish.domain.clone()) else {
        return refused(visit, wish.filled, problem).await;
    };
    let domain: Option<Domain> = visit.api.read(&path::with_name(path::DOMAIN, &name)).await.ok();
    let now = domain.map_or(seen, |domain| domain.version);
    let history: Result<List<DomainVersion>, _> =
        visit.api.read(&path::with_name(path::DOMAIN_HISTORY, &name)).await;
    let others = history.map(|list| list.items).unwrap_or_default();
    let others = others.into_iter().filter(|one| one.version > seen).collect();
    wish.version = Some(now);
    let change = wish.tried(&visit.api).await;
    visit.hold(wish.clone());
    let page = StalePage { v: &visit, wish: &wish, seen, now, others, change };
    visit.page(StatusCode::CONFLICT, &page)
}

/// Returns how a change of a domain is undone, if the visitor may do that.
fn undo(visit: &Visit, wish: &Wish, change: &Change) -> Option<Undo> {
    let version = change.version.filter(|version| change.changed && *version > 1)?;
    let is_possible = wish.can_undo && visit.can("domain");
    is_possible.then(|| Undo {
        name: wish.domain.clone().unwrap_or_default(),
        scope: wish.scope.clone(),
        version,
        to: version - 1,
    })
}

/// Answers with what is shown once, or goes on to the page and says what was done.
fn shown(visit: &Visit, wish: &Wish, answer: &Value) -> Response {
    let text = |pointer: &str| answer.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let mut all: Vec<(&'static str, String)> = Vec::new();
    let of_invitation: &[(&'static str, &str)] = &[
        ("Invitation", "/invitation"),
        ("Page where the owner uses it", "/url"),
        ("Valid until", "/expires"),
    ];
    let of_others = [
        ("Signing request", "/pem"),
        ("Token", "/token"),
        ("Secret", "/secret"),
        ("For an app", "/url"),
        ("Address for the new node", "/address"),
        ("Valid until", "/expires"),
    ];
    let wanted = if answer.get("invitation").is_some() { of_invitation } else { &of_others };
    for (name, pointer) in wanted {
        all.extend(text(pointer).map(|text| (*name, text)));
    }
    let is_secret =
        |name: &str| ["Signing request", "Token", "Secret", "Invitation"].contains(&name);
    let has_more = all.iter().any(|(name, _)| is_secret(name));
    if has_more {
        let file = text("/pem").map(|_| wish.file.as_str());
        let back = wish.after();
        let page = ResultPage { v: visit, title: &wish.title, back, shown: all, file };
        return visit.page(StatusCode::OK, &page);
    }
    let inner = answer.get("change").unwrap_or(answer);
    let told = match serde_json::from_value::<Change>(inner.clone()) {
        Ok(change) => Told { undo: undo(visit, wish, &change), ..Told::from(&change) },
        Err(_) => Told { text: format!("Done: {}", wish.title), ..Told::default() },
    };
    let id = &wish.operation;
    visit.tell(id, told);
    visit.go(&format!("{}?told={id}", wish.after())).into_response()
}
