//! Bounds of unlocking.

use std::time::Duration;

/// Memory of Argon2id for a new passphrase: the second recommended option of RFC 9106, section 4.
pub(crate) const MEMORY_KIB: u32 = 64 * 1024;
/// Passes of Argon2id for a new passphrase, from the same option.
pub(crate) const PASSES: u32 = 3;
/// Lanes of Argon2id for a new passphrase, from the same option.
pub(crate) const LANES: u32 = 4;
/// Most memory that a file may ask for. A damaged file must not use up the machine.
pub(crate) const MEMORY_KIB_MAX: u32 = 1024 * 1024;
/// Most passes that a file may ask for.
pub(crate) const PASSES_MAX: u32 = 64;
/// Most lanes that a file may ask for.
pub(crate) const LANES_MAX: u32 = 64;
/// Fewest characters of a new passphrase.
pub(crate) const PASSPHRASE_CHARS_MIN: usize = 12;
/// Longest passphrase.
pub(crate) const PASSPHRASE_BYTES_MAX: usize = 1024;
/// Longest text of a share.
pub(crate) const SHARE_BYTES_MAX: usize = 256;
/// Fewest shares that open a key. One would be the key itself.
pub(crate) const SHARES_NEEDED_MIN: u8 = 2;
/// Most shares of one key.
pub(crate) const SHARES_MAX: u8 = 16;
/// Time after the last share until all given shares are forgotten.
pub(crate) const SHARES_KEPT: Duration = Duration::from_secs(10 * 60);
/// Pause after the first wrong passphrase. It doubles with each further one.
pub(crate) const WRONG_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause after a wrong passphrase.
pub(crate) const WRONG_PAUSE_MAX: Duration = Duration::from_secs(60);
/// Longest file of an unlock key.
pub(crate) const UNLOCK_FILE_BYTES_MAX: u64 = 4096;
/// Least characters of the password of a user.
pub(crate) const PASSWORD_CHARS_MIN: usize = 12;
/// Most bytes of the password of a user.
pub(crate) const PASSWORD_BYTES_MAX: usize = 256;
/// Memory of one login, in KiB, and passes over it.
pub(crate) const PASSWORD_MEMORY_KIB: u32 = 19 * 1024;
pub(crate) const PASSWORD_PASSES: u32 = 2;
