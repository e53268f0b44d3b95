//! Providers of cryptography, and the IANA names of their algorithms.

use std::sync::{Arc, OnceLock};

use rustls::{
    CipherSuite, NamedGroup,
    crypto::{
        CryptoProvider,
        aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768},
    },
};

/// Returns the algorithms for the TLS of users. AWS-LC exchanges keys: it has X25519MLKEM768 and
/// needs half of ring's time for X25519 (`docs/benchmarks.md`). Everything else is ring's. One
/// instance for the process.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let make = || {
        let mut provider = rustls::crypto::ring::default_provider();
        provider.kx_groups = vec![X25519MLKEM768, X25519, SECP256R1, SECP384R1];
        provider.cipher_suites.sort_by_key(|suite| {
            let name = cipher_name(suite.suite());
            CIPHER_SUITES.iter().position(|one| *one == name).unwrap_or(usize::MAX)
        });
        Arc::new(provider)
    };
    Arc::clone(PROVIDER.get_or_init(make))
}

/// Returns the algorithms of ring alone, for connections among nodes and for the admin API. One
/// instance for the process.
pub fn ring_provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())))
}

/// Cipher suites of [`provider`] by their IANA names, in its order. AES-128 is first: 128 bits
/// suffice (RFC 9325 §4.2), and a handshake with SHA-384 costs more.
pub const CIPHER_SUITES: [&str; 9] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// Key exchange groups of [`provider`] by their IANA names, most preferred first.
pub const GROUPS: [&str; 4] = ["X25519MLKEM768", "x25519", "secp256r1", "secp384r1"];

/// Returns the IANA name of a cipher suite. rustls has `TLS13_` where the registry has `TLS_`.
pub fn cipher_name(suite: CipherSuite) -> String {
    let name = format!("{suite:?}");
    match name.strip_prefix("TLS13_") {
        Some(rest) => format!("TLS_{rest}"),
        None => name,
    }
}

/// Returns the IANA name of a group.
pub fn group_name(group: NamedGroup) -> String {
    match group {
        NamedGroup::X25519 => "x25519".to_owned(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_and_group_has_its_name_of_the_registry() {
        let provider = provider();
        let names = provider.cipher_suites.iter().map(|one| cipher_name(one.suite()));
        assert_eq!(names.collect::<Vec<_>>(), CIPHER_SUITES);
        let names = provider.kx_groups.iter().map(|one| group_name(one.name()));
        assert_eq!(names.collect::<Vec<_>>(), GROUPS);
    }
}
