//! A node with many accounts, each with a key and a certificate, beside one with few: the time of
//! its start, its memory and disk, and what single operations take.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use conclave_api::account::{Create, Issue, Reason, Revoke};
use conclave_client::Client;
use conclave_tests::{Cluster, Node};
use tokio::runtime::Runtime;

use crate::{
    measure::Figures,
    writes::{client, committed},
};

/// Accounts of the node that the other is compared with.
const FEW: u64 = 1_000;
const DOMAIN: &str = "shop.example";
/// Certificates that are revoked, one in so many.
const REVOKED: u64 = 100;

pub(crate) fn run(time: Duration, accounts: u64) {
    let runtime = Runtime::new().unwrap();
    for accounts in [FEW, accounts] {
        let cluster = start(accounts);
        let client = client(&cluster, 0);
        runtime.block_on(measure(&client, &cluster.nodes[0], time, accounts));
    }
}

/// Founds a cluster of one, fills it, and measures its next start.
fn start(accounts: u64) -> Cluster {
    let mut cluster = Cluster::start(1);
    cluster.nodes[0].run(&["domain", "create", DOMAIN]).ok();
    cluster.nodes[0].run(&["smime", "self-sign", DOMAIN]).ok();
    cluster.nodes[0].stop();
    let filling = Instant::now();
    let config = cluster.nodes[0].dir.join("node.toml");
    conclave_node::testing::fill_accounts(&config, DOMAIN, 0..accounts).unwrap();
    println!("accounts  {accounts:>9}  made in {:.1} s", filling.elapsed().as_secs_f64());
    let started = Instant::now();
    cluster.nodes[0].start();
    let took = started.elapsed().as_secs_f64();
    let (memory, disk) = (cluster.nodes[0].resident_mib(), mib(&cluster.nodes[0].dir));
    println!(
        "accounts  {accounts:>9}  ready after {took:.2} s, {memory} MiB of memory, {disk} MiB of disk"
    );
    cluster
}

/// Bytes of the files below a directory, in MiB.
fn mib(dir: &Path) -> u64 {
    fn bytes(dir: &Path) -> u64 {
        let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
        entries
            .map(|entry| match entry.metadata() {
                Ok(found) if found.is_dir() => bytes(&entry.path()),
                Ok(found) => found.len(),
                // It ended meanwhile.
                Err(_) => 0,
            })
            .sum()
    }
    bytes(dir) >> 20
}

async fn measure(client: &Client, node: &Node, time: Duration, accounts: u64) {
    let email = |number: u64| format!("a{}@{DOMAIN}", number * 7_919 % accounts);
    let told = |what: &str, figures: Figures| {
        let memory = node.resident_mib();
        println!("accounts  {accounts:>9}  {what:<38} {figures}, {memory} MiB");
    };
    let figures = repeated(time, async |number| {
        client.account(&email(number)).await.unwrap();
    });
    told("show one", figures.await);
    let figures = repeated(time, async |number| {
        client.account_certificate(&email(number)).await.unwrap();
    });
    told("certificate of one, to encrypt", figures.await);
    let figures = repeated(time, async |number| {
        client.accounts(DOMAIN, Some(email(number))).await.unwrap();
    });
    told("a page of the list, from anywhere", figures.await);
    let figures = repeated(time, async |_| {
        client.status().await.unwrap();
    });
    told("status", figures.await);
    let figures = repeated(time, async |number| {
        let address = format!("new-{number}@{DOMAIN}");
        let create = Create { address, name: String::new() };
        client.create_account(&create, &committed()).await.unwrap();
    });
    told("create one, durable", figures.await);
    let figures = repeated(time, async |number| {
        let issue = Issue { renew: true, ..Issue::default() };
        client.issue_account_certificate(&email(number), &issue, &committed()).await.unwrap();
    });
    told("issue a certificate, durable", figures.await);
    let revoke = Revoke { serial: None, reason: Reason::Superseded };
    for number in 0..accounts / REVOKED {
        client.revoke_account_certificate(&email(number), &revoke, &committed()).await.unwrap();
    }
    let figures = repeated(time, async |_| {
        client.smime_crl(DOMAIN).await.unwrap();
    });
    told("the revocation list, 1 in 100 revoked", figures.await);
}

/// Repeats, one after the other.
async fn repeated(time: Duration, operation: impl AsyncFn(u64)) -> Figures {
    let (begun, mut times) = (Instant::now(), Vec::new());
    for number in 0.. {
        if begun.elapsed() >= time {
            break;
        }
        let started = Instant::now();
        operation(number).await;
        times.push(started.elapsed());
    }
    Figures::of(times)
}
