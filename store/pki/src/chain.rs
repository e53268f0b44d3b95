//! Bundles and CA chains.

use crate::{
    budget::Budget,
    certificate::{Certificate, CertificateError, read_certificates},
    name::Comparable,
    rule::Reason,
    signature,
};

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
    /// Too many possible issuers: no honest chain needs so much work.
    #[error("the chain needs more signatures checked than any honest one")]
    TooMuch,
}

/// Whether each certificate is followed by its issuer, the first by that of `leaf` if it is known.
pub fn check(leaf: Option<&Certificate>, chain: &[Certificate]) -> Result<(), ChainError> {
    let links: Vec<Link<'_>> = chain.iter().map(Link::of).collect();
    let mut budget = Budget::new();
    let mut left: Vec<(usize, &Link<'_>)> = links.iter().enumerate().collect();
    let mut should: Vec<usize> = Vec::new();
    let leaf = leaf.map(Link::of);
    let mut last = match &leaf {
        Some(leaf) => leaf,
        None => {
            // Without a leaf the first is the one that issued none of the others.
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

/// A certificate with its names ready to be compared.
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
