//! Certificate bundles and CA chains.

use crate::{
    budget::Budget,
    certificate::{Certificate, CertificateError, read_certificates},
    name::Comparable,
    rule::Reason,
    signature,
};

/// Reads a CA chain in the order of the input, without duplicates. Does not check order or links.
pub fn read_chain(input: &[u8]) -> Result<Vec<Certificate>, CertificateError> {
    let mut chain: Vec<Certificate> = Vec::new();
    for certificate in read_certificates(input)? {
        if chain.iter().all(|known| known.der() != certificate.der()) {
            chain.push(certificate);
        }
    }
    Ok(chain)
}

/// Splits a bundle into the certificate of `public_key_der` and the others, in order. If none
/// certifies that key, the first certificate is assumed to be meant.
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

/// Fault of a CA chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The chain is complete, but in the wrong order.
    #[error("the chain is in the wrong order")]
    Order {
        /// Positions in the input, in the correct order.
        should: Vec<usize>,
    },
    /// The issuer of a certificate is missing, though other certificates are left.
    #[error("nobody in the chain issued {subject:?}")]
    LinkMissing {
        /// Subject of the certificate without an issuer.
        subject: String,
        /// Name of the missing issuer.
        issuer: String,
        /// URL of the missing certificate, as the issued certificate gives it.
        url: Option<String>,
    },
    /// Too many possible issuers; an honest chain never needs this much work.
    #[error("the chain needs more signatures checked than any honest one")]
    TooMuch,
}

/// Checks that each certificate is followed by its issuer, and that the first one issued `leaf`.
pub fn check(leaf: Option<&Certificate>, chain: &[Certificate]) -> Result<(), ChainError> {
    let links: Vec<Link<'_>> = chain.iter().map(Link::of).collect();
    let mut budget = Budget::new();
    let mut left: Vec<(usize, &Link<'_>)> = links.iter().enumerate().collect();
    let mut should: Vec<usize> = Vec::new();
    let leaf = leaf.map(Link::of);
    let mut last = match &leaf {
        Some(leaf) => leaf,
        None => {
            // Without a leaf, the first certificate is the one that issued none of the others.
            let Some(first) = issuer_of_none(&links, &mut budget)? else { return Ok(()) };
            let Some(found) = links.get(first) else { return Ok(()) };
            left.retain(|(place, _)| *place != first);
            should.push(first);
            found
        }
    };
    while !left.is_empty() {
        let mut issuer = None;
        for (place, one) in &left {
            if last.is_issued_by(one, &mut budget)? {
                issuer = Some((*place, *one));
                break;
            }
        }
        let Some((place, found)) = issuer else {
            let last = last.certificate;
            let (subject, issuer) = (last.subject(), last.issuer());
            return Err(ChainError::LinkMissing { subject, issuer, url: last.issuer_url() });
        };
        left.retain(|(other, _)| *other != place);
        should.push(place);
        last = found;
    }
    if should.is_sorted() { Ok(()) } else { Err(ChainError::Order { should }) }
}

fn issuer_of_none(links: &[Link<'_>], budget: &mut Budget) -> Result<Option<usize>, ChainError> {
    'candidates: for (place, one) in links.iter().enumerate() {
        for other in links {
            let is_other = other.certificate.der() != one.certificate.der();
            if is_other && other.is_issued_by(one, budget)? {
                continue 'candidates;
            }
        }
        return Ok(Some(place));
    }
    Ok(None)
}

/// A certificate with its names prepared for comparison.
struct Link<'a> {
    certificate: &'a Certificate,
    subject: Comparable,
    issuer: Comparable,
}

impl<'a> Link<'a> {
    fn of(certificate: &'a Certificate) -> Link<'a> {
        let tbs = certificate.parsed().tbs_certificate();
        let [subject, issuer] = [tbs.subject(), tbs.issuer()].map(Comparable::of);
        Link { certificate, subject, issuer }
    }

    fn is_issued_by(&self, issuer: &Link<'_>, budget: &mut Budget) -> Result<bool, ChainError> {
        if self.issuer != issuer.subject {
            return Ok(false);
        }
        match signature::check(self.certificate, issuer.certificate, budget) {
            Err(broken) if broken.reason == Reason::TooMuch => Err(ChainError::TooMuch),
            checked => Ok(checked.is_ok()),
        }
    }
}
