//! The proxy between a sender and a mailbox server that follows a script, on loopback.

mod bounds;
mod encrypted;
mod refused;

use std::{
    io::{BufRead, BufReader, Cursor, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, OnceLock},
    time::Duration,
};

use conclave_pki::{
    certificate::Certificate,
    issue::{Account, Attributes, Purpose, Validity, smime_authority},
    key::{KeyAlgorithm, PrivateKey},
};
use conclave_smime::{
    cms::{Cipher, Holder},
    message,
};
use conclave_store::id::EmailAddress;
use conclave_system::entropy;

use crate::{Certificates, Counters, Mail, NotReady, Outcome, Place, Settings, WithoutCertificate};

const DEADLINE: Duration = Duration::from_secs(60);
const MESSAGE: &str = "Received: from x by y\r\nFrom: ann@b.example\r\nSubject: Secret plans\r\n\
    \r\nHello\r\n.\r\n..dots\r\n";

/// Owner of a key.
struct Person {
    key: PrivateKey,
    certificate: Certificate,
}

/// Returns Jim or John, the accounts of a.example with a key each.
fn person(name: &str) -> &'static Person {
    static PEOPLE: OnceLock<[Person; 2]> = OnceLock::new();
    let [jim, john] = PEOPLE.get_or_init(|| {
        let key = PrivateKey::generate(KeyAlgorithm::EcP256, &mut entropy::fill).unwrap();
        let attributes = Attributes { common_name: "A".to_owned(), ..Attributes::default() };
        let validity = Validity { not_before: 1_700_000_000, not_after: 2_600_000_000 };
        let authority = smime_authority(&key, &attributes, [1; 16], validity).unwrap();
        [("jim", 2), ("john", 3)].map(|(name, serial)| {
            let own = PrivateKey::generate(KeyAlgorithm::EcP256, &mut entropy::fill).unwrap();
            let account = Account {
                public_key_der: own.public_key_der(),
                emails: &[format!("{name}@a.example")],
                common_name: name,
                purpose: Purpose::SignAndEncrypt,
                is_client: false,
                crl_url: None,
            };
            let certificate = account.issue(&key, &authority, [serial; 16], validity).unwrap();
            Person { key: own, certificate }
        })
    });
    if name == "jim" { jim } else { john }
}

/// Accounts of a.example: Jim and John, and none else.
struct Accounts;

impl Certificates for Accounts {
    fn of(&self, account: &EmailAddress) -> Result<Option<Vec<u8>>, NotReady> {
        match account.to_string().as_str() {
            "jim@a.example" => Ok(Some(person("jim").certificate.der().to_vec())),
            "john@a.example" => Ok(Some(person("john").certificate.der().to_vec())),
            "late@a.example" => Err(NotReady),
            _ => Ok(None),
        }
    }
}

/// What the mailbox server has heard on one connection.
#[derive(Debug, Clone, Default)]
struct Heard {
    commands: Vec<String>,
    /// The message, without the dots that were added.
    data: Vec<u8>,
    /// Whether the message had its end.
    is_whole: bool,
    is_over: bool,
}

/// Mailbox server whose answers are in the addresses of recipients: `unknown` is refused, `full` has
/// no room, `busy` ends its connection, `cut` ends in the middle of a message.
struct Mailboxes {
    place: Place,
    heard: Arc<(Mutex<Vec<Heard>>, Condvar)>,
}

impl Mailboxes {
    fn start() -> Mailboxes {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = Place::Tcp(listener.local_addr().unwrap());
        let heard: Arc<(Mutex<Vec<Heard>>, Condvar)> = Arc::default();
        let all = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let all = Arc::clone(&all);
                std::thread::spawn(move || {
                    let mut one = Heard::default();
                    let number = {
                        let mut heard = all.0.lock().unwrap();
                        heard.push(one.clone());
                        heard.len() - 1
                    };
                    // A connection that is cut ends with an error.
                    let _ = serve(stream, &mut one);
                    one.is_over = true;
                    all.0.lock().unwrap()[number] = one;
                    all.1.notify_all();
                });
            }
        });
        Mailboxes { place, heard }
    }

    /// Waits until all connections with this command are over, and returns them.
    fn with(&self, command: &str) -> Vec<Heard> {
        let heard = self.heard.0.lock().unwrap();
        let is_open = |all: &mut Vec<Heard>| all.iter().any(|one| !one.is_over);
        let (heard, waited) = self.heard.1.wait_timeout_while(heard, DEADLINE, is_open).unwrap();
        assert!(!waited.timed_out(), "{heard:?}");
        let has = |one: &&Heard| one.commands.iter().any(|known| known.starts_with(command));
        heard.iter().filter(has).cloned().collect()
    }

    /// Returns the only message for a recipient.
    fn data(&self, recipient: &str) -> Vec<u8> {
        let all = self.with(&format!("RCPT TO:<{recipient}@"));
        let [one] = all.as_slice() else { panic!("{all:?}") };
        assert!(one.is_whole, "{one:?}");
        one.data.clone()
    }
}

fn serve(stream: TcpStream, heard: &mut Heard) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let say = |text: &str| (&stream).write_all(text.as_bytes());
    say("220 box LMTP\r\n")?;
    let mut recipient = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim_end().to_owned();
        heard.commands.push(line.clone());
        match line.split(' ').next().unwrap() {
            "LHLO" => say("250-box\r\n250-8BITMIME\r\n250-DSN\r\n250-CHUNKING\r\n250 SIZE 0\r\n")?,
            "RCPT" if line.contains("<unknown@") => say("550 5.1.1 No such mailbox\r\n")?,
            "RCPT" if line.contains("<busy@") => say("421 4.3.2 Going down\r\n")?,
            "RCPT" => {
                recipient = line;
                say("250 2.1.5 Ok\r\n")?;
            }
            "DATA" => {
                say("354 Go\r\n")?;
                let is_cut = recipient.contains("<cut@");
                read_data(&mut reader, heard, is_cut)?;
                match recipient.contains("<full@") {
                    true => say("452-4.2.2 The mailbox\r\n452 4.2.2 is full\r\n")?,
                    false => say("250 2.0.0 Saved\r\n")?,
                }
            }
            "QUIT" => return say("221 Bye\r\n"),
            _ => say("250 2.0.0 Ok\r\n")?,
        }
    }
}

fn read_data(input: &mut impl BufRead, heard: &mut Heard, is_cut: bool) -> std::io::Result<()> {
    loop {
        let mut line = Vec::new();
        let bytes = input.read_until(b'\n', &mut line)?;
        if bytes == 0 || is_cut && heard.data.len() > 1000 {
            return Err(std::io::ErrorKind::ConnectionAborted.into());
        }
        let is_start = heard.data.is_empty() || heard.data.ends_with(b"\r\n");
        match line.strip_prefix(b".").filter(|_| is_start) {
            Some(b"\r\n") => {
                heard.is_whole = true;
                return Ok(());
            }
            Some(rest) => heard.data.extend(rest),
            None => heard.data.extend(line),
        }
    }
}

/// A proxy with its mailbox server.
struct Scene {
    mailboxes: Mailboxes,
    mail: Mail,
    counters: Arc<Counters>,
}

impl Scene {
    fn new(without_certificate: WithoutCertificate) -> Scene {
        Scene::of(without_certificate, Cipher::Aes256Cbc)
    }

    fn of(without_certificate: WithoutCertificate, cipher: Cipher) -> Scene {
        let mailboxes = Mailboxes::start();
        let (listen, upstream) = (Place::parse("127.0.0.1:0").unwrap(), mailboxes.place.clone());
        let offers_dsn = false;
        let settings = Settings { listen, upstream, without_certificate, cipher, offers_dsn };
        let counters: Arc<Counters> = Arc::default();
        let mail = Mail::open("n1", settings, Arc::new(Accounts), Arc::clone(&counters)).unwrap();
        Scene { mailboxes, mail, counters }
    }

    fn counts(&self) -> [u64; 4] {
        Outcome::ALL.map(|outcome| self.counters.count(outcome))
    }

    /// Connects a sender that has said LHLO.
    fn sender(&self) -> Sender {
        let mut sender = self.stranger();
        assert!(sender.says("LHLO mx.b.example").starts_with("250-n1\r\n"));
        sender
    }

    /// Connects a sender that has said nothing.
    fn stranger(&self) -> Sender {
        let mut sender = self.connected();
        assert_eq!(sender.hears(), "220 n1 LMTP\r\n");
        sender
    }

    fn connected(&self) -> Sender {
        let Place::Tcp(address) = self.mail.place() else { panic!("no address") };
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Sender(BufReader::new(stream))
    }
}

/// A sender.
struct Sender(BufReader<TcpStream>);

impl Sender {
    /// Reads one reply; empty at the end of the connection.
    fn hears(&mut self) -> String {
        let mut reply = String::new();
        while self.0.read_line(&mut reply).unwrap() > 0 {
            let last = reply.trim_end().rsplit('\n').next().unwrap();
            if last.as_bytes().get(3) != Some(&b'-') {
                break;
            }
        }
        reply
    }

    fn sends(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    fn says(&mut self, line: &str) -> String {
        self.sends(format!("{line}\r\n").as_bytes());
        self.hears()
    }

    /// Begins a transaction with these recipients, each with its parameters, up to the reply to
    /// DATA. Returns the replies to RCPT.
    fn begins(&mut self, recipients: &[&str]) -> Vec<String> {
        assert!(self.says("MAIL FROM:<ann@b.example>").starts_with("250 "));
        let rcpt = |one: &&str| {
            let (name, parameters) = one.split_once(' ').unwrap_or((one, ""));
            self.says(&format!("RCPT TO:<{name}@a.example> {parameters}"))
        };
        let replies = recipients.iter().map(rcpt).collect();
        assert!(self.says("DATA").starts_with("354 "));
        replies
    }

    /// Sends a message with the dots that it needs and its end. Returns this many replies.
    fn delivers(&mut self, message: &str, count: usize) -> Vec<String> {
        let stuffed = message.replace("\r\n.", "\r\n..");
        self.sends(format!("{stuffed}.\r\n").as_bytes());
        (0..count).map(|_| self.hears()).collect()
    }
}

/// Decrypts a message by the key of a person.
fn decrypted(name: &str, data: &[u8]) -> Result<String, message::MessageError> {
    let person = person(name);
    let holders = [Holder { key: &person.key, certificate: &person.certificate }];
    let (mut plain, mut spool) = (Vec::new(), Cursor::new(Vec::new()));
    message::decrypt(data, &mut plain, &holders, &mut spool, &mut entropy::fill)?;
    Ok(String::from_utf8(plain).unwrap())
}

/// Finishes a proxy from outside any runtime.
fn finish(mail: Mail, patience: Duration) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(mail.finish(patience))
}

/// Reads what is left on a connection.
fn rest(sender: &mut Sender) -> String {
    let mut rest = String::new();
    sender.0.read_to_string(&mut rest).unwrap();
    rest
}
