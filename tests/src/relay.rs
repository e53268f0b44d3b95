//! A path of datagrams that loses, doubles, reorders and swallows.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use conclave_dtls::is_client_hello;

/// A datagram that is overtaken waits for the next one at most so long.
const HELD_MAX: Duration = Duration::from_millis(20);
/// How often a thread looks whether the relay is over.
const LOOK: Duration = Duration::from_millis(100);

/// What becomes of datagrams, each way; all from one seed.
#[derive(Clone, Copy)]
pub struct Weather {
    seed: u64,
    loss_percent: u64,
    duplicate_percent: u64,
    reorder_percent: u64,
    /// Longer datagrams vanish without a word, as behind a firewall that drops ICMP.
    bytes_max: usize,
    /// Nothing of a client passes but its ClientHellos.
    is_only_hellos: bool,
}

impl Weather {
    /// Nothing goes wrong.
    pub fn clear() -> Weather {
        Weather {
            seed: 1,
            loss_percent: 0,
            duplicate_percent: 0,
            reorder_percent: 0,
            bytes_max: usize::MAX,
            is_only_hellos: false,
        }
    }

    /// Loses so many of a hundred each way, doubles every tenth and lets every fifth be overtaken.
    pub fn bad(seed: u64, loss_percent: u64) -> Weather {
        let (duplicate_percent, reorder_percent) = (10, 20);
        Weather { seed, loss_percent, duplicate_percent, reorder_percent, ..Weather::clear() }
    }

    /// The same for IPv4 packets of at most `mtu` bytes; larger ones vanish.
    pub fn narrow(self, mtu: usize) -> Weather {
        Weather { bytes_max: mtu - 28, ..self }
    }

    /// The same, and clients fall silent after their ClientHellos.
    pub fn only_hellos(self) -> Weather {
        Weather { is_only_hellos: true, ..self }
    }
}

/// One datagram that a server sent, whatever became of it.
#[derive(Clone)]
pub struct Sent {
    /// When the relay saw it.
    pub at: Instant,
    /// To which client.
    pub client: SocketAddr,
    /// All of it.
    pub datagram: Vec<u8>,
}

/// A relay that runs until it is dropped. The server sees each client under an address of its own.
pub struct Relay {
    /// Where clients find it.
    pub address: SocketAddr,
    seen: mpsc::Receiver<Sent>,
    is_over: Arc<AtomicBool>,
    front: Option<JoinHandle<()>>,
}

impl Relay {
    /// Begins to carry between clients and `server`.
    pub fn start(server: SocketAddr, weather: Weather) -> Relay {
        let front = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let address = front.local_addr().unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let (see, seen) = mpsc::channel();
        let ways = Ways { server, weather, front, is_over: is_over.clone(), see };
        let front = Some(std::thread::spawn(move || ways.there()));
        Relay { address, seen, is_over, front }
    }

    /// What the server has sent since this was asked last.
    pub fn sent_by_server(&self) -> Vec<Sent> {
        self.seen.try_iter().collect()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
        let ended = self.front.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

struct Ways {
    server: SocketAddr,
    weather: Weather,
    front: Arc<UdpSocket>,
    is_over: Arc<AtomicBool>,
    see: mpsc::Sender<Sent>,
}

impl Ways {
    /// From all clients to the server.
    fn there(self) {
        let mut lanes: HashMap<SocketAddr, (Arc<UdpSocket>, Lane)> = HashMap::new();
        let backs = Mutex::new(Vec::new());
        let mut buffer = [0; 65_536];
        while !self.is_over.load(Relaxed) {
            let is_held = lanes.values().any(|(_, lane)| lane.held.is_some());
            self.front.set_read_timeout(Some(if is_held { HELD_MAX } else { LOOK })).unwrap();
            let came = self.front.recv_from(&mut buffer);
            if let Ok((count, client)) = came {
                let number = u64::try_from(lanes.len()).unwrap();
                let (socket, lane) = lanes.entry(client).or_insert_with(|| {
                    let (socket, back) = self.open(client, number);
                    backs.lock().unwrap().push(back);
                    (socket, Lane::new(self.weather, 2 * number))
                });
                let datagram = &buffer[..count];
                if !self.weather.is_only_hellos || is_client_hello(datagram) {
                    lane.carry(datagram, |datagram| drop(socket.send(datagram)));
                }
            }
            for (socket, lane) in lanes.values_mut() {
                lane.release(|datagram| drop(socket.send(datagram)));
            }
        }
        for back in backs.into_inner().unwrap() {
            back.join().unwrap();
        }
    }

    /// A socket for one client, and the thread that carries back.
    fn open(&self, client: SocketAddr, number: u64) -> (Arc<UdpSocket>, JoinHandle<()>) {
        let socket = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        socket.connect(self.server).unwrap();
        let mut lane = Lane::new(self.weather, 2 * number + 1);
        let (own, front) = (socket.clone(), self.front.clone());
        let (is_over, see) = (self.is_over.clone(), self.see.clone());
        let back = std::thread::spawn(move || {
            let mut buffer = [0; 65_536];
            let send = |datagram: &[u8]| drop(front.send_to(datagram, client));
            while !is_over.load(Relaxed) {
                let wait = if lane.held.is_some() { HELD_MAX } else { LOOK };
                own.set_read_timeout(Some(wait)).unwrap();
                if let Ok(count) = own.recv(&mut buffer) {
                    let datagram = buffer[..count].to_vec();
                    lane.carry(&datagram, send);
                    // The relay may be over, and nobody asks any more.
                    let _ = see.send(Sent { at: Instant::now(), client, datagram });
                }
                lane.release(send);
            }
        });
        (socket, back)
    }
}

/// One way of one client.
struct Lane {
    weather: Weather,
    chance: u64,
    held: Option<(Instant, Vec<u8>)>,
}

impl Lane {
    fn new(weather: Weather, number: u64) -> Lane {
        // Far apart for neighbouring seeds, and never 0.
        let chance = (weather.seed.wrapping_mul(1_000_003) + number + 1)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            | 1;
        Lane { weather, chance, held: None }
    }

    /// xorshift64*: enough to be unfair, and the same on each run.
    fn is_in(&mut self, percent: u64) -> bool {
        self.chance ^= self.chance >> 12;
        self.chance ^= self.chance << 25;
        self.chance ^= self.chance >> 27;
        (self.chance.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % 100 < percent
    }

    fn carry(&mut self, datagram: &[u8], send: impl Fn(&[u8])) {
        let is_lost = self.is_in(self.weather.loss_percent);
        if is_lost || datagram.len() > self.weather.bytes_max {
            return;
        }
        if self.held.is_none() && self.is_in(self.weather.reorder_percent) {
            self.held = Some((Instant::now(), datagram.to_vec()));
            return;
        }
        send(datagram);
        if self.is_in(self.weather.duplicate_percent) {
            send(datagram);
        }
        if let Some((_, held)) = self.held.take() {
            send(&held);
        }
    }

    /// Lets go what nobody has overtaken for too long.
    fn release(&mut self, send: impl Fn(&[u8])) {
        if let Some((_, held)) = self.held.take_if(|(since, _)| since.elapsed() >= HELD_MAX) {
            send(&held);
        }
    }
}
