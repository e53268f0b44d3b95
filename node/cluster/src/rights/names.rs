//! Roles, rights and limits in the words of the API.

use conclave_api::grant::{Grant as Shown, Right as ApiRight, Role as ApiRole};
use conclave_store::record::{DomainLimit, Grant, Right, Role};

/// Writes a limit as it is given.
pub fn limit_text(limit: &DomainLimit) -> String {
    format!("{}{}", if limit.is_tree { "." } else { "" }, limit.name)
}

/// Shows a grant as the API does.
pub fn shown_grant(grant: &Grant) -> Shown {
    Shown {
        roles: grant.roles.iter().map(|role| shown_role(*role)).collect(),
        only: grant.only.iter().map(|right| shown_right(*right)).collect(),
        domains: grant.domains.iter().map(limit_text).collect(),
        networks: grant
            .networks
            .iter()
            .map(|one| format!("{}/{}", one.address, one.prefix))
            .collect(),
        uses: grant.uses,
    }
}

/// Reads a role of the API.
pub(crate) fn role(role: ApiRole) -> Role {
    match role {
        ApiRole::Viewer => Role::Viewer,
        ApiRole::Operator => Role::Operator,
        ApiRole::Admin => Role::Admin,
        ApiRole::Security => Role::Security,
    }
}

/// Shows a role as the API does.
pub fn shown_role(role: Role) -> ApiRole {
    match role {
        Role::Viewer => ApiRole::Viewer,
        Role::Operator => ApiRole::Operator,
        Role::Admin => ApiRole::Admin,
        Role::Security => ApiRole::Security,
    }
}

/// Reads a right of the API.
pub(crate) fn right(right: ApiRight) -> Right {
    match right {
        ApiRight::Read => Right::Read,
        ApiRight::Domain => Right::Domain,
        ApiRight::Certificate => Right::Certificate,
        ApiRight::Trust => Right::Trust,
        ApiRight::Listener => Right::Listener,
        ApiRight::Tls => Right::Tls,
        ApiRight::Cluster => Right::Cluster,
        ApiRight::Join => Right::Join,
        ApiRight::Keyring => Right::Keyring,
        ApiRight::Backup => Right::Backup,
        ApiRight::Audit => Right::Audit,
        ApiRight::User => Right::User,
    }
}

/// Shows a right as the API does.
pub fn shown_right(right: Right) -> ApiRight {
    match right {
        Right::Read => ApiRight::Read,
        Right::Domain => ApiRight::Domain,
        Right::Certificate => ApiRight::Certificate,
        Right::Trust => ApiRight::Trust,
        Right::Listener => ApiRight::Listener,
        Right::Tls => ApiRight::Tls,
        Right::Cluster => ApiRight::Cluster,
        Right::Join => ApiRight::Join,
        Right::Keyring => ApiRight::Keyring,
        Right::Backup => ApiRight::Backup,
        Right::Audit => ApiRight::Audit,
        Right::User => ApiRight::User,
    }
}

/// Returns the name of a role.
pub(crate) fn role_name(role: Role) -> &'static str {
    shown_role(role).as_str()
}

/// Returns the name of a right.
pub(crate) fn right_name(right: Right) -> &'static str {
    shown_right(right).as_str()
}
