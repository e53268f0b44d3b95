//! Signing keys for rustls, made from sealed private keys, and the test of such keys.

use std::sync::Arc;

use conclave_pki::key::PrivateKey;
use conclave_store::{
    record::{Domain, DomainKey},
    scope::Scope,
};
use rustls::{
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::SigningKey,
};

use super::{Keyring, SealError, Secret};

impl Keyring {
    /// Opens a domain's key for signing.
    pub fn signing_key(
        &self,
        scope: Scope,
        domain: &Domain,
        key: &DomainKey,
    ) -> Result<Arc<dyn SigningKey>, SealError> {
        signing_key(&self.open(scope, super::Purpose::DomainKey(domain.id), &key.sealed)?)
    }

    /// Opens each key of a domain on this node, signs with it and verifies the signature. An RSA
    /// key also decrypts. The error says why a key cannot be used.
    pub fn test_keys(&self, scope: Scope, domain: &Domain) -> Result<(), String> {
        if domain.credentials.is_empty() {
            return Err("the domain has no private key".to_owned());
        }
        domain.credentials.iter().try_for_each(|one| {
            let tested = self.test_key(scope, domain, &one.key);
            tested.map_err(|error| format!("{}: {error}", one.key.algorithm))
        })
    }

    fn test_key(&self, scope: Scope, domain: &Domain, key: &DomainKey) -> Result<(), String> {
        let opened = self
            .open(scope, super::Purpose::DomainKey(domain.id), &key.sealed)
            .map_err(|error| error.to_string())?;
        let key = PrivateKey::from_pkcs8_der(opened.expose()).map_err(|error| error.to_string())?;
        key.test().map_err(|error| error.to_string())
    }
}

/// Converts a PKCS#8 key for rustls. ring signs, and AWS-LC with RSA of a size that ring refuses.
/// Both keep their own copies, which cannot be wiped.
pub(crate) fn signing_key(pkcs8: &Secret) -> Result<Arc<dyn SigningKey>, SealError> {
    let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pkcs8.expose()));
    rustls::crypto::ring::sign::any_supported_type(&der)
        .or_else(|_| rustls::crypto::aws_lc_rs::sign::any_supported_type(&der))
        .map_err(|_| SealError::Refused)
}
