//! Documents that `apply` takes and `export` writes: one cluster as TOML or JSON.
//!
//! TOML, because the configuration of nodes is TOML and holds PEM blocks as they are; JSON, because
//! every tool writes it. YAML has no maintained crate.

mod mistake;
mod normal;
pub(super) mod present;

use std::path::{Path, PathBuf};

use conclave_api::{
    API_VERSION,
    domain::{Pki, Scope},
    listener, tls,
};
use conclave_client::Failure;
use serde::{Deserialize, Serialize};

use self::mistake::Mistake;
use super::{file_problem, read_bytes_within};

/// Longest document: 10,000 domains, each with two certificates and their chains.
const DOCUMENT_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// What a cluster should be. Sections and fields that are not given stay as they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    /// Always [`API_VERSION`].
    #[serde(rename = "apiVersion", default = "api_version")]
    pub(super) api_version: String,
    /// Always `Document`.
    #[serde(default = "kind")]
    pub(super) kind: String,
    /// Node that the local domains and the trust set `server` belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) node: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tls: Option<tls::Set>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) trust: Option<Trust>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) domains: Option<Vec<Domain>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) listeners: Option<Vec<Listener>>,
}

fn api_version() -> String {
    API_VERSION.to_owned()
}

fn kind() -> String {
    "Document".to_owned()
}

/// PEM text, in the document or in a file. The path of a file is relative to the document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected PEM text, or { file = \"PATH\" }")]
pub(super) enum Pem {
    Text(String),
    File { file: PathBuf },
}

/// Trust sets that are not those of domains.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trust {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cluster: Option<Pem>,
    /// Set of one node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<Pem>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Domain {
    pub(super) name: String,
    #[serde(default = "shared", skip_serializing_if = "is_shared")]
    pub(super) scope: Scope,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pki: Option<Pki>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) aliases: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) addresses: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) client_certificates: Option<Clients>,
    /// SHA-256 of the certificate of the required issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) client_issuer: Option<String>,
    /// Trusted certificates and revocation lists of the domain itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) trusted: Option<Pem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) credentials: Option<Vec<Credential>>,
}

fn shared() -> Scope {
    Scope::Shared
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_shared(scope: &Scope) -> bool {
    *scope == Scope::Shared
}

/// Whether a domain asks its clients for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Clients {
    None,
    Asked,
    Required,
}

/// A key with its certificate and chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Credential {
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) allow_name_mismatch: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) allow_broken_chain: bool,
    /// Certificate, and its CA chain after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) certificate: Option<Pem>,
    pub(super) key: Key,
}

/// A private key: a file with it, or a key that the domain must have already. A document holds no
/// private key.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Key {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) passphrase_file: Option<PathBuf>,
    /// SHA-256 of the public key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sha256: Option<String>,
}

/// A listener. Settings that are not given are those of a new listener.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listener {
    pub(super) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) protocol: Option<String>,
    pub(super) bind: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) upstreams: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) requires_tls: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) requires_client_certificate: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) takes_server_certificates: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) alpn: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) proxy_from: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) proxy_to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) starttls: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) server_name: Option<String>,
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub(super) domain_upstreams: std::collections::BTreeMap<String, Vec<String>>,
}

impl Listener {
    pub(super) fn of(shown: &listener::Listener) -> Listener {
        let shown = shown.clone();
        Listener {
            name: shown.name,
            protocol: Some(shown.protocol),
            bind: shown.bind,
            upstreams: shown.upstreams,
            requires_tls: shown.requires_tls,
            requires_client_certificate: shown.requires_client_certificate,
            takes_server_certificates: shown.takes_server_certificates,
            alpn: shown.alpn,
            proxy_from: shown.proxy_from,
            proxy_to: shown.proxy_to,
            starttls: shown.starttls,
            server_name: shown.server_name,
            domain_upstreams: shown.domain_upstreams,
        }
    }

    pub(super) fn protocol(&self) -> &str {
        self.protocol.as_deref().unwrap_or("tls")
    }
}

impl Document {
    /// Reads a document; `-` is standard input.
    pub(super) fn read(path: &Path) -> Result<Document, Failure> {
        let bytes = read_bytes_within(path, DOCUMENT_BYTES_MAX)?;
        let text = String::from_utf8(bytes);
        let text = text.map_err(|error| file_problem(path, error.utf8_error().to_string()))?;
        Document::parse(path, &text)
    }

    /// Parses a document: JSON if it begins with a brace, otherwise TOML.
    fn parse(path: &Path, text: &str) -> Result<Document, Failure> {
        let unusable = |mistake: Mistake| mistake.failure(path, text);
        let mut document: Document = if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(|error| {
                let (line, why) = (Some(error.line()), error.to_string());
                unusable(Mistake { line, span: None, why })
            })?
        } else {
            toml::from_str(text).map_err(|error| {
                let span = error.span();
                let before = span.as_ref().and_then(|span| text.get(..span.start));
                let line = before.map(|before| before.matches('\n').count() + 1);
                unusable(Mistake { line, span, why: error.message().to_owned() })
            })?
        };
        if document.api_version != API_VERSION || document.kind != "Document" {
            let found = format!("{} {}", document.api_version, document.kind);
            let why = format!("it is {found:?}, not \"{API_VERSION} Document\"");
            return Err(unusable(Mistake { why, ..Mistake::default() }));
        }
        document.normalise()?;
        Ok(document)
    }
}

/// Returns PEM text of a document, and the file that messages about it name. `read` reads a file,
/// whose path is relative to the directory.
pub(super) fn pem(
    directory: &Path,
    pem: &Pem,
    words: &str,
    read: fn(&Path) -> Result<String, Failure>,
) -> Result<(String, PathBuf), Failure> {
    match pem {
        Pem::Text(text) => Ok((text.clone(), PathBuf::from(words))),
        Pem::File { file } => {
            let path = directory.join(file);
            Ok((read(&path)?, path))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOP: &str = "[[domains]]\nname = \"shop.example\"\nclient_certificates = \"none\"\n\
        [[domains.credentials]]\nkey = { file = \"shop.key\" }\ncertificate = { file = \"shop.pem\" }\n";

    #[test]
    fn toml_and_json_are_the_same_document() {
        let document = Document::parse(Path::new("-"), SHOP).unwrap();
        let json = serde_json::to_string_pretty(&document).unwrap();
        assert_eq!(Document::parse(Path::new("-"), &json).unwrap(), document);
        let toml = toml::to_string_pretty(&document).unwrap();
        assert_eq!(Document::parse(Path::new("-"), &toml).unwrap(), document, "{toml}");
    }

    #[test]
    fn the_line_of_a_mistake_is_named() {
        for (text, line) in [
            ("[[domains]]\nname = \"a\"\nalias = [\"b\"]\n", 3),
            ("[[listeners]]\nname = \"a\"\nbind = 1\n", 3),
            ("{\n \"domains\": [{\"nam\": \"a\"}]}", 2),
        ] {
            let failure = Document::parse(Path::new("shop.toml"), text).unwrap_err();
            assert_eq!(failure.location.as_ref().map(|at| at.line), Some(line), "{failure:?}");
        }
    }

    #[test]
    fn names_are_compared_in_the_form_of_nodes() {
        let text = "node = \"Node-1\"\n[[domains]]\nname = \"B\u{fc}cher.Example.\"\n\
            aliases = [\"*.B\u{dc}CHER.example\", \"b\u{fc}cher.example\", \"WWW.example\"]\n\
            addresses = [\"2001:DB8:0::1\"]\n[[listeners]]\nname = \"HTTPS\"\nbind = \":443\"\n\
            domain_upstreams = { \"B\u{fc}cher.example\" = [\"127.0.0.1:9\"] }\n";
        let document = Document::parse(Path::new("-"), text).unwrap();
        assert_eq!(document.node.as_deref(), Some("node-1"));
        let domain = &document.domains.as_deref().unwrap()[0];
        assert_eq!(domain.name, "xn--bcher-kva.example");
        let aliases = domain.aliases.as_deref().unwrap();
        assert_eq!(aliases, ["*.xn--bcher-kva.example", "www.example"]);
        assert_eq!(domain.addresses.as_deref().unwrap(), ["2001:db8::1"]);
        let listener = &document.listeners.as_deref().unwrap()[0];
        assert_eq!(listener.name, "https");
        assert!(listener.domain_upstreams.contains_key("xn--bcher-kva.example"));
    }

    #[test]
    fn settings_are_compared_in_the_form_of_nodes() {
        let text = "[tls]\ncipher_suites = [\"tls_aes_128_gcm_sha256\"]\n\
            groups = [\"X25519\", \"x25519\"]\n[[listeners]]\nname = \"https\"\n\
            bind = \"[2001:DB8:0::1]:0443\"\n\
            upstreams = [\"b\u{fc}cher.example:80\", \"127.0.0.1:9\"]\n\
            proxy_from = [\"10.0.0.7\", \"2001:DB8::/32\"]\nproxy_to = \"\"\n\
            domain_upstreams = { \"a.example\" = [\"udp:B\u{dc}CHER.example:5\"] }\n\
            [[listeners]]\nname = \"wrong\"\nbind = \"443\"\nupstreams = [\"nowhere\"]\n\
            proxy_from = [\"10.0.0/8\"]\n";
        let document = Document::parse(Path::new("-"), text).unwrap();
        let tls = document.tls.unwrap();
        assert_eq!(tls.cipher_suites.unwrap(), ["TLS_AES_128_GCM_SHA256"]);
        assert_eq!(tls.groups.unwrap(), ["x25519"]);
        let [good, wrong] = document.listeners.as_deref().unwrap() else { panic!("two") };
        assert_eq!(good.bind, "[2001:db8::1]:443");
        assert_eq!(good.upstreams, ["xn--bcher-kva.example:80", "127.0.0.1:9"]);
        assert_eq!(good.proxy_from, ["10.0.0.7/32", "2001:db8::/32"]);
        assert_eq!(good.proxy_to, None);
        assert_eq!(good.domain_upstreams["a.example"], ["udp:xn--bcher-kva.example:5"]);
        // The node says what is wrong with it.
        let kept = (wrong.bind.as_str(), &*wrong.upstreams[0], &*wrong.proxy_from[0]);
        assert_eq!(kept, ("443", "nowhere", "10.0.0/8"));
    }

    #[test]
    fn a_message_shows_nothing_of_a_private_key() {
        let secret = "MC4CAQAwBQYDK2VwBCIEIG";
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----");
        let escaped = pem.replace('\n', "\\n");
        let head = "[[domains]]\nname = \"a\"\n[[domains.credentials]]\n";
        for (text, line, field) in [
            (format!("{head}key = \"\"\"{pem}\"\"\"\n"), 4, "field key "),
            (format!("{head}private_key = \"{escaped}\"\n"), 4, "field private_key "),
            (format!("{head}key = {{ private_key = \"{escaped}\" }}\n"), 4, "field private_key "),
            (format!("{head}key = {pem}\n"), 5, ""),
            (format!("{head}key = \"{secret}{secret}\"\n"), 4, "field key "),
            (format!("{head}key = {{ passphrase = \"{secret}\" }}\n"), 4, "field passphrase "),
            (
                format!(
                    "{{\"domains\": [{{\"name\": \"a\", \"credentials\":\n[{{\"key\": \"{escaped}\"}}]}}]}}"
                ),
                2,
                "",
            ),
            (format!("{{\"domains\":\n[{{\"key\": \"{escaped}\"}}]}}"), 2, ""),
        ] {
            let failure = Document::parse(Path::new("shop.toml"), &text).unwrap_err();
            let shown = serde_json::to_string(&failure).unwrap();
            assert!(!shown.contains(secret), "{shown}");
            assert!(failure.detail.as_ref().unwrap().contains(field), "{shown}");
            assert_eq!(failure.location.as_ref().map(|at| at.line), Some(line), "{shown}");
        }
    }
}
