//! Admission of a new authority of the cluster.

use conclave_api::problem::{Code, Problem};
use conclave_keys::Purpose;
use conclave_store::{
    command::{Action, RotateAuthority},
    id::TokenId,
    outcome::Rejection,
    record::RowKey,
    scope::Scope,
};
use serde_bytes::ByteBuf;

use super::{Admitted, PROOFS_LEVEL, View, level, rejection_problem};
use crate::{authority::Authority, fault::internal};

/// Replaces the authority. The one before certifies the new one and stays trusted.
pub fn rotate_authority(view: &View<'_>) -> Result<Admitted, Problem> {
    level::check(view.state, PROOFS_LEVEL)?;
    let none = || Problem::new(Code::NoCluster, "this node belongs to no cluster yet");
    let cluster = view.state.cluster().ok_or_else(none)?;
    if view.state.earlier_authority().is_some() {
        return Err(rejection_problem(&Rejection::AuthorityTurning));
    }
    let present = Authority::open(view.node.keyring(), view.state)?;
    let next = Authority::make(cluster.name.as_str())?;
    let cross = present
        .certify_next(&next)
        .map_err(|error| internal("the certificate of the next authority", error))?;
    let authority_key = view
        .node
        .keyring()
        .seal(Scope::Shared, Purpose::Authority, next.key.pkcs8_der())
        .map_err(|error| view.sealed_problem(&error))?;
    let rotate = RotateAuthority {
        authority_der: ByteBuf::from(next.certificate.der()),
        authority_key,
        cross_der: ByteBuf::from(cross.der()),
    };
    let tokens = view.state.join_tokens().filter(|(_, token)| token.used.is_none()).count();
    let mut warnings = Vec::new();
    if tokens > 0 {
        warnings.push(format!("{tokens} join tokens that nobody has used yet end now"));
    }
    let action = Action::RotateAuthority(Box::new(rotate));
    Ok(Admitted::new(action, "authority of the cluster")
        .expecting(view.state.expectation(RowKey::Cluster))
        .warning(warnings))
}

/// Ends the trust in the authority before the present one.
pub fn forget_authority(view: &View<'_>) -> Result<Admitted, Problem> {
    level::check(view.state, PROOFS_LEVEL)?;
    let row = RowKey::EarlierAuthority;
    let Some(began) = view.state.row(&row).map(|row| row.changed_at) else {
        return Ok(Admitted::nothing("earlier authority of the cluster", vec![row]));
    };
    let is_old = |id: &TokenId| {
        let token = view.state.row(&RowKey::AccessToken(*id));
        token.is_some_and(|token| token.changed_at < began)
    };
    let old = view.state.access_tokens().filter(|(id, _)| is_old(id));
    let old: Vec<&str> = old.map(|(_, token)| token.name.as_str()).collect();
    let mut warnings = Vec::new();
    if !old.is_empty() {
        warnings.push(format!(
            "access tokens made before the rotation find no node over HTTPS any more: {}",
            old.join(", ")
        ));
    }
    Ok(Admitted::new(Action::ForgetAuthority, "earlier authority of the cluster")
        .expecting(view.state.expectation(row))
        .warning(warnings))
}
