//! Full TLS 1.3 handshakes (P-256) with the connection to an upstream and one byte there and
//! back. The server has core 0 to itself, client and upstream have core 1.

use std::{net::SocketAddr, process::Command, sync::Arc, time::Duration};

use conclave_tests::{Cluster, Pair, client_config, has_program};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsConnector;

use crate::{haproxy::Haproxy, measure::many};

const IN_FLIGHT: usize = 32;

pub(crate) fn run(time: Duration) {
    if !has_program("taskset") {
        return;
    }
    let own = std::process::id().to_string();
    let pinned = Command::new("taskset").args(["-a", "-p", "-c", "1", &own]).output().unwrap();
    assert!(pinned.status.success(), "two cores are needed");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let upstream = runtime.block_on(echo());
    let mut cluster = Cluster::start(1);
    cluster.nodes[0].kill();
    cluster.nodes[0].start_under(&["taskset", "-c", "0"]);
    let (port, one) = (cluster.free_port(), &cluster.nodes[0]);
    one.run(&["domain", "create", "shop.example", "--pki", "enabled"]).ok();
    let pair = Pair::make("shop.example");
    let certificate = one.file("c.pem", pair.bundle().as_bytes());
    let key = one.file("k.pem", pair.key.as_bytes());
    one.run(&["cert", "import", "shop.example", &certificate, "--key", &key]).ok();
    let (bind, behind) = (format!(":{port}"), upstream.to_string());
    one.run(&["listener", "add", "tls", "--bind", &bind, "--upstream", &behind]).ok();
    let mut haproxy = Haproxy::with_upstream(&pair, upstream);
    if let Some(haproxy) = &mut haproxy {
        haproxy.start(&["taskset", "-c", "0"]);
    }
    // Twice, by turns: the second round shows how much the machine drifts.
    for _ in 0..2 {
        measure(&runtime, "conclave", one.listener(port), time);
        if let Some(haproxy) = &haproxy {
            measure(&runtime, "haproxy ", haproxy.address, time);
        }
    }
}

fn measure(runtime: &tokio::runtime::Runtime, who: &str, address: SocketAddr, time: Duration) {
    let mut config = client_config(&[&rustls::version::TLS13]).unwrap();
    config.resumption = rustls::client::Resumption::disabled();
    let connector = TlsConnector::from(Arc::new(config));
    for in_flight in [1, IN_FLIGHT] {
        let connector = connector.clone();
        let figures = runtime.block_on(many(in_flight, time, move |_| {
            let connector = connector.clone();
            async move {
                let tcp = TcpStream::connect(address).await.unwrap();
                tcp.set_nodelay(true).unwrap();
                let name = ServerName::try_from("shop.example").unwrap();
                let mut tls = connector.connect(name, tcp).await.unwrap();
                tls.write_all(b"x").await.unwrap();
                assert_eq!(tls.read_u8().await.unwrap(), b'x');
            }
        }));
        println!("handshake {who}   {in_flight:>3} in flight {figures}");
    }
}

async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 1024];
                while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..length]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}
