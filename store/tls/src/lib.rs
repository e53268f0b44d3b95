//! Shared use of rustls: providers of cryptography, names of their algorithms, and verifiers of
//! certificates.
//!
//! No sockets, no clock, no configuration: callers bring those.
//!
//! ```
//! use conclave_tls::{any_certificate, provider};
//!
//! // A client that accepts any certificate, so that it can show what a server presents.
//! let config = rustls::ClientConfig::builder_with_provider(provider())
//!     .with_safe_default_protocol_versions()?
//!     .dangerous()
//!     .with_custom_certificate_verifier(any_certificate(provider()))
//!     .with_no_client_auth();
//! # drop(config);
//! # Ok::<(), rustls::Error>(())
//! ```

mod algorithms;
mod verifier;

pub use algorithms::{CIPHER_SUITES, GROUPS, cipher_name, group_name, provider, ring_provider};
pub use verifier::{
    AnyClientWithKey, ServerVerifier, any_certificate, issued_by, issued_to, verified_tls12,
    verified_tls13,
};
