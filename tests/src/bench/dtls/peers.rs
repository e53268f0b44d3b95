//! Servers that end DTLS, each with the same certificate, on core 0.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use conclave_tests::{Cluster, Pair, echo_datagrams, has_program, wait_for};
use tempfile::TempDir;

use super::{
    client,
    clients::{Clients, Event},
    runtime,
};
use crate::edge::peers::{PINNED, resident_kib, seconds};

/// A server that runs.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    running: Running,
}

enum Running {
    Conclave(Box<Cluster>),
    Neighbour(Child, #[expect(dead_code, reason = "its files live as long")] TempDir),
    Foreign(Option<u32>),
}

impl Peer {
    /// A server that was started elsewhere.
    pub(crate) fn running(name: &'static str, address: SocketAddr, process: Option<u32>) -> Peer {
        Peer { name, address, running: Running::Foreign(process) }
    }

    /// A node with one domain, and an echo of datagrams behind it.
    pub(crate) fn conclave() -> Peer {
        let mut cluster = Cluster::start(1);
        cluster.nodes[0].kill();
        // Each session has a descriptor; where the limit cannot be raised there are fewer.
        let raise = "ulimit -n 65536 2>/dev/null; exec \"$@\"";
        cluster.nodes[0].start_under(&[&PINNED[..], &["sh", "-c", raise, "sh"]].concat());
        let (port, one) = (free_port(), &cluster.nodes[0]);
        one.run(&["domain", "create", "shop.example", "--pki", "enabled"]).ok();
        let (certificate, key) = one.pair_files(&Pair::make("shop.example"));
        one.run(&["cert", "import", "shop.example", &certificate, "--key", &key]).ok();
        let (bind, upstream) = (format!(":{port}"), format!("udp:{}", echo_datagrams()));
        let words = ["listener", "add", "dtls", "--protocol", "dtls"];
        one.run(&[&words[..], &["--bind", &bind, "--upstream", &upstream]].concat()).ok();
        let address = one.listener(port);
        Peer { name: "conclave", address, running: Running::Conclave(Box::new(cluster)) }.ready()
    }

    /// Of OpenSSL's and GnuTLS's servers those that are installed.
    pub(crate) fn neighbours() -> Vec<Peer> {
        // Without `-listen`, which serves one client and ends; so it asks for no cookie, and has one
        // round trip less to do.
        let openssl = ["openssl", "s_server", "-dtls1_2", "-quiet", "-accept"];
        let gnutls = ["gnutls-serv", "--udp", "--echo", "--quiet", "--port"];
        let mut found = Vec::new();
        for (name, words) in [("openssl s_server", &openssl[..]), ("gnutls-serv", &gnutls)] {
            if !has_program(words[0]) {
                continue;
            }
            let dir = tempfile::tempdir().unwrap();
            let pair = Pair::make("shop.example");
            let (pem, port) = (dir.path().join("one.pem"), free_port());
            std::fs::write(&pem, format!("{}{}", pair.bundle(), pair.key)).unwrap();
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let mut command = Command::new(PINNED[0]);
            command.args(&PINNED[1..]).args(words);
            if words[0] == "openssl" {
                command.arg(address.to_string()).arg("-cert").arg(&pem).arg("-key").arg(&pem);
                command.args(["-no_ticket"]);
            } else {
                command.arg(port.to_string());
                command.arg("--x509certfile").arg(&pem).arg("--x509keyfile").arg(&pem);
                command.args(["--noticket"]);
            }
            let pipes = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
            let child = pipes.spawn().unwrap();
            found.push(Peer { name, address, running: Running::Neighbour(child, dir) }.ready());
        }
        found
    }

    /// Waits for a handshake.
    fn ready(self) -> Peer {
        let runtime = runtime();
        wait_for(self.name, || {
            runtime.block_on(async {
                let (mut clients, own) = (Clients::new(self.address), client(7, 1));
                clients.begin(own);
                let end = Instant::now() + Duration::from_secs(3);
                let events = clients.events(end).await;
                let is_ready = matches!(events.first(), Some(Event::Established(..)));
                is_ready.then(|| clients.close(own))
            })
        });
        self
    }

    /// Whether it serves more than one client at a time.
    pub(crate) fn serves_many(&self) -> bool {
        !matches!(self.running, Running::Neighbour(..))
    }

    /// Seconds of processor time so far.
    pub(crate) fn processor_time(&self) -> f64 {
        self.process().map_or(f64::NAN, seconds)
    }

    /// Memory that it holds.
    pub(crate) fn resident_kib(&self) -> i64 {
        self.process().map_or(0, resident_kib)
    }

    fn process(&self) -> Option<u32> {
        match &self.running {
            Running::Conclave(cluster) => Some(cluster.nodes[0].process_id()),
            Running::Neighbour(child, _) => Some(child.id()),
            Running::Foreign(process) => *process,
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Running::Neighbour(child, _) = &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn free_port() -> u16 {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
