//! Revocation lists by which client certificates are judged.

use std::sync::Arc;

use conclave_pki::crl::Crl;
use conclave_store::{id::Fingerprint, limits::CRL_BYTES_MAX, record::TrustSet, state::State};

/// A revocation list, and what the hash of a policy has of it.
#[derive(Clone)]
pub(crate) struct RevocationList {
    /// The list; none if this program cannot read what another version has accepted. Then nothing
    /// of its set may be trusted: what the list revokes is unknown.
    pub(crate) crl: Option<Crl>,
    /// The list itself, or the hash of a long one.
    pub(super) mark: Arc<[u8]>,
}

impl RevocationList {
    /// Returns the lists of a set.
    pub(crate) fn of<'a>(
        state: &'a State,
        set: &TrustSet,
    ) -> impl Iterator<Item = RevocationList> + use<'a> {
        state.crls(set).map(|(issuer, stored)| {
            let crl = Crl::from_der(&stored.der).inspect_err(|error| {
                tracing::error!(event = "trust.list_unreadable", %issuer, %error);
            });
            let mark = match stored.der.len() > CRL_BYTES_MAX {
                true => Fingerprint::of(&stored.der).0.as_slice().into(),
                false => stored.der.as_slice().into(),
            };
            RevocationList { crl: crl.ok(), mark }
        })
    }
}
