//! Forms: their fields, and the proof that a form came from this page.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use conclave_api::problem::{Code, Problem};
use data_encoding::BASE64URL_NOPAD;
use futures::StreamExt;
use ring::hmac;
use zeroize::Zeroizing;

use crate::cookie::{FORM_COOKIE, cookie};

/// Field with the signature.
pub(crate) const CSRF: &str = "csrf";
const KEY_BYTES: usize = 32;
/// Most fields of a form; what follows is not read.
const FIELDS_MAX: usize = 2_000;
/// Most bytes of a field, unless it holds PEM.
const FIELD_BYTES_MAX: usize = 16 * 1024;
/// Fields that hold PEM.
const PEM: [&str; 4] = ["certificate", "certificates", "chain", "key"];
/// Longest time for a form to arrive.
const FORM_TIMEOUT: Duration = Duration::from_secs(60);
/// What is kept of a form that is too long: its first fields say from which page it comes.
const HEAD_BYTES: usize = 2 * 1024;
/// Most bytes of a form that is too long. They are read because a browser sends all of a form before
/// it reads the answer.
const LONG_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The fields of a form, in its order. Some hold secrets, so all are wiped.
pub(crate) struct Fields {
    pairs: Vec<(String, Zeroizing<String>)>,
    /// The form was longer than this bound in bytes, and only its first fields were kept.
    cut_at: Option<usize>,
}

impl Fields {
    /// Reads a body of `application/x-www-form-urlencoded`.
    pub(crate) fn parse(body: &[u8]) -> Fields {
        let pairs = form_urlencoded::parse(body).take(FIELDS_MAX);
        let pairs =
            pairs.map(|(name, value)| (name.into_owned(), Zeroizing::new(value.into_owned())));
        Fields { pairs: pairs.collect(), cut_at: None }
    }

    /// Reads the first fields of a form that is longer than `bytes_max`.
    fn cut(head: &[u8], bytes_max: usize) -> Fields {
        // The last one is not whole.
        let end = head.iter().rposition(|byte| *byte == b'&').unwrap_or(0);
        let whole = head.get(..end).unwrap_or_default();
        Fields { cut_at: Some(bytes_max), ..Fields::parse(whole) }
    }

    /// Refuses a form, or a field, that is longer than anything that can be meant.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        if let Some(bytes_max) = self.cut_at {
            let title = format!("a form has at most {} KiB", bytes_max / 1024);
            return Err(Problem::new(Code::TooLarge, title)
                .why("what was sent is longer, so nothing of it was used")
                .hint("paste only the PEM that belongs here"));
        }
        let is_long = |(name, value): &&(String, Zeroizing<String>)| {
            value.len() > FIELD_BYTES_MAX && !PEM.contains(&name.as_str())
        };
        match self.pairs.iter().find(is_long) {
            Some((name, _)) => {
                let title = format!("a field has at most {FIELD_BYTES_MAX} bytes");
                Err(Problem::new(Code::TooLarge, title)
                    .detail(name.chars().take(40).collect::<String>()))
            }
            None => Ok(()),
        }
    }

    /// Returns a field as it was sent; empty if it was not.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }

    /// Returns a field without white space around it, if it has something else.
    pub(crate) fn some(&self, name: &str) -> Option<String> {
        let text = self.get(name).trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// Returns a field as a number, if it has anything.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u32>, Problem> {
        let wrong = |text: String| {
            Problem::new(Code::Malformed, format!("{text:?} is no number")).detail(name.to_owned())
        };
        let number = |text: String| text.parse().map_err(|_| wrong(text));
        self.some(name).map(number).transpose()
    }

    /// Returns whether a box is ticked.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        !self.get(name).is_empty()
    }

    /// Returns every value of a field.
    pub(crate) fn all<'f>(&'f self, name: &str) -> impl Iterator<Item = &'f str> {
        self.pairs.iter().filter(move |(one, _)| one == name).map(|(_, value)| value.as_str())
    }

    /// Returns the words of a field: texts between white space or commas.
    pub(crate) fn words(&self, name: &str) -> Vec<String> {
        let is_between = |letter: char| letter.is_whitespace() || letter == ',';
        let words = self.get(name).split(is_between).filter(|word| !word.is_empty());
        words.map(str::to_owned).collect()
    }

    /// Returns what a form can be filled with again: everything but secrets.
    pub(crate) fn shown(&self) -> Vec<(String, String)> {
        const SECRET: [&str; 5] = ["password", "key", "share", "code", CSRF];
        // A file with certificates may hold their key, too.
        let has_key = |value: &str| value.contains("PRIVATE KEY-----");
        let is_secret = |name: &str| SECRET.contains(&name) || name.ends_with("passphrase");
        let is_shown = |name: &str, value: &str| !is_secret(name) && !has_key(value);
        let pairs = self.pairs.iter().filter(|(name, value)| is_shown(name, value));
        pairs.map(|(name, value)| (name.clone(), value.to_string())).collect()
    }
}

/// A form of at most so many bytes that has arrived in time. Of a longer one the first fields are
/// there, and [`Fields::check`] says so.
pub(crate) struct Form<const BYTES_MAX: usize>(pub(crate) Fields);

impl<const BYTES_MAX: usize, S: Send + Sync> FromRequest<S> for Form<BYTES_MAX> {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<Self, Response> {
        match tokio::time::timeout(FORM_TIMEOUT, read(request.into_body(), BYTES_MAX)).await {
            Ok(Some(fields)) => Ok(Form(fields)),
            Ok(None) => Err(StatusCode::PAYLOAD_TOO_LARGE.into_response()),
            Err(_) => Err(StatusCode::REQUEST_TIMEOUT.into_response()),
        }
    }
}

/// Reads the body of a form; `None` if it breaks off, or has no end in sight.
async fn read(body: Body, bytes_max: usize) -> Option<Fields> {
    let mut stream = body.into_data_stream();
    let mut kept = Zeroizing::new(Vec::new());
    let mut count = 0_usize;
    while let Some(piece) = stream.next().await {
        let piece = piece.ok()?;
        count = count.saturating_add(piece.len());
        if count > LONG_BYTES_MAX {
            return None;
        }
        if count <= bytes_max || kept.len() < HEAD_BYTES {
            kept.extend_from_slice(&piece);
        }
    }
    if count <= bytes_max {
        return Some(Fields::parse(&kept));
    }
    Some(Fields::cut(kept.get(..HEAD_BYTES).unwrap_or(&kept), bytes_max))
}

/// Returns a path of this page; anything else becomes the overview.
pub(crate) fn own_path(path: &str) -> String {
    let is_own = path == "/ui" || path.starts_with("/ui/") || path.starts_with("/ui?");
    let is_plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_own && is_plain { path.to_owned() } else { "/ui".to_owned() }
}

/// Returns a segment of a path without its escapes.
pub(crate) fn unescaped(segment: &str) -> String {
    // A path has no `+` for a space.
    let text = format!("x={}", segment.replace('+', "%2B").replace('&', "%26"));
    Fields::parse(text.as_bytes()).get("x").to_owned()
}

/// The key that signs the forms of one browser. Another site can send a form here, but it can
/// neither read this cookie nor make its signature.
#[derive(Clone)]
pub(crate) struct FormKey {
    text: String,
    /// The browser does not have it yet.
    pub(crate) is_new: bool,
}

impl FormKey {
    /// Reads the key of a browser, or makes one.
    pub(crate) fn of(headers: &HeaderMap) -> FormKey {
        let known = cookie(headers, FORM_COOKIE);
        let is_key = |text: &&str| {
            BASE64URL_NOPAD.decode(text.as_bytes()).is_ok_and(|bytes| bytes.len() == KEY_BYTES)
        };
        match known.filter(is_key) {
            Some(text) => FormKey { text: text.to_owned(), is_new: false },
            None => {
                let bytes = conclave_system::entropy::array::<KEY_BYTES>();
                FormKey { text: BASE64URL_NOPAD.encode(&bytes), is_new: true }
            }
        }
    }

    /// Returns the value of the cookie that gives the browser its key.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Signs the forms that are sent to a path.
    pub(crate) fn sign(&self, path: &str) -> String {
        BASE64URL_NOPAD.encode(hmac::sign(&self.key(), path.as_bytes()).as_ref())
    }

    /// Returns whether a form to this path came from this page in this browser.
    pub(crate) fn has_signed(&self, path: &str, fields: &Fields) -> bool {
        let signature = BASE64URL_NOPAD.decode(fields.get(CSRF).as_bytes()).unwrap_or_default();
        !self.is_new && hmac::verify(&self.key(), path.as_bytes(), &signature).is_ok()
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header::COOKIE;

    use super::*;

    fn with_cookie(cookie: &str) -> HeaderMap {
        HeaderMap::from_iter([(COOKIE, cookie.parse().unwrap())])
    }

    #[test]
    fn a_form_counts_in_its_browser_and_for_its_path_alone() {
        let made = FormKey::of(&HeaderMap::new());
        let key = FormKey::of(&with_cookie(&format!("a=b; {FORM_COOKIE}={}", made.text())));
        assert!(made.is_new && !key.is_new);
        let sent = |signature: &str| Fields::parse(format!("{CSRF}={signature}&x=1").as_bytes());
        let fields = sent(&key.sign("/ui/change"));
        assert!(key.has_signed("/ui/change", &fields));
        assert!(!key.has_signed("/ui/login", &fields));
        assert!(!FormKey::of(&HeaderMap::new()).has_signed("/ui/change", &fields));
        assert!(!made.has_signed("/ui/change", &fields), "a browser without the cookie");
        for wrong in ["", "x", "AAAA"] {
            assert!(!key.has_signed("/ui/change", &sent(wrong)));
        }
    }

    #[test]
    fn fields_are_read_and_secrets_are_not_shown_again() {
        let text = "name=+a.example%0D%0A&alias=x%2C+y%0Az&password=p&key=k&b=on&certificate=\
             -----BEGIN+PRIVATE+KEY-----&passphrase=p&new_passphrase=p&repeated_passphrase=p";
        let fields = Fields::parse(text.as_bytes());
        assert_eq!(fields.some("name").as_deref(), Some("a.example"));
        assert_eq!(fields.words("alias"), ["x", "y", "z"]);
        assert!(fields.is_on("b") && !fields.is_on("c"));
        let shown: Vec<String> = fields.shown().into_iter().map(|(name, _)| name).collect();
        assert_eq!(shown, ["name", "alias", "b"]);
        let long = "x".repeat(FIELD_BYTES_MAX + 1);
        assert!(Fields::parse(format!("certificate={long}").as_bytes()).check().is_ok());
        assert!(Fields::parse(format!("name={long}").as_bytes()).check().is_err());
        assert_eq!(Fields::parse("a&".repeat(FIELDS_MAX * 2).as_bytes()).pairs.len(), FIELDS_MAX);
    }

    #[tokio::test]
    async fn of_a_form_that_is_too_long_the_first_fields_are_known() {
        let sent = |bytes: usize| Body::from(format!("csrf=c&do=x&key={}", "k".repeat(bytes)));
        let fields = read(sent(10_000), 20_000).await.unwrap();
        assert!(fields.check().is_ok() && fields.get("key").len() == 10_000);
        let fields = read(sent(10_000), 9_000).await.unwrap();
        assert_eq!(fields.check().unwrap_err().code, Code::TooLarge);
        assert_eq!((fields.get("csrf"), fields.get("do"), fields.get("key")), ("c", "x", ""));
        assert!(read(sent(LONG_BYTES_MAX), 9_000).await.is_none());
    }

    #[test]
    fn a_way_back_leads_to_this_page_alone() {
        for path in ["/ui", "/ui/domains?state=problem", "/ui/domains/a.example"] {
            assert_eq!(own_path(path), path);
        }
        for path in
            ["", "//evil.example", "https://evil.example", "/v1/status", "/ui\r\nX: y", "/uix"]
        {
            assert_eq!(own_path(path), "/ui", "{path}");
        }
        assert_eq!(unescaped("%2A.a+b"), "*.a+b");
    }
}
