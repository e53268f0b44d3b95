//! Commands for domains.

use conclave_api::{
    domain::{
        Create, Credential, Domain as Shown, DomainVersion, Pki, Rename, Rollback, Scope, Set,
    },
    finding::Severity,
    node::Exposed,
};
use conclave_client::DomainFilter;
use conclave_node::shown_name;
use serde::Serialize;

use super::{
    Asking, Done, adding, change, check::Findings, client_auth, confirm, key::pending_words,
    removing,
};
use crate::{
    args::Domain,
    output::{self, Columns},
};

fn pki(text: Option<&str>) -> Option<Pki> {
    match text? {
        "disabled" => Some(Pki::Disabled),
        "test" => Some(Pki::Test),
        _ => Some(Pki::Enabled),
    }
}

pub(super) fn pki_word(pki: Pki) -> &'static str {
    match pki {
        Pki::Disabled => "disabled",
        Pki::Test => "test",
        Pki::Enabled => "enabled",
    }
}

pub(super) async fn run(asking: &Asking, command: Domain) -> Done {
    let (client, global) = (asking.client()?, &asking.global);
    match command {
        Domain::Rename { name, new_name, changing } => {
            let rename = Rename { name: new_name.clone() };
            let done = client.rename_domain(&name, &rename, &change(&changing)).await?;
            output::change(global, &format!("{name} is {new_name} now"), &done);
        }
        Domain::History { name } => {
            let versions = client.domain_history(&name).await?.items;
            output::list(global, &HISTORY, &versions, version);
        }
        Domain::Rollback { name, earlier, changing } => {
            let rollback = Rollback { version: earlier };
            let done = client.rollback_domain(&name, &rollback, &change(&changing)).await?;
            output::change(global, &format!("{name}: as in version {earlier}"), &done);
            output::undo(global, &done);
        }
        Domain::Create { name, alias, ip, pki: mode, missing, changing } => {
            let scope = global.scope.as_deref().map(|scope| match scope {
                "local" => Scope::Local,
                _ => Scope::Shared,
            });
            let create = Create {
                name: name.clone(),
                aliases: alias,
                addresses: ip,
                scope,
                pki: pki(mode.as_deref()),
            };
            let done = client.create_domain(&create, &adding(&changing, &missing)).await?;
            output::change(global, &format!("{name}: made"), &done);
            let next = format!(
                "conclave key generate {name}    or: conclave cert import {name} FILE --key FILE"
            );
            output::next(global, &done, &next);
        }
        Domain::Alias { name, add, remove, existing, changing } => {
            let set = Set { add_aliases: add, remove_aliases: remove, ..Set::default() };
            let done = client.set_domain(&name, &set, &removing(&changing, &existing)).await?;
            output::change(global, &format!("{name}: aliases changed"), &done);
        }
        Domain::Check { name } => return check(asking, &name).await,
        Domain::List { exposed_to: Some(node), .. } => exposed(asking, &node).await?,
        Domain::List { exposed_to: None, search, state, sort } => {
            let filter = DomainFilter { search, state, order: sort };
            let domains = client.chosen_domains(&filter).await?.items;
            output::list(global, &DOMAINS, &domains, row);
        }
        Domain::Show { name } => {
            let domain = client.domain(&name).await?;
            if !output::object(global, &domain.name, &domain) {
                show(&domain);
            }
        }
        Domain::Set { name, pki: mode, alias, ip, changing } => {
            let set =
                Set { pki: pki(mode.as_deref()), aliases: alias, addresses: ip, ..Set::default() };
            let done = client.set_domain(&name, &set, &change(&changing)).await?;
            output::change(global, &format!("{name}: changed"), &done);
        }
        Domain::Delete { name, existing, changing } => {
            let what = format!("{name} with its key and certificate");
            confirm(global, changing.is_sure(), &what, &name)?;
            let done = client.delete_domain(&name, &removing(&changing, &existing)).await?;
            output::change(global, &format!("{name}: removed"), &done);
        }
    }
    Ok(0)
}

#[derive(Serialize)]
struct Checked {
    domain: String,
    #[serde(flatten)]
    findings: Findings,
}

async fn check(asking: &Asking, name: &str) -> Done {
    let (client, global) = (asking.client()?, &asking.global);
    let domain = client.domain(name).await?;
    let mut findings = Findings::default();
    findings.right(match domain.pki {
        Pki::Disabled => "PKI services are disabled: no TLS".to_owned(),
        Pki::Test => "test mode: nodes show their test certificates".to_owned(),
        Pki::Enabled => "PKI services are enabled".to_owned(),
    });
    for one in &domain.credentials {
        let algorithm = &one.key.algorithm;
        let Some(certificate) = &one.certificate else { continue };
        let (serial, left) = (&certificate.serial, certificate.days_left);
        if left >= 0 {
            findings.right(format!("{algorithm}: certificate {serial}, {left} days left"));
        }
        if let Some(anchor) = &one.trusted_by {
            findings.right(format!("{algorithm}: leads to {anchor}"));
        }
    }
    for found in domain.findings {
        findings.add(found.severity, &found.text, found.hint);
    }
    if !domain.credentials.is_empty() {
        for tested in client.test_key(name).await?.items {
            let told = format!("{}: {}", tested.node, tested.message);
            findings.judge(tested.ok, told.clone(), told);
        }
    }
    let checked = Checked { domain: domain.name, findings };
    if !output::object_of(global, "DomainCheck", &checked.domain, &checked) {
        checked.findings.show();
    }
    Ok(checked.findings.code())
}

fn scope_word(scope: Scope) -> &'static str {
    match scope {
        Scope::Shared => "shared",
        Scope::Local => "local",
    }
}

/// Columns of a list of domains.
const DOMAINS: Columns<'_, Shown> = Columns {
    kind: "Domain",
    head: &["NAME", "SCOPE", "PKI", "CERTIFICATE", "EXPIRES", "NAMES"],
    wide: &["ALIASES", "ADDRESSES", "VERSION", "CHANGED", "BY", "SERIAL"],
    name: |one| one.name.clone(),
};

/// Lists the keys that a node could open.
async fn exposed(asking: &Asking, node: &str) -> Result<(), conclave_client::Failure> {
    let exposed = asking.client()?.exposed(node).await?.items;
    output::list(&asking.global, &EXPOSED, &exposed, |one, _| {
        let Exposed { domain, algorithm, sha256, assigned } = one;
        [domain, algorithm, assigned, sha256].map(Clone::clone).to_vec()
    });
    if !exposed.is_empty() {
        output::advice(
            &asking.global,
            "A new key and certificate for each: conclave csr create NAME --new-key p256",
        );
    }
    Ok(())
}

/// Columns of the keys that a node could open.
const EXPOSED: Columns<'_, Exposed> = Columns {
    kind: "ExposedKey",
    head: &["DOMAIN", "KEY", "SINCE", "SHA-256"],
    wide: &[],
    name: |one| one.domain.clone(),
};

/// Columns of the history of a domain.
const HISTORY: Columns<'_, DomainVersion> = Columns {
    kind: "DomainVersion",
    head: &["VERSION", "WHEN", "WHO", "WHY", "CHANGED", "PKI", "CERTIFICATE"],
    wide: &["KEY SHA-256"],
    name: |one| one.version.to_string(),
};

/// Joins words for a cell of a table.
fn cell(words: &[String]) -> String {
    if words.is_empty() { "-".to_owned() } else { words.join(" ") }
}

fn row(domain: &Shown, _: bool) -> Vec<String> {
    let found = domain.credentials.iter().filter_map(|one| one.certificate.as_ref());
    // Of two certificates, show the one that expires first.
    let found = found.min_by_key(|one| one.days_left);
    let (certificate, expires) = match (found, domain.pki) {
        (_, Pki::Disabled) => ("-".to_owned(), "-".to_owned()),
        (_, Pki::Test) => ("test certificate".to_owned(), "-".to_owned()),
        (Some(found), Pki::Enabled) => {
            let sign = if domain.problems.is_empty() { "ok" } else { "!" };
            (format!("{sign} {}", found.issuer), format!("in {}d", found.days_left))
        }
        (None, Pki::Enabled) => ("x none".to_owned(), "-".to_owned()),
    };
    vec![
        domain.name.clone(),
        scope_word(domain.scope).to_owned(),
        pki_word(domain.pki).to_owned(),
        certificate,
        expires,
        (domain.aliases.len() + 1).to_string(),
        cell(&domain.aliases),
        cell(&domain.addresses),
        domain.version.to_string(),
        domain.changed.clone(),
        domain.changed_by.clone(),
        found.map_or_else(|| "-".to_owned(), |found| found.serial.clone()),
    ]
}

fn show(domain: &Shown) {
    let reason = domain.reason.as_ref().map_or_else(String::new, |why| format!(": {why:?}"));
    output::line(&format!(
        "{}  ({}, version {}, changed {} by {}{reason})\n",
        domain.name,
        scope_word(domain.scope),
        domain.version,
        domain.changed,
        domain.changed_by
    ));
    let field = |name: &str, text: &str| output::line(&format!("{name:<15}{text}"));
    field("PKI services", pki_word(domain.pki));
    let aliases = match domain.aliases.as_slice() {
        [] => String::new(),
        aliases => {
            let aliases: Vec<String> = aliases.iter().map(|one| shown_name(one)).collect();
            format!(", aliases {}", aliases.join(" "))
        }
    };
    field("Names", &format!("{}{aliases}", shown_name(&domain.name)));
    if !domain.addresses.is_empty() {
        field("Addresses", &domain.addresses.join(", "));
    }
    if domain.credentials.is_empty() {
        field("Private key", "none");
    }
    domain.credentials.iter().for_each(show_credential);
    for key in &domain.pending_keys {
        field("Pending key", &pending_words(key));
    }
    if let Some(canary) = &domain.canary {
        let certificates = canary.certificates.join(", SHA-256 ");
        field("Canary", &format!("on {} until {}", canary.node, canary.until));
        field("", &format!("SHA-256 {certificates}"));
    }
    if let Some(asked) = &domain.client_auth {
        field("Clients", &client_auth::words(asked));
    }
    for found in &domain.findings {
        let sign = match found.severity {
            Severity::Note => "-",
            Severity::Warning => "!",
            Severity::Error => "x",
        };
        output::line(&format!("{sign}  {}", found.text));
    }
}

fn show_credential(one: &Credential) {
    let field = |name: &str, text: &str| output::line(&format!("{name:<15}{text}"));
    field("Private key", &format!("{}, SHA-256 {}", one.key.algorithm, one.key.sha256));
    match &one.certificate {
        Some(found) => {
            field(
                "Certificate",
                &format!("{}, issued by {}, serial {}", found.subject, found.issuer, found.serial),
            );
            field(
                "",
                &format!(
                    "{} to {}, {} days left",
                    found.not_before, found.not_after, found.days_left
                ),
            );
        }
        None => field("Certificate", "none"),
    }
    let chain: Vec<&str> = one.chain.iter().map(|one| one.subject.as_str()).collect();
    let chain = if chain.is_empty() { "none".to_owned() } else { chain.join(" <- ") };
    let trusted = one.trusted_by.as_ref().map(|by| format!(", leads to {by}"));
    field("CA chain", &format!("{chain}{}", trusted.unwrap_or_default()));
}

fn version(one: &DomainVersion, _: bool) -> Vec<String> {
    let number = one.version;
    vec![
        if one.current { format!("{number} (now)") } else { number.to_string() },
        one.changed.clone(),
        one.changed_by.clone(),
        one.reason.as_deref().map_or("-".to_owned(), |why| why.escape_debug().to_string()),
        if one.changes.is_empty() { "-".to_owned() } else { one.changes.join(", ") },
        pki_word(one.pki).to_owned(),
        cell(&one.certificates),
        cell(&one.keys),
    ]
}
