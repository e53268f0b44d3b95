//! Bundles and CA chains.

use crate::certificate::{Certificate, CertificateError, read_certificates};

/// Reads a CA chain in the order of the input; a certificate that stands there twice is taken
/// once. Order and links are not judged here.
pub fn read_chain(input: &[u8]) -> Result<Vec<Certificate>, CertificateError> {
    let mut chain: Vec<Certificate> = Vec::new();
    for certificate in read_certificates(input)? {
        if chain.iter().all(|known| known.der() != certificate.der()) {
            chain.push(certificate);
        }
    }
    Ok(chain)
}

/// Splits a bundle into the certificate of `public_key_der` and the rest, in order. If none
/// certifies that key, the first certificate is taken for the one that was meant.
pub fn split_bundle(
    mut bundle: Vec<Certificate>,
    public_key_der: &[u8],
) -> Option<(Certificate, Vec<Certificate>)> {
    if bundle.is_empty() {
        return None;
    }
    let found = bundle.iter().position(|one| one.public_key_der() == public_key_der);
    let leaf = bundle.remove(found.unwrap_or(0));
    Some((leaf, bundle))
}
