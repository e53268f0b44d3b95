//! Grants: what the holder of a token, or a user, may do.

use serde::{Deserialize, Serialize};

use super::Network;
use crate::id::{DomainName, UserId};

/// A set of rights with a name. The node's table of rights says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Reads what is not secret.
    Viewer,
    /// Cares for domains and their certificates.
    Operator,
    /// Cares for the cluster, its listeners and its TLS settings.
    Admin,
    /// Decides who may do what, and what is trusted.
    Security,
}

/// A kind of thing that a caller may be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Right {
    /// Read what is not secret.
    Read,
    /// Make and change domains, their keys and their settings.
    Domain,
    /// Make signing requests, and set certificates with their keys and chains.
    Certificate,
    /// Change what is trusted.
    Trust,
    /// Change listeners.
    Listener,
    /// Change the TLS settings.
    Tls,
    /// Change the members of the cluster and their roles.
    Cluster,
    /// Let nodes join.
    Join,
    /// Rotate, seal and unseal the keyring.
    Keyring,
    /// Make and restore backups.
    Backup,
    /// Read the audit trail.
    Audit,
    /// Make and end users and tokens.
    User,
}

/// Some domains, by their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainLimit {
    /// The name.
    pub name: DomainName,
    /// Whether the names below it are among them.
    pub is_tree: bool,
}

impl DomainLimit {
    /// Returns whether a domain is one of these.
    pub fn contains(&self, name: &DomainName) -> bool {
        let below = name.as_str().strip_suffix(self.name.as_str());
        *name == self.name || self.is_tree && below.is_some_and(|head| head.ends_with('.'))
    }
}

/// What the holder of a token, or a user, may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Roles; the rights of all of them together.
    pub roles: Vec<Role>,
    /// Only these of the rights; empty: all of them.
    pub only: Vec<Right>,
    /// Only these domains, and nothing that is not about a domain; empty: everything.
    pub domains: Vec<DomainLimit>,
    /// Only from these networks; empty: from everywhere.
    pub networks: Vec<Network>,
    /// Most changes with this token; `None`: no bound.
    pub uses: Option<u32>,
    /// The user whose login made this token. Such a token may do what the user may do at that time,
    /// so its other fields are empty.
    pub user: Option<UserId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_holds_whole_labels_only() {
        let name = |text: &str| DomainName::parse(text).unwrap();
        let check = |is_tree, other: &str, expected| {
            let limit = DomainLimit { name: name("shop.example"), is_tree };
            assert_eq!(limit.contains(&name(other)), expected, "{other}");
        };
        check(false, "shop.example", true);
        check(false, "www.shop.example", false);
        check(true, "shop.example", true);
        check(true, "a.www.shop.example", true);
        check(true, "workshop.example", false);
        check(true, "example", false);
    }
}
