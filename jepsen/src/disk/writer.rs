//! Clients of a campaign: writers, and a reader of everything they write.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use conclave_api::{
    certificate::SelfSign,
    chain,
    domain::{Create, Pki, Scope, Set},
    key::Generate,
    trust::{Add, Remove},
};
use conclave_client::{Change, Client, Failure};

use super::{
    ledger::{Ledger, Outcome, Value},
    value::{Pool, Size, aliases, fingerprint},
};
use crate::{chance::Chance, workloads::set::is_definite};

/// Domains with a key, a certificate and a changing chain.
const CHAIN_DOMAINS: [&str; 3] = ["c1.example", "c2.example", "c3.example"];
/// The domain whose certificate handshakes must present.
pub(crate) const SERVED_DOMAIN: &str = CHAIN_DOMAINS[0];
/// Most domains at a time. Surplus ones are deleted, so that reading all of them stays quick.
const DOMAINS_MAX: usize = 40;
/// Most certificates in a chain.
const LINKS_MAX: usize = 4;
/// Name of the set of trusted certificates written to.
const TRUST_SET: &str = "cluster";

/// Returns the options of a write: answered once committed, without waiting until all nodes serve
/// it.
fn committed() -> Change {
    Change { is_committed_enough: true, ..Change::default() }
}

/// State shared by all writers.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) ledger: Ledger,
    pub(crate) pool: Pool,
    pub(crate) sizes: Vec<Size>,
    /// Definite refusals, by code and first line.
    pub(crate) refusals: Mutex<BTreeMap<String, u64>>,
}

impl Plan {
    pub(crate) fn new(pool: Pool, sizes: &[Size]) -> Plan {
        let (ledger, refusals) = (Ledger::default(), Mutex::default());
        Plan { ledger, pool, sizes: sizes.to_vec(), refusals }
    }

    fn note_refusal(&self, failure: &Failure) {
        let text = format!("{} {}", failure.code.as_str(), failure.title);
        *self.refusals.lock().unwrap_or_else(PoisonError::into_inner).entry(text).or_default() += 1;
    }
}

/// A client for one write after another.
pub(crate) struct Writer {
    pub(crate) plan: Arc<Plan>,
    pub(crate) client: Client,
    pub(crate) chance: Chance,
    /// Part of the names it creates.
    pub(crate) name: String,
    pub(crate) number: u64,
}

/// One write.
enum Write {
    Create(String, Vec<String>),
    SetAliases(String, Vec<String>),
    Delete(String),
    SetChain(String, String),
    RemoveChain(String),
    Trust(String),
    Distrust(String),
}

/// Creates the domains with chains, and registers the keys of chains and trusted certificates.
pub(crate) async fn prepare(client: &Client, plan: &Plan) -> Result<(), Failure> {
    let change = Change::default();
    for name in CHAIN_DOMAINS {
        let create = create(name, Vec::new());
        client.create_domain(&create, &change).await?;
        client.generate_key(name, &Generate { algorithm: None }, &change).await?;
        client.self_sign(name, &SelfSign::default(), &change).await?;
        let domain = format!("domain:{name}");
        plan.ledger.begin(&domain, Some(fingerprint(std::iter::empty())));
        plan.ledger.end(&domain, Outcome::Acknowledged);
        plan.ledger.introduce(&format!("chain:{name}"));
    }
    for one in &plan.pool.trusted {
        plan.ledger.introduce(&format!("trust:{}", one.sha256));
    }
    Ok(())
}

fn create(name: &str, aliases: Vec<String>) -> Create {
    let (scope, pki) = (Some(Scope::Shared), Some(Pki::Enabled));
    Create { name: name.to_owned(), aliases, addresses: Vec::new(), scope, pki }
}

impl Writer {
    /// Writes until the task is aborted.
    pub(crate) async fn run(mut self) {
        loop {
            // Immediate refusals would make this a busy loop.
            if let Some(Err(_)) = self.step().await {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }

    /// Makes one write and returns its answer; `None` if the chosen key was not free.
    pub(crate) async fn step(&mut self) -> Option<Result<(), Failure>> {
        let size = self.plan.sizes.get(self.chance.place(self.plan.sizes.len())).copied();
        let size = match size.unwrap_or(Size::Mixed) {
            Size::Mixed => match self.chance.below(10) {
                0..4 => Size::Small,
                4..8 => Size::Medium,
                _ => Size::Large,
            },
            size => size,
        };
        let (key, value, write) = self.choose(size)?;
        if !self.plan.ledger.begin(&key, value) {
            return None;
        }
        let answer = self.send(write).await;
        let outcome = match &answer {
            Ok(()) => Outcome::Acknowledged,
            Err(failure) if is_definite(failure) => {
                self.plan.note_refusal(failure);
                Outcome::Refused
            }
            Err(_) => Outcome::Unknown,
        };
        self.plan.ledger.end(&key, outcome);
        Some(answer)
    }

    fn choose(&mut self, size: Size) -> Option<(String, Value, Write)> {
        let plan = Arc::clone(&self.plan);
        let chance = &mut self.chance;
        let is_chain = |key: &str| CHAIN_DOMAINS.iter().any(|name| key.ends_with(*name));
        if size == Size::Large && chance.percent(50) {
            let (key, _) = plan.ledger.choose(chance, |key, _| key.starts_with("chain:"))?;
            let name = key.trim_start_matches("chain:").to_owned();
            if chance.percent(10) {
                return Some((key, None, Write::RemoveChain(name)));
            }
            // Take neighbours in the pool, which are all different: the node corrects a chain with
            // a repeated certificate.
            let from = chance.place(plan.pool.links.len());
            let links = plan.pool.links.iter().cycle().skip(from);
            let links: Vec<_> = links.take(1 + chance.place(LINKS_MAX)).collect();
            let value = fingerprint(links.iter().map(|link| link.sha256.clone()));
            let pem = links.iter().map(|link| link.pem.as_str()).collect();
            return Some((key, Some(value), Write::SetChain(name, pem)));
        }
        if size == Size::Large {
            let (key, value) = plan.ledger.choose(chance, |key, _| key.starts_with("trust:"))?;
            let sha256 = key.trim_start_matches("trust:");
            if value.is_some() {
                return Some((key.clone(), None, Write::Distrust(sha256.to_owned())));
            }
            let one = plan.pool.trusted.iter().find(|one| one.sha256 == sha256)?;
            return Some((key, Some("there".to_owned()), Write::Trust(one.pem.clone())));
        }
        let is_full = plan.ledger.count("domain:") > DOMAINS_MAX;
        let action = chance.below(100);
        if is_full || action < 40 {
            let (key, _) = plan.ledger.choose(chance, |key, value| {
                key.starts_with("domain:") && !is_chain(key) && value.is_some()
            })?;
            let name = key.trim_start_matches("domain:").to_owned();
            if is_full || action < 15 {
                return Some((key, None, Write::Delete(name)));
            }
            let aliases = aliases(size, &name, chance);
            let value = fingerprint(aliases.iter().cloned());
            return Some((key, Some(value), Write::SetAliases(name, aliases)));
        }
        self.number += 1;
        let name = format!("{}n{}.example", self.name, self.number);
        let aliases = aliases(size, &name, chance);
        let value = fingerprint(aliases.iter().cloned());
        Some((format!("domain:{name}"), Some(value), Write::Create(name, aliases)))
    }

    async fn send(&self, write: Write) -> Result<(), Failure> {
        let (client, change) = (&self.client, committed());
        match write {
            Write::Create(name, aliases) => {
                client.create_domain(&create(&name, aliases), &change).await?;
            }
            Write::SetAliases(name, aliases) => {
                let set = Set { aliases: Some(aliases), ..Set::default() };
                client.set_domain(&name, &set, &change).await?;
            }
            Write::Delete(name) => {
                client.delete_domain(&name, &change).await?;
            }
            Write::SetChain(name, chain) => {
                let set = chain::Set { chain, allow_broken_chain: true, sort: false };
                client.set_chain(&name, &set, &change).await?;
            }
            Write::RemoveChain(name) => {
                client.remove_chain(&name, &change).await?;
            }
            Write::Trust(certificates) => {
                client.add_trusted(TRUST_SET, &Add { certificates }, &change).await?;
            }
            Write::Distrust(sha256) => {
                let remove = Remove { fingerprints: vec![sha256] };
                client.remove_trusted(TRUST_SET, &remove, &change).await?;
            }
        }
        Ok(())
    }
}

/// Reads everything that exists, by the keys of the ledger.
pub(crate) async fn read(client: &Client) -> Result<BTreeMap<String, String>, Failure> {
    let mut seen = BTreeMap::new();
    for domain in client.domains().await?.items {
        if domain.scope != Scope::Shared {
            continue;
        }
        let chain = domain.credentials.iter().flat_map(|one| &one.chain);
        let links: Vec<String> = chain.map(|link| link.sha256.to_lowercase()).collect();
        if !links.is_empty() {
            seen.insert(format!("chain:{}", domain.name), fingerprint(links.into_iter()));
        }
        let aliases = fingerprint(domain.aliases.into_iter());
        seen.insert(format!("domain:{}", domain.name), aliases);
    }
    for trusted in client.trusted(TRUST_SET).await?.items {
        if trusted.own {
            seen.insert(format!("trust:{}", trusted.sha256.to_lowercase()), "there".to_owned());
        }
    }
    Ok(seen)
}
