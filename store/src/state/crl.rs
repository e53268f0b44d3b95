//! Revocation lists of a set, short and long ones.

use std::borrow::Cow;

use serde_bytes::ByteBuf;

use super::State;
use crate::{
    id::Fingerprint,
    record::{Crl, LongCrl, Record, RowKey, TrustSet},
    time::UnixMillis,
};

impl State {
    /// Returns the revocation lists of a set, by the hash of their issuer's name. A long one is put
    /// together from its parts.
    pub fn crls<'a>(
        &'a self,
        set: &TrustSet,
    ) -> impl Iterator<Item = (Fingerprint, Cow<'a, Crl>)> + use<'a> {
        let (set, of_long) = (set.clone(), set.clone());
        let long = self.long_crls(&set).filter_map(move |(issuer, long)| {
            let der = ByteBuf::from(self.crl_der(&of_long, long)?);
            Some((issuer, Cow::Owned(Crl { der, this_update: long.this_update })))
        });
        self.short_crls(&set).map(|(issuer, crl)| (issuer, Cow::Borrowed(crl))).chain(long)
    }

    fn short_crls<'a>(
        &'a self,
        set: &TrustSet,
    ) -> impl Iterator<Item = (Fingerprint, &'a Crl)> + use<'a> {
        let set = set.clone();
        let first = RowKey::Crl((set.clone(), Fingerprint([0; 32])));
        self.rows.range(first..).map_while(move |(key, row)| match (key, &row.record) {
            (RowKey::Crl((found, issuer)), Record::Crl(crl)) if *found == set => {
                Some((*issuer, &**crl))
            }
            _ => None,
        })
    }

    /// Returns the long revocation lists of a set, by the hash of their issuer's name.
    pub fn long_crls<'a>(
        &'a self,
        set: &TrustSet,
    ) -> impl Iterator<Item = (Fingerprint, &'a LongCrl)> + use<'a> {
        let set = set.clone();
        let first = RowKey::LongCrl((set.clone(), Fingerprint([0; 32])));
        self.rows.range(first..).map_while(move |(key, row)| match (key, &row.record) {
            (RowKey::LongCrl((found, issuer)), Record::LongCrl(long)) if *found == set => {
                Some((*issuer, &**long))
            }
            _ => None,
        })
    }

    /// Returns the parts of long revocation lists, completed or not: hash of the list, number, DER.
    pub(crate) fn crl_parts<'a>(
        &'a self,
        set: &TrustSet,
    ) -> impl Iterator<Item = (Fingerprint, u32, &'a [u8])> + use<'a> {
        let set = set.clone();
        let first = RowKey::CrlPart((set.clone(), Fingerprint([0; 32]), 0));
        self.rows.range(first..).map_while(move |(key, row)| match (key, &row.record) {
            (RowKey::CrlPart((found, list, number)), Record::CrlPart(der)) if *found == set => {
                Some((*list, *number, der.as_slice()))
            }
            _ => None,
        })
    }

    /// Returns a long revocation list, or none if a part is missing.
    pub(crate) fn crl_der(&self, set: &TrustSet, long: &LongCrl) -> Option<Vec<u8>> {
        let mut der = Vec::new();
        for number in 0..long.parts {
            let key = RowKey::CrlPart((set.clone(), long.list, number));
            match &self.row(&key)?.record {
                Record::CrlPart(part) => der.extend_from_slice(part),
                _ => return None,
            }
        }
        Some(der)
    }

    /// Returns when a set's list of an issuer was issued, if there is one.
    pub(crate) fn crl_issued(&self, set: &TrustSet, issuer: Fingerprint) -> Option<UnixMillis> {
        let long = RowKey::LongCrl((set.clone(), issuer));
        let row = self.row(&RowKey::Crl((set.clone(), issuer))).or_else(|| self.row(&long));
        match &row?.record {
            Record::Crl(crl) => Some(crl.this_update),
            Record::LongCrl(long) => Some(long.this_update),
            _ => None,
        }
    }

    /// Returns the keys of the rows of a set's revocation lists, without those of parts.
    pub fn crl_keys<'a>(&'a self, set: &TrustSet) -> impl Iterator<Item = RowKey> + use<'a> {
        let (of_short, of_long) = (set.clone(), set.clone());
        let short = self.short_crls(set).map(move |(one, _)| RowKey::Crl((of_short.clone(), one)));
        let long = self.long_crls(set);
        short.chain(long.map(move |(one, _)| RowKey::LongCrl((of_long.clone(), one))))
    }
}
