//! Many sessions on one socket of the server: what each costs, and how they are served.

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use super::{
    client,
    clients::{Clients, Event},
    peers::Peer,
    runtime,
};
use crate::measure::Figures;

const IN_FLIGHT: usize = 32;
/// Echoes in a second.
const ECHOES: u32 = 1_000;
/// An echo that takes longer is lost.
const ECHO_MAX: Duration = Duration::from_secs(1);
/// A handshake that takes longer has failed.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
const PLAINTEXT_BYTES: usize = 100;

pub(crate) fn run(peer: &Peer, count: u32, beside: u32, time: Duration) {
    let runtime = runtime();
    let mut clients = runtime.block_on(async { Clients::new(peer.address) });
    println!("\nDTLS 1.2, {count} sessions on one socket");
    // What a server takes once, for its first clients, is not theirs.
    let first: Vec<_> = (0..64).map(|number| client(2, number + 1)).collect();
    runtime.block_on(clients.handshakes(&first, Duration::from_secs(1)));
    let before = peer.resident_kib();
    let begun = Instant::now();
    let addresses: Vec<_> = (0..count).map(|number| client(3, number + 1)).collect();
    let open = runtime.block_on(open(&mut clients, &addresses));
    let (held, took) = (peer.resident_kib() - before, begun.elapsed());
    println!(
        "{open} of {count} established in {:.1} s; {:.1} KiB each ({} MiB before, {held} KiB more)",
        took.as_secs_f64(),
        held as f64 / f64::from(open.max(1)),
        before / 1024
    );
    let server = peer.address;
    let others = std::thread::spawn(move || {
        super::runtime().block_on(async {
            let mut others = Clients::new(server);
            others
                .arrivals(beside, time, HANDSHAKE_MAX, |number| client(4, number % 65_000 + 1))
                .await
        })
    });
    let (said, echoes) = runtime.block_on(echo(&mut clients, &addresses, time));
    let (began, handshakes) = others.join().unwrap();
    println!("{said} echoes of {PLAINTEXT_BYTES} bytes, {} came back: {echoes}", echoes.count());
    println!("beside {began} handshakes, {} done: {handshakes}", handshakes.count());
    println!(
        "{:.1} KiB each in the end",
        (peer.resident_kib() - before) as f64 / f64::from(open.max(1))
    );
    let left = addresses.iter().filter(|client| clients.is_established(**client)).count();
    println!("{left} sessions are left");
    addresses
        .into_iter()
        .filter(|client| clients.is_established(*client))
        .collect::<Vec<_>>()
        .into_iter()
        .for_each(|client| clients.close(client));
}

/// Opens a session for each; gives how many there are.
async fn open(clients: &mut Clients, addresses: &[Ipv4Addr]) -> u32 {
    let (mut waiting, mut open) = (addresses.iter(), 0);
    waiting.by_ref().take(IN_FLIGHT).for_each(|client| clients.begin(*client));
    let mut under_way = IN_FLIGHT.min(addresses.len());
    while under_way > 0 {
        let events = clients.events(Instant::now() + HANDSHAKE_MAX).await;
        if events.is_empty() {
            println!("{under_way} handshakes got no answer");
            return open;
        }
        for event in events {
            match event {
                Event::Established(..) => open += 1,
                Event::Lost(client, why) => println!("{client}: {why}"),
                Event::Plaintext(..) => continue,
            }
            match waiting.next() {
                Some(client) => clients.begin(*client),
                None => under_way -= 1,
            }
        }
    }
    open
}

/// Lets the clients speak by turns; gives how often, and how long the answers took.
async fn echo(clients: &mut Clients, addresses: &[Ipv4Addr], time: Duration) -> (u32, Figures) {
    let (begun, mut said, mut times) = (Instant::now(), 0, Vec::new());
    let mut waiting: HashMap<Ipv4Addr, (u32, Instant)> = HashMap::new();
    // Neighbours by turns would find each other's memory still in the processor.
    let mut places = (0..addresses.len()).cycle().step_by(7_919);
    while begun.elapsed() < time + ECHO_MAX {
        let due = Duration::from_secs(1) * said / ECHOES;
        if due < time && due <= begun.elapsed() {
            let client = addresses[places.next().unwrap()];
            if clients.is_established(client) {
                let mut plaintext = said.to_be_bytes().to_vec();
                plaintext.resize(PLAINTEXT_BYTES, 0);
                waiting.insert(client, (said, Instant::now()));
                clients.say(client, &plaintext);
            }
            said += 1;
            continue;
        }
        if due >= time && waiting.is_empty() {
            break;
        }
        let end = if due < time { begun + due } else { begun + time + ECHO_MAX };
        for event in clients.events(end).await {
            match event {
                Event::Plaintext(client, plaintext) => {
                    let Some((number, since)) = waiting.remove(&client) else { continue };
                    if plaintext.starts_with(&number.to_be_bytes()) {
                        times.push(since.elapsed());
                    }
                }
                Event::Lost(client, why) => println!("{client}: {why}"),
                Event::Established(..) => {}
            }
        }
    }
    (said, Figures::within(times, begun.elapsed().min(time)))
}
