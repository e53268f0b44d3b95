//! Rules for client certificates of domains.

use super::Changing;
use crate::{
    id::DomainName,
    outcome::{Done, Rejection},
    record::ClientAuth,
};

/// Sets the client certificate policy. Existing sessions do not resume, because a ticket is bound
/// to the policy.
pub(super) fn set(
    change: &mut Changing<'_>,
    name: &DomainName,
    asked: Option<ClientAuth>,
) -> Result<Done, Rejection> {
    let mut domain = change.domain(name)?;
    domain.client_auth = asked;
    change.put_domain(domain)
}
