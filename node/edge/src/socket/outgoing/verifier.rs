//! Verification of remote servers, by the trust of this node and its cluster. Our own path
//! validation decides, so that the error names the rule and the certificate.

use std::sync::Arc;

use conclave_pki::{
    certificate::Certificate,
    verify::{Purpose, Request, Rules, Subject, verify},
};
use conclave_tls::ServerVerifier;
use rustls::{
    CertificateError, Error, OtherError, client::danger::ServerCertVerifier, crypto::CryptoProvider,
};

use crate::{live::RemoteTrust, tls::limits::PEER_CHAIN_MAX};

/// Why a certificate is refused, and which certificate is at fault.
#[derive(Debug, thiserror::Error)]
#[error("certificate of {at_fault}: {detail} ({rule})")]
struct Refused {
    at_fault: String,
    detail: String,
    rule: String,
}

fn refused(at_fault: &str, detail: &str, rule: &str) -> Error {
    // Names in certificates are chosen by the server: escape them.
    let escaped = |text: &str| text.escape_debug().to_string();
    let why =
        Refused { at_fault: escaped(at_fault), detail: escaped(detail), rule: rule.to_owned() };
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(why))))
}

/// Returns a verifier for `trust`.
pub(super) fn verifier(
    trust: Arc<RemoteTrust>,
    provider: Arc<CryptoProvider>,
) -> Arc<dyn ServerCertVerifier> {
    ServerVerifier::new(provider, move |end_entity, intermediates, server_name, now| {
        let certificate = Certificate::from_der(end_entity)
            .map_err(|error| refused("the server", &error.to_string(), "RFC 5280 §4"))?;
        if intermediates.len() > PEER_CHAIN_MAX {
            return Err(refused("the server", "too many certificates", "bounded work"));
        }
        // Skip unreadable intermediates: no path can use them.
        let intermediates: Vec<Certificate> =
            intermediates.iter().filter_map(|der| Certificate::from_der(der).ok()).collect();
        let name = Subject::parse(&server_name.to_str());
        let request = Request {
            certificate: &certificate,
            intermediates: &intermediates,
            anchors: &trust.anchors.certificates,
            crls: &trust.anchors.crls,
            purpose: Purpose::Server,
            name: Some(&name),
            at: now.as_secs(),
            rules: Rules::Path,
            depth: None,
            is_list_required: false,
        };
        verify(&request).map(|_| ()).map_err(|why| refused(&why.at_fault, &why.detail, why.rule))
    })
}
