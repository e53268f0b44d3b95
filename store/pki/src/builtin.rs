//! Built-in trusted certificates: the TLS server roots of Mozilla's programme. The programme's
//! roots for e-mail are not among them, so the set for e-mail is empty.

use std::sync::OnceLock;

use crate::{certificate::Certificate, verify::Purpose};

/// Returns all of them, parsed once.
pub fn certificates() -> &'static [Certificate] {
    static CERTIFICATES: OnceLock<Vec<Certificate>> = OnceLock::new();
    CERTIFICATES.get_or_init(|| {
        let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
        roots.filter_map(|der| Certificate::from_der(der).ok()).collect()
    })
}

/// Returns those for a purpose.
pub fn certificates_for(purpose: Purpose) -> &'static [Certificate] {
    match purpose {
        Purpose::Email => &[],
        Purpose::Server | Purpose::Client | Purpose::Any => certificates(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn all_roots_can_be_read() {
        assert!(super::certificates().len() > 100);
        assert_eq!(super::certificates().len(), webpki_root_certs::TLS_SERVER_ROOT_CERTS.len());
    }
}
