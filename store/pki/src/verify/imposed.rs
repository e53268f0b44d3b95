//! Name constraints that Mozilla's programme imposes on a root. They do not stand in its certificate.

use std::sync::OnceLock;

use der::{Decode, Encode, Tag, asn1::AnyRef};
use x509_cert::ext::pkix::NameConstraints;

use crate::certificate::Certificate;

/// Returns the names for which a root is trusted, if it is not trusted for all.
pub(super) fn constraints(anchor: &Certificate) -> Option<&'static NameConstraints> {
    static IMPOSED: OnceLock<Vec<(&[u8], NameConstraints)>> = OnceLock::new();
    let imposed = IMPOSED.get_or_init(|| {
        let of = |root: &'static rustls_pki_types::TrustAnchor<'static>| {
            Some((root.subject_public_key_info.as_ref(), read(root.name_constraints.as_ref()?)?))
        };
        webpki_roots::TLS_SERVER_ROOTS.iter().filter_map(of).collect()
    });
    // The key decides: a root is no more trusted under another certificate of its key. The list has
    // keys without the header of the sequence.
    let key = anchor.public_key_der();
    imposed.iter().find(|(root, _)| key.ends_with(root)).map(|(_, constraints)| constraints)
}

/// Decodes constraints from their content, which lacks the header of the sequence.
fn read(content: &[u8]) -> Option<NameConstraints> {
    let whole = AnyRef::new(Tag::Sequence, content).ok()?.to_der().ok()?;
    NameConstraints::from_der(&whole).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_imposed_constraint_is_known() {
        let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
        let roots = roots.map(|der| Certificate::from_der(der).unwrap());
        let known = roots.filter(|one| constraints(one).is_some()).count();
        let imposed = webpki_roots::TLS_SERVER_ROOTS.iter();
        let imposed = imposed.filter(|root| root.name_constraints.is_some()).count();
        assert!(known == imposed && imposed > 0, "{known} of {imposed}");
    }
}
