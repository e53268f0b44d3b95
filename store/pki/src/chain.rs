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

/// What is wrong with a CA chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// All are there, in another order.
    #[error("the chain is in the wrong order")]
    Order {
        /// Places of the input in the right order.
        should: Vec<usize>,
    },
    /// A certificate above which nothing follows, though others are left.
    #[error("nobody in the chain issued {subject:?}")]
    LinkMissing {
        /// Whose issuer is missing.
        subject: String,
        /// Who that is.
        issuer: String,
        /// Where it can be got, in the certificate's own words.
        url: Option<String>,
    },
}

/// Whether each certificate is followed by its issuer, the first by that of `leaf` if it is known.
pub fn check(leaf: Option<&Certificate>, chain: &[Certificate]) -> Result<(), ChainError> {
    let mut left: Vec<usize> = (0..chain.len()).collect();
    let mut should: Vec<usize> = Vec::new();
    let mut last = match leaf {
        Some(leaf) => leaf,
        None => {
            // Without a leaf the first is the one that issued none of the others.
            let issued = |one: &Certificate| {
                chain.iter().any(|other| other.der() != one.der() && other.is_issued_by(one))
            };
            let Some(first) =
                left.iter().copied().find(|place| !chain.get(*place).is_some_and(issued))
            else {
                return Ok(());
            };
            left.retain(|place| *place != first);
            should.push(first);
            let Some(first) = chain.get(first) else { return Ok(()) };
            first
        }
    };
    while !left.is_empty() {
        let issuer = left
            .iter()
            .copied()
            .find(|place| chain.get(*place).is_some_and(|one| last.is_issued_by(one)));
        let Some((place, issuer)) = issuer.and_then(|place| Some((place, chain.get(place)?)))
        else {
            let (subject, issuer) = (last.subject(), last.issuer());
            return Err(ChainError::LinkMissing { subject, issuer, url: last.issuer_url() });
        };
        left.retain(|other| *other != place);
        should.push(place);
        last = issuer;
    }
    if should.is_sorted() { Ok(()) } else { Err(ChainError::Order { should }) }
}
