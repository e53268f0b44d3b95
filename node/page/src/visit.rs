//! A visit: who looks at which page, and what every page shows around its content.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::FromRequestParts,
    http::{
        HeaderName, HeaderValue, Method, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERER,
            REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
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
    form::{self, Fields, FormKey, SESSION_COOKIE},
    held::Told,
    login::{own_path, with_session},
    show,
};

/// Nothing from elsewhere, no script and no style in the page itself, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
/// Who asks. Without a leader the answer is not waited for.
const WHO: &str = "/v1/whoami?timeout_ms=2000";
/// Beginning of the paths of live parts.
const LIVE: &str = "/ui/live/";
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

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
    /// What that form had, so that nobody types it twice.
    pub(crate) old: Vec<(String, String)>,
    /// What has just been done.
    pub(crate) told: Option<Told>,
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
        let token = form::cookie(&parts.headers, SESSION_COOKIE).map(str::to_owned);
        let path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        let key = FormKey::of(&parts.headers);
        let told = Fields::parse(parts.uri.query().unwrap_or_default().as_bytes())
            .some("told")
            .and_then(|id| site.held.told(&key, &id));
        Visit {
            site: Arc::clone(site),
            api: Api::new(site.api.clone(), connection, token),
            key,
            path,
            status: None,
            who: None,
            problem: None,
            old: Vec::new(),
            told,
        }
    }

    /// Sends a stranger to the login, or to the page of a sealed node. The browser forgets a session
    /// that has ended.
    async fn to_login(&self, parts: &Parts) -> Response {
        if self.path.starts_with(LIVE) {
            return with_session(StatusCode::UNAUTHORIZED.into_response(), "");
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
                if self.api.has_token() { with_session(login, "") } else { login }
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

    fn with_key(&self, mut answer: Response) -> Response {
        if self.key.is_new
            && let Ok(cookie) = HeaderValue::from_str(&self.key.cookie())
        {
            answer.headers_mut().append(SET_COOKIE, cookie);
        }
        answer
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

    /// Returns whether this is the page at a path.
    pub(crate) fn is_at(&self, path: impl AsRef<str>) -> bool {
        self.path_alone() == path.as_ref()
    }

    /// Returns the form of this page that was refused.
    pub(crate) fn refused(&self) -> Option<&str> {
        self.old.iter().find(|(name, _)| name == "do").map(|(_, form)| form.as_str())
    }

    /// Returns what a refused form had in a field, if this page has that form.
    pub(crate) fn old(&self, form: &str, field: &str) -> Option<&str> {
        let value = |name: &str| {
            self.old.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str())
        };
        value(field).filter(|_| value("do") == Some(form))
    }

    /// Returns whether a refused form had this value in a field.
    pub(crate) fn had(&self, form: &str, field: &str, value: impl AsRef<str>) -> bool {
        let is_it = |(one, text): &(String, String)| one == field && text == value.as_ref();
        self.refused() == Some(form) && self.old.iter().any(is_it)
    }

    /// Returns what a field shows first: what was typed before, else `present`.
    pub(crate) fn filled<'v>(&'v self, form: &str, field: &str, present: &'v str) -> &'v str {
        self.old(form, field).unwrap_or(present)
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
        crate::pages::MENU.iter().filter(is_seen)
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
