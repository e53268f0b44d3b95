//! Certificate signing requests.

use axum::http::Method;
use conclave_api::{certificate::SelfSign, path};

use super::{Wished, certificate, family, of_domain};
use crate::form::Fields;

pub(super) fn wish(what: &str, fields: &Fields) -> Option<Wished> {
    if what != "create" {
        return None;
    }
    // Its days are those of a self-signed certificate.
    let body = match certificate::subject(fields) {
        Ok(subject) => SelfSign { days: None, ..subject },
        Err(problem) => return Some(Err(problem)),
    };
    let mut options = certificate::subject_options(&body);
    let pending = fields.some("pending");
    options.extend(pending.is_some().then(|| "--new-key".to_owned()));
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let words = [&["csr", "create", fields.get("name")][..], &options, &family(fields)].concat();
    let wish = of_domain("Signing request for", Method::POST, path::CSR, fields);
    let wish = wish.query(path::PENDING_PARAMETER, pending).json(&body).command(&words);
    let wish = wish.untried("A signing request changes nothing.").unversioned();
    Some(Ok(wish.kept_in(format!("{}.csr", fields.get("name")))))
}
