//! Secrets: the only crate, with the live index of the edge, that ever holds a private key in plaintext.
//!
//! A domain's key is sealed under the current generation of the keyring before it enters the
//! log. A generation's key is wrapped for each member's sealing key. A node's sealing key lies
//! on disk under the unlock key, and the unlock key lies outside the data directory.

mod identity;
mod keyring;
#[cfg(test)]
mod samples;
mod seal;
mod session;
mod sign;
mod unlock;
mod wrap;

pub use identity::{IdentityError, NodeKeys, Unlocked};
pub use keyring::Keyring;
pub use seal::{Binding, GenerationKey, Purpose, SealError, Secret};
pub use session::{OpenedKey, SessionKeys};
pub use wrap::{SealingKey, WrapError, wrap};

#[cfg(test)]
#[path = "../../../tests/src/samples.rs"]
mod samples_of_formats;
