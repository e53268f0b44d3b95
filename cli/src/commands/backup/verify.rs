//! `conclave backup verify`: a restore in memory, which changes nothing.

use std::{collections::BTreeSet, path::Path};

use conclave_api::finding::Severity;
use conclave_backup::{Header, Item, read};
use conclave_client::Failure;
use conclave_keys::{BackupKeys, GenerationKey};
use conclave_store::{
    id::{Fingerprint, Generation},
    record::{Domain, Record, RowKey},
    scope::Scope,
};
use serde::Serialize;

use super::{super::Done, super::check::Findings, identities, open, whole, wrong};
use crate::{
    args::{Global, Opening, Source},
    output,
};

/// Wrong rows that are told one by one.
const TOLD_MAX: usize = 20;

#[derive(Serialize)]
struct Verified {
    file: String,
    domains: u64,
    secrets: u64,
    #[serde(flatten)]
    findings: Findings,
}

pub(super) fn verify(global: &Global, source: &Source, opening: &Opening) -> Done {
    let mut verified = Verified {
        file: source.file.display().to_string(),
        domains: 0,
        secrets: 0,
        findings: Findings::default(),
    };
    // Problems with the caller's own files and words are errors; those of the backup are findings.
    let identities = identities(&opening.identity)?;
    open(&source.file)?;
    match whole(source) {
        Ok(inspected) => {
            let authority = inspected.header.fingerprint();
            let text = format!("the signature is right, by authority {authority}");
            verified.findings.right(text);
            let mut drill = Drill::default();
            let opened = read(open(&source.file)?, &identities, &mut |header, item| {
                drill.take(header, item);
                true
            });
            match opened {
                Ok(header) => drill.finish(&header, &mut verified),
                Err(error) => tell(&mut verified.findings, &wrong(&source.file, &error)),
            }
        }
        Err(failure) => tell(&mut verified.findings, &failure),
    }
    if !output::object_of(global, "BackupVerification", &verified.file, &verified) {
        verified.findings.show();
    }
    Ok(verified.findings.code())
}

fn tell(findings: &mut Findings, failure: &Failure) {
    let code = failure.code.as_str();
    let detail = failure.detail.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
    let text = format!("{code}: {}{detail}", failure.title);
    findings.add(Severity::Error, &text, failure.hint.clone());
}

/// The state of a restore in memory.
#[derive(Default)]
struct Drill {
    keys: BackupKeys,
    /// Current generation, of which there must be a key.
    current: Option<Generation>,
    has_current: bool,
    held: BTreeSet<Generation>,
    domains: u64,
    versions: u64,
    local: u64,
    secrets: u64,
    /// Chains that domains send, and chains that there are.
    needed: BTreeSet<(Scope, Fingerprint)>,
    chains: BTreeSet<(Scope, Fingerprint)>,
    wrong: Vec<String>,
    wrong_count: usize,
}

impl Drill {
    fn take(&mut self, header: &Header, item: Item) {
        match item {
            Item::Key(key) => {
                if key.scope == Scope::Shared {
                    self.held.insert(key.generation);
                    if key.scope_id != header.cluster_id {
                        self.tell("a key of the keyring is that of another cluster".to_owned());
                    }
                }
                let opened = GenerationKey::from_bytes(*key.key);
                self.keys.add(key.scope, key.scope_id, key.generation, opened);
            }
            Item::Row { scope, key, record } => {
                match self.keys.check(scope, &key, &record) {
                    Ok(count) => self.secrets += count,
                    Err(error) => self.tell(error),
                }
                self.count(scope, &key, &record);
                if let Record::Cluster(cluster) = &record {
                    self.current = Some(cluster.generation);
                    self.has_current = self.held.contains(&cluster.generation);
                    if cluster.authority_der != header.authority.der() {
                        self.tell("the authority in the header is not that of the rows".to_owned());
                    }
                }
            }
        }
    }

    fn count(&mut self, scope: Scope, key: &RowKey, record: &Record) {
        match (key, record) {
            (RowKey::Chain(id), _) => {
                self.chains.insert((scope, *id));
            }
            (_, Record::Domain(domain)) => {
                match scope {
                    Scope::Shared => self.domains += 1,
                    Scope::Local => self.local += 1,
                }
                self.need(scope, domain);
            }
            (_, Record::DomainVersion(earlier)) => {
                self.versions += 1;
                if let Some(domain) = earlier.domain() {
                    self.need(scope, &domain);
                }
            }
            _ => {}
        }
    }

    fn need(&mut self, scope: Scope, domain: &Domain) {
        let chains = domain.credentials.iter().filter_map(|one| one.chain);
        self.needed.extend(chains.map(|chain| (scope, chain)));
    }

    fn tell(&mut self, text: String) {
        self.wrong_count += 1;
        if self.wrong.len() < TOLD_MAX {
            self.wrong.push(text);
        }
    }

    fn finish(mut self, header: &Header, verified: &mut Verified) {
        let missing = self.needed.difference(&self.chains).count();
        if missing > 0 {
            self.tell(format!("{missing} CA chains of domains are missing"));
        }
        if !self.has_current {
            self.tell("the key of the current generation of the keyring is missing".to_owned());
        }
        let findings = &mut verified.findings;
        let rows = header.rows.saturating_add(header.local_rows.unwrap_or(0));
        findings.right(format!("the identity opens it, and all {rows} rows can be read"));
        if self.wrong_count == 0 {
            let (domains, versions) = (self.domains, self.versions);
            let local =
                if self.local > 0 { format!(", {} local ones", self.local) } else { String::new() };
            let domains = output::counted(domains, "domain");
            let versions = output::counted(versions, "earlier version");
            findings.right(format!("{domains}{local} and {versions}"));
            findings.right(format!("all {} secrets open and belong to their rows", self.secrets));
        }
        let more = self.wrong_count.saturating_sub(self.wrong.len());
        self.wrong.drain(..).for_each(|text| findings.wrong(text));
        if more > 0 {
            findings.wrong(format!("and {more} more"));
        }
        (verified.domains, verified.secrets) = (self.domains, self.secrets);
    }
}

/// Reads all of a backup and returns the keys of the cluster. The secrets are not opened.
pub(super) fn keys(
    file: &Path,
    identities: &conclave_backup::Identities,
) -> Result<Vec<conclave_backup::KeyringKey>, Failure> {
    let mut keys = Vec::new();
    let opened = read(open(file)?, identities, &mut |_, item| {
        if let Item::Key(key) = item
            && key.scope == Scope::Shared
        {
            keys.push(key);
        }
        true
    });
    opened.map_err(|error| wrong(file, &error))?;
    Ok(keys)
}
