//! Domains and their certificates in numbers. A round in the background fills them, so that a scrape
//! of the metrics reads no certificate.

use conclave_api::status::DomainCounts;
use conclave_store::{id::DomainName, record::KeyFamily, scope::Scope};

/// What the last round found about the domains of both scopes.
#[derive(Debug, Default)]
pub struct DomainFacts {
    /// Domains by their state.
    pub counts: DomainCounts,
    /// Enabled domains with a certificate that has expired.
    pub expired: u64,
    /// Enabled domains that this node does not serve as its State says.
    pub not_served: u64,
    /// End of the certificate of an enabled domain that ends first, in seconds since 1970.
    pub first_end_s: Option<u64>,
    /// The certificates of enabled domains; none if there are too many domains.
    pub certificates: Vec<CertificateFacts>,
}

/// A certificate of an enabled domain.
#[derive(Debug)]
pub struct CertificateFacts {
    /// Scope of the domain.
    pub scope: Scope,
    /// Name of the domain.
    pub domain: DomainName,
    /// Family of its key.
    pub family: KeyFamily,
    /// Its end, in seconds since 1970.
    pub ends_s: u64,
    /// End of the certificate in its CA chain that ends first.
    pub chain_ends_s: Option<u64>,
    /// The first 48 bits of the SHA-256 of the certificate that this node shows; 0 if it shows
    /// none. A number is the same series before and after a renewal, and 48 bits are exact in it.
    pub shown: u64,
}
