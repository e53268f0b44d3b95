//! A growing set of domains, each with a key and a certificate, written through all nodes.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use conclave_api::{
    certificate::SelfSign,
    domain::{Create, Pki, Scope},
    key::Generate,
    problem::Code,
};
use conclave_client::{Change, Client, Failure};
use tokio::task::JoinHandle;

use crate::{check::Found, cluster::Cluster, history::History};

const READ_TIMEOUT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);

/// Starts `count` writers per node, of names with this prefix. They write until `stop` is set. What was acknowledged is read
/// at once through the next node, which must have it.
pub(crate) fn start(
    cluster: &Cluster,
    history: &Arc<History>,
    stop: &Arc<AtomicBool>,
    (prefix, count): (&str, usize),
) -> Vec<JoinHandle<()>> {
    let clients: Vec<Client> = cluster.nodes.iter().map(|node| node.client.clone()).collect();
    let readers = clients.iter().cycle().skip(1);
    let pairs = clients.iter().zip(readers).cycle().take(clients.len() * count).enumerate();
    pairs
        .map(|(place, (client, reader))| {
            let (client, reader) = (client.clone(), reader.clone());
            let (history, stop) = (Arc::clone(history), Arc::clone(stop));
            let prefix = prefix.to_owned();
            tokio::spawn(async move {
                let process = place.to_string();
                let mut number = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    number += 1;
                    let key = format!("{prefix}{place}n{number}.example");
                    if write(&client, &history, &process, &key).await {
                        read(&reader, &history, &process, &key).await;
                    } else {
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            })
        })
        .collect()
}

/// Adds one domain. Returns whether it was acknowledged.
async fn write(client: &Client, history: &History, process: &str, key: &str) -> bool {
    history.add(process, "invoke", "add", key, "");
    let (kind, value) = match add(client, key).await {
        Ok(()) => ("ok", String::new()),
        Err((step, failure)) => {
            let code = failure.code.as_str().to_owned();
            match (step, is_definite(&failure)) {
                (Step::Create, true) => ("fail", code),
                (Step::Sign, true) => {
                    history.add(process, "fail", "sign", key, &code);
                    ("info", code)
                }
                (_, false) => ("info", code),
            }
        }
    };
    history.add(process, kind, "add", key, &value);
    kind == "ok"
}

/// Reads a domain that exists, by a linearizable read. A node that cannot answer proves nothing.
async fn read(client: &Client, history: &History, process: &str, key: &str) {
    let (kind, value) = match client.domain(key).await {
        Ok(domain) if domain.credentials.iter().any(|one| one.certificate.is_some()) => ("ok", ""),
        Ok(_) => ("fail", "without a certificate"),
        Err(failure) if failure.code == Code::DomainUnknown => ("fail", "missing"),
        Err(_) => ("info", ""),
    };
    history.add(process, kind, "read", key, value);
}

/// Unacknowledged part of an addition.
#[derive(Clone, Copy)]
enum Step {
    Create,
    /// Key or certificate.
    Sign,
}

/// Returns whether an error proves that nothing was done. Only R004 and R008 leave the outcome
/// open.
pub(crate) fn is_definite(failure: &Failure) -> bool {
    !matches!(failure.code, Code::OutcomeUnknown | Code::OperationForgotten)
}

async fn add(client: &Client, name: &str) -> Result<(), (Step, Failure)> {
    let change = Change { is_committed_enough: true, ..Change::default() };
    let create = Create {
        name: name.to_owned(),
        aliases: Vec::new(),
        addresses: Vec::new(),
        scope: Some(Scope::Shared),
        pki: Some(Pki::Enabled),
    };
    let in_step = |step: Step| move |failure: Failure| (step, failure);
    client.create_domain(&create, &change).await.map_err(in_step(Step::Create))?;
    let generate = Generate { algorithm: None };
    client.generate_key(name, &generate, &change).await.map_err(in_step(Step::Sign))?;
    let sign = SelfSign::default();
    client.self_sign(name, &sign, &change).await.map_err(in_step(Step::Sign))?;
    Ok(())
}

/// Reads everything from every node, once the cluster is complete again.
pub(crate) async fn read_back(cluster: &Cluster, history: &History) -> anyhow::Result<Found> {
    let deadline = Instant::now() + READ_TIMEOUT;
    loop {
        match read_once(cluster).await {
            Ok(found) => {
                let digests: Vec<&String> = found.digests.values().collect();
                let is_same = digests.windows(2).all(|pair| pair.first() == pair.last());
                // Nodes may still catch up, so only a lasting difference counts.
                if is_same || Instant::now() > deadline {
                    history.add("reader", "ok", "read", "", &format!("{:?}", found.digests));
                    return Ok(found);
                }
            }
            Err(failure) if Instant::now() > deadline => return Err(failure.into()),
            Err(_) => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn read_once(cluster: &Cluster) -> Result<Found, Failure> {
    let mut found = Found { domains: BTreeMap::new(), digests: BTreeMap::new() };
    for node in &cluster.nodes {
        let domains = node.client.domains().await?.items.into_iter();
        let domains = domains
            .filter(|domain| domain.scope == Scope::Shared)
            .map(|domain| {
                let is_whole = domain.credentials.iter().any(|one| one.certificate.is_some());
                (domain.name, is_whole)
            })
            .collect();
        found.domains.insert(node.name.clone(), domains);
        if let Some(status) = node.client.status().await?.cluster {
            found.digests.insert(node.name.clone(), status.digest);
        }
    }
    Ok(found)
}
