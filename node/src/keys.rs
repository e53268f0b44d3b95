//! Secrets: the only room, with the live index, that ever holds a private key in the clear.
//!
//! A domain's key is sealed under the current generation of the keyring before it enters the
//! log. A generation's key is wrapped for each member's sealing key. A node's sealing key lies
//! on disk under the unlock key, and the unlock key lies outside the data directory.

mod identity;
mod keyring;
#[cfg(test)]
mod samples;
mod seal;
mod sign;
mod unlock;
mod wrap;

pub(crate) use identity::NodeKeys;
pub(crate) use keyring::Keyring;
pub(crate) use seal::{Binding, GenerationKey, Purpose, SealError, Secret};
pub(crate) use wrap::wrap;
