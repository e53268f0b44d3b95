//! DTLS termination: handshakes beside its neighbours, many sessions on one socket, a flood.
//!
//! The node has core 0 to itself, clients and upstream have core 1. Clients come from addresses of
//! 127.0.0.0/8, all through one socket.

mod clients;
mod flood;
mod handshakes;
mod peers;
mod sessions;
mod sources;

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::Command,
    time::Duration,
};

use clap::{Args, ValueEnum};
use conclave_tests::has_program;
use tokio::runtime::Runtime;

use peers::Peer;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Full handshakes per second on one core, beside `openssl s_server` and `gnutls-serv`.
    Handshakes,
    /// Many sessions at once: memory of each, and how long an echo takes while others come.
    Sessions,
    /// A flood of ClientHellos without a cookie, and what honest clients notice of it.
    Flood,
    All,
}

#[derive(Args)]
pub(crate) struct Wishes {
    part: Part,
    /// A server that runs already, instead of a node.
    #[arg(long)]
    target: Option<SocketAddr>,
    /// Its process, for memory and processor time.
    #[arg(long, requires = "target")]
    process: Option<u32>,
    /// Sessions at once.
    #[arg(long, default_value_t = 10_000)]
    sessions: u32,
    /// Handshakes per second beside them.
    #[arg(long, default_value_t = 200)]
    beside: u32,
    /// ClientHellos of the flood.
    #[arg(long, default_value_t = 1_000_000)]
    hellos: u32,
    /// How many of them in a second.
    #[arg(long, default_value_t = 20_000)]
    rate: u32,
}

pub(crate) fn run(time: Duration, wishes: &Wishes) {
    if !has_program("taskset") {
        return;
    }
    let own = std::process::id().to_string();
    let pinned = Command::new("taskset").args(["-a", "-p", "-c", "1", &own]).output().unwrap();
    assert!(pinned.status.success(), "two cores are needed");
    let peer = wishes.target.map(|address| Peer::running("target", address, wishes.process));
    let is_wanted = |part| wishes.part == part || wishes.part == Part::All;
    if is_wanted(Part::Handshakes) {
        handshakes::run(peer.as_ref(), time);
    }
    if !is_wanted(Part::Sessions) && !is_wanted(Part::Flood) {
        return;
    }
    let peer = peer.unwrap_or_else(Peer::conclave);
    // First: what many sessions held would hide what the flood costs.
    if is_wanted(Part::Flood) {
        flood::run(&peer, wishes.hellos, wishes.rate, wishes.beside);
    }
    if is_wanted(Part::Sessions) {
        sessions::run(&peer, wishes.sessions, wishes.beside, time);
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// The client of this number; `net` keeps the clients of one load apart from those of another.
fn client(net: u8, number: u32) -> Ipv4Addr {
    let [_, high, middle, low] = number.to_be_bytes();
    assert_eq!(high, 0, "a load has at most 65,536 clients");
    Ipv4Addr::new(127, net, middle, low)
}
