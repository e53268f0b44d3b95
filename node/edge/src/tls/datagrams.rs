//! Settings of DTLS handshakes, in the engine's terms.

use std::sync::Arc;

use conclave_dtls::{ClientPolicy as Ask, Context, Credential, Decision, Refused, Settings, Wrong};
use conclave_keys::Secret;
use conclave_system::clock;
use rustls::pki_types::CertificateDer;

use crate::tls::{ClientPolicy, Door, Policy, Sessions};

/// A certificate with what is sent beside it, and its key.
pub(crate) struct Shown {
    /// The certificate first.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// PKCS#8.
    pub(crate) key: Secret,
}

/// Whether clients of DTLS 1.2 can be shown a key of this algorithm.
pub fn can_show(algorithm: &str) -> bool {
    algorithm != "Ed25519"
}

/// Settings for sessions that show one of `shown`. The error says why there can be none, in words
/// for the operator.
pub(crate) fn context(
    policy: &Policy,
    shown: &[Shown],
    door: &Door,
    sessions: Option<&Sessions>,
    client: Option<&Arc<ClientPolicy>>,
) -> Result<Context, String> {
    if !policy.allows_version_1_2() {
        return Err("the oldest accepted version is 1.3, and DTLS is 1.2 here".to_owned());
    }
    if shown.is_empty() {
        return Err("it has no key for DTLS: give it one of EC P-256, EC P-384 or RSA \
                    (clients of DTLS 1.2 cannot verify Ed25519)"
            .to_owned());
    }
    let chains: Vec<Vec<Vec<u8>>> =
        shown.iter().map(|one| one.chain.iter().map(|der| der.to_vec()).collect()).collect();
    let credentials = chains.iter().zip(shown);
    let credentials = credentials.map(|(chain, one)| Credential { chain, key: one.key.expose() });
    let credentials: Vec<_> = credentials.collect();
    let binding = sessions.map(|sessions| sessions.binding(door)).unwrap_or_default();
    let made = Context::new(Settings {
        credentials: &credentials,
        client: client.map_or(Ask::None, ask),
        cipher_suites: &policy.cipher_suites(),
        groups: &policy.groups(),
        alpn: door.alpn.clone(),
        binding: &binding,
        ticket_seconds: sessions.map_or(0, Sessions::ttl_s),
    });
    made.map_err(|error| error.to_string())
}

/// The same decision as for TLS. It is asked once for each chain that a client shows; a session
/// that resumes has been decided, and its ticket is bound to all that decided.
fn ask(client: &Arc<ClientPolicy>) -> Ask {
    let authorities = client.hints().map(<[u8]>::to_vec).collect();
    let judge = Arc::clone(client);
    let decision: Decision = Arc::new(move |chain| {
        let chain: Vec<_> = chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        let checked = judge.check(&chain, clock::now().0 / 1_000);
        checked
            .map(|_| ())
            .map_err(|wrong| Refused { reason: wrong.reason.word(), detail: wrong.detail })
    });
    match client.is_required() {
        true => Ask::Required { authorities, decision },
        false => {
            let wrong = if client.aborts() { Wrong::Aborts } else { Wrong::IsIgnored };
            Ask::Optional { authorities, decision, wrong }
        }
    }
}
