//! Servers that end TLS, each with the same certificate, upstream and core.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use conclave_tests::{Cluster, Pair, has_program, wait_for};
use tempfile::TempDir;

use crate::etcd::free_port;

/// Pins what follows to core 0.
pub(crate) const PINNED: [&str; 3] = ["taskset", "-c", "0"];

/// A server that runs.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    process: Running,
}

enum Running {
    Conclave(Box<Cluster>),
    Other(Child, #[expect(dead_code, reason = "its files live as long")] TempDir),
}

/// Writes what a server needs into a directory, for its own address and its upstream; gives its
/// command line.
type Prepare = fn(&Path, SocketAddr, SocketAddr) -> Vec<String>;

impl Peer {
    /// Conclave, another build of it if one is given, and of Debian's servers those that are
    /// installed.
    pub(crate) fn all(
        pair: &Pair,
        upstream: SocketAddr,
        only: Option<&str>,
        other: Option<&str>,
    ) -> Vec<Peer> {
        let mut peers = vec![conclave("conclave", &PINNED, pair, upstream)];
        if let Some(other) = other {
            // What follows is the program of this build, and its arguments.
            let instead = format!("shift; exec {other} \"$@\"");
            let wrapper = [&PINNED[..], &["sh", "-c", &instead, "sh"]].concat();
            peers.push(conclave("other build", &wrapper, pair, upstream));
        }
        let program: [(&'static str, Prepare); 4] =
            [("haproxy", haproxy), ("nginx", nginx), ("hitch", hitch), ("stunnel4", stunnel)];
        for (name, prepare) in program {
            if only.is_none_or(|only| only == name) && has_program(name) {
                peers.push(start(name, prepare, pair, upstream));
            }
        }
        peers
    }

    /// Seconds of processor time so far, with those of its children.
    pub(crate) fn processor_time(&self) -> f64 {
        self.processes().iter().map(|process| seconds(*process)).sum()
    }

    /// Memory that it holds, with that of its children.
    pub(crate) fn resident_kib(&self) -> i64 {
        self.processes().into_iter().map(resident_kib).sum()
    }

    fn processes(&self) -> Vec<u32> {
        let first = match &self.process {
            Running::Conclave(cluster) => cluster.nodes[0].process_id(),
            Running::Other(child, _) => child.id(),
        };
        let children = std::fs::read_to_string(format!("/proc/{first}/task/{first}/children"));
        let children = children.unwrap_or_default();
        let children = children.split_whitespace().map(|child| child.parse().unwrap());
        std::iter::once(first).chain(children).collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        for process in self.processes() {
            // Processes of this run only: the server and its children.
            let _ = Command::new("kill").arg(process.to_string()).status();
        }
        if let Running::Other(child, _) = &mut self.process {
            let _ = child.wait();
        }
    }
}

/// Memory that a process holds.
pub(crate) fn resident_kib(process: u32) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

/// Processor time of a process so far. Its clock ticks are hundredths of a second
/// (proc_pid_stat(5)).
pub(crate) fn seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ticks as f64 / 100.0
}

fn conclave(name: &'static str, wrapper: &[&str], pair: &Pair, upstream: SocketAddr) -> Peer {
    let mut cluster = Cluster::start(1);
    cluster.nodes[0].kill();
    cluster.nodes[0].start_under(wrapper);
    let (port, one) = (cluster.free_port(), &cluster.nodes[0]);
    one.run(&["domain", "create", "shop.example", "--pki", "enabled"]).ok();
    let (certificate, key) = one.pair_files(pair);
    one.run(&["cert", "import", "shop.example", &certificate, "--key", &key]).ok();
    let (bind, behind) = (format!(":{port}"), upstream.to_string());
    one.run(&["listener", "add", "tls", "--bind", &bind, "--upstream", &behind]).ok();
    let address = one.listener(port);
    Peer { name, address, process: Running::Conclave(Box::new(cluster)) }
}

fn start(name: &'static str, prepare: Prepare, pair: &Pair, upstream: SocketAddr) -> Peer {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("one.pem"), format!("{}{}", pair.bundle(), pair.key)).unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let words = prepare(dir.path(), address, upstream);
    let mut child = Command::new(PINNED[0])
        .args(&PINNED[1..])
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(dir.path().join("log")).unwrap())
        .spawn()
        .unwrap();
    wait_for(name, || {
        let log = || std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
        assert!(child.try_wait().unwrap().is_none(), "{name} has ended: {}", log());
        TcpStream::connect(address).ok()
    });
    Peer { name, address, process: Running::Other(child, dir) }
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn haproxy(dir: &Path, address: SocketAddr, upstream: SocketAddr) -> Vec<String> {
    let pem = dir.join("one.pem");
    let config = format!(
        "global\n nbthread 1\n maxconn 9500\n\
         defaults\n mode tcp\n timeout connect 5s\n timeout client 1h\n timeout server 1h\n\
         frontend f\n bind {address} ssl crt {} ssl-min-ver TLSv1.2\n default_backend b\n\
         backend b\n server s {upstream}\n",
        pem.display()
    );
    words(&["haproxy", "-db", "-f", &write(dir, "haproxy.cfg", &config)])
}

fn nginx(dir: &Path, address: SocketAddr, upstream: SocketAddr) -> Vec<String> {
    let shown = dir.display();
    let config = format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n\
         daemon off; worker_processes 1; pid {shown}/pid; error_log {shown}/error.log;\n\
         events {{ worker_connections 19500; }}\n\
         stream {{ server {{ listen {address} ssl; proxy_pass {upstream}; proxy_timeout 1h;\n\
         ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {shown}/one.pem; ssl_certificate_key {shown}/one.pem; }} }}\n"
    );
    words(&["nginx", "-c", &write(dir, "nginx.conf", &config)])
}

fn hitch(dir: &Path, address: SocketAddr, upstream: SocketAddr) -> Vec<String> {
    let config = format!(
        "frontend = \"[{}]:{}\"\nbackend = \"[{}]:{}\"\npem-file = \"{}/one.pem\"\n\
         tls-protos = TLSv1.2 TLSv1.3\n\
         workers = 1\ndaemon = off\nuser = \"root\"\n",
        address.ip(),
        address.port(),
        upstream.ip(),
        upstream.port(),
        dir.display()
    );
    words(&["hitch", "--config", &write(dir, "hitch.conf", &config)])
}

fn stunnel(dir: &Path, address: SocketAddr, upstream: SocketAddr) -> Vec<String> {
    let config = format!(
        "foreground = yes\npid =\n[s]\naccept = {address}\nconnect = {upstream}\n\
         cert = {}/one.pem\nTIMEOUTidle = 3600\n",
        dir.display()
    );
    words(&["stunnel4", &write(dir, "stunnel.conf", &config)])
}
