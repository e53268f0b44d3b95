//! Roles and rights: what the holder of a token, or a user, may do.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Defines an enum whose variants have names in JSON and on the command line.
macro_rules! named {
    ($(#[$doc:meta])* $type:ident, $what:literal, $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "kebab-case")]
        pub enum $type {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $type {
            /// All of them.
            pub const ALL: &[$type] = &[$($type::$variant),*];

            /// Returns its name.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($type::$variant => $name,)*
                }
            }
        }

        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<$type, String> {
                let found = $type::ALL.iter().find(|one| one.as_str() == text);
                found.copied().ok_or_else(|| {
                    let known: Vec<&str> = $type::ALL.iter().map(|one| one.as_str()).collect();
                    format!("no {} {text:?}: there are {}", $what, known.join(", "))
                })
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use named;

named!(
    /// A set of rights with a name.
    Role,
    "role",
    /// Reads what is not secret.
    Viewer = "viewer",
    /// Cares for domains and their certificates.
    Operator = "operator",
    /// Cares for the cluster, its listeners and its TLS settings.
    Admin = "admin",
    /// Decides who may do what, and what is trusted.
    Security = "security",
);

named!(
    /// A kind of thing that a caller may be allowed to do.
    Right,
    "right",
    /// Read what is not secret.
    Read = "read",
    /// Make and change domains, their keys and their settings.
    Domain = "domain",
    /// Make signing requests, and set certificates with their keys and chains.
    Certificate = "certificate",
    /// Change what is trusted.
    Trust = "trust",
    /// Change listeners.
    Listener = "listener",
    /// Change the TLS settings.
    Tls = "tls",
    /// Change the members of the cluster and their roles.
    Cluster = "cluster",
    /// Let nodes join.
    Join = "join",
    /// Rotate, seal and unseal the keyring.
    Keyring = "keyring",
    /// Make and restore backups.
    Backup = "backup",
    /// Read the audit trail.
    Audit = "audit",
    /// Make and end users and tokens.
    User = "user",
);

/// A role with its rights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RoleRights {
    /// The role.
    pub role: Role,
    /// Its rights.
    pub rights: Vec<Right>,
    /// What it is for, in a sentence.
    pub text: String,
}

/// What the holder of a token, or a user, may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Grant {
    /// Roles; the rights of all of them together.
    pub roles: Vec<Role>,
    /// Only these of the rights; empty: all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<Right>,
    /// Only these domains, and nothing that is not about a domain; empty: everything. `NAME`, or
    /// `.NAME` for the name and all names below it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<String>,
    /// Only from these networks, as `10.0.0.0/8`; empty: from everywhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// Most changes with a token; none: no bound. Only for tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
}

/// Who the caller is, and what it may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WhoAmI {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `WhoAmI`.
    pub kind: String,
    /// The principal, as the history shows it.
    pub who: String,
    /// Its rights.
    pub rights: Vec<Right>,
    /// The domains to which it is limited; empty: all.
    pub domains: Vec<String>,
    /// Time at which the token ends; none: never, or no token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Number of changes that the token may still make; none: no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uses_left: Option<u32>,
    /// Address of the account that the caller owns; none: it is no owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}
