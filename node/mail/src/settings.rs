//! Settings of the proxy.

use conclave_smime::cms::Cipher;

use crate::Place;

/// Settings of the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Place where senders connect to.
    pub listen: Place,
    /// Place of the mailbox server.
    pub upstream: Place,
    /// Answer for recipients to whom nothing can be encrypted.
    pub without_certificate: WithoutCertificate,
    /// Content encryption.
    pub cipher: Cipher,
    /// Whether senders are offered DSN (RFC 3461) even if the mailbox server does not know it. Only
    /// then do they tell the original recipient; notices of success are lost.
    pub offers_dsn: bool,
}

/// Answer for a recipient without a certificate to encrypt to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WithoutCertificate {
    /// The message is stored as it came.
    Pass,
    /// The sender tries it again later: 451.
    #[default]
    Defer,
    /// The sender gets it back: 550.
    Reject,
}
