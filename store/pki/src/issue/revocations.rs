//! Issuing of revocation lists (RFC 5280 §5).

use der::{Any, Decode, Encode, Sequence, asn1::Uint};
use x509_cert::{
    crl::RevokedCert,
    ext::{
        Extension,
        pkix::{CrlReason, KeyUsages, crl::CrlNumber},
    },
    serial_number::SerialNumber,
    spki::AlgorithmIdentifierOwned,
    time::Time,
};

use super::{IssueError, Validity, authority_identifier, extension, signed, time};
use crate::{
    certificate::Certificate,
    crl::Crl,
    key::{PrivateKey, signature_algorithm},
    limits::REVOKED_MAX,
};

/// Reason of a revocation (RFC 5280 §5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RevocationReason {
    /// None is given.
    Unspecified,
    /// The private key is known to others, or may be.
    KeyCompromise,
    /// The authority's key is known to others, or may be.
    AuthorityCompromise,
    /// The name is no longer right.
    AffiliationChanged,
    /// Another certificate replaces it.
    Superseded,
    /// It is no longer needed.
    CessationOfOperation,
    /// It is suspended.
    CertificateHold,
    /// A right that it states was withdrawn.
    PrivilegeWithdrawn,
}

/// Entry of a revocation list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Serial number, big-endian, at most 20 bytes ([`Certificate::serial_bytes`]).
    pub serial: Vec<u8>,
    /// Time of the revocation, in seconds since 1970.
    pub at: u64,
    /// The reason.
    pub reason: RevocationReason,
}

/// TBSCertList, version 2 (RFC 5280 §5.1). The issuer's name is copied byte for byte.
#[derive(Sequence)]
struct ToBeSigned {
    version: u8,
    signature: AlgorithmIdentifierOwned,
    issuer: Any,
    this_update: Time,
    next_update: Time,
    #[asn1(optional = "true")]
    revoked: Option<Vec<RevokedCert>>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    extensions: Vec<Extension>,
}

/// Signs the list of an issuer's revoked certificates, at most [`REVOKED_MAX`]. `updates` has the
/// times of this list and, at the latest, of the next one; `number` grows with every list (§5.2.3).
pub fn revocation_list(
    issuer_key: &PrivateKey,
    issuer: &Certificate,
    number: u64,
    updates: Validity,
    revoked: &[Revoked],
) -> Result<Crl, IssueError> {
    let refused = |why| Err(IssueError::Issuer { issuer: issuer.subject_or_names(), why });
    if !issuer.matches(issuer_key) {
        return refused("its key is another one");
    }
    if !issuer.is_authority() || !issuer.has_usage(KeyUsages::CRLSign) {
        return refused("it is not an authority with the key usage cRLSign");
    }
    if revoked.len() > REVOKED_MAX {
        return refused("a list has at most 250000 certificates");
    }
    let entries: Vec<RevokedCert> = revoked.iter().map(entry).collect::<Result<_, _>>()?;
    let name = issuer.subject_der().ok_or(IssueError::Encode)?;
    let number = CrlNumber(Uint::new(&number.to_be_bytes())?);
    let to_be_signed = ToBeSigned {
        version: 1,
        signature: signature_algorithm(issuer_key.algorithm())?,
        issuer: Any::from_der(&name)?,
        this_update: time(updates.not_before)?,
        next_update: time(updates.not_after)?,
        // An empty list must be absent (§5.1.2.6).
        revoked: (!entries.is_empty()).then_some(entries),
        extensions: vec![authority_identifier(issuer)?, extension(false, &number)?],
    };
    let der = signed(issuer_key, &to_be_signed.to_der()?)?;
    Crl::from_der(&der).map_err(|_| IssueError::Encode)
}

fn entry(revoked: &Revoked) -> Result<RevokedCert, IssueError> {
    let reason = match revoked.reason {
        // §5.3.1: the extension is absent instead.
        RevocationReason::Unspecified => None,
        RevocationReason::KeyCompromise => Some(CrlReason::KeyCompromise),
        RevocationReason::AuthorityCompromise => Some(CrlReason::CaCompromise),
        RevocationReason::AffiliationChanged => Some(CrlReason::AffiliationChanged),
        RevocationReason::Superseded => Some(CrlReason::Superseded),
        RevocationReason::CessationOfOperation => Some(CrlReason::CessationOfOperation),
        RevocationReason::CertificateHold => Some(CrlReason::CertificateHold),
        RevocationReason::PrivilegeWithdrawn => Some(CrlReason::PrivilegeWithdrawn),
    };
    let extensions = reason.map(|reason| -> Result<Vec<Extension>, IssueError> {
        Ok(vec![extension(false, &reason)?])
    });
    Ok(RevokedCert {
        serial_number: SerialNumber::new(&revoked.serial)?,
        revocation_date: time(revoked.at)?,
        crl_entry_extensions: extensions.transpose()?,
    })
}
