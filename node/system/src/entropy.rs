//! The only source of randomness of the node: the operating system's.

use ring::rand::{SecureRandom, SystemRandom};

/// Fills `bytes`. The system's source cannot fail once it is seeded; before that a node must
/// not run, because it would make keys that others can guess.
pub fn fill(bytes: &mut [u8]) {
    let filled = SystemRandom::new().fill(bytes);
    assert!(filled.is_ok(), "the operating system gives no randomness");
}

/// Random bytes.
pub fn array<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill(&mut bytes);
    bytes
}
