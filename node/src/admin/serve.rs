//! Sockets of the admin API.

use std::{
    io, net::SocketAddr, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration,
};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::Semaphore,
};

use super::auth::Door;
use crate::{edge::tls, node::Node};

/// Connections to the admin API at once.
const CONNECTIONS_MAX: usize = 512;
/// Longest time for a handshake and for the head of a request.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after the system refuses to accept.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Opens the admin socket: mode 0660, the group `conclave` if there is one. A socket that
/// nobody answers on is a leftover and replaced; one that is answered is not.
pub(crate) fn open_socket(path: &Path) -> io::Result<UnixListener> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    if path.exists() {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another node answers there"));
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    if let Some(group) = group_id("conclave")
        && let Err(error) = std::os::unix::fs::chown(path, None, Some(group))
    {
        tracing::warn!(event = "admin.group", %error, "the socket is not given to the group");
    }
    Ok(listener)
}

/// Number of a group, from the system's file of groups.
fn group_id(name: &str) -> Option<u32> {
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    let mut lines = groups.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| {
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

/// Opens the port of the API over HTTPS.
pub(crate) async fn open_https(bind: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(bind).await
}

/// Answers on the socket until dropped.
pub(crate) async fn serve_socket(listener: UnixListener, router: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let uid = stream.peer_cred().map_or(u32::MAX, |credentials| credentials.uid());
        let router = router.clone().layer(axum::Extension(Door::Socket { uid }));
        tokio::spawn(async move {
            serve_connection(stream, router).await;
            drop(place);
        });
    }
}

/// Answers over HTTPS until dropped; before this node belongs to a cluster it has no
/// certificate to show, and connections are closed.
pub(crate) async fn serve_https(listener: TcpListener, node: Node, router: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok((stream, remote)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let Some(config) = config(&node) else { continue };
        let router = router.clone().layer(axum::Extension(Door::Https));
        tokio::spawn(async move {
            let acceptor = tokio_rustls::TlsAcceptor::from(config);
            match tokio::time::timeout(HEAD_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => serve_connection(stream, router).await,
                Ok(Err(error)) => tracing::debug!(event = "admin.no_handshake", %remote, %error),
                Err(_) => tracing::debug!(event = "admin.handshake_timeout", %remote),
            }
            drop(place);
        });
    }
}

/// TLS with the node's identity; whoever asks knows the authority by its fingerprint.
fn config(node: &Node) -> Option<Arc<rustls::ServerConfig>> {
    let member = node.member()?;
    let chain = [&member.membership.certificate_der, &member.membership.authority_der]
        .map(|der| CertificateDer::from(der.clone()));
    let key = PrivatePkcs8KeyDer::from(node.keys().identity_pkcs8().to_vec());
    let config = rustls::ServerConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .ok()?
        .with_no_client_auth()
        .with_single_cert(chain.to_vec(), PrivateKeyDer::from(key));
    config.ok().map(Arc::new)
}

/// Answers one connection.
pub(crate) async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
) {
    let mut server = auto::Builder::new(TokioExecutor::new()).http1_only();
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let service = TowerToHyperService::new(router);
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(event = "admin.connection_ended", %error);
    }
}
