//! Headers of messages and parts (RFC 5322 §2.2, RFC 2045 §5.1, RFC 9788).

use std::io::{self, BufRead, Read};

use super::MessageError;
use crate::limits::{BOUNDARY_BYTES_MAX, HEADER_BYTES_MAX};

/// Fields that a reader sees, or that say which message it is. They are protected by a copy inside
/// the signature or encryption (RFC 9788 §1.1); fields of transport stay outside.
const PROTECTED: [&str; 12] = [
    "from",
    "sender",
    "reply-to",
    "to",
    "cc",
    "subject",
    "date",
    "message-id",
    "in-reply-to",
    "references",
    "comments",
    "keywords",
];

/// What protects the fields inside (RFC 9788 §2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protection {
    /// A signature.
    Clear,
    /// Encryption.
    Cipher,
}

/// Field with its name in lower case, and its lines with CRLF.
#[derive(Clone)]
struct Field {
    name: String,
    lines: Vec<u8>,
}

/// Header of a message or part.
#[derive(Clone, Default)]
pub(super) struct Header {
    fields: Vec<Field>,
    bytes: usize,
}

/// Type of a body with its parameters (RFC 2045 §5.1).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct MediaType {
    /// Type and subtype in lower case.
    pub(super) essence: String,
    parameters: Vec<(String, String)>,
}

/// Reads a line with its end, at most [`HEADER_BYTES_MAX`]. An empty line is the end of the input.
pub(super) fn line(input: &mut impl BufRead) -> Result<Vec<u8>, MessageError> {
    let max = u64::try_from(HEADER_BYTES_MAX).unwrap_or(u64::MAX);
    let mut line = Vec::new();
    let bytes = input.by_ref().take(max).read_until(b'\n', &mut line);
    if bytes.map_err(MessageError::Read)? >= HEADER_BYTES_MAX {
        return Err(MessageError::Header("it is larger than 512 KiB"));
    }
    Ok(line)
}

/// Returns a line without its end. A CR alone is no end.
pub(super) fn text(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r\n").or_else(|| line.strip_suffix(b"\n")).unwrap_or(line)
}

impl Header {
    /// Reads a header and the empty line behind it.
    pub(super) fn read(input: &mut impl BufRead) -> Result<Header, MessageError> {
        let mut header = Header::default();
        loop {
            let line = line(input)?;
            if !header.push(text(&line))? {
                return Ok(header);
            }
        }
    }

    /// Adds a line without its end. Returns false for the empty line at the end.
    pub(super) fn push(&mut self, line: &[u8]) -> Result<bool, MessageError> {
        if line.is_empty() {
            return Ok(false);
        }
        self.bytes += line.len() + 2;
        if self.bytes > HEADER_BYTES_MAX {
            return Err(MessageError::Header("it is larger than 512 KiB"));
        }
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            let last = self.fields.last_mut();
            let last = last.ok_or(MessageError::Header("it begins with a folded line"))?;
            last.lines.extend([line, b"\r\n"].concat());
            return Ok(true);
        }
        // The envelope line of mailboxes in files.
        if self.fields.is_empty() && line.starts_with(b"From ") {
            return Ok(true);
        }
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default().trim_ascii_end();
        let is_name = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
        if !is_name || name.len() == line.len() {
            return Err(MessageError::Header("a line of it is not a field"));
        }
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        self.fields.push(Field { name, lines: [line, b"\r\n"].concat() });
        Ok(true)
    }

    /// Returns all values of a field, unfolded.
    pub(super) fn values(&self, name: &str) -> Vec<String> {
        let value = |field: &Field| {
            let text = String::from_utf8_lossy(&field.lines).replace(['\r', '\n'], "");
            text.split_once(':').map_or(String::new(), |(_, value)| value.trim().to_owned())
        };
        self.fields.iter().filter(|field| field.name == name).map(value).collect()
    }

    fn value(&self, name: &str) -> Option<String> {
        self.values(name).into_iter().next()
    }

    pub(super) fn media_type(&self) -> MediaType {
        let plain = || "text/plain".to_owned();
        MediaType::read(&self.value("content-type").unwrap_or_else(plain))
    }

    /// Returns the transfer encoding in lower case; `7bit` if there is none (RFC 2045 §6.1).
    pub(super) fn transfer_encoding(&self) -> String {
        let value = self.value("content-transfer-encoding").unwrap_or_default();
        let word = value.split([';', '(']).next().unwrap_or_default().trim().to_ascii_lowercase();
        if word.is_empty() { "7bit".to_owned() } else { word }
    }

    /// Returns whether the body is CMS, by type or, for programs that do not know the type, by name
    /// (RFC 8551 §3.2.1 and §3.10).
    pub(super) fn is_cms(&self) -> bool {
        let media = self.media_type();
        let disposition = self.value("content-disposition").unwrap_or_default();
        let disposition = MediaType::read(&disposition);
        let name = media.parameter("name").or(disposition.parameter("filename"));
        let is_p7m = name.is_some_and(|name| name.to_ascii_lowercase().ends_with(".p7m"));
        matches!(media.essence.as_str(), "application/pkcs7-mime" | "application/x-pkcs7-mime")
            || media.essence == "application/octet-stream" && is_p7m
    }

    /// Returns the lines of the fields that stay outside: all but those about the body.
    pub(super) fn outside(&self) -> Vec<u8> {
        let kept = self.fields.iter().filter(|field| !is_about_body(&field.name));
        kept.flat_map(|field| field.lines.clone()).collect()
    }

    /// Returns the header that goes inside a signature or encryption: the fields about the body,
    /// and copies of those that are protected. Encryption also records what stays readable outside,
    /// which is everything (RFC 9788 §2.2, §5.2). Around a layer that is there already the copies
    /// would not be seen: they belong into the innermost one (§1.8).
    pub(super) fn inside(&self, protection: Protection) -> Header {
        let is_layer = self.media_type().essence == "multipart/signed" || self.is_cms();
        let mut inner = Header::default();
        for field in &self.fields {
            if is_about_body(&field.name) && field.name != "mime-version" {
                let mut field = field.clone();
                if field.name == "content-type" && !is_layer {
                    field.lines = with_protection(&field.lines, protection);
                }
                inner.fields.push(field);
            }
        }
        if is_layer {
            return inner;
        }
        if self.value("content-type").is_none() {
            let lines = with_protection(b"Content-Type: text/plain\r\n", protection);
            inner.fields.push(Field { name: "content-type".to_owned(), lines });
        }
        let protected = self.fields.iter().filter(|one| PROTECTED.contains(&one.name.as_str()));
        for field in protected {
            inner.fields.push(field.clone());
            if protection == Protection::Cipher {
                let lines = [b"HP-Outer: ", field.lines.as_slice()].concat();
                inner.fields.push(Field { name: "hp-outer".to_owned(), lines });
            }
        }
        inner
    }

    /// Returns whether the fields inside are protected ones of the message.
    pub(super) fn is_protected(&self) -> bool {
        self.media_type().parameter("hp").is_some()
    }

    /// Returns the header of the message without its signature or encryption, where `self` was
    /// outside and `inner` inside. Protected fields are taken from inside alone: one that is only
    /// outside was added on the way. Fields of transport are taken from outside alone: a sender must
    /// not forge what mail servers report.
    pub(super) fn unwrapped(&self, inner: &Header) -> Header {
        let is_protected = inner.is_protected();
        let is_inside = |name: &str| is_protected && PROTECTED.contains(&name);
        let outer = self.fields.iter();
        let outer = outer.filter(|one| !is_about_body(&one.name) && !is_inside(&one.name));
        let mut all = Header { fields: outer.cloned().collect(), bytes: 0 };
        let version = b"MIME-Version: 1.0\r\n".to_vec();
        let version = Field { name: "mime-version".to_owned(), lines: version };
        let kept = |field: &&Field| {
            let name = field.name.as_str();
            name != "mime-version" && (is_about_body(name) || is_inside(name))
        };
        let (body, message): (Vec<Field>, Vec<Field>) =
            inner.fields.iter().filter(kept).cloned().partition(|one| is_about_body(&one.name));
        all.fields.extend(message);
        all.fields.push(version);
        all.fields.extend(body.into_iter().map(|mut field| {
            if field.name == "content-type" {
                field.lines = without_protection(&field.lines);
            }
            field
        }));
        all
    }

    /// Replaces the transfer encoding.
    pub(super) fn set_transfer_encoding(&mut self, encoding: &str) {
        self.fields.retain(|field| field.name != "content-transfer-encoding");
        let lines = format!("Content-Transfer-Encoding: {encoding}\r\n").into_bytes();
        self.fields.push(Field { name: "content-transfer-encoding".to_owned(), lines });
    }

    /// Returns all lines and the empty one at the end.
    pub(super) fn lines(&self) -> Vec<u8> {
        let mut all: Vec<u8> = self.fields.iter().flat_map(|one| one.lines.clone()).collect();
        all.extend(b"\r\n");
        all
    }

    /// Returns the addresses of the author, in lower case. More than one From field has none
    /// (RFC 5322 §3.6), so that no reader shows another one than was checked.
    pub(super) fn from(&self) -> Vec<String> {
        match self.values("from").as_slice() {
            [one] => addresses(one),
            _ => Vec::new(),
        }
    }
}

fn is_about_body(name: &str) -> bool {
    name.starts_with("content-") || name == "mime-version"
}

fn with_protection(lines: &[u8], protection: Protection) -> Vec<u8> {
    let word = if protection == Protection::Clear { "clear" } else { "cipher" };
    let plain = without_protection(lines);
    let plain = text(&plain).trim_ascii_end();
    let plain = plain.strip_suffix(b";").unwrap_or(plain);
    [plain, format!(";\r\n hp=\"{word}\"\r\n").as_bytes()].concat()
}

/// Returns a Content-Type without the parameter `hp`.
fn without_protection(lines: &[u8]) -> Vec<u8> {
    let parts = separated(lines, b';');
    let is_hp = |part: &&[u8]| part.trim_ascii_start().to_ascii_lowercase().starts_with(b"hp=");
    let kept: Vec<&[u8]> = parts.into_iter().filter(|part| !is_hp(part)).collect();
    let joined = kept.join(&b';');
    [joined.trim_ascii_end(), b"\r\n"].concat()
}

/// Splits at a separator outside of quoted strings, comments and angle brackets.
fn separated(text: &[u8], separator: u8) -> Vec<&[u8]> {
    let (mut parts, mut start, mut is_quoted, mut is_escaped) = (Vec::new(), 0, false, false);
    let mut depth = 0_usize;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' if depth == 0 => is_quoted = !is_quoted,
            b'(' if !is_quoted => depth += 1,
            b')' if !is_quoted => depth = depth.saturating_sub(1),
            byte if *byte == separator && !is_quoted && depth == 0 => {
                parts.push(text.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts
}

/// Removes comments (RFC 5322 §3.2.2) and the quotes of quoted strings.
fn unquoted(text: &str) -> String {
    let (mut plain, mut is_quoted, mut depth) = (String::new(), false, 0_usize);
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => plain.extend(rest.next().filter(|_| depth == 0)),
            '"' if depth == 0 => is_quoted = !is_quoted,
            '(' if !is_quoted => depth += 1,
            ')' if !is_quoted => depth = depth.saturating_sub(1),
            c if depth == 0 => plain.push(c),
            _ => {}
        }
    }
    plain.trim().to_owned()
}

/// Returns the addresses of a list (RFC 5322 §3.4), in lower case.
fn addresses(list: &str) -> Vec<String> {
    let address = |part: &[u8]| {
        let part = String::from_utf8_lossy(part).into_owned();
        // The name before the address may be quoted and contain anything.
        let parts = separated(part.as_bytes(), b'<');
        let inside = parts.last().filter(|_| parts.len() > 1);
        let inside = inside.map(|inside| String::from_utf8_lossy(inside).replace('>', ""));
        unquoted(&inside.unwrap_or(part)).to_ascii_lowercase()
    };
    separated(list.as_bytes(), b',')
        .into_iter()
        .map(address)
        .filter(|one| !one.is_empty())
        .collect()
}

impl MediaType {
    fn read(value: &str) -> MediaType {
        let parts = separated(value.as_bytes(), b';');
        let mut parts = parts.into_iter().map(String::from_utf8_lossy);
        let essence = unquoted(&parts.next().unwrap_or_default()).to_ascii_lowercase();
        let parameter = |part: std::borrow::Cow<'_, str>| {
            let (name, value) = part.split_once('=')?;
            Some((name.trim().to_ascii_lowercase(), unquoted(value)))
        };
        MediaType { essence, parameters: parts.filter_map(parameter).collect() }
    }

    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// Returns the line between parts, without its line end.
    pub(super) fn delimiter(&self) -> Result<Vec<u8>, MessageError> {
        let boundary = self
            .parameter("boundary")
            .filter(|boundary| (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len()));
        let boundary = boundary.ok_or(MessageError::Header("a multipart has no boundary"))?;
        Ok([b"--", boundary.as_bytes()].concat())
    }
}

/// Writer that collects a header and then hands the body to the writer made for it.
pub(super) struct Split<F, W> {
    start: Option<(Vec<u8>, F)>,
    body: Option<W>,
}

impl<F, W> Split<F, W>
where
    F: FnOnce(Header) -> Result<W, MessageError>,
    W: io::Write,
{
    pub(super) fn new(make: F) -> Split<F, W> {
        Split { start: Some((Vec::new(), make)), body: None }
    }

    fn begin(&mut self, bytes: &[u8]) -> Result<(), MessageError> {
        let Some((_, make)) = self.start.take() else { return Ok(()) };
        let mut rest = bytes;
        let header = Header::read(&mut rest)?;
        let body = self.body.insert(make(header)?);
        body.write_all(rest).map_err(MessageError::Write)
    }

    /// Returns the writer of the body. A message may end with its header.
    pub(super) fn finish(mut self) -> Result<W, MessageError> {
        let collected = self.start.as_ref().map(|(collected, _)| collected.clone());
        self.begin(&collected.unwrap_or_default())?;
        self.body.ok_or(MessageError::Header("it is missing"))
    }
}

/// Returns whether an empty line ends a header in these bytes, whose first `known` have none.
fn ends(bytes: &[u8], known: usize) -> bool {
    let recent = bytes.get(known.saturating_sub(3)..).unwrap_or_default();
    bytes.starts_with(b"\n")
        || bytes.starts_with(b"\r\n")
        || recent.windows(2).any(|two| two == b"\n\n")
        || recent.windows(3).any(|three| three == b"\n\r\n")
}

impl<F, W> io::Write for Split<F, W>
where
    F: FnOnce(Header) -> Result<W, MessageError>,
    W: io::Write,
{
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(body) = &mut self.body {
            return body.write(bytes);
        }
        let Some((collected, _)) = &mut self.start else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let known = collected.len();
        collected.extend_from_slice(bytes);
        if ends(collected, known) {
            let collected = std::mem::take(collected);
            self.begin(&collected).map_err(io::Error::other)?;
        } else if collected.len() > HEADER_BYTES_MAX {
            let error = MessageError::Header("it is larger than 512 KiB");
            return Err(io::Error::other(error));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.body.as_mut().map_or(Ok(()), W::flush)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_behind_every_name() {
        let check =
            |value: &str, expected: &[&str]| assert_eq!(addresses(value), expected, "{value}");
        check("ann@a.example", &["ann@a.example"]);
        check("Ann <Ann@A.example>", &["ann@a.example"]);
        check("\"Ann, <x@y>\" <ann@a.example>", &["ann@a.example"]);
        check("ann@a.example (Ann, x@y)", &["ann@a.example"]);
        check("A <a@a>, B <b@b>", &["a@a", "b@b"]);
        check("\"x@y\" <ann@a.example> (c)", &["ann@a.example"]);
        check("", &[]);
    }

    #[test]
    fn a_media_type_is_read_with_quotes_and_comments() {
        let media = MediaType::read("Multipart/Signed; boundary=\"a;b\\\"c\" (x); MICALG=sha-256");
        assert_eq!(media.essence, "multipart/signed");
        assert_eq!(media.parameter("boundary"), Some("a;b\"c"));
        assert_eq!(media.parameter("micalg"), Some("sha-256"));
    }

    #[test]
    fn protection_is_added_once_and_removed_without_a_trace() {
        let plain = b"Content-Type: text/plain;\r\n charset=utf-8\r\n";
        let clear = with_protection(plain, Protection::Clear);
        assert!(clear.ends_with(b"charset=utf-8;\r\n hp=\"clear\"\r\n"));
        let cipher = with_protection(&clear, Protection::Cipher);
        assert!(cipher.ends_with(b"charset=utf-8;\r\n hp=\"cipher\"\r\n"));
        assert_eq!(without_protection(&cipher), plain);
    }
}
