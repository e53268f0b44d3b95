//! ClientHellos that never come back with their cookie, from 65,536 addresses, and honest clients
//! beside them.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use conclave_dtls::Connector;

use super::{client, clients::Clients, peers::Peer, runtime, sources::Sources};

const SOURCES: u32 = 65_536;
/// An honest handshake that takes longer has failed.
const WITHIN: Duration = Duration::from_secs(1);
/// Clients that always have a handshake under way.
const IN_FLIGHT: u32 = 8;
/// Where the random of a ClientHello stands, behind both headers and the version.
const RANDOM: std::ops::Range<usize> = 27..59;

pub(crate) fn run(peer: &Peer, hellos: u32, rate: u32, honest: u32) {
    let time = Duration::from_secs(1) * hellos / rate;
    // Half of the flood beside clients that come at a steady rate, half beside as many handshakes
    // as there can be.
    let half = time / 2;
    let quiet_time = half.min(Duration::from_secs(20));
    println!("\n{hellos} ClientHellos without cookie, {rate}/s, from {SOURCES} addresses");
    let measure = |time| honest_clients(peer.address, honest, time);
    let busiest = |time| busiest(peer.address, time);
    // What a server takes once is not the flood's.
    measure(Duration::from_secs(1));
    let quiet = (measure(quiet_time), busiest(quiet_time));
    let (before, worked) = (peer.resident_kib(), peer.processor_time());
    let server = peer.address;
    let flood = std::thread::spawn(move || runtime().block_on(flood(server, hellos, rate)));
    let meanwhile = (measure(half.saturating_sub(WITHIN)), busiest(half));
    let during = peer.resident_kib();
    let flooded = flood.join().unwrap();
    let took = flooded.took;
    println!(
        "{} hellos in {:.1} s ({:.0}/s); {} bytes sent, {} bytes came back ({:.2})",
        flooded.sent,
        took.as_secs_f64(),
        f64::from(flooded.sent) / took.as_secs_f64(),
        flooded.sent_bytes,
        flooded.received_bytes,
        flooded.received_bytes as f64 / flooded.sent_bytes as f64
    );
    println!("memory: {before} KiB before, {during} during, {} after", peer.resident_kib());
    println!("processor of the server: {:.1} s", peer.processor_time() - worked);
    println!("{honest}/s offered, done within {WITHIN:?}: quiet {}", quiet.0);
    println!("{:>47} {}", "flooded", meanwhile.0);
    let share = meanwhile.1 / quiet.1 * 100.0;
    println!(
        "{IN_FLIGHT} at once: {:.0}/s quiet, {:.0}/s flooded ({share:.1} %)",
        quiet.1, meanwhile.1
    );
}

/// A steady rate of clients, each from another address; what came of them.
fn honest_clients(server: SocketAddr, per_second: u32, time: Duration) -> String {
    let (began, figures) = runtime().block_on(async {
        let mut clients = Clients::new(server);
        let address = |number| client(8, number % 60_000 + 1);
        clients.arrivals(per_second, time, WITHIN, address).await
    });
    let share = figures.count() as f64 * 100.0 / f64::from(began);
    format!("{} of {began} ({share:.1} %): {figures}", figures.count())
}

/// Handshakes in a second by clients that never rest.
fn busiest(server: SocketAddr, time: Duration) -> f64 {
    let figures = runtime().block_on(async {
        let mut clients = Clients::new(server);
        let addresses: Vec<_> = (0..IN_FLIGHT).map(|number| client(9, number + 1)).collect();
        clients.handshakes(&addresses, time).await
    });
    figures.count() as f64 / time.as_secs_f64()
}

struct Flooded {
    sent: u32,
    took: Duration,
    sent_bytes: u64,
    received_bytes: u64,
}

async fn flood(server: SocketAddr, hellos: u32, rate: u32) -> Flooded {
    let mut sources = Sources::open();
    let connector = Connector::new(&[]).unwrap();
    let mut first = connector.connect(Some("shop.example"), Instant::now(), 1500).unwrap();
    let mut hello = first.next_datagram().unwrap();
    let (begun, mut sent) = (Instant::now(), 0);
    while sent < hellos {
        let due = (begun.elapsed().as_secs_f64() * f64::from(rate)) as u32;
        while sent < due.min(hellos) {
            // Each its own: otherwise it would be one client that repeats itself.
            for (byte, place) in
                hello[RANDOM].iter_mut().zip(sent.to_be_bytes().into_iter().cycle())
            {
                *byte = place ^ 0x5A;
            }
            sources.send(client(16, sent % SOURCES), server, &hello);
            sent += 1;
        }
        sources.receive(Instant::now() + Duration::from_millis(1), |_, _| {}).await;
    }
    let took = begun.elapsed();
    // What is still on its way.
    sources.receive(Instant::now() + Duration::from_secs(1), |_, _| {}).await;
    let (sent_bytes, received_bytes) = (sources.sent_bytes, sources.received_bytes);
    Flooded { sent, took, sent_bytes, received_bytes }
}
