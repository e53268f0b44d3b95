//! Passwords of users: hashed with Argon2id (RFC 9106), in PHC form.

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version, password_hash::phc,
};
use conclave_system::entropy;

use super::limits::{PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN, PASSWORD_MEMORY_KIB, PASSWORD_PASSES};
use super::seal::Secret;

/// Returns what is wrong with a new password.
pub fn password_weakness(password: &Secret) -> Option<String> {
    let Ok(text) = std::str::from_utf8(password.expose()) else {
        return Some("the password is not text".to_owned());
    };
    if text.len() > PASSWORD_BYTES_MAX {
        return Some(format!("a password has at most {PASSWORD_BYTES_MAX} bytes"));
    }
    (text.chars().count() < PASSWORD_CHARS_MIN)
        .then(|| format!("a password has at least {PASSWORD_CHARS_MIN} characters"))
}

/// Hashes a password. Takes some 20 ms and 19 MiB. Returns `None` only if there is no memory.
pub fn hash_password(password: &Secret) -> Option<String> {
    let salt: [u8; 16] = entropy::array();
    let hash: phc::PasswordHash =
        argon()?.hash_password_with_salt(password.expose(), &salt).ok()?;
    Some(hash.to_string())
}

/// Returns whether a password has this hash. Takes as long as [`hash_password`], also without a
/// hash, so that the time does not tell whether a user exists.
pub fn is_password(password: &Secret, hash: Option<&str>) -> bool {
    if password.expose().len() > PASSWORD_BYTES_MAX {
        return false;
    }
    match hash {
        // The parameters in the hash are bounded: only a holder of the keyring could write it.
        Some(hash) => {
            argon().is_some_and(|argon| argon.verify_password(password.expose(), hash).is_ok())
        }
        None => {
            let _ = hash_password(password);
            false
        }
    }
}

/// The parameters that OWASP recommends for a login.
fn argon() -> Option<Argon2<'static>> {
    let params = Params::new(PASSWORD_MEMORY_KIB, PASSWORD_PASSES, 1, None).ok()?;
    Some(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    #[test]
    fn a_password_is_known_by_its_hash_only() {
        let hash = hash_password(&secret("correct horse battery")).unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, hash_password(&secret("correct horse battery")).unwrap(), "other salt");
        assert!(is_password(&secret("correct horse battery"), Some(&hash)));
        assert!(!is_password(&secret("correct horse batterz"), Some(&hash)));
        assert!(!is_password(&secret(""), Some(&hash)));
        assert!(!is_password(&secret("correct horse battery"), Some("no hash")));
        assert!(!is_password(&secret("correct horse battery"), None));
    }

    #[test]
    fn a_hash_of_another_program_is_taken() {
        // Made by argon2-cffi, which is the reference implementation.
        let hash = concat!(
            "$argon2id$v=19$m=4096,t=3,p=1$c29tZXNhbHRzb21lc2FsdA$",
            "BvuA7SfebsIC3f4gSy7/Ei1s6+hsEfaOuCZMbl/y/Sg"
        );
        assert!(is_password(&secret("password"), Some(hash)));
        assert!(!is_password(&secret("passwore"), Some(hash)));
    }

    #[test]
    fn short_passwords_are_weak() {
        assert!(password_weakness(&secret("eleven char")).is_some());
        assert!(password_weakness(&secret("twelve chars")).is_none());
        assert!(password_weakness(&secret(&"x".repeat(257))).is_some());
        assert!(password_weakness(&Secret::new(vec![0xff; 20])).is_some());
    }
}
