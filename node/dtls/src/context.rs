//! Contexts: certificates, client policy and ticket binding, shared by many sessions.

use std::sync::Arc;

use openssl::{
    error::ErrorStack,
    pkey::{Id, PKey, Private},
    ssl::{
        AlpnError, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions,
        SslSessionCacheMode, SslVerifyMode, SslVersion, select_next_proto,
    },
    stack::Stack,
    x509::{X509, X509Name},
};
use ring::digest;

use crate::{
    engine::Engine,
    ffi,
    hello::ClientHello,
    limits,
    session::Session,
    terms::{Decision, Opening, Policy, Wrong},
};

/// A private key with its certificate chain.
pub struct Credential<'a> {
    /// End-entity certificate first, then its issuer and so on, DER.
    pub chain: &'a [Vec<u8>],
    /// Private key, PKCS#8 DER.
    pub key: &'a [u8],
}

/// Policy about client certificates.
pub enum ClientPolicy {
    /// No certificate is requested.
    None,
    /// A certificate is requested but not required.
    Optional {
        /// Subjects of the accepted authorities, DER names.
        authorities: Vec<Vec<u8>>,
        /// Decides whether a certificate is accepted.
        decision: Decision,
        /// Consequence of a wrong certificate.
        wrong: Wrong,
    },
    /// The handshake fails without an accepted certificate.
    Required {
        /// Subjects of the accepted authorities, DER names.
        authorities: Vec<Vec<u8>>,
        /// Decides whether a certificate is accepted.
        decision: Decision,
    },
}

/// Inputs of a context.
pub struct Settings<'a> {
    /// At most one credential with an EC key and one with an RSA key. A client gets the one that it
    /// can verify.
    pub credentials: &'a [Credential<'a>],
    /// Policy about client certificates.
    pub client: ClientPolicy,
    /// Cipher suites by their IANA names, most preferred first. If empty: all, in the client's
    /// order. Names unknown to DTLS 1.2 are skipped.
    pub cipher_suites: &'a [String],
    /// Key exchange groups by their IANA names, by the same rules.
    pub groups: &'a [String],
    /// Application protocols, most preferred first. If empty, the client's offer is ignored.
    pub alpn: Vec<Vec<u8>>,
    /// Scope of tickets: an encoding of domain, listener, versions of client policy, trust and
    /// revocation lists. Tickets of contexts with another binding do not resume here.
    pub binding: &'a [u8],
    /// How long a session can be resumed, in seconds. Never beyond the validity of its client's
    /// chain.
    pub ticket_seconds: u32,
}

/// Why a context cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// There is no credential.
    #[error("no certificate to show")]
    NoCredential,
    /// A credential has an empty chain.
    #[error("credential without a certificate")]
    NoCertificate,
    /// OpenSSL cannot parse a certificate, key or name.
    #[error("cannot read {what}: {source}")]
    Unreadable {
        /// Kind of the object.
        what: &'static str,
        /// OpenSSL's words.
        source: ErrorStack,
    },
    /// Ed25519 does not work for DTLS 1.2 in OpenSSL (issue 20122): clients would find no shared
    /// cipher.
    #[error("Ed25519 keys cannot be used for DTLS: give the domain an EC (P-256) or RSA key")]
    Ed25519,
    /// A key of another type.
    #[error("keys of this type cannot be used for DTLS: EC and RSA can")]
    KeyType,
    /// Two credentials have keys of the same type.
    #[error("two certificates with keys of the same type")]
    SameType,
    /// The key does not match the certificate, or OpenSSL considers it too weak.
    #[error("key and certificate cannot be used together: {0}")]
    Unusable(ErrorStack),
    /// None of the configured cipher suites or groups exists in DTLS 1.2.
    #[error("none of the {what} in the settings can be used for DTLS 1.2, known are: {known}")]
    NothingKnown {
        /// The setting at fault.
        what: &'static str,
        /// Supported names.
        known: String,
    },
    /// The list of authorities is too long for a certificate request.
    #[error("names of authorities take {bytes} bytes, more than {max}")]
    Authorities {
        /// Size of all names, in bytes.
        bytes: usize,
        /// Largest allowed size.
        max: usize,
    },
    /// OpenSSL failed otherwise.
    #[error("OpenSSL: {0}")]
    Engine(#[from] ErrorStack),
}

/// State shared by many sessions. Making one costs about a millisecond, as much as a handshake, so
/// keep it as long as its settings are valid.
pub struct Context {
    shared: SslContext,
    policy: Arc<Policy>,
}

impl Context {
    /// Validates `settings` and makes a context.
    pub fn new(settings: Settings<'_>) -> Result<Context, ContextError> {
        let mut builder = SslContextBuilder::new(SslMethod::dtls_server())?;
        builder.set_min_proto_version(Some(SslVersion::DTLS1_2))?;
        set_suites(&mut builder, settings.cipher_suites, settings.groups)?;
        builder.set_options(SslOptions::NO_QUERY_MTU | SslOptions::NO_RENEGOTIATION);
        builder.set_mode(SslMode::RELEASE_BUFFERS | SslMode::NO_AUTO_CHAIN);
        builder.set_session_cache_mode(SslSessionCacheMode::OFF);
        // The door has verified the cookie before any session existed.
        builder.set_cookie_verify_cb(|_, _| true);
        set_credentials(&mut builder, settings.credentials)?;
        if !settings.alpn.is_empty() {
            set_alpn(&mut builder, &settings.alpn);
        }
        let hash = digest::digest(&digest::SHA256, settings.binding);
        let mut binding = [0; 32];
        binding.copy_from_slice(hash.as_ref());
        builder.set_session_id_context(&binding)?;
        ffi::set_ticket_keys(&mut builder)?;
        ffi::set_message_bytes_max(
            &mut builder,
            match settings.client {
                ClientPolicy::None => limits::CLIENT_MESSAGE_BYTES_MAX,
                _ => limits::CLIENT_CHAIN_BYTES_MAX,
            },
        );
        ffi::set_session_seconds(&mut builder, settings.ticket_seconds);
        let (decision, wrong) = set_client_policy(&mut builder, settings.client)?;
        let ticket_seconds = settings.ticket_seconds;
        let policy = Arc::new(Policy { decision, wrong, binding, ticket_seconds });
        Ok(Context { shared: builder.build(), policy })
    }

    /// Starts a session for a client whose address is proven. Its first datagrams are ready at
    /// once. Fails only if OpenSSL runs out of memory.
    pub fn accept(
        &self,
        hello: &ClientHello,
        opening: Opening,
    ) -> Result<Box<dyn Session>, ContextError> {
        let policy = self.policy.clone();
        Ok(Box::new(Engine::accept(&self.shared, policy, hello, opening)?))
    }
}

/// Pairs of IANA name and OpenSSL name.
type Names = [(&'static str, &'static str)];
const CIPHER_SUITES: &Names = &[
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"),
];
const GROUPS: &Names = &[("x25519", "X25519"), ("secp256r1", "P-256"), ("secp384r1", "P-384")];

fn set_suites(
    builder: &mut SslContextBuilder,
    cipher_suites: &[String],
    groups: &[String],
) -> Result<(), ContextError> {
    let ciphers = chosen("cipher suites", CIPHER_SUITES, cipher_suites)?;
    builder.set_cipher_list(&ciphers)?;
    builder.set_groups_list(&chosen("groups", GROUPS, groups)?)?;
    if !cipher_suites.is_empty() {
        builder.set_options(SslOptions::CIPHER_SERVER_PREFERENCE);
    }
    Ok(())
}

fn chosen(what: &'static str, all: &Names, wanted: &[String]) -> Result<String, ContextError> {
    let find = |name: &String| all.iter().find(|(iana, _)| iana.eq_ignore_ascii_case(name));
    let names: Vec<_> = match wanted {
        [] => all.iter().map(|(_, openssl)| *openssl).collect(),
        wanted => wanted.iter().filter_map(find).map(|(_, openssl)| *openssl).collect(),
    };
    if names.is_empty() {
        let known: Vec<_> = all.iter().map(|(iana, _)| *iana).collect();
        return Err(ContextError::NothingKnown { what, known: known.join(", ") });
    }
    Ok(names.join(":"))
}

fn unreadable(what: &'static str) -> impl Fn(ErrorStack) -> ContextError {
    move |source| ContextError::Unreadable { what, source }
}

pub(crate) fn set_credentials(
    builder: &mut SslContextBuilder,
    credentials: &[Credential<'_>],
) -> Result<(), ContextError> {
    let mut seen = Vec::new();
    for credential in credentials {
        let key = PKey::private_key_from_der(credential.key).map_err(unreadable("key"))?;
        let kind = key.id();
        check_key(&key)?;
        if seen.contains(&kind) {
            return Err(ContextError::SameType);
        }
        seen.push(kind);
        let (first, rest) = credential.chain.split_first().ok_or(ContextError::NoCertificate)?;
        let certificate = X509::from_der(first).map_err(unreadable("certificate"))?;
        let mut chain = Stack::new()?;
        for der in rest {
            chain.push(X509::from_der(der).map_err(unreadable("certificate of the chain"))?)?;
        }
        ffi::add_credential(builder, &certificate, &key, &chain).map_err(ContextError::Unusable)?;
    }
    if seen.is_empty() { Err(ContextError::NoCredential) } else { Ok(()) }
}

fn check_key(key: &PKey<Private>) -> Result<(), ContextError> {
    match key.id() {
        Id::EC | Id::RSA => Ok(()),
        Id::ED25519 => Err(ContextError::Ed25519),
        _ => Err(ContextError::KeyType),
    }
}

/// Sets ALPN. A client is refused if it offers protocols but none of ours (RFC 7301 §3.2).
fn set_alpn(builder: &mut SslContextBuilder, protocols: &[Vec<u8>]) {
    let mut wire = Vec::new();
    for name in protocols {
        // ALPN cannot carry this name, so it can never be negotiated.
        let Some(length) = u8::try_from(name.len()).ok().filter(|length| *length > 0) else {
            continue;
        };
        wire.push(length);
        wire.extend(name);
    }
    // The returned slice must outlive the callback. It does: it points into the client's own list,
    // not into `wire`.
    builder.set_alpn_select_callback(move |_, client| {
        let chosen = select_next_proto(&wire, client).ok_or(AlpnError::ALERT_FATAL)?;
        let at = client.windows(chosen.len()).position(|name| name == chosen);
        at.and_then(|at| client.get(at..at + chosen.len())).ok_or(AlpnError::ALERT_FATAL)
    });
}

fn set_client_policy(
    builder: &mut SslContextBuilder,
    client: ClientPolicy,
) -> Result<(Option<Decision>, Wrong), ContextError> {
    let (authorities, decision, wrong, mode) = match client {
        ClientPolicy::None => return Ok((None, Wrong::Aborts)),
        ClientPolicy::Optional { authorities, decision, wrong } => {
            (authorities, decision, wrong, SslVerifyMode::PEER)
        }
        ClientPolicy::Required { authorities, decision } => {
            let mode = SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT;
            (authorities, decision, Wrong::Aborts, mode)
        }
    };
    let bytes = authorities.iter().map(|name| name.len() + 2).sum();
    let max = limits::AUTHORITY_NAMES_BYTES_MAX;
    if bytes > max {
        return Err(ContextError::Authorities { bytes, max });
    }
    let mut names = Stack::new()?;
    for name in &authorities {
        let name = X509Name::from_der(name).map_err(unreadable("name of an authority"))?;
        names.push(name)?;
    }
    builder.set_client_ca_list(names);
    builder.set_verify(mode);
    ffi::set_client_decision(builder);
    Ok((Some(decision), wrong))
}
