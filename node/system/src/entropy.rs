//! The only source of randomness of the node: the operating system.

use ring::rand::{SecureRandom, SystemRandom};

/// Fills `bytes` with randomness. Panics if the system has none, which cannot happen once its
/// source is seeded. A node must not run before: its keys could be guessed.
pub fn fill(bytes: &mut [u8]) {
    let filled = SystemRandom::new().fill(bytes);
    assert!(filled.is_ok(), "the operating system gives no randomness");
}

/// Returns random bytes.
pub fn array<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill(&mut bytes);
    bytes
}
