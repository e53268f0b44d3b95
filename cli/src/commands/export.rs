//! Export of the cluster as a document.

use std::path::{Path, PathBuf};

use conclave_api::{
    API_VERSION,
    domain::{Credential as PresentCredential, Domain as PresentDomain, Scope},
    problem::{Code, Problem},
    tls,
    trust::Trusted,
};
use conclave_client::Failure;

use super::{
    Asking, Done,
    apply::family_word,
    document::{
        Clients, Credential, Document, Domain, Key, Listener, Pem, Trust,
        present::{Present, key},
    },
    unwritable, write_file,
};
use crate::{
    args::{Exporting, Form},
    output,
};

pub(super) async fn run(asking: &Asking, exporting: Exporting) -> Done {
    let present = Present::read(asking.client()?).await?;
    let directory = exporting.dir.as_deref();
    if let Some(directory) = directory {
        std::fs::create_dir_all(directory).map_err(|error| unwritable(directory, &error))?;
    }
    let document = document(&present, directory)?;
    let is_json = matches!(asking.global.output, Form::Json | Form::Jsonl);
    let text = match (asking.global.output, is_json) {
        (Form::Jsonl, _) => serde_json::to_string(&document).map_err(unwritten)?,
        (_, true) => serde_json::to_string_pretty(&document).map_err(unwritten)?,
        (_, false) => toml::to_string_pretty(&document).map_err(unwritten)?,
    };
    let name = if is_json { "conclave.json" } else { "conclave.toml" };
    let path = directory.map(|directory| directory.join(name));
    write_file(path.as_deref(), &text)?;
    if let Some(path) = path {
        let file = path.display();
        output::advice(&asking.global, &format!("Next: conclave apply -f {file} --dry-run"));
    }
    Ok(0)
}

fn document(present: &Present, directory: Option<&Path>) -> Result<Document, Failure> {
    let set = |name: &str, all: &[Trusted]| pem_of(directory, &format!("trust-{name}"), &pems(all));
    let domains = present.domains.values().map(|one| domain(present, directory, one));
    Ok(Document {
        api_version: API_VERSION.to_owned(),
        kind: "Document".to_owned(),
        node: Some(present.node.clone()),
        tls: Some(tls_settings(&present.tls)),
        trust: Some(Trust {
            cluster: Some(set("cluster", &present.cluster)?),
            server: Some(set("server", &present.server)?),
        }),
        domains: Some(domains.collect::<Result<_, _>>()?),
        listeners: Some(present.listeners.iter().map(Listener::of).collect()),
    })
}

fn tls_settings(present: &tls::Settings) -> tls::Set {
    tls::Set {
        log_level: Some(present.log_level),
        ttl_s: Some(present.ttl_s),
        rotation_s: Some(present.rotation_s),
        min_version: Some(present.min_version.clone()),
        process_target_domain: Some(present.process_target_domain),
        abort_on_wrong_client_certificate: Some(present.abort_on_wrong_client_certificate),
        cipher_suites: Some(present.cipher_suites.clone()),
        groups: Some(present.groups.clone()),
        ..tls::Set::default()
    }
}

fn domain(
    present: &Present,
    directory: Option<&Path>,
    one: &PresentDomain,
) -> Result<Domain, Failure> {
    let own = present.trusted.get(&key(one.scope, &one.name)).map_or(&[][..], Vec::as_slice);
    let stem = stem(one.scope, &one.name);
    let credentials = one.credentials.iter().map(|one| credential(directory, &stem, one));
    Ok(Domain {
        name: one.name.clone(),
        scope: one.scope,
        pki: Some(one.pki),
        aliases: Some(one.aliases.clone()),
        addresses: Some(one.addresses.clone()),
        client_certificates: Some(match &one.client_auth {
            None => Clients::None,
            Some(asked) if asked.required => Clients::Required,
            Some(_) => Clients::Asked,
        }),
        client_issuer: one.client_auth.as_ref().map(|asked| asked.issuer.clone()),
        trusted: Some(pem_of(directory, &format!("{stem}.trusted"), &pems(own))?),
        credentials: Some(credentials.collect::<Result<_, _>>()?),
    })
}

/// Returns how the names of a domain's files begin.
fn stem(scope: Scope, name: &str) -> String {
    match scope {
        Scope::Shared => name.to_owned(),
        // No name has this sign, so no shared domain has the same files.
        Scope::Local => format!("{name}+local"),
    }
}

fn credential(
    directory: Option<&Path>,
    stem: &str,
    one: &PresentCredential,
) -> Result<Credential, Failure> {
    let bundle = one.certificate.as_ref().map(|certificate| {
        let all = [certificate].into_iter().chain(&one.chain);
        all.map(|one| format!("{}\n", one.pem.trim_end())).collect::<String>()
    });
    let name = format!("{stem}.{}", family_word(one.key.family));
    Ok(Credential {
        allow_name_mismatch: false,
        allow_broken_chain: false,
        certificate: bundle.map(|text| pem_of(directory, &name, &text)).transpose()?,
        key: Key { sha256: Some(one.key.sha256.clone()), ..Key::default() },
    })
}

fn pems(all: &[Trusted]) -> String {
    all.iter().map(|one| format!("{}\n", one.pem.trim_end())).collect()
}

/// Returns PEM text for the document. With a directory it is written to a file there.
fn pem_of(directory: Option<&Path>, name: &str, text: &str) -> Result<Pem, Failure> {
    let Some(directory) = directory.filter(|_| !text.is_empty()) else {
        return Ok(Pem::Text(text.to_owned()));
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_+".contains(c);
    let name: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let file = PathBuf::from(format!("{name}.pem"));
    let path = directory.join(&file);
    write_file(Some(&path), text)?;
    Ok(Pem::File { file })
}

fn unwritten(error: impl std::fmt::Display) -> Failure {
    Box::new(
        Problem::new(Code::Internal, "the document cannot be written").detail(error.to_string()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_domain_and_a_shared_one_have_their_own_files() {
        let directory = tempfile("export");
        std::fs::create_dir_all(&directory).unwrap();
        let written = [(Scope::Local, "n1"), (Scope::Shared, "n1.local"), (Scope::Shared, "n1")]
            .map(|(scope, name)| {
                let name = format!("{}.trusted", stem(scope, name));
                pem_of(Some(&directory), &name, &name).unwrap()
            });
        let expected = ["n1+local.trusted.pem", "n1.local.trusted.pem", "n1.trusted.pem"];
        assert_eq!(written, expected.map(|file| Pem::File { file: file.into() }));
        std::fs::remove_dir_all(directory).unwrap();
    }

    fn tempfile(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("conclave-{name}-{}", std::process::id()))
    }
}
