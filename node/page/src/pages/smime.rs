//! What issues the S/MIME certificates of a domain's accounts, and the list of the revoked ones.

use askama::Template;
use axum::{
    http::{
        HeaderValue, Method, StatusCode,
        header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    },
    response::IntoResponse,
};
use conclave_api::{
    certificate::Refresh,
    domain::Domain,
    path,
    problem::Problem,
    smime::{Chain, Crl, Import, Issuer, Set, SetRecoveryKey, Subject},
};
use conclave_pki::crl::read_crls;
use zeroize::Zeroizing;

use super::{Shown, Wished, options};
use crate::{api::internal, form::Fields, visit::Visit, wish::Wish};

#[derive(Template)]
#[template(path = "smime.html")]
struct SmimePage<'a> {
    v: &'a Visit,
    domain: Domain,
    issuer: Issuer,
    sentence: String,
    revoked: u64,
}

pub(super) async fn page(visit: &Visit, name: &str) -> Shown {
    let domain: Domain = visit.api.read(&path::with_name(path::DOMAIN, name)).await?;
    let issuer: Issuer = visit.api.read(&path::with_name(path::SMIME, name)).await?;
    let (sentence, revoked) = (sentence(&issuer), u64::from(issuer.revoked));
    Ok(visit.page(StatusCode::OK, &SmimePage { v: visit, domain, issuer, sentence, revoked }))
}

/// Says whether a domain issues certificates of its accounts, and why not.
pub(super) fn sentence(issuer: &Issuer) -> String {
    let (name, why) = (&issuer.domain, issuer.why.as_deref());
    match (issuer.may_issue, issuer.own) {
        (true, true) => format!("{name} issues certificates of accounts by an issuer of its own."),
        (true, false) => format!("{name} issues certificates of accounts by its own certificate."),
        (false, _) => {
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            format!("{name} issues no certificates of accounts{why}.")
        }
    }
}

/// Answers the revocation list as a file, in DER (RFC 2585 §4.2).
pub(super) async fn crl(visit: &Visit, name: &str) -> Shown {
    let crl: Crl = visit.api.read(&path::with_name(path::SMIME_CRL, name)).await?;
    let lists = read_crls(crl.pem.as_bytes()).map_err(internal)?;
    let der: Vec<u8> = lists.iter().flat_map(|list| list.der()).copied().collect();
    let file = HeaderValue::from_str(&format!("attachment; filename=\"{name}.crl\""));
    let plain = HeaderValue::from_static("attachment; filename=\"smime.crl\"");
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/pkix-crl")),
        (CONTENT_DISPOSITION, file.unwrap_or(plain)),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    Ok((headers, der).into_response())
}

pub(super) fn wish(what: &str, fields: &Fields) -> Option<Wished> {
    let name = fields.get("name");
    let of_issuer = |title: &str, method, path| {
        Wish::new(format!("{title} {name}"), method, path::with_name(path, name))
    };
    Some(Ok(match what {
        "self-sign" => return Some(subject(fields).map(|subject| self_sign(name, &subject))),
        "csr" => return Some(subject(fields).map(|subject| csr(name, subject))),
        "import" => import(name, fields),
        "chain" => {
            let chain = fields.get("chain").to_owned();
            let file = if chain.trim().is_empty() { "/dev/null" } else { "chain.pem" };
            let title = "Set the CA chain of the S/MIME issuer of";
            let wish = of_issuer(title, Method::PUT, path::SMIME_CHAIN);
            wish.json(&Chain { chain }).command(&["smime", "chain", name, file])
        }
        "refresh" => {
            let title = "Refresh the self-signed S/MIME issuer of";
            let wish = of_issuer(title, Method::POST, path::SMIME_REFRESH);
            wish.json(&Refresh { days: None }).command(&["smime", "refresh", name])
        }
        "settings" => {
            let url = fields.get("crl_url").trim().to_owned();
            let wish = of_issuer(
                "Set the revocation list for the accounts of",
                Method::PATCH,
                path::SMIME,
            );
            let wish = wish.command(&["smime", "set", name, "--crl-url", &url]);
            wish.json(&Set { crl_url: Some(url) })
        }
        "recovery-key" => {
            let public_key = fields.get("certificate").to_owned();
            let title = "Set the recovery key for the accounts of";
            let wish = of_issuer(title, Method::PUT, path::SMIME_RECOVERY_KEY);
            wish.json(&SetRecoveryKey { public_key })
                .command(&["smime", "recovery", name, "recovery.pub"])
                .noted("Its holder can read the mail of each key that an account gets from now on.")
                .typed(name)
        }
        "remove-recovery-key" => {
            let title = "Remove the recovery key for the accounts of";
            let wish = of_issuer(title, Method::DELETE, path::SMIME_RECOVERY_KEY);
            wish.command(&["smime", "recovery", name, "--remove", "--yes"])
                .noted("Copies that were made for it stay until their accounts are deleted.")
        }
        "remove" => {
            let wish = of_issuer("Remove the S/MIME issuer of", Method::DELETE, path::SMIME);
            wish.typed(name).command(&["smime", "remove", name, "--yes"])
        }
        _ => return None,
    }))
}

fn subject(fields: &Fields) -> Result<Subject, Problem> {
    Ok(Subject {
        algorithm: fields.some("algorithm"),
        common_name: fields.some("common_name"),
        country: fields.some("country"),
        organization: fields.some("organization"),
        unit: fields.some("unit"),
        days: fields.number("days")?,
    })
}

/// Returns the words of a command with a subject as its options.
fn with_subject(words: &[&str], subject: &Subject) -> Vec<String> {
    let days = subject.days.map(|days| days.to_string());
    let texts = options(&[
        ("--type", &subject.algorithm),
        ("--common-name", &subject.common_name),
        ("--country", &subject.country),
        ("--organization", &subject.organization),
        ("--unit", &subject.unit),
        ("--days", &days),
    ]);
    words.iter().map(|word| (*word).to_owned()).chain(texts).collect()
}

fn self_sign(name: &str, subject: &Subject) -> Wish {
    let words = with_subject(&["smime", "self-sign", name], subject);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let title = format!("Make a self-signed S/MIME issuer for {name}");
    let wish = Wish::new(title, Method::POST, path::with_name(path::SMIME_SELF_SIGN, name));
    wish.json(subject).command(&words)
}

fn csr(name: &str, subject: Subject) -> Wish {
    // Its days are those of a self-signed certificate.
    let subject = Subject { days: None, ..subject };
    let words = with_subject(&["smime", "csr", name], &subject);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let title = format!("Signing request for the S/MIME issuer of {name}");
    Wish::new(title, Method::POST, path::with_name(path::SMIME_CSR, name))
        .json(&subject)
        .command(&words)
        .untried("If the domain has no S/MIME key yet, it gets one. Nothing else changes.")
        .kept_in(format!("{name}-smime.csr"))
}

fn import(name: &str, fields: &Fields) -> Wish {
    let import = Import {
        certificate: fields.get("certificate").to_owned(),
        key: fields.some("key"),
        passphrase: fields.some("passphrase"),
    };
    let mut words = vec!["smime", "import", name, "smime-ca.pem"];
    words.extend(import.key.iter().flat_map(|_| ["--key", "smime-ca.key"]));
    words.extend(import.passphrase.iter().flat_map(|_| ["--passphrase-file", "FILE"]));
    let title = format!("Set the S/MIME certificate of {name}");
    let wish = Wish::new(title, Method::PUT, path::with_name(path::SMIME, name));
    let wish = wish.json(&import).command(&words);
    // What was copied for the request goes the way of the form.
    drop((Zeroizing::new(import.key), Zeroizing::new(import.passphrase)));
    wish
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_says_what_issues_and_why_nothing_does() {
        let issuer = |own: bool, why: Option<&str>| Issuer {
            domain: "shop.example".into(),
            own,
            key: None,
            certificate: None,
            chain: Vec::new(),
            may_issue: why.is_none(),
            why: why.map(str::to_owned),
            hint: None,
            revoked: 0,
            crl_url: None,
            recovery_key: None,
            version: 0,
        };
        for (own, why, wanted) in [
            (true, None, "issues certificates of accounts by an issuer of its own."),
            (false, None, "issues certificates of accounts by its own certificate."),
            (true, Some("it waits"), "issues no certificates of accounts: it waits."),
        ] {
            assert_eq!(sentence(&issuer(own, why)), format!("shop.example {wanted}"));
        }
    }

    #[test]
    fn a_request_has_no_days_and_an_empty_chain_is_none() {
        let fields = |text: &str| Fields::parse(format!("name=shop.example&{text}").as_bytes());
        let command = |what: &str, text: &str| match wish(what, &fields(text)) {
            Some(Ok(wish)) => wish.command,
            _ => panic!("no wish for {what}"),
        };
        let subject = "organization=ACME+Boats&days=30&algorithm=p384";
        let csr = "conclave smime csr shop.example --type p384 --organization 'ACME Boats'";
        assert_eq!(command("csr", subject), csr);
        let self_signed = csr.replace("csr", "self-sign") + " --days 30";
        assert_eq!(command("self-sign", subject), self_signed);
        assert_eq!(command("chain", "chain=++"), "conclave smime chain shop.example /dev/null");
        assert!(matches!(wish("self-sign", &fields("days=many")), Some(Err(_))));
    }
}
