//! Mutt on a terminal, set up as docs/smime.md says, and what Conclave makes of its mail.

use std::{
    fs,
    io::{Read, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Instant,
};

use conclave_tests::{Cluster, DEADLINE, Node, has_program};

use super::{
    delivery::block,
    messages::{By, accounts, verdict},
};

/// What bob chose in mutt for his key.
const PASSPHRASE: &str = "of mutt";

/// A program on a terminal of its own, as a person uses it.
struct Terminal {
    process: Child,
    heard: Receiver<Vec<u8>>,
    said: Vec<u8>,
    /// How much of it answers were given to.
    answered: usize,
}

impl Terminal {
    fn start(mutt: &Mutt, command: &str) -> Terminal {
        let mut process = Command::new("script")
            .args(["-qec", command, "/dev/null"])
            .current_dir(&mutt.node.dir)
            .env("HOME", &mutt.home)
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = process.stdout.take().unwrap();
        let (say, heard) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut bytes) {
                if say.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Terminal { process, heard, said: Vec::new(), answered: 0 }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.said).into_owned()
    }

    /// Waits for more until this finds what it looks for; it gets none at the end.
    fn wait(&mut self, what: &str, mut find: impl FnMut(&[u8], bool) -> Option<usize>) {
        let begun = Instant::now();
        let mut is_open = true;
        loop {
            if let Some(found) = find(&self.said[self.answered..], is_open) {
                self.answered += found;
                return;
            }
            let left = DEADLINE.checked_sub(begun.elapsed());
            assert!(is_open && left.is_some(), "no {what:?} on the terminal: {}", self.text());
            match self.heard.recv_timeout(left.unwrap()) {
                Ok(more) => self.said.extend(more),
                Err(_) => is_open = false,
            }
        }
    }

    /// Waits for a prompt and types an answer.
    fn answer(&mut self, prompt: &str, answer: &str) {
        self.wait(prompt, |said, _| {
            let at = said.windows(prompt.len()).position(|part| part == prompt.as_bytes());
            at.map(|at| at + prompt.len())
        });
        self.process.stdin.as_mut().unwrap().write_all(answer.as_bytes()).unwrap();
    }

    /// Waits until the program has ended by itself, without an error.
    fn wait_ended(mut self) {
        self.wait("end", |_, is_open| (!is_open).then_some(0));
        let ended = self.process.wait().unwrap();
        assert!(ended.success(), "{ended}: {}", self.text());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Mutt of bob, whose key is of P-256. It knows the certificates of ann and cat, who have RSA keys.
struct Mutt<'a> {
    node: &'a Node,
    home: PathBuf,
}

impl Mutt<'_> {
    /// Sets it up by the two blocks of the book.
    fn of(node: &Node) -> Mutt<'_> {
        accounts(node, &["bob", "ann", "cat"]);
        for name in ["ann", "cat"] {
            let By { email, pass } = By::of(node, name);
            let generate = ["account", "key", "generate", &email, "--type", "rsa2048"];
            node.run(&[&generate[..], &["--passphrase-file", &pass]].concat()).ok();
            node.run(&["account", "cert", "issue", &email]).ok();
            let out = node.dir.join(format!("{name}.pem")).display().to_string();
            node.run(&["account", "cert", "show", &email, "--out", &out]).ok();
        }
        let By { email, pass } = By::of(node, "bob");
        let of_file = node.file("p12.pass", b"of the file\n");
        let out = node.file("bob.p12", b"");
        let export = ["account", "key", "export", &email, "--passphrase-file", &pass];
        let to = ["--out", &out, "--export-passphrase-file", &of_file];
        node.run(&[&export[..], &to].concat()).ok();
        let mutt = Mutt { node, home: node.dir.join("home") };
        fs::create_dir(&mutt.home).unwrap();
        node.file("keys", block("smime_keys init", &node.dir, node).as_bytes());
        let mut keys = Terminal::start(&mutt, "sh -e keys; smime_keys add_cert cat.pem");
        keys.answer("Enter Import Password:", "of the file\n");
        keys.answer("Enter PEM pass phrase:", &format!("{PASSPHRASE}\n"));
        keys.answer("Verifying - Enter PEM pass phrase:", &format!("{PASSPHRASE}\n"));
        for label in ["bob", "ann", "cat"] {
            keys.answer("Enter label: ", &format!("{label}\n"));
        }
        keys.wait_ended();
        let index = fs::read_to_string(mutt.home.join(".smime/keys/.index")).unwrap();
        let id = index.split_whitespace().nth(1).unwrap();
        let settings = block("crypt_use_gpgme", &node.dir, node).replace("12345678.0", id);
        // No mail server, no editor and no questions besides those of S/MIME.
        let sendmail = node.file("sendmail", b"cat > sent.part && mv sent.part sent.eml");
        let others = format!(
            "set from = bob@shop.example hostname = shop.example folder = ~ record = ''\n\
             set sendmail = 'sh {sendmail}' editor = true abort_unmodified = no\n\
             set pipe_decode wait_key = no\n"
        );
        fs::write(mutt.home.join(".muttrc"), settings + &others).unwrap();
        mutt
    }

    /// Opens a message from a mailbox, and returns what mutt shows of it and what it pipes to another
    /// program.
    fn read(&self, message: &str) -> (String, String) {
        for part in ["new", "cur", "tmp"] {
            fs::create_dir_all(self.node.dir.join("in").join(part)).unwrap();
        }
        // Mailboxes have the line ends of the system.
        self.node.file("in/new/1.shop.example", message.replace("\r\n", "\n").as_bytes());
        let mut terminal = Terminal::start(self, "mutt -f in");
        terminal.answer("Boats", "\n");
        if message.contains("enveloped-data") {
            terminal.answer("Enter S/MIME passphrase:", &format!("{PASSPHRASE}\n"));
        }
        terminal.answer("verified.", "");
        // The last line that it draws.
        terminal.answer("-- (all)", "|");
        terminal.answer("Pipe to command: ", "cat > piped\n");
        terminal.answer("i:Exit", "x");
        terminal.answer("q:Quit", "x");
        let shown = terminal.text();
        terminal.wait_ended();
        fs::remove_dir_all(self.node.dir.join("in")).unwrap();
        (shown, fs::read_to_string(self.node.dir.join("piped")).unwrap())
    }
}

/// A cluster of one node, whose domain issues; none, with the reason said, without mutt.
fn founded() -> Option<Cluster> {
    if !has_program("mutt") || !has_program("script") || !has_program("openssl") {
        return None;
    }
    let cluster = Cluster::start(1);
    cluster.nodes[0].run(&["domain", "create", "shop.example"]).ok();
    cluster.nodes[0].run(&["smime", "self-sign", "shop.example"]).ok();
    Some(cluster)
}

#[test]
fn mail_that_mutt_signs_and_encrypts_is_read_by_both_recipients() {
    let Some(cluster) = founded() else { return };
    let node = &cluster.nodes[0];
    let mutt = Mutt::of(node);
    node.file("body", b"The boats are ready.\n");
    let to = "ann@shop.example cat@shop.example";
    let mut terminal = Terminal::start(&mutt, &format!("mutt -s Boats -i body -- {to}"));
    terminal.answer("To: ", "\n");
    terminal.answer("Subject: ", "\n");
    terminal.answer("y:Send", "S");
    terminal.answer("(b)oth", "b");
    terminal.answer("Sign, Encrypt", "y");
    terminal.answer("Enter S/MIME passphrase:", &format!("{PASSPHRASE}\n"));
    terminal.wait_ended();
    let sent = fs::read_to_string(node.dir.join("sent.eml")).unwrap();
    assert!(sent.contains("enveloped-data") && !sent.contains("boats"), "{sent}");
    let sent = node.file("sent.eml", sent.as_bytes());
    // Mutt encrypts to the sender, too.
    for name in ["ann", "cat", "bob"] {
        let read = node.run(&By::of(node, name).words(&["smime", "decrypt", &sent])).ok();
        assert!(read.contains("The boats are ready."), "{name}: {read}");
        let file = node.file("read.eml", read.as_bytes());
        let (code, found) = verdict(node, &file);
        assert_eq!((code, &found["from_is_signer"]), (0, &true.into()), "{name}: {found}");
        assert_eq!(found["signers"][0]["emails"][0], "bob@shop.example", "{found}");
        let changed = node.file("changed.eml", read.replace("ready", "sold").as_bytes());
        assert_eq!(verdict(node, &changed).0, 8, "{name}");
    }
    // Only to RSA keys, as the book says.
    let index = fs::read_to_string(mutt.home.join(".smime/certificates/.index")).unwrap();
    let uses = |name: &str| {
        let line = index.lines().find(|line| line.starts_with(name));
        line.unwrap().split_whitespace().last().unwrap().to_owned()
    };
    assert_eq!([uses("ann@"), uses("bob@")], ["se", "s"], "{index}");
}

#[test]
fn mutt_reads_and_verifies_mail_of_conclave() {
    let Some(cluster) = founded() else { return };
    let node = &cluster.nodes[0];
    let mutt = Mutt::of(node);
    let letter = "From: Ann Lee <ann@shop.example>\r\nTo: bob@shop.example\r\nSubject: Boats\r\n\
                  MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
                  The boats are sold.\r\n";
    let letter = node.file("letter.eml", letter.as_bytes());
    let sign = |form: &[&str]| {
        let words = [&["smime", "sign", &letter][..], form].concat();
        node.run(&By::of(node, "ann").words(&words)).ok()
    };
    let encrypt = |signed: &str| {
        let signed = node.file("signed.eml", signed.as_bytes());
        let to = ["--to", "bob@shop.example", "--to", "ann@shop.example"];
        node.run(&[&["smime", "encrypt", &signed][..], &to].concat()).ok()
    };
    let (detached, opaque) = (sign(&[]), sign(&["--opaque"]));
    for message in [detached.clone(), encrypt(&detached), encrypt(&opaque)] {
        let (shown, piped) = mutt.read(&message);
        assert!(shown.contains("S/MIME signature successfully verified."), "{shown}");
        assert!(piped.trim_end().ends_with("\n\nThe boats are sold."), "{piped}");
        assert!(piped.contains("\nSubject: Boats\n"), "{piped}");
    }
    let (shown, _) = mutt.read(&detached.replace("are sold", "are mine"));
    assert!(shown.contains("S/MIME signature could NOT be verified."), "{shown}");
}
