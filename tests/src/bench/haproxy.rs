//! Debian's HAProxy with the same certificates and the same upstream.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
};

use conclave_tests::{Pair, has_program, resident_mib};
use tempfile::TempDir;

use crate::etcd::free_port;

pub(crate) struct Haproxy {
    pub(crate) address: SocketAddr,
    dir: TempDir,
    process: Option<Child>,
}

impl Haproxy {
    /// A file for each of `count` names.
    pub(crate) fn with_certificates(count: usize) -> Option<Haproxy> {
        let haproxy = Haproxy::new("127.0.0.1:9")?;
        for number in 0..count {
            let pair = Pair::make(&format!("d{number}.example"));
            let path = haproxy.dir.path().join(format!("certs/d{number}.pem"));
            std::fs::write(path, pem(&pair)).unwrap();
        }
        Some(haproxy)
    }

    fn new(upstream: &str) -> Option<Haproxy> {
        if !has_program("haproxy") {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        std::fs::create_dir(dir.path().join("certs")).unwrap();
        let certificates = dir.path().join("certs");
        let config = format!(
            "global\n nbthread 1\n maxconn 4000\n tune.ssl.cachesize 0\n\
             defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
             frontend f\n bind {address} ssl crt {} ssl-min-ver TLSv1.2 no-tls-tickets\n default_backend b\n\
             backend b\n server s {upstream}\n",
            certificates.display()
        );
        std::fs::write(dir.path().join("haproxy.cfg"), config).unwrap();
        Some(Haproxy { address, dir, process: None })
    }

    pub(crate) fn start(&mut self, wrapper: &[&str]) {
        let mut words: Vec<&str> = wrapper.to_vec();
        words.extend(["haproxy", "-db", "-f"]);
        let child = Command::new(words[0])
            .args(&words[1..])
            .arg(self.dir.path().join("haproxy.cfg"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.process = Some(child.unwrap());
    }

    pub(crate) fn resident_mib(&self) -> u64 {
        resident_mib(self.process.as_ref().unwrap().id())
    }
}

fn pem(pair: &Pair) -> String {
    format!("{}{}", pair.bundle(), pair.key)
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        if let Some(mut child) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
