//! Key management: sealing, wrapping and unlocking of private keys.
//!
//! Only three places hold a domain's private key in plaintext: this crate, `node/admit` during
//! admission, and the live index of `conclave-edge`.
//!
//! A domain's key is sealed under the current generation of the keyring before it enters the log. A
//! generation's key is wrapped for the sealing key of each member. A node's sealing key is stored
//! under its unlock key. The unlock key is stored outside the data directory, or made of a
//! passphrase or of shares.

mod backup;
mod code;
mod identity;
mod keyring;
mod limits;
mod lock;
mod passphrase;
mod password;
mod proof;
#[cfg(test)]
mod samples;
mod seal;
mod session;
mod share;
mod sign;
mod stored;
mod unlock;
mod wrap;

#[cfg(feature = "testing")]
pub use backup::opened;
pub use backup::{BackupKeys, purposes_of_account};
pub use code::{code_secret_text, code_step, make_code_secret};
pub use identity::NodeKeys;
pub use keyring::Keyring;
pub use lock::{Given, Lock, LockError, LockStatus, NewKey, SharesStatus};
pub use password::{hash_password, is_password, password_weakness};
pub use proof::Claim;
pub use seal::{Binding, GenerationKey, Purpose, SealError, Secret};
pub use session::{OpenedKey, SessionKeys};
pub use share::ShareError;
pub use stored::{IdentityError, Unlocked};
pub use unlock::Unlock;
pub use wrap::{SealingKey, WrapError, wrap};

#[cfg(test)]
#[path = "../../../tests/src/samples.rs"]
mod samples_of_formats;
