//! Full handshakes, one after the other, by one client that begins anew under its old address.
//!
//! `s_server` and `gnutls-serv` serve one client at a time, so that is what is compared; a node is
//! also measured with many at once.

use std::time::Duration;

use super::{client, clients::Clients, peers::Peer, runtime};
use crate::measure::Figures;

const ROUNDS: usize = 3;
const IN_FLIGHT: u32 = 32;

pub(crate) fn run(target: Option<&Peer>, time: Duration) {
    let own;
    let mut peers: Vec<&Peer> = Vec::new();
    if let Some(target) = target {
        peers.push(target);
        own = Peer::neighbours();
    } else {
        own = std::iter::once(Peer::conclave()).chain(Peer::neighbours()).collect();
    }
    peers.extend(&own);
    let runtime = runtime();
    let mut rows: Vec<(String, Vec<[f64; 4]>)> = Vec::new();
    let mut add = |name: String, figures: [f64; 4]| match rows.iter_mut().find(|row| row.0 == name)
    {
        Some((_, all)) => all.push(figures),
        None => rows.push((name, vec![figures])),
    };
    for _ in 0..ROUNDS {
        for peer in &peers {
            add(peer.name.into(), measure(&runtime, peer, 1, time));
            if peer.serves_many() {
                let name = format!("{}, {IN_FLIGHT} at once", peer.name);
                add(name, measure(&runtime, peer, IN_FLIGHT, time));
            }
        }
    }
    println!("\nDTLS 1.2, full handshakes, P-256, medians of {ROUNDS} rounds by turns");
    println!("{:<28}{:>10}{:>16}{:>10}{:>10}", "", "/s", "/processor s", "p50 us", "p99 us");
    for (name, mut figures) in rows {
        let mut median = |place: usize| {
            figures.sort_by(|one, other| one[place].total_cmp(&other[place]));
            figures[figures.len() / 2][place]
        };
        let [rate, cost, p50, p99] = [0, 1, 2, 3].map(&mut median);
        println!("{name:<28}{rate:>10.0}{cost:>16.0}{p50:>10.0}{p99:>10.0}");
    }
}

/// Rate, count for each second of processor time, p50 and p99 in microseconds.
fn measure(
    runtime: &tokio::runtime::Runtime,
    peer: &Peer,
    in_flight: u32,
    time: Duration,
) -> [f64; 4] {
    runtime.block_on(async {
        let mut clients = Clients::new(peer.address);
        let addresses: Vec<_> = (0..in_flight).map(|number| client(1, number + 1)).collect();
        clients.handshakes(&addresses, time / 5).await;
        let before = peer.processor_time();
        let figures: Figures = clients.handshakes(&addresses, time).await;
        let spent = peer.processor_time() - before;
        if figures.count() == 0 {
            return [0.0; 4];
        }
        let microseconds = |percent| figures.percentile(percent) * 1_000.0;
        let count = figures.count() as f64;
        [figures.rate() as f64, count / spent, microseconds(50), microseconds(99)]
    })
}
