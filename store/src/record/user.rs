//! Users of the admin API: people who log in with a password or a certificate.

use serde::{Deserialize, Serialize};

use super::{Grant, Sealed, Stamp};
use crate::{
    id::{Fingerprint, UserId},
    time::UnixMillis,
};

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Random id. A user who is made again under an old name has another one.
    pub id: UserId,
    /// Hash of the password in PHC form (Argon2id, RFC 9106); `None`: no login by password.
    pub password: Option<String>,
    /// Secret of the one-time codes (RFC 6238), sealed; `None`: no code is asked for.
    pub code: Option<Sealed>,
    /// Certificates with which the user logs in.
    pub certificates: Vec<CertificateLogin>,
    /// What the user may do.
    pub grant: Grant,
    /// Time of the last change of the password, the code or the certificates.
    pub credentials_changed: UnixMillis,
    /// The last change.
    pub changed: Stamp,
}

/// A client certificate that stands for a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateLogin {
    /// SHA-256 of the certificate of the authority, which is in the cluster's set of trusted
    /// certificates.
    pub issuer: Fingerprint,
    /// A subject alternative name of the user's certificate: an e-mail address, a DNS name or a
    /// URI.
    pub name: String,
}
