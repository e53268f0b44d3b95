//! Built-in trusted certificates: the TLS server roots of Mozilla's programme. The programme's
//! roots for e-mail are not among them, so the set for e-mail is empty.

use std::{collections::HashMap, sync::OnceLock};

use crate::{certificate::Certificate, name::Comparable, verify::Purpose};

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
        Purpose::Email | Purpose::EmailSignature => &[],
        Purpose::Server | Purpose::Client | Purpose::Any => certificates(),
    }
}

/// Returns those that may be the anchor of a path from one of the `sent` certificates: its issuer by
/// name, or itself. Others cannot be, and comparing with all of them costs more than the path.
pub fn anchors_of(sent: &[&Certificate]) -> Vec<Certificate> {
    static BY_SUBJECT: OnceLock<HashMap<Comparable, Vec<usize>>> = OnceLock::new();
    let subject = |one: &Certificate| Comparable::of(one.parsed().tbs_certificate().subject());
    let by_subject = BY_SUBJECT.get_or_init(|| {
        let mut places = HashMap::<_, Vec<usize>>::new();
        for (place, one) in certificates().iter().enumerate() {
            places.entry(subject(one)).or_default().push(place);
        }
        places
    });
    let names = sent.iter().flat_map(|one| {
        let issuer = Comparable::of(one.parsed().tbs_certificate().issuer());
        [issuer, subject(one)]
    });
    let mut found: Vec<usize> =
        names.filter_map(|name| by_subject.get(&name)).flatten().copied().collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter().filter_map(|place| certificates().get(place).cloned()).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn all_roots_can_be_read() {
        assert!(super::certificates().len() > 100);
        assert_eq!(super::certificates().len(), webpki_root_certs::TLS_SERVER_ROOT_CERTS.len());
    }

    #[test]
    fn only_those_of_the_right_name_may_be_anchors() {
        let one = &super::certificates()[3];
        let found = super::anchors_of(&[one]);
        assert!(found.iter().any(|other| other.der() == one.der()));
        assert!(found.iter().all(|other| other.subject() == one.subject()));
    }
}
