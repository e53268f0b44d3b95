//! Bad paths: loss, repetition, disorder, small packets.

use std::{sync::Arc, time::Duration};

use super::{
    client::{Client, client_context},
    context, context_with, door,
    forge::{Identity, Kind},
    link::{Path, Server, exchange, handshake},
    ticket_key,
};
use crate::{ClientPolicy, Reason, Session, State, TicketKeys, limits};

const DEADLINE: Duration = Duration::from_secs(30);

/// Issues a certificate with a chain of about 16 KiB.
fn large(root: &Identity) -> Identity {
    let shop = Identity::issue_large("shop.example", Kind::P256, root, 16_000);
    assert!(shop.chain[0].len() > 15_000);
    shop
}

/// Runs `count` handshakes in parallel. Returns how many complete, and the longest time.
fn complete(count: u64, loss_percent: u64, mtu: u16) -> (u64, Duration) {
    let root = Identity::authority("root");
    let shop = large(&root);
    // Both sides send large chains, and the last flight has a ticket.
    let user = Identity::issue_large("client", Kind::P256, &root, 4_000);
    let policy = ClientPolicy::Required { authorities: vec![], decision: Arc::new(|_| Ok(())) };
    let (door, context) = (door(), context_with(&[&shop], policy, b"x"));
    let client = client_context(&root, |builder| {
        builder.set_certificate(user.x509()).unwrap();
        builder.set_private_key(user.pkey()).unwrap();
    });
    let tickets = Arc::new(TicketKeys { seal: Some(ticket_key(1)), open: Vec::new() });
    let one = |seed: u64| {
        let server = Server::new(&door, &context).with_tickets(tickets.clone());
        let mut server = server.with_mtu(mtu);
        let mut client = Client::new(&client, "shop.example", u32::from(mtu) - 48);
        let mut path = Path::bad(seed, loss_percent).narrow(mtu);
        let result = handshake(&mut client, &mut server, &mut path, DEADLINE);
        println!("seed {seed}, {loss_percent} %, MTU {mtu}: {result:?}");
        result
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=count).map(|seed| scope.spawn(move || one(seed))).collect();
        let results = threads.into_iter().map(|thread| thread.join().unwrap());
        results.fold((0, Duration::ZERO), |(done, slowest), (is_done, took)| {
            (done + u64::from(is_done), slowest.max(took))
        })
    })
}

#[test]
fn a_tenth_lost_costs_no_handshake() {
    for mtu in [576, 1280, 1500] {
        assert_eq!(complete(20, 10, mtu).0, 20);
    }
}

#[test]
fn a_third_lost_costs_hardly_any() {
    for mtu in [576, 1500] {
        assert_eq!(complete(20, 30, mtu).0, 20);
    }
}

#[test]
fn datagrams_fit_the_path_and_all_sizes_work() {
    let root = Identity::authority("root");
    let shop = large(&root);
    let (door, context) = (door(), context(&[&shop]));
    let client = client_context(&root, |_| {});
    for mtu in [576, 700, 1000, 1200, 1280, 1492, 1500] {
        let mut server = Server::new(&door, &context).with_mtu(mtu);
        let mut client = Client::new(&client, "shop.example", 528);
        exchange(&mut client, &mut server, &mut Path::clear().narrow(mtu));
        assert_eq!(server.state(), Some(&State::Established), "MTU {mtu}");
        assert!(client.is_established);
    }
}

#[test]
fn a_path_that_swallows_large_packets_is_found_out() {
    let root = Identity::authority("root");
    let shop = large(&root);
    let (door, context) = (door(), context(&[&shop]));
    let client = client_context(&root, |_| {});
    for (mtu, at_most) in [(1300, 3), (600, 6)] {
        let mut server = Server::new(&door, &context);
        let mut client = Client::new(&client, "shop.example", 528);
        let mut path = Path::clear().narrow(mtu);
        let (is_done, took) = handshake(&mut client, &mut server, &mut path, DEADLINE);
        assert!(is_done, "MTU {mtu}");
        assert!(took < Duration::from_secs(at_most), "MTU {mtu} took {took:?}");
    }
}

#[test]
fn the_first_repetition_comes_before_400_ms() {
    let root = Identity::authority("root");
    let shop = Identity::issue("shop.example", Kind::P256, &root, 90);
    let (door, context) = (door(), context(&[&shop]));
    let mut server = Server::new(&door, &context);
    let mut client = Client::new(&client_context(&root, |_| {}), "shop.example", 1400);
    let reply = server.datagram(&client.outgoing()[0]).remove(0);
    client.datagram(&reply);
    let begin = std::time::Instant::now();
    let flight = server.datagram(&client.outgoing()[0]);
    assert!(!flight.is_empty());
    let session = server.session.as_mut().unwrap();
    let due = session.next_timer().unwrap();
    // By the timer, not by the clock of a busy machine.
    let first = due.duration_since(begin);
    assert!(first <= limits::RETRANSMIT_FIRST + Duration::from_millis(50), "{first:?}");
    assert!(limits::RETRANSMIT_FIRST < Duration::from_millis(400));
    session.timer(begin); // too early
    assert_eq!(session.next_datagram(), None);
    std::thread::park_timeout(due.saturating_duration_since(std::time::Instant::now()));
    session.timer(due.max(std::time::Instant::now()));
    assert!(session.next_datagram().is_some(), "the flight is repeated");
}

#[test]
fn a_client_that_falls_silent_is_given_up() {
    let root = Identity::authority("root");
    let shop = Identity::issue("shop.example", Kind::P256, &root, 90);
    let (door, context) = (door(), context(&[&shop]));
    let mut server = Server::new(&door, &context);
    let mut client = Client::new(&client_context(&root, |_| {}), "shop.example", 1400);
    let reply = server.datagram(&client.outgoing()[0]).remove(0);
    client.datagram(&reply);
    server.datagram(&client.outgoing()[0]);
    let (begin, mut repetitions) = (std::time::Instant::now(), 0);
    let session = server.session.as_mut().unwrap();
    while let Some(due) = session.next_timer() {
        std::thread::park_timeout(due.saturating_duration_since(std::time::Instant::now()));
        session.timer(std::time::Instant::now());
        repetitions += usize::from(session.next_datagram().is_some());
        while session.next_datagram().is_some() {}
    }
    assert_eq!(session.state(), &State::Closed(Reason::Silence));
    assert_eq!(repetitions, 12);
    assert!(begin.elapsed() < DEADLINE, "{:?}", begin.elapsed());
}

#[test]
fn a_fragmented_hello_is_put_together() {
    let root = Identity::authority("root");
    // A ticket that holds a large client certificate makes a large ClientHello.
    let authority = Identity::authority("authority");
    let user = Identity::issue_large("client", Kind::P256, &authority, 6_000);
    let shop = Identity::issue("shop.example", Kind::P256, &root, 90);
    let policy = ClientPolicy::Required { authorities: vec![], decision: Arc::new(|_| Ok(())) };
    let (door, context) = (door(), context_with(&[&shop], policy, b"x"));
    let tickets = Arc::new(TicketKeys { seal: Some(ticket_key(1)), open: Vec::new() });
    let client = client_context(&root, |builder| {
        builder.set_certificate(user.x509()).unwrap();
        builder.set_private_key(user.pkey()).unwrap();
    });
    let mut server = Server::new(&door, &context).with_tickets(tickets.clone());
    let mut first = Client::new(&client, "shop.example", 1400);
    exchange(&mut first, &mut server, &mut Path::clear());
    let ticket = first.session();
    for (seed, loss_percent) in [(0, 0), (1, 20), (2, 20), (3, 20), (4, 20)] {
        let mut server = Server::new(&door, &context).with_tickets(tickets.clone());
        let mut again = Client::resuming(&client, "shop.example", 528, Some(&ticket));
        let mut path =
            if loss_percent == 0 { Path::clear() } else { Path::bad(seed, loss_percent) };
        let (is_done, _) = handshake(&mut again, &mut server, &mut path, DEADLINE);
        assert!(is_done && again.is_resumed(), "seed {seed}: {:?}", server.state());
        again.close(); // else OpenSSL discards the session
    }
}

/// Runs in a process of its own, so that nothing else allocates memory.
#[test]
fn many_sessions_stay_small() {
    const ALONE: &str = "CONCLAVE_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return measure_sessions();
    }
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "tests::loss::many_sessions_stay_small", "--nocapture"]);
    let output = command.env(ALONE, "1").output().unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn measure_sessions() {
    const COUNT: usize = 1000;
    let root = Identity::authority("root");
    let shop = Identity::issue("shop.example", Kind::P256, &root, 90);
    let (door, context) = (door(), context(&[&shop]));
    let client = client_context(&root, |_| {});
    let mut sessions: Vec<Box<dyn Session>> = Vec::with_capacity(COUNT);
    let open = || {
        let mut server = Server::new(&door, &context);
        let mut client = Client::new(&client, "shop.example", 1400);
        exchange(&mut client, &mut server, &mut Path::clear());
        client.send(b"ping");
        exchange(&mut client, &mut server, &mut Path::clear());
        let mut session = server.session.unwrap();
        assert_eq!(session.next_plaintext().as_deref(), Some(&b"ping"[..]));
        session.send(b"pong").unwrap();
        assert!(session.next_datagram().is_some());
        session
    };
    (0..100).for_each(|_| sessions.push(open()));
    let before = resident_bytes();
    (0..COUNT).for_each(|_| sessions.push(open()));
    let each = (resident_bytes() - before) / COUNT;
    println!("{each} bytes for an idle session");
    assert!(each <= 70 * 1024, "{each} bytes for an idle session");
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
