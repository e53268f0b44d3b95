//! One process of a node after another, without a refused client.

use std::{
    io::{IoSliceMut, Read, Write},
    mem::MaybeUninit,
    net::{SocketAddr, TcpListener, TcpStream},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixDatagram,
    },
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    time::{Duration, Instant},
};

use conclave_dtls::{Connector, Reason, State};
use conclave_tests::{
    Cluster, DEADLINE, DtlsClient, Node, echo_datagrams, probe, probe_stream, wait_for,
};
use rustix::{
    io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd},
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
};
use rustls::{ClientConnection, StreamOwned};

const PATIENCE: Duration = Duration::from_secs(20);
const TAKE_OVERS: usize = 3;
/// Handshakes between two steps: the process that serves now is seen at work.
const BETWEEN: usize = 10;

/// Counts of one loop of clients.
#[derive(Default)]
struct Handshakes {
    done: AtomicUsize,
    is_over: AtomicBool,
}

impl Handshakes {
    /// Runs handshakes until it is told to end. Gives the longest one.
    fn run(&self, handshake: impl Fn() -> Result<(), String>) -> Duration {
        let mut longest = Duration::ZERO;
        while !self.is_over.load(SeqCst) {
            let begin = Instant::now();
            if let Err(error) = handshake() {
                panic!("handshake {}: {error}", self.done.load(SeqCst));
            }
            longest = longest.max(begin.elapsed());
            self.done.fetch_add(1, SeqCst);
        }
        longest
    }

    fn wait_for_more(&self) {
        let before = self.done.load(SeqCst);
        wait_for("handshakes go on", || (self.done.load(SeqCst) >= before + BETWEEN).then_some(()));
    }

    fn end(&self) {
        self.is_over.store(true, SeqCst);
    }
}

/// Ends the loops when the test fails, so that the test does.
struct EndAll<'a>(&'a [Handshakes]);

impl Drop for EndAll<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(Handshakes::end);
    }
}

fn tls(address: SocketAddr) -> Result<(), String> {
    probe(address, "-").map(|_| ()).map_err(|refused| format!("{refused:?}"))
}

fn datagram_client(address: SocketAddr) -> Result<DtlsClient, String> {
    let mut client = DtlsClient::begin(&Connector::new(&[]).unwrap(), address, None, 1500);
    client.handshake(PATIENCE).map(|_| client)
}

fn dtls(address: SocketAddr) -> Result<(), String> {
    datagram_client(address).map(DtlsClient::close)
}

fn listen_for_datagrams(cluster: &Cluster) -> u16 {
    let (port, upstream) = (cluster.free_port(), echo_datagrams());
    let (bind, upstream) = (format!(":{port}"), format!("udp:{upstream}"));
    let words = ["listener", "add", "dtls", "--protocol", "dtls", "--bind", &bind, "--upstream"];
    cluster.nodes[0].run(&[&words[..], &[&upstream]].concat()).ok();
    port
}

/// A connection on which words are echoed.
struct Open(StreamOwned<ClientConnection, TcpStream>);

impl Open {
    fn to(address: SocketAddr) -> Open {
        Open(probe_stream(address, "-", rustls::ALL_VERSIONS).unwrap().1)
    }

    fn exchange(&mut self) {
        let mut echo = [0; 13];
        self.0.write_all(b"are you there").unwrap();
        self.0.read_exact(&mut echo).unwrap();
        assert_eq!(&echo, b"are you there");
    }

    fn close(mut self) {
        self.0.conn.send_close_notify();
        self.0.flush().unwrap();
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"bye", "it ends cleanly");
    }
}

/// Whether the node orders changes again.
fn changes_work(node: &Node, name: &str) {
    wait_for("a change", || (node.run(&["domain", "create", name]).code == 0).then_some(()));
}

#[test]
fn no_handshake_fails_through_three_take_overs_and_open_connections_finish() {
    let mut cluster = Cluster::start(3);
    let (port, datagrams) = (cluster.listen(), listen_for_datagrams(&cluster));
    let [one, ..] = &mut cluster.nodes[..] else { unreachable!() };
    let (address, udp) = (one.listener(port), one.listener(datagrams));
    let loops = [Handshakes::default(), Handshakes::default()];
    let mut open = Open::to(address);
    open.exchange();
    let mut session = datagram_client(udp).unwrap();
    assert!(session.is_echoed(b"are you there", PATIENCE));
    std::thread::scope(|scope| {
        let _ends = EndAll(&loops);
        let of_tls = scope.spawn(|| loops[0].run(|| tls(address)));
        let of_dtls = scope.spawn(|| loops[1].run(|| dtls(udp)));
        loops.iter().for_each(Handshakes::wait_for_more);
        let first = one.process_id();
        let mut earlier = one.take_over();
        assert_ne!(one.process_id(), first);
        assert_eq!(session.hears(PATIENCE), None, "the session ends with close_notify");
        assert_eq!(session.state(), &State::Closed(Reason::Peer));
        for _ in 0..BETWEEN {
            open.exchange();
            assert!(earlier.is_running(), "it finishes its connection");
        }
        open.close();
        earlier.wait_ended();
        changes_work(one, "first.example");
        loops.iter().for_each(Handshakes::wait_for_more);
        for round in 1..TAKE_OVERS {
            one.take_over().wait_ended();
            changes_work(one, &format!("round-{round}.example"));
            loops.iter().for_each(Handshakes::wait_for_more);
        }
        loops.iter().for_each(Handshakes::end);
        let (of_tls, of_dtls) = (of_tls.join().unwrap(), of_dtls.join().unwrap());
        let done = loops.each_ref().map(|one| one.done.load(SeqCst));
        println!("{done:?} handshakes of TLS and DTLS, the longest {of_tls:?} and {of_dtls:?}");
    });
    one.stop();
}

#[test]
fn a_take_over_that_fails_leaves_the_old_process_serving() {
    let mut cluster = Cluster::start(1);
    let port = cluster.listen();
    let one = &mut cluster.nodes[0];
    let address = one.listener(port);
    let config = std::fs::read_to_string(one.dir.join("node.toml")).unwrap();
    let other = |change: (&str, &str)| {
        assert!(config.contains(change.0), "{config}");
        one.file("other.toml", config.replace(change.0, change.1).as_bytes())
    };
    let process = one.process_id();
    let loops = [Handshakes::default()];
    std::thread::scope(|scope| {
        let _ends = EndAll(&loops);
        let of_tls = scope.spawn(|| loops[0].run(|| tls(address)));
        // A file with a mistake is refused before the running node hears of it.
        let failed = one.fail_to_take_over(&other(("[public]", "[publik]")));
        assert_eq!(failed.code, 2, "{}", failed.err);
        // Another node is not this one.
        let elsewhere = one.dir.join("elsewhere");
        std::fs::create_dir(&elsewhere).unwrap();
        let (data, elsewhere) = (one.dir.join("data"), elsewhere.display().to_string());
        let failed = one.fail_to_take_over(&other((data.to_str().unwrap(), &elsewhere)));
        assert!(failed.code == 2 && failed.err.contains("another data_dir"), "{}", failed.err);
        one.run(&["domain", "create", "before.example"]).ok();
        assert!(!one.log().contains("take_over.leaving"), "{}", one.log());
        // This one fails after the running node has stopped its member.
        let taken = TcpListener::bind((one.address, 0)).unwrap();
        let (bind, used) = (format!("[public]\nbind = \"{}:0\"", one.address), taken.local_addr());
        let used = format!("[public]\nbind = \"{}\"", used.unwrap());
        let failed = one.fail_to_take_over(&other((&bind, &used)));
        assert!(failed.code != 0 && failed.err.contains("N001"), "{}", failed.err);
        changes_work(one, "after.example");
        assert!(one.log().contains("take_over.failed"), "{}", one.log());
        loops[0].wait_for_more();
        loops[0].end();
        of_tls.join().unwrap();
    });
    assert_eq!(one.process_id(), process);
    one.run(&["domain", "show", "before.example"]).ok();
    // And then it works. A signal ends the earlier process, whatever is open.
    let mut open = Open::to(address);
    let earlier = one.take_over();
    open.exchange();
    earlier.stop();
    changes_work(one, "taken.example");
    one.stop();
}

#[test]
fn without_a_running_node_a_take_over_is_an_ordinary_start() {
    let mut cluster = Cluster::start(1);
    let one = &mut cluster.nodes[0];
    one.stop();
    one.start_under(&["sh", "-c", "exec \"$@\" --take-over", "sh"]);
    assert!(one.said().contains("ordinary start"), "{}", one.said());
    one.run(&["domain", "create", "a.example"]).ok();
}

/// A service manager that stores sockets.
struct Manager {
    socket: UnixDatagram,
    stored: Vec<(String, OwnedFd)>,
}

impl Manager {
    /// Hears the next message, and stores the descriptors with it.
    fn hear(&mut self) -> String {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut buffer = [0; 4096];
        let slices = &mut [IoSliceMut::new(&mut buffer)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = recvmsg(&self.socket, slices, &mut control, flags).unwrap();
        let message = String::from_utf8_lossy(&buffer[..received.bytes]).into_owned();
        let name = message.lines().find_map(|line| line.strip_prefix("FDNAME="));
        for descriptors in control.drain() {
            let RecvAncillaryMessage::ScmRights(descriptors) = descriptors else { continue };
            let name = name.unwrap();
            // High numbers, so that a shell can move them to the low ones.
            let high = |descriptor: OwnedFd| fcntl_dupfd_cloexec(&descriptor, 200).unwrap();
            self.stored.extend(descriptors.map(|one| (name.to_owned(), high(one))));
        }
        if message.starts_with("FDSTOREREMOVE=1") {
            let gone = name.unwrap();
            self.stored.retain(|(name, _)| name != gone);
        }
        message
    }

    fn hear_until(&mut self, is_it: impl Fn(&str) -> bool) {
        let begin = Instant::now();
        while !is_it(&self.hear()) {
            assert!(begin.elapsed() < DEADLINE);
        }
    }

    /// What starts a program with the stored sockets as sd_listen_fds(3) says.
    fn wrapper(&self) -> [String; 4] {
        let passed = self.stored.iter().enumerate();
        let from = |(at, (_, fd)): (usize, &(String, OwnedFd))| (at + 3, fd.as_raw_fd());
        let moves = passed.map(from).map(|(to, from)| format!("exec {to}<&{from} {from}<&-; "));
        let count = self.stored.len();
        let text =
            format!("{}LISTEN_PID=$$ LISTEN_FDS={count} exec \"$@\"", moves.collect::<String>());
        ["bash".to_owned(), "-c".to_owned(), text, "bash".to_owned()]
    }
}

#[test]
fn a_restart_with_the_stored_sockets_refuses_no_connection() {
    let mut cluster = Cluster::start(1);
    let one = &mut cluster.nodes[0];
    one.stop();
    let path = one.dir.join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let notify = format!("NOTIFY_SOCKET={}", path.display());
    let mut manager = Manager { socket, stored: Vec::new() };
    one.start_under(&["env", &notify]);
    let port = cluster.listen();
    let one = &mut cluster.nodes[0];
    let address = one.listener(port);
    let name = format!("tcp-{}-{port}", address.ip());
    manager.hear_until(|message| message == format!("FDSTORE=1\nFDNAME={name}\n"));
    let loops = [Handshakes::default()];
    std::thread::scope(|scope| {
        let _ends = EndAll(&loops);
        let of_tls = scope.spawn(|| loops[0].run(|| tls(address)));
        loops[0].wait_for_more();
        one.stop();
        manager.hear_until(|message| message == "STOPPING=1\n");
        assert!(!manager.stored.is_empty(), "a stop removes nothing");
        manager.stored.iter().for_each(|(_, fd)| fcntl_setfd(fd, FdFlags::empty()).unwrap());
        let wrapper = manager.wrapper();
        let words: Vec<&str> = wrapper.iter().map(String::as_str).collect();
        one.start_under(&[&["env", &notify], &words[..]].concat());
        manager.stored.iter().for_each(|(_, fd)| fcntl_setfd(fd, FdFlags::CLOEXEC).unwrap());
        loops[0].wait_for_more();
        loops[0].end();
        println!("the longest handshake: {:?}", of_tls.join().unwrap());
    });
    manager.hear_until(|message| message == "READY=1\n");
    one.run(&["listener", "remove", "tls", "--yes"]).ok();
    manager.hear_until(|message| message.starts_with("FDSTOREREMOVE=1"));
    assert!(manager.stored.is_empty());
    let listeners = one.run(&["listener", "list", "-o", "name"]).ok();
    assert_eq!(listeners.trim(), "", "nobody accepts any more");
    // A process that takes over says that it is the main one.
    let earlier = one.take_over_under(&["env", &notify]);
    let main = format!("MAINPID={}\n", one.process_id());
    manager.hear_until(|message| {
        assert_ne!(message, "STOPPING=1\n", "the unit goes on");
        message == main
    });
    manager.hear_until(|message| message == "READY=1\n");
    earlier.wait_ended();
}
