//! Debian's etcd, three members on loopback.

use std::{
    net::{Ipv4Addr, TcpListener},
    process::{Child, Command, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use conclave_tests::{has_program, wait_for};
use tempfile::TempDir;

pub(crate) struct Etcd {
    members: Vec<Member>,
    runtime: tokio::runtime::Runtime,
    _dir: TempDir,
}

struct Member {
    words: Vec<String>,
    url: String,
    process: Child,
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
            let (peer, url) =
                (format!("http://127.0.0.1:{peer}"), format!("http://127.0.0.1:{client}"));
            let place = dir.path().join(format!("m{at}")).display().to_string();
            let words = ["--name", &format!("m{at}"), "--data-dir", &place]
                .into_iter()
                .chain(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
                .chain(["--listen-client-urls", &url, "--advertise-client-urls", &url])
                .chain(["--initial-cluster", &peers, "--log-level", "error"])
                .map(str::to_owned)
                .collect::<Vec<_>>();
            Member { process: spawn(&words), words, url }
        });
        let members: Vec<Member> = members.collect();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let etcd = Etcd { members, runtime, _dir: dir };
        etcd.leader();
        Some(etcd)
    }

    /// Place of the leader, once all members answer and one leads.
    pub(crate) fn leader(&self) -> usize {
        wait_for("etcd has a leader", || {
            let asked = self.members.iter().map(|member| self.runtime.block_on(leads(&member.url)));
            let leads: Option<Vec<bool>> = asked.collect();
            leads?.into_iter().position(|leads| leads)
        })
    }

    pub(crate) fn putter(&self, place: usize) -> Putter {
        Putter { client: client(), url: format!("{}/v3/kv/put", self.members[place].url) }
    }

    pub(crate) fn kill(&mut self, place: usize) {
        let _ = self.members[place].process.kill();
        let _ = self.members[place].process.wait();
    }

    pub(crate) fn restart(&mut self, place: usize) {
        let member = &mut self.members[place];
        member.process = spawn(&member.words);
    }
}

fn spawn(words: &[String]) -> Child {
    Command::new("etcd")
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

impl Putter {
    pub(crate) async fn put(&self, key: &str, value: &[u8]) {
        assert!(self.try_put(key, value).await);
    }

    /// False if it was refused, or nobody answered.
    pub(crate) async fn try_put(&self, key: &str, value: &[u8]) -> bool {
        let body =
            serde_json::json!({ "key": STANDARD.encode(key), "value": STANDARD.encode(value) });
        let Ok(answer) = self.client.post(&self.url).json(&body).send().await else { return false };
        answer.status().is_success() && answer.bytes().await.is_ok()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for place in 0..self.members.len() {
            self.kill(place);
        }
    }
}

/// The client takes part in no TLS; it needs a provider all the same.
fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// Whether the member leads; none: it does not answer.
async fn leads(url: &str) -> Option<bool> {
    let status = client().post(format!("{url}/v3/maintenance/status")).body("{}").send();
    let status: serde_json::Value = status.await.ok()?.json().await.ok()?;
    Some(status["leader"].is_string() && status["leader"] == status["header"]["member_id"])
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
