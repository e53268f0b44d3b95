//! The test certificate of a node: fresh at each start, never stored.

use std::sync::Arc;

use conclave_keys::Secret;
use conclave_pki::{
    issue::{self, IssueError, Validity},
    key::{KeyAlgorithm, KeyError, PrivateKey},
};
use conclave_store::{id::DomainName, time::UnixMillis};
use conclave_system::entropy;
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};

use crate::tls::{CertifiedKeys, datagrams::Shown};

const DAYS: u64 = 30;
const AUTHORITY: &str = "Conclave Test Authority";

/// Why the test certificate cannot be made: a bug, or no randomness.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestCertificateError {
    /// The key cannot be generated or read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The certificate cannot be issued.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// rustls refuses the key.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// Key and certificate for domains in test mode.
#[derive(Clone)]
pub struct TestCertificate {
    keys: Arc<CertifiedKeys>,
    chain: Vec<CertificateDer<'static>>,
    pkcs8: Secret,
}

impl TestCertificate {
    /// Makes a new key and certificate for `main_domain`, valid for 30 days from `now`. The issuer
    /// is a test authority whose key is dropped at once.
    pub fn make(
        main_domain: &DomainName,
        now: UnixMillis,
    ) -> Result<TestCertificate, TestCertificateError> {
        let mut fill = entropy::fill;
        let not_before = now.0 / 1000;
        let validity = Validity { not_before, not_after: not_before + DAYS * 24 * 60 * 60 };
        let authority_key = PrivateKey::generate(KeyAlgorithm::EcP256, &mut fill)?;
        let authority = issue::authority(&authority_key, AUTHORITY, entropy::array(), validity)?;
        let key = PrivateKey::generate(KeyAlgorithm::EcP256, &mut fill)?;
        let certificate = issue::server(
            &authority_key,
            &authority,
            key.public_key_der(),
            &[main_domain.to_string()],
            entropy::array(),
            validity,
        )?;
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.pkcs8_der()));
        let signing = rustls::crypto::ring::sign::any_supported_type(&der)?;
        let chain = [&certificate, &authority]
            .map(|certificate| CertificateDer::from(certificate.der().to_vec()));
        let shown = Arc::new(CertifiedKey::new(chain.to_vec(), signing));
        let pkcs8 = Secret::new(key.pkcs8_der().to_vec());
        Ok(TestCertificate { keys: CertifiedKeys::new(vec![shown]), chain: chain.to_vec(), pkcs8 })
    }

    /// Returns the certificate without its chain, DER.
    pub(crate) fn der(&self) -> &[u8] {
        self.chain.first().map_or(&[], |first| first.as_ref())
    }

    /// Returns the certificate for TLS handshakes.
    pub(crate) fn certified_keys(&self) -> Arc<CertifiedKeys> {
        Arc::clone(&self.keys)
    }

    /// Returns the certificate for DTLS handshakes.
    pub(crate) fn shown(&self) -> Shown {
        Shown { chain: self.chain.clone(), key: self.pkcs8.clone() }
    }
}
