//! What users see, shown on real processes with real peers: `cargo test --test suites NAME::`.

mod answers;
mod checks;
mod commands;
mod credentials;
mod domain_pki;
mod dry_run;
mod dtls;
mod dtls_engine;
mod dtls_interop;
mod dtls_loss;
mod durability;
mod edge;
mod fixtures;
mod hundred_domains;
mod interop;
mod main_domains;
mod many_domains;
mod mistakes;
mod secrets;
mod serving;
mod starttls;
mod tidy;
mod tls;
mod tls_settings;
mod trust;
