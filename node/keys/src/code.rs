//! One-time codes by time (RFC 6238): six digits, 30 seconds, HMAC-SHA1, as authenticator apps do.

use conclave_store::time::UnixMillis;
use conclave_system::entropy;
use data_encoding::BASE32_NOPAD;
use ring::hmac;

use super::seal::Secret;

/// Bytes of the secret: RFC 4226 §4 wants the size of the hash.
const SECRET_BYTES: usize = 20;
const STEP_MS: u64 = 30_000;
/// Steps by which the clocks may differ, before and after (RFC 6238 §5.2).
const STEPS_APART: u64 = 1;

/// Makes a secret.
pub fn make_code_secret() -> Secret {
    Secret::new(entropy::array::<SECRET_BYTES>().to_vec())
}

/// Writes a secret in Base32, as apps take it.
pub fn code_secret_text(secret: &Secret) -> String {
    BASE32_NOPAD.encode(secret.expose())
}

/// Returns the time step of a code; `None` if it is none of those around `now`. A step that was
/// used once must not be taken again.
pub fn code_step(secret: &Secret, code: &str, now: UnixMillis) -> Option<u64> {
    let present = now.0 / STEP_MS;
    let steps = present.saturating_sub(STEPS_APART)..=present.saturating_add(STEPS_APART);
    // A comparison in constant time is not needed: a code is worth one guess.
    steps.into_iter().find(|step| code_at(secret, *step).as_deref() == Some(code))
}

/// RFC 4226 §5.3.
fn code_at(secret: &Secret, step: u64) -> Option<String> {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.expose());
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let offset = usize::from(tag.as_ref().last()? & 0x0f);
    let bytes = tag.as_ref().get(offset..offset + 4)?.try_into().ok()?;
    Some(format!("{:06}", (u32::from_be_bytes(bytes) & 0x7fff_ffff) % 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, the last six digits.
    #[test]
    fn the_codes_are_those_of_the_rfc() {
        let secret = Secret::new(b"12345678901234567890".to_vec());
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            let at = |seconds: u64| code_step(&secret, code, UnixMillis(seconds * 1_000));
            assert_eq!(at(seconds), Some(seconds / 30), "{code}");
            assert_eq!(at(seconds + 30), Some(seconds / 30), "a clock that is slow");
            assert_eq!(at(seconds + 90), None, "{code}");
        }
        assert_eq!(code_secret_text(&secret), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(code_secret_text(&make_code_secret()).len(), 32);
    }
}
