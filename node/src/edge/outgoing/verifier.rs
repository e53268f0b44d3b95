//! Whether a remote server is who it should be, by the trust of this node and its cluster (B2).

use std::sync::Arc;

use conclave_pki::{
    certificate::Certificate,
    verify::{Purpose, Request, Rules, Subject, verify},
};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use crate::{edge::limits::PEER_CHAIN_MAX, live::RemoteTrust};

/// Validates paths by our own rules, so that the reason names the rule and the certificate.
pub(super) struct Verifier {
    trust: Arc<RemoteTrust>,
    provider: Arc<CryptoProvider>,
}

/// Why a certificate is refused, with the certificate at fault.
#[derive(Debug, thiserror::Error)]
#[error("certificate of {at_fault}: {detail} ({rule})")]
struct Refused {
    at_fault: String,
    detail: String,
    rule: String,
}

fn refused(at_fault: &str, detail: &str, rule: &str) -> Error {
    // Names in certificates are the server's words.
    let escaped = |text: &str| text.escape_debug().to_string();
    let why =
        Refused { at_fault: escaped(at_fault), detail: escaped(detail), rule: rule.to_owned() };
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(why))))
}

impl Verifier {
    pub(super) fn new(trust: Arc<RemoteTrust>, provider: Arc<CryptoProvider>) -> Verifier {
        Verifier { trust, provider }
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Verifier").finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = Certificate::from_der(end_entity)
            .map_err(|error| refused("the server", &error.to_string(), "RFC 5280 §4"))?;
        if intermediates.len() > PEER_CHAIN_MAX {
            return Err(refused("the server", "too many certificates", "bounded work"));
        }
        // One that cannot be read cannot lead to an anchor either.
        let intermediates: Vec<Certificate> =
            intermediates.iter().filter_map(|der| Certificate::from_der(der).ok()).collect();
        let name = Subject::parse(&server_name.to_str());
        let request = Request {
            certificate: &certificate,
            intermediates: &intermediates,
            anchors: &self.trust.anchors.certificates,
            crls: &self.trust.anchors.crls,
            purpose: Purpose::Server,
            name: Some(&name),
            at: now.as_secs(),
            rules: Rules::Path,
            is_list_required: false,
        };
        verify(&request)
            .map(|_| ServerCertVerified::assertion())
            .map_err(|why| refused(&why.at_fault, &why.detail, why.rule))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
