//! Keyring: the keys for sealing private keys, one per generation.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::{id::NodeId, time::UnixMillis};

/// One generation's key, wrapped (HPKE) for each member that may open it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyringGeneration {
    /// HPKE encapsulated key and ciphertext, by member.
    pub wraps: BTreeMap<NodeId, ByteBuf>,
    /// Time of creation.
    pub made: UnixMillis,
}
