//! Connections from a listener to its upstreams: round robin, failed upstreams last.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{self, AddressFamily, SocketFlags, SocketType, sockopt},
};
use tokio::{
    net::{TcpStream, UdpSocket, UnixStream},
    time::{Instant, timeout},
};

use super::{
    Upstream, UpstreamError,
    limits::{ADDRESSES_VALID, UPSTREAM_PAUSE, UPSTREAM_TIMEOUT},
    stream::Stream,
    upstream::{Allowed, Place},
};

/// Upstreams of a listener or of a domain.
#[derive(Default)]
pub(crate) struct Upstreams {
    all: Vec<Member>,
    next: AtomicUsize,
}

struct Member {
    upstream: Upstream,
    /// Until then this upstream is tried after the others.
    paused: Mutex<Option<Instant>>,
    /// Addresses from the last lookup of its name, with their expiry.
    addresses: Mutex<Option<(Vec<SocketAddr>, Instant)>>,
}

/// Whether the first bytes for the upstream are ready before the connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum First {
    /// They are ready, and travel with the last packet of the TCP handshake.
    Ready,
    /// It is unknown when there will be any.
    Unknown,
}

impl Upstreams {
    /// Parses the upstreams in `texts`.
    pub(crate) fn parse(texts: &[String], allowed: &Allowed) -> Result<Upstreams, UpstreamError> {
        let member = |text: &String| {
            let upstream = Upstream::parse(text, allowed)?;
            Ok(Member { upstream, paused: Mutex::default(), addresses: Mutex::default() })
        };
        let all = texts.iter().map(member).collect::<Result<_, _>>()?;
        Ok(Upstreams { all, next: AtomicUsize::new(0) })
    }

    /// Returns whether there are no upstreams.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Connects to the next upstream that answers. An upstream that fails is tried last for a
    /// while. It is never given up: it may be the only one left.
    pub(crate) async fn connect(&self, allowed: &Allowed, first: First) -> io::Result<Stream> {
        let now = Instant::now();
        let mut last = none_there();
        for (tried, (_, member)) in self.in_turn(now).enumerate() {
            let left = UPSTREAM_TIMEOUT.saturating_sub(now.elapsed());
            let share = u32::try_from(self.all.len() - tried).unwrap_or(1).max(1);
            match timeout(left / share, member.connect(allowed, first)).await {
                Ok(Ok(stream)) => {
                    member.pause(None);
                    return Ok(stream);
                }
                Ok(Err(error)) => last = member.named(&error),
                Err(_) => {
                    let error = io::Error::new(io::ErrorKind::TimedOut, "it does not answer");
                    last = member.named(&error);
                }
            }
            member.pause(Some(UPSTREAM_PAUSE));
        }
        Err(last)
    }

    /// Opens a connected UDP socket to the next upstream, and returns its number too. Only later
    /// datagrams show whether the upstream answers; the caller then calls [`Self::answered`] or
    /// [`Self::refused`].
    pub(crate) async fn connect_datagrams(
        &self,
        allowed: &Allowed,
    ) -> io::Result<(UdpSocket, usize)> {
        let mut last = none_there();
        for (number, member) in self.in_turn(Instant::now()) {
            match timeout(UPSTREAM_TIMEOUT, member.connect_datagrams(allowed)).await {
                Ok(Ok(socket)) => return Ok((socket, number)),
                Ok(Err(error)) => last = member.named(&error),
                Err(_) => last = member.named(&io::ErrorKind::TimedOut.into()),
            }
            member.pause(Some(UPSTREAM_PAUSE));
        }
        Err(last)
    }

    /// Pauses an upstream after it refused datagrams: for a while others are tried first.
    pub(crate) fn refused(&self, number: usize) {
        if let Some(member) = self.all.get(number) {
            member.pause(Some(UPSTREAM_PAUSE));
        }
    }

    /// Ends the pause of an upstream that has answered.
    pub(crate) fn answered(&self, number: usize) {
        if let Some(member) = self.all.get(number) {
            member.pause(None);
        }
    }

    /// Iterates over the upstreams, each time from another start, and puts paused ones last.
    fn in_turn(&self, now: Instant) -> impl Iterator<Item = (usize, &Member)> {
        let start = self.next.fetch_add(1, Ordering::Relaxed) % self.all.len().max(1);
        let all = move || self.all.iter().enumerate().cycle().skip(start).take(self.all.len());
        let up = all().filter(move |(_, member)| !member.is_paused(now));
        up.chain(all().filter(move |(_, member)| member.is_paused(now)))
    }
}

fn none_there() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "there is no upstream")
}

impl Member {
    fn is_paused(&self, now: Instant) -> bool {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|till| now < till)
    }

    fn pause(&self, time: Option<Duration>) {
        let mut paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        if time.is_some() && paused.is_none() {
            tracing::warn!(event = "upstream.down", upstream = self.upstream.as_str());
        } else if time.is_none() && paused.is_some() {
            tracing::info!(event = "upstream.up", upstream = self.upstream.as_str());
        }
        *paused = time.map(|time| Instant::now() + time);
    }

    fn named(&self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("upstream {}: {error}", self.upstream.as_str()))
    }

    async fn connect(&self, allowed: &Allowed, first: First) -> io::Result<Stream> {
        match &self.upstream.place {
            Place::Address(address) => connect_tcp(*address, allowed, first).await,
            Place::Unix(path) => connect_unix(path, allowed).await,
            Place::Name => {
                let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                for address in self.look_up().await? {
                    match connect_tcp(address, allowed, first).await {
                        Ok(stream) => return Ok(stream),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }

    async fn connect_datagrams(&self, allowed: &Allowed) -> io::Result<UdpSocket> {
        let addresses = match &self.upstream.place {
            Place::Address(address) => vec![*address],
            Place::Unix(_) => return Err(io::ErrorKind::Unsupported.into()),
            Place::Name => self.look_up().await?,
        };
        let address = addresses.first().copied().ok_or_else(none_there)?;
        allowed.check_address(address).map_err(refused)?;
        let any: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(address).await?;
        Ok(socket)
    }

    /// Looks up the addresses of the upstream's name. While one caller refreshes expired addresses,
    /// the others use them. They also remain in use if the lookup fails.
    async fn look_up(&self) -> io::Result<Vec<SocketAddr>> {
        let now = Instant::now();
        let known = {
            let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut *addresses {
                Some((known, valid)) if now < *valid => return Ok(known.clone()),
                Some((known, valid)) => {
                    *valid = now + ADDRESSES_VALID;
                    Some(known.clone())
                }
                None => None,
            }
        };
        match (tokio::net::lookup_host(self.upstream.as_str()).await, known) {
            (Ok(found), _) => {
                let found: Vec<SocketAddr> = found.collect();
                let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
                *addresses = Some((found.clone(), now + ADDRESSES_VALID));
                Ok(found)
            }
            (Err(_), Some(known)) => Ok(known),
            (Err(error), None) => Err(error),
        }
    }
}

async fn connect_tcp(address: SocketAddr, allowed: &Allowed, first: First) -> io::Result<Stream> {
    allowed.check_address(address).map_err(refused)?;
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    if first == First::Ready {
        // Delay the last ACK of the connect, so that it travels with the first bytes: one packet
        // less.
        sockopt::set_tcp_quickack(&socket, false)?;
    }
    match net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let stream = TcpStream::from_std(socket.into())?;
    stream.writable().await?;
    match stream.take_error()? {
        Some(error) => Err(error),
        None => Ok(Stream::Tcp(stream)),
    }
}

async fn connect_unix(path: &Path, allowed: &Allowed) -> io::Result<Stream> {
    let real = std::fs::canonicalize(path)?;
    allowed.check_path(&real).map_err(refused)?;
    Ok(Stream::Unix(UnixStream::connect(real).await?))
}

fn refused(error: UpstreamError) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, error)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    async fn listener(word: &'static [u8]) -> (SocketAddr, tokio::task::JoinHandle<()>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::io::AsyncWriteExt::write_all(&mut stream, word).await.unwrap();
            }
        });
        (address, task)
    }

    async fn ask(upstreams: &Upstreams) -> io::Result<u8> {
        match upstreams.connect(&Allowed::default(), First::Unknown).await? {
            Stream::Tcp(mut stream) => stream.read_u8().await,
            Stream::Unix(_) => unreachable!(),
        }
    }

    #[tokio::test]
    async fn upstreams_are_asked_in_turn_and_those_that_are_down_last() {
        let (one, first) = listener(b"1").await;
        let (two, _second) = listener(b"2").await;
        let texts = [one.to_string(), two.to_string()];
        let upstreams = Upstreams::parse(&texts, &Allowed::default()).unwrap();
        let mut said = Vec::new();
        for _ in 0..4 {
            said.push(ask(&upstreams).await.unwrap());
        }
        assert_eq!(said, b"1212");
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        for _ in 0..4 {
            assert_eq!(ask(&upstreams).await.unwrap(), b'2');
        }
        let alone = Upstreams::parse(&texts[..1], &Allowed::default()).unwrap();
        for _ in 0..2 {
            let error = ask(&alone).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
        }
        // The upstream is paused, but it is the only one: it is used as soon as it answers.
        let listener = std::net::TcpListener::bind(one).unwrap();
        let answering = std::thread::spawn(move || {
            io::Write::write_all(&mut listener.accept().unwrap().0, b"3").unwrap();
        });
        assert_eq!(ask(&alone).await.unwrap(), b'3');
        answering.join().unwrap();
    }

    #[tokio::test]
    async fn a_name_is_looked_up_and_checked_each_time() {
        let (address, _task) = listener(b"1").await;
        let texts = [format!("localhost:{}", address.port())];
        let upstreams = Upstreams::parse(&texts, &Allowed::default()).unwrap();
        assert_eq!(ask(&upstreams).await.unwrap(), b'1');
        let forbidden = [format!("[::1]:{}", address.port()), address.to_string()];
        let forbidden = forbidden.iter().map(|text| text.parse().unwrap()).collect();
        let allowed = Allowed { forbidden, ..Allowed::default() };
        let error = upstreams.connect(&allowed, First::Unknown).await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }
}
