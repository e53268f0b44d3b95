//! The passphrase of a node: Argon2id (RFC 9106) makes an unlock key of it.

use argon2::{Algorithm, Argon2, Params, Version};
use conclave_system::entropy;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::{
    limits::{
        LANES, LANES_MAX, MEMORY_KIB, MEMORY_KIB_MAX, PASSES, PASSES_MAX, PASSPHRASE_BYTES_MAX,
        PASSPHRASE_CHARS_MIN,
    },
    seal::{GenerationKey, Secret},
};

/// The parameters of Argon2id and the salt, stored beside what the key seals.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stretch {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: [u8; 16],
}

impl Stretch {
    /// Chooses parameters and a salt for a new passphrase.
    pub(crate) fn make() -> Stretch {
        Stretch { memory_kib: MEMORY_KIB, passes: PASSES, lanes: LANES, salt: entropy::array() }
    }

    /// Returns whether the parameters are within the bounds of this program.
    pub(crate) fn is_bounded(&self) -> bool {
        self.memory_kib <= MEMORY_KIB_MAX && self.passes <= PASSES_MAX && self.lanes <= LANES_MAX
    }

    /// Computes the unlock key. Takes a part of a second and the memory of the parameters. Returns
    /// `None` for parameters that Argon2 does not have.
    pub(crate) fn key(&self, passphrase: &Secret) -> Option<GenerationKey> {
        let mut key = [0; 32];
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(key.len())).ok()?;
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let made = argon.hash_password_into(passphrase.expose(), &self.salt, &mut key);
        let found = made.ok().map(|()| GenerationKey::from_bytes(key));
        key.zeroize();
        found
    }
}

/// Returns what is wrong with a new passphrase.
pub(crate) fn weakness(passphrase: &Secret) -> Option<String> {
    let Ok(text) = std::str::from_utf8(passphrase.expose()) else {
        return Some("the passphrase is not text".to_owned());
    };
    if text.len() > PASSPHRASE_BYTES_MAX {
        return Some(format!("a passphrase has at most {PASSPHRASE_BYTES_MAX} bytes"));
    }
    (text.chars().count() < PASSPHRASE_CHARS_MIN)
        .then(|| format!("a passphrase has at least {PASSPHRASE_CHARS_MIN} characters"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_passphrase_gives_the_same_key_only_with_the_same_salt() {
        let small = || Stretch { memory_kib: 64, passes: 1, lanes: 1, salt: [1; 16] };
        let secret = |text: &str| Secret::new(text.as_bytes().to_vec());
        let key = |stretch: &Stretch, text: &str| *stretch.key(&secret(text)).unwrap().expose();
        let first = key(&small(), "correct horse");
        assert_eq!(key(&small(), "correct horse"), first);
        assert_ne!(key(&small(), "correct horsf"), first);
        assert_ne!(key(&Stretch { salt: [2; 16], ..small() }, "correct horse"), first);
        assert_ne!(key(&Stretch { passes: 2, ..small() }, "correct horse"), first);
        assert!(Stretch { passes: 0, ..small() }.key(&secret("x")).is_none());
        assert!(Stretch::make().is_bounded());
        assert!(!Stretch { memory_kib: u32::MAX, ..small() }.is_bounded());
    }

    #[test]
    fn a_short_passphrase_is_refused() {
        let weak = |text: &str| weakness(&Secret::new(text.as_bytes().to_vec())).is_some();
        assert!(weak("") && weak("elevenchars") && weak(&"x".repeat(1025)));
        assert!(!weak("correct horse"));
    }
}
