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
    Ok(without_duplicates(read_certificates(input)?))
}

/// Splits a bundle into the certificate of `public_key_der` and the others, in order and without
/// duplicates. If none certifies that key, the first certificate is assumed to be meant.
pub fn split_bundle(
    bundle: Vec<Certificate>,
    public_key_der: &[u8],
) -> Option<(Certificate, Vec<Certificate>)> {
    let mut bundle = without_duplicates(bundle);
    if bundle.is_empty() {
        return None;
    }
    let found = bundle.iter().position(|one| one.public_key_der() == public_key_der);
    let leaf = bundle.remove(found.unwrap_or(0));
    Some((leaf, bundle))
}

fn without_duplicates(certificates: Vec<Certificate>) -> Vec<Certificate> {
    let mut kept: Vec<Certificate> = Vec::new();
    for certificate in certificates {
        if kept.iter().all(|known| known.der() != certificate.der()) {
            kept.push(certificate);
        }
    }
    kept
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
    /// Certificates are left that belong to no place in the chain: the issuer of `subject` is
    /// missing between them, or they do not belong there.
    #[error("{}", unlinked(subject, strays))]
    LinkMissing {
        /// Subject of the last certificate that has a place.
        subject: String,
        /// Name of its issuer.
        issuer: String,
        /// URL of the issuer's certificate, as the certificate gives it.
        url: Option<String>,
        /// Subjects of the certificates without a place.
        strays: Vec<String>,
        /// Positions in the input of those with a place, in the correct order.
        should: Vec<usize>,
    },
    /// The chain ends in a self-signed certificate, and others are left that belong to no place.
    #[error("{} in the chain issued none of the others", strays.join(", "))]
    Stray {
        /// Subjects of the certificates without a place.
        strays: Vec<String>,
        /// Positions in the input of those with a place, in the correct order.
        should: Vec<usize>,
    },
    /// Too many possible issuers; an honest chain never needs this much work.
    #[error("the chain needs more signatures checked than any honest one")]
    TooMuch,
}

fn unlinked(subject: &str, strays: &[String]) -> String {
    let strays = strays.join(", ");
    format!("nobody in the chain issued {subject:?}, and {strays} issued none of the others")
}

/// Checks that each certificate is followed by its issuer, and that the first one issued `leaf`. Of
/// two certificates of one issuer, the one that is valid at `at` (seconds since 1970) has the
/// place; the other one may stand anywhere.
pub fn check(leaf: Option<&Certificate>, chain: &[Certificate], at: u64) -> Result<(), ChainError> {
    let links: Vec<Link<'_>> = chain.iter().map(Link::of).collect();
    let leaf = leaf.map(Link::of);
    let mut budget = Budget::new();
    let mut left: Vec<usize> = (0..links.len()).collect();
    let mut should: Vec<usize> = Vec::new();
    if leaf.is_none() {
        // Without a leaf, the first certificate is the one that issued none of the others.
        let Some(first) = issuer_of_none(&links, &mut budget)? else { return Ok(()) };
        left.retain(|place| *place != first);
        should.push(first);
    }
    let of = |place: usize| links.get(place);
    let mut last = leaf.as_ref().or_else(|| should.first().and_then(|place| of(*place)));
    while let Some(subject) = last {
        let mut issuer: Option<usize> = None;
        for place in &left {
            let Some(one) = of(*place).filter(|_| subject.may_be_issued_by_another()) else {
                continue;
            };
            let is_better = issuer.and_then(of).is_none_or(|known| !known.is_valid(at));
            if is_better && subject.is_issued_by(one, &mut budget)? {
                issuer = Some(*place);
                if one.is_valid(at) {
                    break;
                }
            }
        }
        if let Some(place) = issuer {
            left.retain(|other| *other != place);
            should.push(place);
        }
        last = issuer.and_then(of);
    }
    remove_alternatives(leaf.as_ref(), &links, &should, &mut left, &mut budget)?;
    let strays: Vec<String> =
        left.iter().filter_map(|place| Some(of(*place)?.certificate.subject_or_names())).collect();
    let last = should.last().and_then(|place| of(*place)).or(leaf.as_ref());
    match last {
        _ if strays.is_empty() && should.is_sorted() => Ok(()),
        _ if strays.is_empty() => Err(ChainError::Order { should }),
        Some(last) if last.may_be_issued_by_another() => {
            let last = last.certificate;
            let (subject, issuer) = (last.subject_or_names(), last.issuer());
            let url = last.issuer_url();
            Err(ChainError::LinkMissing { subject, issuer, url, strays, should })
        }
        _ => Err(ChainError::Stray { strays, should }),
    }
}

/// Removes from `left` the certificates that issued one with a place, or one removed before: other
/// certificates of the same issuers, as authorities that signed each other have.
fn remove_alternatives(
    leaf: Option<&Link<'_>>,
    links: &[Link<'_>],
    should: &[usize],
    left: &mut Vec<usize>,
    budget: &mut Budget,
) -> Result<(), ChainError> {
    let placed = should.iter().filter_map(|place| links.get(*place));
    let mut issued: Vec<&Link<'_>> = leaf.into_iter().chain(placed).collect();
    let mut next = 0;
    while let Some(subject) = issued.get(next).copied() {
        next += 1;
        let mut kept = Vec::new();
        for place in left.drain(..) {
            match links.get(place) {
                Some(one) if subject.is_issued_by(one, budget)? => issued.push(one),
                _ => kept.push(place),
            }
        }
        *left = kept;
    }
    Ok(())
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

    /// Whether subject and issuer differ. A self-issued certificate ends a chain.
    fn may_be_issued_by_another(&self) -> bool {
        self.subject != self.issuer
    }

    fn is_valid(&self, at: u64) -> bool {
        (self.certificate.not_before()..=self.certificate.not_after()).contains(&at)
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
