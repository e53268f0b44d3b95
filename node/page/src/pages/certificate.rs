//! Certificates of a domain.

use axum::http::Method;
use conclave_api::{
    certificate::{Import, Refresh, SelfSign},
    path,
    problem::Problem,
};
use zeroize::Zeroizing;

use super::{Wished, family, of_domain, options};
use crate::form::Fields;

pub(super) fn wish(what: &str, fields: &Fields) -> Option<Wished> {
    let name = fields.get("name");
    let family = family(fields);
    Some(Ok(match what {
        "import" => import(fields),
        "self-sign" => {
            let body = match subject(fields) {
                Ok(body) => body,
                Err(problem) => return Some(Err(problem)),
            };
            let options = subject_options(&body);
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            let words = [&["cert", "self-sign", name][..], &options, &family].concat();
            let title = "Make a self-signed certificate for";
            let wish = of_domain(title, Method::POST, path::CERTIFICATE_SELF_SIGN, fields);
            wish.json(&body).command(&words)
        }
        "refresh" => {
            let days = fields.get("days").trim().parse().ok();
            let title = "Refresh the self-signed certificate of";
            let wish = of_domain(title, Method::POST, path::CERTIFICATE_REFRESH, fields);
            let text = days.map(|days: u32| days.to_string()).unwrap_or_default();
            let option: &[&str] = if text.is_empty() { &[] } else { &["--days", &text] };
            let words = [&["cert", "refresh", name][..], option, &family].concat();
            wish.json(&Refresh { days }).command(&words)
        }
        "remove" => {
            let words = [&["cert", "remove", name, "--yes"][..], &family].concat();
            let title = "Remove the certificate of";
            let wish = of_domain(title, Method::DELETE, path::CERTIFICATE, fields);
            wish.typed(name).command(&words)
        }
        _ => return None,
    }))
}

fn import(fields: &Fields) -> crate::wish::Wish {
    let name = fields.get("name");
    let key = fields.some("key");
    let import = Import {
        certificate: fields.get("certificate").to_owned(),
        key: key.clone(),
        passphrase: fields.some("passphrase"),
        allow_name_mismatch: fields.is_on("allow_name_mismatch"),
        allow_broken_chain: fields.is_on("allow_broken_chain"),
        sort: fields.is_on("sort"),
        canary: fields.some("canary"),
        soak_s: None,
    };
    let mut words = vec!["cert", "import", name, "fullchain.pem"];
    let options = [
        (import.key.is_some(), &["--key", "privkey.pem"][..]),
        (import.passphrase.is_some(), &["--passphrase-file", "FILE"]),
        (import.allow_name_mismatch, &["--allow-name-mismatch"]),
        (import.allow_broken_chain, &["--allow-broken-chain"]),
        (import.sort, &["--sort"]),
    ];
    words.extend(options.iter().filter(|(is_on, _)| *is_on).flat_map(|(_, words)| *words));
    if let Some(node) = &import.canary {
        words.extend(["--canary", node]);
    }
    let title = "Set the certificate of";
    let wish = of_domain(title, Method::PUT, path::CERTIFICATE, fields);
    let wish = wish.json(&import).command(&words);
    drop((Zeroizing::new(import.key), Zeroizing::new(import.passphrase), Zeroizing::new(key)));
    wish
}

/// Reads the fields of the certificate generator.
pub(super) fn subject(fields: &Fields) -> Result<SelfSign, Problem> {
    let chosen: Vec<&str> = fields.all("common_name").collect();
    Ok(SelfSign {
        common_name: chosen.first().map(|name| (*name).to_owned()),
        country: fields.some("country"),
        province: fields.some("province"),
        city: fields.some("city"),
        organization: fields.some("organization"),
        unit: fields.some("unit"),
        contact: fields.some("contact"),
        names: fields.words("names"),
        only_names: fields.is_on("only_names"),
        days: fields.number("days")?,
    })
}

/// Returns them as options of a command.
pub(super) fn subject_options(subject: &SelfSign) -> Vec<String> {
    let texts = [
        ("--common-name", &subject.common_name),
        ("--country", &subject.country),
        ("--province", &subject.province),
        ("--city", &subject.city),
        ("--organization", &subject.organization),
        ("--unit", &subject.unit),
        ("--contact", &subject.contact),
    ];
    let mut words = options(&texts);
    words.extend(subject.names.iter().flat_map(|name| ["--san".to_owned(), name.clone()]));
    if subject.only_names {
        words.push("--only-san".to_owned());
    }
    words.extend(subject.days.iter().flat_map(|days| ["--days".to_owned(), days.to_string()]));
    words
}
