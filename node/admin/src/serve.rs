//! Sockets of the admin API: the unix socket and HTTPS.

use std::{
    fs::{DirBuilder, Permissions},
    io,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt},
    path::Path,
    sync::Arc,
};

use axum::Router;
use conclave_cluster::node::Node;
use conclave_page::Connection;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream, UnixListener};

use super::auth::{Door, PeerChain};
use crate::http::{self, Places, limits::ADMIN_CONNECTIONS_MAX};

/// Group whose members may use the admin socket.
const GROUP: &str = "conclave";

/// Opens the admin socket for its owner and, if it exists, the group `conclave`. Replaces a socket
/// file on which no process answers: a crash left it. Fails if a process answers.
pub fn open_socket(path: &Path) -> io::Result<UnixListener> {
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
    // Made in a directory that nobody else can enter, and moved when its rights are set: a
    // connection that waits since before is not closed by a change of rights.
    let private = path.with_extension(std::process::id().to_string());
    DirBuilder::new().mode(0o700).create(&private)?;
    let made = private.join("s");
    let opened = UnixListener::bind(&made).and_then(|listener| {
        protect(&made)?;
        std::fs::rename(&made, path)?;
        Ok(listener)
    });
    if opened.is_err() {
        // It may not have been made.
        let _ = std::fs::remove_file(&made);
    }
    std::fs::remove_dir(&private)?;
    opened
}

/// Sets the rights of the admin socket. Members of another group than `conclave` never have any: who
/// opens the socket may do everything.
fn protect(path: &Path) -> io::Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    let Some(group) = group_id(GROUP) else { return Ok(()) };
    match std::os::unix::fs::chown(path, None, Some(group)) {
        Ok(()) => std::fs::set_permissions(path, Permissions::from_mode(0o660)),
        Err(error) => {
            tracing::warn!(event = "admin.group", %error, "the socket is not given to the group");
            Ok(())
        }
    }
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
pub async fn open_https(bind: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(bind).await
}

/// Serves the API on the unix socket until dropped.
pub async fn serve_socket(listener: UnixListener, router: Router) {
    http::serve_socket(listener, |stream| {
        let uid = stream.peer_cred().map_or(u32::MAX, |credentials| credentials.uid());
        http::connection(stream, router.clone(), http::known(Door::Socket { uid }))
    })
    .await;
}

/// Serves the API and the web page over HTTPS until dropped. Closes connections while the node belongs to no
/// cluster, because it has no certificate yet.
pub async fn serve_https(listener: TcpListener, node: Node, router: Router) {
    let places = Places::new(ADMIN_CONNECTIONS_MAX);
    let router = conclave_page::router(router.clone()).merge(router);
    http::serve_guests(listener, places, |stream: TcpStream, remote, guest| {
        let mut known = http::known(Door::Https { remote });
        known.insert(guest);
        let (router, config) = (router.clone(), config(&node));
        async move {
            let Some(config) = config else { return };
            let acceptor = tokio_rustls::TlsAcceptor::from(config);
            match acceptor.accept(stream).await {
                Ok(stream) => {
                    let shown = stream.get_ref().1.peer_certificates();
                    let has_certificate = shown.is_some();
                    if let Some(chain) = shown {
                        known.insert(PeerChain(chain.into()));
                    }
                    // The page asks the API as the visitor that it has.
                    let connection = Connection { known: known.clone(), has_certificate };
                    known.insert(connection);
                    http::connection(stream, router, known).await;
                }
                Err(error) => tracing::debug!(event = "admin.no_handshake", %remote, %error),
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
    if let Some(admin) = node.admin_tls() {
        // Browsers ask a person which certificate to show, so they are asked only where a
        // certificate is a login.
        let point = member.replica.point();
        let is_login = point.state.users().any(|(_, user)| !user.certificates.is_empty());
        return Some(if is_login { admin.asking } else { admin.plain });
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[tokio::test]
    async fn the_admin_socket_is_for_its_owner_and_the_group_conclave_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/admin.sock");
        for _ in 0..2 {
            // The second time it replaces what a crash has left.
            drop(open_socket(&path).unwrap());
            let made = path.symlink_metadata().unwrap();
            let mode = made.permissions().mode() & 0o777;
            match group_id(GROUP).filter(|group| *group == made.gid()) {
                Some(_) => assert_eq!(mode, 0o660),
                None => assert_eq!(mode, 0o600),
            }
            let names: Vec<_> = std::fs::read_dir(dir.path().join("run")).unwrap().collect();
            assert_eq!(names.len(), 1, "{names:?}");
        }
        let _listening = open_socket(&path).unwrap();
        assert_eq!(open_socket(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(open_socket(&file).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }
}
