//! Steps of the demo. Each step is checked before it is reported.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use conclave_api::{
    certificate::{Import, SelfSign},
    cluster::{Init, Join},
    domain::{Create, Pki, Set},
    join_token, key,
    listener::Add,
};
use conclave_client::{Change, Failure};

use super::{
    Node, Upstreams, failed, free_port,
    probe::{Shown, probe, probe_datagrams},
};
use crate::output::line;

/// A published certificate and key. They protect nothing.
const DEMO_CERTIFICATE: &str = include_str!("demo-certificate.pem");
const DEMO_KEY: &str = include_str!("demo-key.pem");

/// Number of the step, and the time when it started.
struct Teller {
    step: u32,
    started: Instant,
}

impl Teller {
    fn tell(&mut self, what: &str) {
        self.step += 1;
        let took = self.started.elapsed();
        let took = if took.as_millis() < 1_000 {
            format!("{} ms", took.as_millis())
        } else {
            format!("{:.1} s", took.as_secs_f64())
        };
        line(&format!("{:2}  {what:<78}  {took}", self.step));
        self.started = Instant::now();
    }
}

/// Runs and reports all steps. Returns the port of the listener.
pub(super) async fn tell(
    nodes: &mut [Node],
    dir: &Path,
    upstreams: &Upstreams,
) -> Result<u16, Failure> {
    let mut teller = Teller { step: 0, started: Instant::now() };
    for node in nodes.iter_mut() {
        node.start()?;
    }
    teller.tell("node-1 node-2 node-3 started");
    found(nodes).await?;
    teller.tell("cluster \"demo\" made: three voters, one may fail");
    let port = free_port(nodes)?;
    domains(nodes, dir, port, upstreams).await?;
    teller.tell("pki.example: a PEM pair imported; shop.example: a P-256 key made, self-signed");
    same_everywhere(nodes, port, "shop.example")?;
    same_everywhere(nodes, port, "pki.example")?;
    teller.tell("a TLS 1.3 handshake with each node shows the same certificates: ok ok ok");
    same_over_datagrams(nodes, port, "shop.example")?;
    teller.tell("a DTLS 1.2 handshake with each node shows the same certificate: ok ok ok");
    let leader = leader_dies(nodes, port, &mut teller).await?;
    returns(nodes, leader, port, &mut teller).await?;
    test_certificate(nodes, port, &mut teller).await?;
    Ok(port)
}

fn first(nodes: &[Node]) -> Result<&Node, Failure> {
    nodes.iter().find(|node| node.is_running()).ok_or_else(|| failed("no node runs"))
}

async fn found(nodes: &[Node]) -> Result<(), Failure> {
    let change = Change::default();
    let one = first(nodes)?;
    one.client.init(&Init { name: "demo".to_owned() }, &change).await?;
    for node in nodes.iter().skip(1) {
        let create = join_token::Create::default();
        let made = one.client.create_join_token(&create, &change).await?;
        let join = Join { address: made.address, token: made.token, ..Join::default() };
        node.client.join(&join, &change).await?;
    }
    Ok(())
}

async fn domains(
    nodes: &[Node],
    dir: &Path,
    port: u16,
    upstreams: &Upstreams,
) -> Result<(), Failure> {
    let change = Change::default();
    let client = &first(nodes)?.client;
    let domain = |name: &str, pki| Create {
        name: name.to_owned(),
        aliases: Vec::new(),
        addresses: Vec::new(),
        scope: None,
        pki: Some(pki),
    };
    let add = |name: &str, upstream, protocol| Add {
        name: name.to_owned(),
        bind: format!(":{port}"),
        upstreams: vec![upstream],
        protocol,
        ..Add::default()
    };
    client.add_listener(&add("https", upstreams.page.to_string(), None), &change).await?;
    let echo = format!("udp:{}", upstreams.echo);
    client.add_listener(&add("coap", echo, Some("dtls".to_owned())), &change).await?;
    client.create_domain(&domain("pki.example", Pki::Enabled), &change).await?;
    let import = Import {
        certificate: DEMO_CERTIFICATE.to_owned(),
        key: Some(DEMO_KEY.to_owned()),
        ..Import::default()
    };
    client.import_certificate("pki.example", &import, &change).await?;
    client.create_domain(&domain("shop.example", Pki::Enabled), &change).await?;
    client.generate_key("shop.example", &key::Generate { algorithm: None }, &change).await?;
    let done = client.self_sign("shop.example", &SelfSign::default(), &change).await?;
    if done.served.nodes.len() != nodes.len() {
        return Err(failed(format!("not served by {}", done.served.missing.join(" "))));
    }
    let certificate = client.certificate("shop.example").await?;
    std::fs::write(dir.join("shop.pem"), certificate.pem).map_err(|error| failed(error.to_string()))
}

fn shown(node: &Node, port: u16, name: &str) -> Result<Shown, Failure> {
    let shown = probe(node.listener(port), name)
        .map_err(|error| failed(format!("{}: no handshake for {name}: {error}", node.name)))?;
    if shown.answer.contains("hello from the upstream") {
        Ok(shown)
    } else {
        Err(failed(format!("{}: the upstream was not reached", node.name)))
    }
}

/// Returns the chain shown by all running nodes for a name. Fails if they differ.
fn same_everywhere(nodes: &[Node], port: u16, name: &str) -> Result<Vec<Vec<u8>>, Failure> {
    let mut chains = Vec::new();
    for node in nodes.iter().filter(|node| node.is_running()) {
        chains.push(shown(node, port, name)?.chain);
    }
    match chains.first() {
        Some(chain) if chains.iter().all(|other| other == chain) => Ok(chain.clone()),
        _ => Err(failed(format!("the nodes show different certificates for {name}"))),
    }
}

/// Checks that all running nodes show the same chain over DTLS as over TLS.
fn same_over_datagrams(nodes: &[Node], port: u16, name: &str) -> Result<(), Failure> {
    let expected = same_everywhere(nodes, port, name)?;
    for node in nodes.iter().filter(|node| node.is_running()) {
        let chain = probe_datagrams(node.listener(port), name)
            .map_err(|error| failed(format!("{}: no DTLS handshake: {error}", node.name)))?;
        if chain != expected {
            let what = format!("{} shows another certificate over DTLS", node.name);
            return Err(failed(what));
        }
    }
    Ok(())
}

/// Kills the leader while handshakes continue, and makes a change as soon as that is possible
/// again.
async fn leader_dies(nodes: &mut [Node], port: u16, teller: &mut Teller) -> Result<usize, Failure> {
    let status = first(nodes)?.client.status().await?;
    let name = status.cluster.and_then(|cluster| cluster.leader);
    let name = name.ok_or_else(|| failed("the cluster has no leader"))?;
    let leader = nodes.iter().position(|node| node.name == name);
    let leader = leader.ok_or_else(|| failed(format!("{name} is no node of the demo")))?;
    let others: Vec<SocketAddr> =
        nodes.iter().filter(|node| node.name != name).map(|node| node.listener(port)).collect();
    let (stop, good, all) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicU64::new(0)),
    );
    let (thread_stop, thread_good, thread_all) =
        (Arc::clone(&stop), Arc::clone(&good), Arc::clone(&all));
    let handshakes = std::thread::spawn(move || {
        while !thread_stop.load(Ordering::Relaxed) {
            for address in &others {
                thread_all.fetch_add(1, Ordering::Relaxed);
                if probe(*address, "shop.example").is_ok() {
                    thread_good.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    });
    if let Some(node) = nodes.get_mut(leader) {
        node.kill();
    }
    let killed = Instant::now();
    let client = &first(nodes)?.client;
    let written = client.self_sign("shop.example", &SelfSign::default(), &Change::default()).await;
    let took = killed.elapsed();
    stop.store(true, Ordering::Relaxed);
    let _ = handshakes.join();
    let written = written?;
    let (good, all) = (good.load(Ordering::Relaxed), all.load(Ordering::Relaxed));
    if good != all {
        return Err(failed(format!("only {good} of {all} handshakes went on")));
    }
    same_everywhere(nodes, port, "shop.example")?;
    let ms = took.as_millis();
    let missing = written.served.missing.join(" ");
    teller.tell(&format!(
        "kill -9 of leader {name}: new certificate {ms} ms later; TLS: {good} of {all} handshakes"
    ));
    if missing != name {
        return Err(failed(format!("{name} is away, but the answer names {missing:?}")));
    }
    Ok(leader)
}

async fn returns(
    nodes: &mut [Node],
    gone: usize,
    port: u16,
    teller: &mut Teller,
) -> Result<(), Failure> {
    let expected = same_everywhere(nodes, port, "shop.example")?;
    let node = nodes.get_mut(gone).ok_or_else(|| failed("no such node"))?;
    node.start()?;
    let deadline = Instant::now() + super::START_TIMEOUT;
    while probe(node.listener(port), "shop.example").ok().map(|shown| shown.chain)
        != Some(expected.clone())
    {
        if Instant::now() > deadline {
            return Err(failed(format!("{} does not serve the new certificate", node.name)));
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let name = node.name.clone();
    teller.tell(&format!("{name} is back and serves what was changed while it was away"));
    Ok(())
}

/// Checks that a domain in test mode shows the node's own certificate, a new one after each start.
async fn test_certificate(
    nodes: &mut [Node],
    port: u16,
    teller: &mut Teller,
) -> Result<(), Failure> {
    let set = Set { pki: Some(Pki::Test), ..Set::default() };
    let client = &first(nodes)?.client;
    client.set_domain("pki.example", &set, &Change::default()).await?;
    let node = nodes.last_mut().ok_or_else(|| failed("no node"))?;
    let before = shown(node, port, "pki.example")?.chain;
    node.kill();
    node.start()?;
    let deadline = Instant::now() + super::START_TIMEOUT;
    let after = loop {
        match probe(node.listener(port), "pki.example") {
            Ok(shown) => break shown.chain,
            Err(error) if Instant::now() > deadline => return Err(failed(error)),
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    };
    if before == after {
        return Err(failed("the test certificate is the same after a restart"));
    }
    let name = &node.name;
    teller
        .tell(&format!("test mode: {name} made its 30-day test certificate afresh at its restart"));
    Ok(())
}
