//! Places to listen on and to connect to: of this machine only.

use std::{
    fmt,
    io::{self, ErrorKind},
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Component, Path, PathBuf},
};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::wire::Stream;

/// Longest path of a unix socket (unix(7)).
const PATH_BYTES_MAX: usize = 107;

/// Place of a listener or a server on this machine: a loopback address or a unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A loopback address.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

/// Reason why a text is no [`Place`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// Not of the right form.
    #[error("{0:?} is neither ADDRESS:PORT nor unix:PATH with an absolute path")]
    Malformed(String),
    /// An address of another machine, or one that others reach.
    #[error(
        "{0} is not a loopback address: LMTP has neither login nor TLS here; use 127.0.0.1:PORT, \
         [::1]:PORT or unix:PATH"
    )]
    NotLoopback(SocketAddr),
}

impl Place {
    /// Parses `ADDRESS:PORT` or `unix:PATH`.
    pub fn parse(text: &str) -> Result<Place, PlaceError> {
        let malformed = || PlaceError::Malformed(text.chars().take(PATH_BYTES_MAX).collect());
        if let Some(path) = text.strip_prefix("unix:") {
            let is_plain = Path::new(path).is_absolute()
                && Path::new(path).components().all(|part| part != Component::ParentDir)
                && path.len() <= PATH_BYTES_MAX
                && !path.contains(char::is_control);
            return if is_plain { Ok(Place::Unix(path.into())) } else { Err(malformed()) };
        }
        let address: SocketAddr = text.parse().map_err(|_| malformed())?;
        match address.ip().to_canonical().is_loopback() {
            true => Ok(Place::Tcp(address)),
            false => Err(PlaceError::NotLoopback(address)),
        }
    }

    /// Connects to the server there.
    pub(crate) async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Place::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            Place::Unix(path) => Box::new(UnixStream::connect(path).await?),
        })
    }

    /// Opens the listener there. Must be called within a runtime.
    pub(crate) fn listen(&self) -> io::Result<Listener> {
        match self {
            Place::Tcp(address) => {
                let listener = std::net::TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                Ok(Listener::Tcp(TcpListener::from_std(listener)?))
            }
            Place::Unix(path) => listen_at(path).map(Listener::Unix),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp(address) => write!(out, "{address}"),
            Place::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

/// Opens a unix socket in place of one that no process listens on. Every user of the machine may
/// connect, as to a loopback address; the directory it lies in can be stricter.
fn listen_at(path: &Path) -> io::Result<UnixListener> {
    if let Ok(found) = path.symlink_metadata() {
        if !found.file_type().is_socket() {
            return Err(io::Error::new(ErrorKind::AlreadyExists, "it is no socket"));
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(ErrorKind::AddrInUse, "another process listens there"));
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Open listener.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    pub(crate) async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            Listener::Unix(listener) => Box::new(listener.accept().await?.0),
        })
    }

    /// Returns where it listens; a port 0 has become a real one.
    pub(crate) fn place(&self, asked: &Place) -> Place {
        match self {
            Listener::Tcp(listener) => listener.local_addr().map_or(asked.clone(), Place::Tcp),
            Listener::Unix(_) => asked.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_places_of_this_machine_are_taken() {
        let check = |text: &str, is_possible: bool| {
            assert_eq!(Place::parse(text).is_ok(), is_possible, "{text}");
        };
        for text in ["127.0.0.1:24", "127.9.9.9:24", "[::1]:24", "[::ffff:127.0.0.1]:24"] {
            check(text, true);
        }
        for text in ["0.0.0.0:24", "[::]:24", "192.0.2.1:24", "localhost:24", "127.0.0.1", ""] {
            check(text, false);
        }
        check("unix:/run/dovecot/lmtp", true);
        check("unix:run/lmtp", false);
        check("unix:/run/../lmtp", false);
        check(&format!("unix:/{}", "a".repeat(107)), false);
        let why = Place::parse("192.0.2.1:24").unwrap_err().to_string();
        assert!(why.contains("neither login nor TLS"), "{why}");
    }
}
