//! The pages for owners of accounts: a login, the use of an invitation, and the own account.
//!
//! They ask the API with the session of the owner, so they can do what it allows for one account.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    http::{
        HeaderValue, Method, StatusCode,
        header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
        request::Parts,
    },
    response::{IntoResponse, Response},
};
use conclave_api::{
    account::{
        Account, Export, Exported, Generate, Issue, Issued, Key, Login, Passphrase, Purpose,
        Reason, Revoke,
    },
    change::Change,
    grant::WhoAmI,
    path,
    problem::{Code, Problem},
    user::Session,
};
use data_encoding::BASE64;
use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use crate::{
    SHORT_FORM_BYTES_MAX, Site,
    api::{Api, Call, Connection, internal},
    cookie::{FORM_COOKIE, OWNER_COOKIE, cookie, with_cookie},
    form::{Fields, Form},
    show,
    visit::{Visit, status_of},
};

pub(crate) const HOME: &str = "/account";
pub(crate) const LOGIN: &str = "/account/login";
pub(crate) const LOGOUT: &str = "/account/logout";
/// Where the forms of the account are sent, by what they are about.
pub(crate) const FORM: &str = "/account/{what}";

/// What has been done, by the word for it in the path of the page that says so.
const DONE: [(&str, &str); 5] = [
    ("entered", "Your account is ready."),
    ("certificate", "You have a new certificate."),
    ("revoked", "The certificate is revoked."),
    ("key", "You have a new key. The certificates issued here for the old one are revoked."),
    ("passphrase", "The passphrase is changed."),
];

/// A form of an owner.
type Sent = Form<SHORT_FORM_BYTES_MAX>;

#[derive(Template)]
#[template(path = "owner_login.html")]
struct LoginPage<'a> {
    v: &'a Visit,
    address: String,
}

#[derive(Template)]
#[template(path = "owner_enter.html")]
struct EnterPage<'a> {
    v: &'a Visit,
    address: &'a str,
    invitation: String,
}

#[derive(Template)]
#[template(path = "owner.html")]
struct AccountPage<'a> {
    v: &'a Visit,
    account: Account,
    /// Those of the current key first.
    certificates: Vec<Certified>,
    done: Option<&'static str>,
    expires: String,
}

/// A certificate of the account.
struct Certified {
    is_of_earlier: bool,
    issued: Issued,
    /// A class for its colour, a sign, and its state in words.
    state: (&'static str, &'static str, &'static str),
}

impl AccountPage<'_> {
    /// Returns whether the current key has a certificate that is valid now.
    fn is_certified(&self) -> bool {
        self.certificates.iter().any(|one| !one.is_of_earlier && one.is_valid())
    }

    /// Returns all keys, the current one first.
    fn keys(&self) -> impl Iterator<Item = &Key> {
        self.account.key.iter().chain(self.account.earlier.iter().rev())
    }
}

impl Certified {
    fn is_valid(&self) -> bool {
        self.issued.revoked.is_none() && self.issued.certificate.days_left >= 0
    }

    fn is_revocable(&self) -> bool {
        self.issued.own && self.is_valid()
    }
}

/// An owner who has logged in.
struct Owner {
    visit: Visit,
    address: String,
    expires: String,
}

/// Returns a visit that has the session of an owner, if any.
fn visit(parts: &Parts, site: &Arc<Site>) -> Visit {
    let connection = parts.extensions.get::<Connection>().cloned().unwrap_or_default();
    let token = cookie(&parts.headers, OWNER_COOKIE).map(str::to_owned);
    let api = Api::new(site.api.clone(), connection, token);
    Visit { api, ..Visit::of_stranger(parts, site) }
}

/// Finds out who looks. Strangers and those whose session has ended go to the login.
async fn owner(parts: &Parts, site: &Arc<Site>) -> Result<Owner, Response> {
    let visit = visit(parts, site);
    if !visit.api.has_token() {
        return Err(visit.go(LOGIN));
    }
    match visit.api.read::<WhoAmI>(path::WHO_AM_I).await {
        Ok(WhoAmI { account: Some(address), expires, .. }) => {
            Ok(Owner { visit, address, expires: expires.unwrap_or_default() })
        }
        Ok(_) => Err(with_cookie(visit.go(LOGIN), OWNER_COOKIE, "")),
        Err(problem) if problem.code == Code::NotLoggedIn => {
            Err(with_cookie(visit.go(LOGIN), OWNER_COOKIE, ""))
        }
        Err(problem) => Err(login_page(visit, Some(problem), String::new())),
    }
}

fn login_page(mut visit: Visit, problem: Option<Problem>, address: String) -> Response {
    let status = problem.as_ref().map_or(StatusCode::OK, status_of);
    visit.problem = problem;
    visit.page(status, &LoginPage { v: &visit, address })
}

/// Shows the login.
pub(crate) async fn show_login(State(site): State<Arc<Site>>, parts: Parts) -> Response {
    login_page(visit(&parts, &site), None, String::new())
}

/// Logs an owner in.
pub(crate) async fn log_in(
    State(site): State<Arc<Site>>,
    parts: Parts,
    Form(fields): Sent,
) -> Response {
    let visit = visit(&parts, &site);
    let address = fields.get("address").trim().to_owned();
    if let Err(problem) = visit.check_form(&parts, LOGIN, &fields) {
        return login_page(visit, Some(problem), address);
    }
    let passphrase = fields.get("passphrase").to_owned();
    let login = Login { passphrase, invitation: None, algorithm: None };
    let session =
        ask::<Session>(&visit, Method::POST, (path::ACCOUNT_LOGIN, &address), &login).await;
    drop(Zeroizing::new(login.passphrase));
    match session {
        Ok(session) => with_cookie(visit.go(HOME), OWNER_COOKIE, &session.token),
        Err(problem) => login_page(visit, Some(problem), address),
    }
}

/// Has the browser forget the session.
pub(crate) async fn log_out(
    State(site): State<Arc<Site>>,
    parts: Parts,
    Form(fields): Sent,
) -> Response {
    let visit = visit(&parts, &site);
    match visit.check_form(&parts, LOGOUT, &fields) {
        Ok(()) => with_cookie(with_cookie(visit.go(LOGIN), OWNER_COOKIE, ""), FORM_COOKIE, ""),
        Err(_) => visit.go(HOME),
    }
}

/// Shows the form of an invitation. It is not used by that: programs look at links, too.
pub(crate) async fn show_invitation(
    State(site): State<Arc<Site>>,
    Path(address): Path<String>,
    parts: Parts,
) -> Response {
    let query = Fields::parse(parts.uri.query().unwrap_or_default().as_bytes());
    enter_page(visit(&parts, &site), None, &address, query.get("invitation").to_owned())
}

fn enter_page(
    mut visit: Visit,
    problem: Option<Problem>,
    address: &str,
    invitation: String,
) -> Response {
    let status = problem.as_ref().map_or(StatusCode::OK, status_of);
    visit.problem = problem;
    visit.page(status, &EnterPage { v: &visit, address, invitation })
}

/// Uses an invitation.
pub(crate) async fn enter(
    State(site): State<Arc<Site>>,
    Path(address): Path<String>,
    parts: Parts,
    Form(fields): Sent,
) -> Response {
    let visit = visit(&parts, &site);
    let invitation = fields.get("invitation").trim().to_owned();
    let passphrase =
        visit.check_form(&parts, path::ENTER_PAGE, &fields).and_then(|()| new_passphrase(&fields));
    let passphrase = match passphrase {
        Ok(passphrase) => passphrase,
        Err(problem) => return enter_page(visit, Some(problem), &address, invitation),
    };
    let login = Login { passphrase, invitation: Some(invitation.clone()), algorithm: None };
    let session =
        ask::<Session>(&visit, Method::POST, (path::ACCOUNT_LOGIN, &address), &login).await;
    drop(Zeroizing::new(login.passphrase));
    match session {
        Ok(session) => with_cookie(done(&visit, "entered"), OWNER_COOKIE, &session.token),
        Err(problem) => enter_page(visit, Some(problem), &address, invitation),
    }
}

/// Returns a new passphrase that was typed twice.
fn new_passphrase(fields: &Fields) -> Result<String, Problem> {
    let passphrase = fields.get("new_passphrase");
    match passphrase == fields.get("repeated_passphrase") {
        true => Ok(passphrase.to_owned()),
        false => Err(Problem::new(Code::Malformed, "the two new passphrases are not the same")),
    }
}

/// Shows the account.
pub(crate) async fn show(State(site): State<Arc<Site>>, parts: Parts) -> Response {
    match owner(&parts, &site).await {
        Ok(owner) => account_page(owner, &parts, None).await,
        Err(answer) => answer,
    }
}

async fn account_page(mut owner: Owner, parts: &Parts, problem: Option<Problem>) -> Response {
    let query = Fields::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let done = DONE.iter().find(|(word, _)| *word == query.get("done"));
    let done = done.map(|(_, text)| *text).filter(|_| problem.is_none());
    let path = path::with_name(path::ACCOUNT, &owner.address);
    let account: Account = match owner.visit.api.read(&path).await {
        Ok(account) => account,
        Err(unread) => return login_page(owner.visit, Some(unread), owner.address),
    };
    let current = account.key.iter().flat_map(|key| certified(key, false));
    let earlier = account.earlier.iter().rev().flat_map(|key| certified(key, true));
    let certificates = current.chain(earlier).collect();
    let status = problem.as_ref().map_or(StatusCode::OK, status_of);
    owner.visit.problem = problem;
    let (v, expires) = (&owner.visit, owner.expires);
    v.page(status, &AccountPage { v, account, certificates, done, expires })
}

fn certified(key: &Key, is_of_earlier: bool) -> impl Iterator<Item = Certified> {
    key.certificates.iter().map(move |issued| Certified {
        is_of_earlier,
        issued: issued.clone(),
        state: show::certificate_state(issued),
    })
}

/// Asks the API about an account.
async fn ask<T: DeserializeOwned>(
    visit: &Visit,
    method: Method,
    (path, address): (&str, &str),
    asked: &impl Serialize,
) -> Result<T, Problem> {
    let body = Zeroizing::new(serde_json::to_vec(asked).unwrap_or_default());
    let path = path::with_name(path, address);
    visit.api.call(Call { method, path, headers: Vec::new(), body }).await
}

fn done(visit: &Visit, word: &str) -> Response {
    visit.go(&format!("{HOME}?done={word}"))
}

/// Does what a form of the account asks for, and says so.
pub(crate) async fn act(
    State(site): State<Arc<Site>>,
    Path(what): Path<String>,
    parts: Parts,
    Form(fields): Sent,
) -> Response {
    let owner = match owner(&parts, &site).await {
        Ok(owner) => owner,
        Err(answer) => return answer,
    };
    let (visit, address) = (&owner.visit, owner.address.as_str());
    let did = match visit.check_form(&parts, &format!("{HOME}/{what}"), &fields) {
        Err(problem) => Err(problem),
        Ok(()) => match what.as_str() {
            "certificate" => issue(visit, address, &fields).await,
            "revoke" => revoke(visit, address, &fields).await,
            "key" => end_key(visit, address, &fields).await,
            "passphrase" => set_passphrase(visit, address, &fields).await,
            "file" => export(visit, address, &fields).await,
            _ => Err(Problem::new(Code::Malformed, "the page has no such form")),
        },
    };
    match did {
        Ok(answer) => answer,
        Err(problem) => account_page(owner, &parts, Some(problem)).await,
    }
}

type Did = Result<Response, Problem>;

/// Asks for a certificate of the current key, or for another one.
async fn issue(visit: &Visit, address: &str, fields: &Fields) -> Did {
    let issue = Issue { renew: fields.is_on("renew"), ..Issue::default() };
    certify(visit, address, &issue).await?;
    Ok(done(visit, "certificate"))
}

async fn certify(visit: &Visit, address: &str, issue: &Issue) -> Result<Change, Problem> {
    ask(visit, Method::POST, (path::ACCOUNT_CERTIFICATE, address), issue).await
}

async fn end(
    visit: &Visit,
    address: &str,
    serial: &str,
    reason: Reason,
) -> Result<Change, Problem> {
    let revoke = Revoke { serial: Some(serial.to_owned()), reason };
    ask(visit, Method::POST, (path::ACCOUNT_CERTIFICATE_REVOKE, address), &revoke).await
}

/// Revokes one certificate.
async fn revoke(visit: &Visit, address: &str, fields: &Fields) -> Did {
    end(visit, address, fields.get("serial"), Reason::Unspecified).await?;
    Ok(done(visit, "revoked"))
}

/// Ends the current key: the account gets another one, the certificates that its domain issued for
/// the old ones are revoked, and the new one is certified. Once the key is there, every step is tried.
async fn end_key(visit: &Visit, address: &str, fields: &Fields) -> Did {
    let reason = match fields.get("reason") {
        "lost" => Reason::KeyCompromise,
        _ => Reason::Superseded,
    };
    let account: Account = visit.api.read(&path::with_name(path::ACCOUNT, address)).await?;
    // The new key first: a wrong passphrase must change nothing.
    let passphrase = fields.get("passphrase").to_owned();
    let generate = Generate { algorithm: None, purpose: Purpose::default(), passphrase };
    ask::<Change>(visit, Method::POST, (path::ACCOUNT_KEY, address), &generate).await?;
    drop(Zeroizing::new(generate.passphrase));
    let mut failed = None;
    let old = account.key.iter().chain(&account.earlier).flat_map(|key| certified(key, true));
    for one in old.filter(Certified::is_revocable) {
        let ended = end(visit, address, &one.issued.certificate.serial, reason).await;
        failed = failed.or(ended.err());
    }
    let certified = certify(visit, address, &Issue::default()).await;
    match failed.or(certified.err()) {
        None => Ok(done(visit, "key")),
        Some(problem) => {
            let title = format!("you have a new key, but not all else is done: {}", problem.title);
            Err(Problem { title, hint: None, ..problem }.hint(
                "the table shows what is left: revoke what is still valid, ask for what is missing",
            ))
        }
    }
}

/// Changes the passphrase. That ends every session of the owner, so a new one begins here.
async fn set_passphrase(visit: &Visit, address: &str, fields: &Fields) -> Did {
    let new = new_passphrase(fields)?;
    let change = Passphrase { old: fields.get("passphrase").to_owned(), new: new.clone() };
    ask::<Change>(visit, Method::PUT, (path::ACCOUNT_PASSPHRASE, address), &change).await?;
    let login = Login { passphrase: new, invitation: None, algorithm: None };
    let session = ask::<Session>(visit, Method::POST, (path::ACCOUNT_LOGIN, address), &login).await;
    drop((Zeroizing::new(login.passphrase), Zeroizing::new(change.old)));
    drop(Zeroizing::new(change.new));
    let session = session?;
    Ok(with_cookie(done(visit, "passphrase"), OWNER_COOKIE, &session.token))
}

/// Sends a key with its certificate as a PKCS#12 file.
async fn export(visit: &Visit, address: &str, fields: &Fields) -> Did {
    let export = Export {
        passphrase: fields.get("passphrase").to_owned(),
        export_passphrase: new_passphrase(fields)?,
        key: fields.some("which"),
        legacy: fields.is_on("legacy"),
    };
    let exported =
        ask::<Exported>(visit, Method::POST, (path::ACCOUNT_KEY_EXPORT, address), &export).await;
    drop((Zeroizing::new(export.passphrase), Zeroizing::new(export.export_passphrase)));
    let exported = exported?;
    let file = BASE64.decode(exported.pkcs12.as_bytes()).map_err(internal)?;
    let name = format!("attachment; filename=\"{}.p12\"", address.replace(['"', '\\'], "_"));
    let plain = HeaderValue::from_static("attachment; filename=\"account.p12\"");
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/x-pkcs12")),
        (CONTENT_DISPOSITION, HeaderValue::from_str(&name).unwrap_or(plain)),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    Ok((headers, file).into_response())
}
