//! Revocation lists by which client certificates are judged.

use std::sync::Arc;

use conclave_pki::crl::Crl;
use conclave_store::{id::Fingerprint, limits::CRL_BYTES_MAX, record::TrustSet, state::State};

/// A revocation list, and what the hash of a policy has of it.
#[derive(Clone)]
pub(crate) struct RevocationList {
    pub(super) crl: Crl,
    /// The list itself, or the hash of a long one.
    pub(super) mark: Arc<[u8]>,
}

impl RevocationList {
    /// Returns the lists of a set.
    pub(crate) fn of<'a>(
        state: &'a State,
        set: &TrustSet,
    ) -> impl Iterator<Item = RevocationList> + use<'a> {
        state.crls(set).filter_map(|(_, stored)| {
            let crl = Crl::from_der(&stored.der).ok()?;
            let mark = match stored.der.len() > CRL_BYTES_MAX {
                true => Fingerprint::of(&stored.der).0.as_slice().into(),
                false => stored.der.as_slice().into(),
            };
            Some(RevocationList { crl, mark })
        })
    }
}
