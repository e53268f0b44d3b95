//! Debian's etcd, three members on loopback.

use std::{
    net::{Ipv4Addr, TcpListener},
    process::{Child, Command, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use conclave_tests::{has_program, wait_for};
use tempfile::TempDir;

pub(crate) struct Etcd {
    members: Vec<Child>,
    leader: String,
    _dir: TempDir,
}

/// Puts keys, by the leader's HTTP gateway.
#[derive(Clone)]
pub(crate) struct Putter {
    client: reqwest::Client,
    url: String,
}

impl Etcd {
    pub(crate) fn start() -> Option<Etcd> {
        if !has_program("etcd") {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let ports: Vec<(u16, u16)> = (0..3).map(|_| (free_port(), free_port())).collect();
        let peers = ports
            .iter()
            .enumerate()
            .map(|(at, (peer, _))| format!("m{at}=http://127.0.0.1:{peer}"));
        let peers = peers.collect::<Vec<_>>().join(",");
        let members = ports.iter().enumerate().map(|(at, (peer, client))| {
            let (peer, client) =
                (format!("http://127.0.0.1:{peer}"), format!("http://127.0.0.1:{client}"));
            Command::new("etcd")
                .args(["--name", &format!("m{at}"), "--data-dir"])
                .arg(dir.path().join(format!("m{at}")))
                .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
                .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
                .args(["--initial-cluster", &peers, "--log-level", "error"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        });
        let members: Vec<Child> = members.collect();
        let urls = ports.iter().map(|(_, client)| format!("http://127.0.0.1:{client}"));
        let urls: Vec<String> = urls.collect();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let leader = wait_for("etcd has a leader", || {
            urls.iter().find(|url| runtime.block_on(leads(url))).cloned()
        });
        Some(Etcd { members, leader, _dir: dir })
    }

    pub(crate) fn putter(&self) -> Putter {
        Putter { client: client(), url: format!("{}/v3/kv/put", self.leader) }
    }
}

impl Putter {
    pub(crate) async fn put(&self, key: &str, value: &[u8]) {
        let body =
            serde_json::json!({ "key": STANDARD.encode(key), "value": STANDARD.encode(value) });
        let answer = self.client.post(&self.url).json(&body).send().await.unwrap();
        assert!(answer.status().is_success());
        answer.bytes().await.unwrap();
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in &mut self.members {
            let _ = member.kill();
            let _ = member.wait();
        }
    }
}

/// The client takes part in no TLS; it needs a provider all the same.
fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn leads(url: &str) -> bool {
    let status = client().post(format!("{url}/v3/maintenance/status")).body("{}").send().await;
    let Ok(answer) = status else { return false };
    let Ok(status) = answer.json::<serde_json::Value>().await else { return false };
    status["leader"].is_string() && status["leader"] == status["header"]["member_id"]
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
