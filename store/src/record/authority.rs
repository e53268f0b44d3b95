//! The authority before the present one.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// The authority that a rotation has replaced, while it is still trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlierAuthority {
    /// Its certificate, DER.
    pub authority_der: ByteBuf,
    /// Certificate of the present authority's key, issued by the earlier one, DER.
    pub cross_der: ByteBuf,
}
