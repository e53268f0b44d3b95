//! Sockets of the admin API: the unix socket and HTTPS.

use std::{
    io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::Path,
    sync::Arc,
};

use axum::Router;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream, UnixListener};

use super::auth::Door;
use crate::{
    http::{self, HEAD_TIMEOUT},
    node::Node,
};

/// Opens the admin socket with mode 0660 and, if it exists, the group `conclave`. Replaces a socket
/// file on which no process answers: a crash left it. Fails if a process answers.
pub(crate) fn open_socket(path: &Path) -> io::Result<UnixListener> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    if let Ok(found) = path.symlink_metadata() {
        if !found.file_type().is_socket() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is no socket"));
        }
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

/// Looks up the id of a group in `/etc/group`.
fn group_id(name: &str) -> Option<u32> {
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    let mut lines = groups.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| {
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

/// Opens the HTTPS port of the API.
pub(crate) async fn open_https(bind: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(bind).await
}

/// Serves the API on the unix socket until dropped.
pub(crate) async fn serve_socket(listener: UnixListener, router: Router) {
    http::serve(listener, |stream, _| {
        let uid = stream.peer_cred().map_or(u32::MAX, |credentials| credentials.uid());
        http::connection(stream, router.clone().layer(axum::Extension(Door::Socket { uid })))
    })
    .await;
}

/// Serves the API over HTTPS until dropped. Closes connections while the node belongs to no
/// cluster, because it has no certificate yet.
pub(crate) async fn serve_https(listener: TcpListener, node: Node, router: Router) {
    http::serve(listener, |stream: TcpStream, remote| {
        let router = router.clone().layer(axum::Extension(Door::Https { remote }));
        let config = config(&node);
        async move {
            let Some(config) = config else { return };
            let acceptor = tokio_rustls::TlsAcceptor::from(config);
            match tokio::time::timeout(HEAD_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => http::connection(stream, router).await,
                Ok(Err(error)) => {
                    tracing::debug!(event = "admin.no_handshake", %remote, %error)
                }
                Err(_) => tracing::debug!(event = "admin.handshake_timeout", %remote),
            }
        }
    })
    .await;
}

/// Returns the TLS settings. A node that was sealed at its start could certify no key for its API.
/// It shows the certificate for other nodes, which is for no address: clients stop there, and say
/// so.
fn config(node: &Node) -> Option<Arc<rustls::ServerConfig>> {
    let member = node.member()?;
    if let Some(config) = node.admin_tls() {
        return Some(config);
    }
    let chain = [&member.membership.certificate_der, &member.membership.authority_der]
        .map(|der| CertificateDer::from(der.clone()));
    let key = PrivatePkcs8KeyDer::from(node.keys().identity_pkcs8().to_vec());
    let config = rustls::ServerConfig::builder_with_provider(conclave_tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .ok()?
        .with_no_client_auth()
        .with_single_cert(chain.to_vec(), PrivateKeyDer::from(key));
    config.ok().map(Arc::new)
}
