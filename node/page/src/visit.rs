//! A visit: who looks at which page, and what every page shows around its content.

use std::{borrow::Borrow, sync::Arc};

use askama::Template;
use axum::{
    extract::FromRequestParts,
    http::{
        HeaderName, HeaderValue, Method, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERER,
            REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
        },
        request::Parts,
    },
    response::{IntoResponse, Response},
};
use conclave_api::{
    grant::{Right, WhoAmI},
    keyring::Unlocking,
    path,
    problem::{Code, Problem},
    status::{Health, Status},
};

use crate::{
    Site,
    api::{Api, Connection},
    assets,
    cookie::{FORM_COOKIE, SESSION_COOKIE, cookie, with_cookie},
    form::{Fields, FormKey, own_path, unescaped},
    held::{Owner, Told},
    show,
    wish::Wish,
};

/// Nothing from elsewhere, no script and no style in the page itself, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
/// Who asks. Without a leader the answer is not waited for.
const WHO: &str = "/v1/whoami?timeout_ms=2000";
/// Beginning of the paths of live parts.
const LIVE: &str = "/ui/live/";
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// The menu.
const MENU: [(&str, &str); 8] = [
    ("/ui", "Overview"),
    ("/ui/domains", "Domains"),
    ("/ui/trusted", "Trusted certificates"),
    ("/ui/tls", "TLS sessions"),
    ("/ui/listeners", "Listeners"),
    ("/ui/cluster", "Cluster"),
    ("/ui/audit", "Audit trail"),
    ("/ui/administrators", "Administrators"),
];

/// One look at a page.
#[derive(Clone)]
pub(crate) struct Visit {
    pub(crate) site: Arc<Site>,
    pub(crate) api: Api,
    pub(crate) key: FormKey,
    /// Path of the page, with its query.
    pub(crate) path: String,
    /// How the cluster is; `None` if the visitor may not know it.
    pub(crate) status: Option<Status>,
    /// Who looks; `None`: a stranger, or the node cannot tell now.
    pub(crate) who: Option<WhoAmI>,
    /// Why a form of this page was refused.
    pub(crate) problem: Option<Problem>,
    /// What a form of this page had that was refused, or not confirmed, so that nobody types it
    /// twice.
    pub(crate) old: Vec<(String, String)>,
    /// What has just been done.
    pub(crate) told: Option<Told>,
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    v: &'a Visit,
}

/// Returns the status of a page that shows a problem.
pub(crate) fn status_of(problem: &Problem) -> StatusCode {
    StatusCode::from_u16(problem.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Returns the page that a form was on.
fn before(parts: &Parts) -> String {
    let referer = parts.headers.get(REFERER).and_then(|value| value.to_str().ok());
    let path = referer.and_then(|url| url.split_once("://")?.1.split_once('/'));
    own_path(&path.map(|(_, path)| format!("/{path}")).unwrap_or_default())
}

impl FromRequestParts<Arc<Site>> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Visit, Response> {
        let mut visit = Visit::of_stranger(parts, site);
        // Strangers cost the API nothing, and the audit trail no line.
        if !visit.api.has_login() {
            return Err(visit.to_login(parts).await);
        }
        match visit.api.read(WHO).await {
            Ok(who) => visit.who = Some(who),
            Err(problem) if problem.code == Code::NotLoggedIn => {
                return Err(visit.to_login(parts).await);
            }
            // Without a leader a node cannot tell whether a login was revoked. It still shows how
            // it is, and says that changes are off.
            Err(_) => {}
        }
        // What is fetched every two seconds needs no frame around it, and who is limited to some
        // domains may not read it.
        if !visit.path.starts_with(LIVE) && !visit.is_limited() {
            visit.status = visit.api.read(path::STATUS).await.ok();
        }
        Ok(visit)
    }
}

impl Visit {
    /// A visit of a stranger.
    pub(crate) fn of_stranger(parts: &Parts, site: &Arc<Site>) -> Visit {
        let connection = parts.extensions.get::<Connection>().cloned().unwrap_or_default();
        let token = cookie(&parts.headers, SESSION_COOKIE).map(str::to_owned);
        let path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        let key = FormKey::of(&parts.headers);
        let query = Fields::parse(parts.uri.query().unwrap_or_default().as_bytes());
        let told = query.some("told").and_then(|id| site.held.told(&key, &id));
        let old = query.some("held").and_then(|id| site.held.filled(&key, &id));
        Visit {
            site: Arc::clone(site),
            api: Api::new(site.api.clone(), connection, token),
            key,
            path,
            status: None,
            who: None,
            problem: None,
            old: old.unwrap_or_default(),
            told,
        }
    }

    /// Sends a stranger to the login, or to the page of a sealed node. The browser forgets a session
    /// that has ended.
    async fn to_login(&self, parts: &Parts) -> Response {
        if self.path.starts_with(LIVE) {
            return with_cookie(StatusCode::UNAUTHORIZED.into_response(), SESSION_COOKIE, "");
        }
        let unlocking: Option<Unlocking> = match self.api.has_token() {
            true => self.api.read(path::KEYRING_UNLOCKING).await.ok(),
            false => None,
        };
        match unlocking.is_some_and(|unlocking| unlocking.sealed) {
            true => self.go("/ui/sealed"),
            false => {
                let next =
                    if parts.method == Method::GET { self.path.clone() } else { before(parts) };
                let login = self.go(&format!("/ui/login?next={}", show::escaped(&next)));
                match self.api.has_token() {
                    true => with_cookie(login, SESSION_COOKIE, ""),
                    false => login,
                }
            }
        }
    }

    /// Answers with a page.
    pub(crate) fn page(&self, status: StatusCode, page: &impl Template) -> Response {
        let html = match page.render() {
            Ok(html) => html,
            Err(error) => {
                tracing::error!(event = "page.failed", %error);
                return (StatusCode::INTERNAL_SERVER_ERROR, "the page failed\n").into_response();
            }
        };
        let headers = [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CACHE_CONTROL, "no-store"),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "same-origin"),
            (OPENER_POLICY, "same-origin"),
        ];
        self.with_key((status, headers, html).into_response())
    }

    /// Answers with a page to go on to.
    pub(crate) fn go(&self, path: &str) -> Response {
        let mut answer = (StatusCode::SEE_OTHER, [(CACHE_CONTROL, "no-store")]).into_response();
        // A path of this page, or one that a browser sent: both can be written in a header.
        if let Ok(path) = HeaderValue::from_str(path) {
            answer.headers_mut().insert(LOCATION, path);
        }
        self.with_key(answer)
    }

    fn with_key(&self, answer: Response) -> Response {
        match self.key.is_new {
            true => with_cookie(answer, FORM_COOKIE, self.key.text()),
            false => answer,
        }
    }

    /// Returns how the cluster is, for pages that show nothing else.
    pub(crate) fn status(&self) -> Result<&Status, Problem> {
        let hidden = || match self.is_limited() {
            true => Problem::new(Code::NotAllowed, "this page is not about your domains"),
            false => Problem::new(Code::NoLeader, "this node cannot tell how the cluster is"),
        };
        self.status.as_ref().ok_or_else(hidden)
    }

    /// Answers with what is wrong, and no page.
    pub(crate) fn not_possible(mut self, problem: Problem) -> Response {
        let status = status_of(&problem);
        // Of two problems the one of the form is what the visitor asked about.
        self.problem.get_or_insert(problem);
        self.page(status, &ProblemPage { v: &self })
    }

    /// Refuses a form that this page did not make in this browser, or that is too long.
    pub(crate) fn check_form(
        &self,
        parts: &Parts,
        path: &str,
        fields: &Fields,
    ) -> Result<(), Problem> {
        let site = parts.headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
        let is_from_here = site.is_none_or(|site| site == "same-origin");
        if !is_from_here || !self.key.has_signed(path, fields) {
            let title = "this form was not made by this page in this browser";
            return Err(Problem::new(Code::NotAllowed, title)
                .hint("load the page again, and fill in the form there"));
        }
        fields.check()
    }

    /// Holds a change until the visitor confirms it.
    pub(crate) fn hold(&self, wish: Wish) {
        self.site.held.hold(self.owner(), wish);
    }

    /// Notes what has been done, for the visitor's next page.
    pub(crate) fn tell(&self, id: &str, told: Told) {
        self.site.held.tell(self.owner(), id, told);
    }

    fn owner(&self) -> Owner<'_> {
        let who = self.who.as_ref().map(|who| who.who.as_str()).unwrap_or_default();
        Owner { key: &self.key, who }
    }

    /// Returns the signature for forms that are sent to a path.
    pub(crate) fn csrf(&self, path: &str) -> String {
        self.key.sign(path)
    }

    /// Returns whether the visitor has a right.
    pub(crate) fn can(&self, right: &str) -> bool {
        let right = right.parse::<Right>().ok();
        let rights = self.who.as_ref().map(|who| who.rights.as_slice()).unwrap_or_default();
        right.is_some_and(|right| rights.contains(&right))
    }

    /// Returns whether the visitor sees some domains only.
    pub(crate) fn is_limited(&self) -> bool {
        self.who.as_ref().is_some_and(|who| !who.domains.is_empty())
    }

    /// Returns the path of the page without its query.
    pub(crate) fn path_alone(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    /// Returns whether this is the page at a path, however a browser escapes it.
    pub(crate) fn is_at(&self, path: impl AsRef<str>) -> bool {
        unescaped(self.path_alone()) == path.as_ref()
    }

    /// Returns the form of this page that is shown again with what it had.
    pub(crate) fn again(&self) -> Option<&str> {
        self.old("do")
    }

    /// Returns whether this form is shown again.
    pub(crate) fn is_again(&self, form: &str) -> bool {
        self.again() == Some(form)
    }

    /// Returns whether this form for a key of this family is shown again.
    pub(crate) fn is_again_for(&self, form: &str, family: &str) -> bool {
        self.is_again(form) && self.old("family") == Some(family)
    }

    fn old(&self, field: &str) -> Option<&str> {
        let found = self.old.iter().find(|(name, _)| name == field);
        found.map(|(_, value)| value.as_str())
    }

    /// Returns what a field shows first: what it had before, else `present`.
    pub(crate) fn filled<'v>(&'v self, form: &str, field: &str, present: &'v str) -> &'v str {
        self.old(field).filter(|_| self.is_again(form)).unwrap_or(present)
    }

    /// Returns whether a choice of a field is made first: as it was before, else as `is_present`.
    pub(crate) fn has(
        &self,
        form: &str,
        field: &str,
        value: impl AsRef<str>,
        is_present: impl Borrow<bool>,
    ) -> bool {
        let is_it = |(one, text): &(String, String)| one == field && text == value.as_ref();
        match self.is_again(form) {
            true => self.old.iter().any(is_it),
            false => *is_present.borrow(),
        }
    }

    /// Returns the name of the cluster.
    pub(crate) fn cluster(&self) -> &str {
        let cluster = self.status.as_ref().and_then(|status| status.cluster.as_ref());
        cluster.map_or("Conclave", |cluster| &cluster.name)
    }

    /// Returns the name of the answering node.
    pub(crate) fn node(&self) -> &str {
        self.status.as_ref().map_or("", |status| &status.node)
    }

    /// Returns the health of the cluster: a class for its colour, a sign and words.
    pub(crate) fn health(&self) -> Option<(&'static str, &'static str, &'static str)> {
        let cluster = self.status.as_ref()?.cluster.as_ref()?;
        Some(match cluster.health {
            Health::Healthy => ("good", "✓", "healthy"),
            Health::Attention => ("warn", "!", "needs attention"),
            Health::NoLeader => ("bad", "✗", "no leader"),
            Health::NoQuorum => ("bad", "✗", "no quorum"),
        })
    }

    /// Says why changes are off, if they are.
    pub(crate) fn stale(&self) -> Option<String> {
        let status = self.status.as_ref()?;
        let cluster = status.cluster.as_ref().filter(|cluster| cluster.stale)?;
        let age = cluster.stale_s.map(|seconds| format!(", {} old", show::seconds(seconds)));
        Some(format!(
            "As known to {}{}. No leader that a quorum follows answers it, so changes are off. \
             TLS goes on.",
            status.node,
            age.unwrap_or_default()
        ))
    }

    /// Returns whether the answering node is sealed.
    pub(crate) fn is_sealed(&self) -> bool {
        let keyring = self.status.as_ref().and_then(|status| status.keyring.as_ref());
        keyring.is_some_and(|keyring| keyring.sealed_nodes.iter().any(|one| one == self.node()))
    }

    /// Returns the menu: what the visitor may see.
    pub(crate) fn menu(&self) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
        let (is_limited, has_audit, has_user) =
            (self.is_limited(), self.can("audit"), self.can("user"));
        let is_seen = move |(path, _): &&(&str, &str)| match *path {
            "/ui/domains" => true,
            "/ui/audit" => has_audit && !is_limited,
            "/ui/administrators" => has_user && !is_limited,
            _ => !is_limited,
        };
        MENU.iter().filter(is_seen)
    }

    /// Returns whether a part of the menu holds this page.
    pub(crate) fn is_in(&self, part: &str) -> bool {
        let path = self.path_alone();
        let rest = path.strip_prefix(part);
        match part {
            "/ui" => path == part,
            _ => rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        }
    }

    /// Returns the path of a file that belongs to every page.
    pub(crate) fn asset(&self, name: &str) -> String {
        assets::path(name)
    }
}
