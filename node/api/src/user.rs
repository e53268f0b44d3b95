//! Requests and answers about users of the admin API, and logins.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::grant::Grant;

/// Request to create a user. A user needs a password or a certificate to log in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UserCreate")]
pub struct Create {
    /// Name: 1 to 64 characters of `a-z0-9._@-`.
    pub name: String,
    /// Password, 12 to 256 bytes.
    #[serde(default)]
    pub password: Option<String>,
    /// Certificates with which the user logs in.
    #[serde(default)]
    pub certificates: Vec<Certificate>,
    /// What the user may do.
    pub grant: Grant,
}

/// A client certificate that stands for a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UserCertificate")]
pub struct Certificate {
    /// SHA-256 of the certificate of the authority, which is in the cluster's set of trusted
    /// certificates.
    pub issuer: String,
    /// A subject alternative name of the user's certificate: an e-mail address or a DNS name.
    pub name: String,
}

/// Request to change a user; what is not given stays as it is.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "UserSet")]
pub struct Set {
    /// New password. All sessions of the user end.
    pub password: Option<String>,
    /// New list of certificates. All sessions of the user end.
    pub certificates: Option<Vec<Certificate>>,
    /// What the user may do from now on.
    pub grant: Option<Grant>,
}

/// A user, without anything secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct User {
    /// Name.
    pub name: String,
    /// What the user may do.
    pub grant: Grant,
    /// Whether the user has a password.
    pub has_password: bool,
    /// Whether a one-time code is asked for.
    pub has_code: bool,
    /// Certificates with which the user logs in.
    pub certificates: Vec<Certificate>,
    /// Number of logins that have not ended.
    pub sessions: usize,
    /// Time of the last change.
    pub changed: String,
    /// Author of the last change.
    pub changed_by: String,
}

/// The secret of one-time codes (RFC 6238), shown only in this answer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewCode {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `Code`.
    pub kind: String,
    /// The secret in Base32.
    pub secret: String,
    /// The secret for an app, as `otpauth://totp/…`.
    pub url: String,
    /// Result of the change.
    pub change: crate::change::Change,
}

/// Request to log in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// Name of the user.
    pub user: String,
    /// Password.
    pub password: String,
    /// One-time code, if the user has one.
    #[serde(default)]
    pub code: Option<String>,
}

/// A login.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Session {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `Session`.
    pub kind: String,
    /// Name of the user.
    pub user: String,
    /// Token for the requests of this session.
    pub token: String,
    /// Time at which it ends.
    pub expires: String,
}
