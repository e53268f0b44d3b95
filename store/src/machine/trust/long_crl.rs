//! Rules for revocation lists that are too long for one command. The parts come first, each by a
//! command of its own; a last command makes a list of them.

use super::{done, set_of};
use crate::{
    command::{AddCrlPart, AddLongCrl},
    id::{DomainName, Fingerprint},
    limits::{CRL_BYTES_MAX, CRL_PARTS_MAX},
    machine::Changing,
    outcome::{Done, Rejection},
    record::{Record, RowKey, TrustSet},
};

/// Adds a part. Removes the parts of other lists that were never completed, so that a set has those
/// of one at most.
pub(in crate::machine) fn add_part(
    change: &mut Changing<'_>,
    owner: Option<&DomainName>,
    part: &AddCrlPart,
) -> Result<Done, Rejection> {
    let (set, _) = set_of(change, owner)?;
    if part.number >= CRL_PARTS_MAX || part.der.len() > CRL_BYTES_MAX {
        let what = "parts of a revocation list".to_owned();
        return Err(Rejection::TooMany { what, max: CRL_PARTS_MAX.into() });
    }
    let used: Vec<Fingerprint> =
        change.state.long_crls(&set).map(|(_, long)| long.list).chain([part.list]).collect();
    let parts = change.state.crl_parts(&set).map(|(list, number, _)| (list, number));
    let unused: Vec<_> = parts.filter(|(list, _)| !used.contains(list)).collect();
    for (list, number) in unused {
        change.remove(&RowKey::CrlPart((set.clone(), list, number)))?;
    }
    let key = RowKey::CrlPart((set, part.list, part.number));
    if change.state.row(&key).is_none() {
        change.put(key, Record::CrlPart(part.der.clone().into()))?;
    }
    Ok(Done::Changed)
}

/// Makes a list of the parts, which must all be there. It replaces one of its issuer that is not
/// newer.
pub(in crate::machine) fn add(
    change: &mut Changing<'_>,
    owner: Option<&DomainName>,
    found: &AddLongCrl,
) -> Result<Done, Rejection> {
    let (set, domain) = set_of(change, owner)?;
    let AddLongCrl { issuer, crl } = found;
    if change.state.crl_der(&set, crl).is_none_or(|der| Fingerprint::of(&der) != crl.list) {
        return Err(Rejection::TrustedUnknown(crl.list));
    }
    let known = change.state.crl_issued(&set, *issuer);
    let is_newer = known.is_some_and(|known| known > crl.this_update);
    let key = RowKey::LongCrl((set.clone(), *issuer));
    let is_same = change.state.long_crls(&set).any(|(one, long)| one == *issuer && long == crl);
    let is_changed = !is_newer && !is_same;
    if is_changed {
        remove(change, &set, *issuer)?;
        change.put(key, Record::LongCrl((*crl).into()))?;
    }
    super::check_counts(change, &set)?;
    done(change, domain, is_changed)
}

/// Removes a set's list of an issuer, short or long. The parts of a long one go with it, except
/// those that were added for its successor. Returns whether there was one.
pub(super) fn remove(
    change: &mut Changing<'_>,
    set: &TrustSet,
    issuer: Fingerprint,
) -> Result<bool, Rejection> {
    let short = RowKey::Crl((set.clone(), issuer));
    let long = change.state.long_crls(set).find(|(one, _)| *one == issuer);
    let long = long.map(|(_, long)| *long);
    let is_there = long.is_some() || change.state.row(&short).is_some();
    change.remove(&short)?;
    if let Some(long) = long {
        change.remove(&RowKey::LongCrl((set.clone(), issuer)))?;
        for number in 0..long.parts {
            change.remove(&RowKey::CrlPart((set.clone(), long.list, number)))?;
        }
    }
    Ok(is_there)
}
