//! Servers from Debian with TLS off, each in a directory of its own on a port of its own.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use conclave_tests::{has_program, wait_for};
use tempfile::TempDir;

/// A running server; it ends when it is dropped.
pub struct Server {
    pub dir: TempDir,
    pub ports: Vec<SocketAddr>,
    process: Child,
}

impl Server {
    /// Starts `words` in its own process group and waits until its ports answer.
    fn start(dir: TempDir, ports: Vec<SocketAddr>, words: &[&str]) -> Server {
        let said = || std::fs::File::create(dir.path().join("said")).unwrap();
        let process = Command::new(words[0])
            .args(&words[1..])
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(said())
            .stderr(said())
            .spawn()
            .unwrap();
        let server = Server { dir, ports, process };
        for port in &server.ports {
            wait_for(&format!("{} on {port}", words[0]), || TcpStream::connect(port).ok());
        }
        server
    }

    /// Kills it with all its processes, and waits until they have gone.
    pub(crate) fn kill(&mut self) {
        let group = format!("-{}", self.process.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.process.wait();
        for port in &self.ports {
            wait_for("a closed port", || TcpStream::connect(port).is_err().then_some(()));
        }
    }

    pub fn file(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = format!("-{}", self.process.id());
        let _ = Command::new("kill").args(["-TERM", "--", &group]).status();
        let _ = self.process.wait();
    }
}

/// Whether a server can be started here: installed, and we are root, because it changes to users
/// of its own.
pub fn can_serve(program: &str) -> bool {
    let is_root = || {
        let id = Command::new("id").arg("-u").output().unwrap().stdout;
        let is_root = id.trim_ascii() == b"0";
        if !is_root {
            println!("SKIPPED: {program} starts only as root");
        }
        is_root
    };
    has_program(program) && is_root()
}

fn ports(count: usize) -> Vec<SocketAddr> {
    let bind = |_| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    // All at once, so that they differ.
    let bound: Vec<_> = (0..count).map(bind).collect();
    bound.iter().map(|one| one.local_addr().unwrap()).collect()
}

/// A directory that other users may enter.
pub fn dir() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    sh(&format!("chmod 755 {}", dir.path().display()));
    dir
}

pub fn sh(script: &str) {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Postfix without TLS; delivers all mail for shop.example to `mail/box`.
pub fn postfix() -> Server {
    postfix_with("smtpd_tls_security_level = none", "")
}

/// Postfix that offers TLS by itself, with the key and the certificates of these files.
pub fn postfix_with_tls(key: &str, chain: &str) -> Server {
    let tls = format!("smtpd_tls_security_level = may\nsmtpd_tls_chain_files = {key}, {chain}");
    postfix_with(&tls, "")
}

/// Postfix without TLS that hands all mail to an LMTP server at this unix socket, and John's mail to
/// Jim's mailbox.
pub(crate) fn postfix_before(lmtp: &str) -> Server {
    let settings = format!(
        "smtpd_tls_security_level = none\nvirtual_transport = lmtp:unix:{lmtp}\n\
         virtual_alias_maps = inline:{{ john@shop.example=jim@shop.example }}"
    );
    postfix_with(&settings, "lmtp unix - - n - - lmtp\n")
}

/// Postfix with these lines in main.cf, and these in master.cf.
pub fn postfix_with(settings: &str, services: &str) -> Server {
    let (dir, ports) = (dir(), ports(1));
    let at = dir.path().display();
    let main = format!(
        "compatibility_level = 3.6\nqueue_directory = {at}/queue\ndata_directory = {at}/data\n\
         command_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\n\
         mail_owner = postfix\nsetgid_group = postdrop\ninet_interfaces = 127.0.0.1\n\
         inet_protocols = ipv4\nmyhostname = mail.test\nmydestination =\nalias_maps =\n\
         mynetworks = 192.0.2.0/24\n{settings}\n\
         virtual_mailbox_domains = shop.example\nvirtual_mailbox_base = {at}/mail\n\
         virtual_mailbox_maps = static:box/\nvirtual_uid_maps = static:65534\n\
         virtual_gid_maps = static:65534\nvirtual_minimum_uid = 1\nmaillog_file = {at}/log\n\
         maillog_file_prefixes = {at}\n"
    );
    let master = format!(
        "{} inet n - n - - smtpd\ncleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\n\
         rewrite unix - - n - - trivial-rewrite\nbounce unix - - n - 0 bounce\n\
         defer unix - - n - 0 bounce\ntrace unix - - n - 0 bounce\n\
         proxymap unix - - n - - proxymap\nerror unix - - n - - error\n\
         retry unix - - n - - error\nvirtual unix - n n - - virtual\n\
         anvil unix - - n - 1 anvil\ntlsmgr unix - - n 1000? 1 tlsmgr\npostlog unix-dgram n - n - 1 postlogd\n{services}",
        ports[0]
    );
    write(dir.path(), "etc/main.cf", &main);
    write(dir.path(), "etc/master.cf", &master);
    let queues = "active bounce corrupt defer deferred flush hold incoming private saved trace \
                  public";
    sh(&format!(
        "cd {at}; mkdir -p data mail queue/pid queue/maildrop; for one in {queues}; do \
         mkdir -p queue/$one; chown postfix queue/$one; done; chown postfix data; \
         chown nobody mail"
    ));
    let etc = format!("{at}/etc");
    Server::start(dir, ports, &["/usr/lib/postfix/sbin/master", "-c", &etc, "-d"])
}

/// Exim that runs this program, with these routers and transports. It takes no configuration but
/// that of `/etc/exim4`, and has a user of its own, so it gets an `/etc` that only it sees; none,
/// with the reason said, if this machine cannot.
pub(crate) fn exim(program: &str, routers: &str, transports: &str) -> Option<Server> {
    let (dir, ports) = (dir(), ports(1));
    let at = dir.path().display();
    let config = format!(
        "exim_path = {at}/exim4\nspool_directory = {at}/spool\nlog_file_path = {at}/log/%s\n\
         pid_file_path = {at}/spool/pid\nkeep_environment =\nprimary_hostname = mail.test\n\
         local_interfaces = 127.0.0.1\ndaemon_smtp_ports = {}\ntls_advertise_hosts =\n\
         acl_smtp_rcpt = any\nbegin acl\nany:\n  accept\nbegin routers\n{routers}\n\
         begin transports\n{transports}\nbegin retry\n* * F,1d,1s\n",
        ports[0].port()
    );
    write(dir.path(), "etc/exim4/exim4.conf", &config);
    let id = 64_321;
    // It regains the rights to deliver by the bits of its file, as its package sets them.
    sh(&format!(
        "cd {at}; mkdir spool log; chown {id}:{id} spool log; install -m 4755 $(command -v {program}) exim4; \
         cp /etc/passwd /etc/group etc; echo Debian-exim:x:{id}: >> etc/group; \
         echo Debian-exim:x:{id}:{id}::/nonexistent:/bin/false >> etc/passwd"
    ));
    let script = |run: &str| format!("mount --bind {at}/etc /etc && exec {run}");
    let tried = ["--mount", "sh", "-c", &script("true")];
    if !Command::new("unshare").args(tried).output().is_ok_and(|tried| tried.status.success()) {
        println!("SKIPPED: exim cannot be given an /etc of its own");
        return None;
    }
    let run = script(&format!("{at}/exim4 -bdf -q1s"));
    let words = ["unshare", "--mount", "sh", "-c", &run];
    Some(Server::start(dir, ports, &words))
}

/// Dovecot with IMAP, POP3 and ManageSieve; anybody is let in with `secret`.
pub fn dovecot() -> Server {
    let (dir, ports) = (dir(), ports(3));
    let at = dir.path().display();
    let login = |name: &str, listener: &str, port: SocketAddr| {
        format!(
            "service {name} {{\nchroot =\ninet_listener {listener} {{\nport = {}\n}}\n\
             inet_listener {listener}s {{\nport = 0\n}}\n}}\n",
            port.port()
        )
    };
    let config = format!(
        "base_dir = {at}/run\nstate_dir = {at}/run\nlog_path = {at}/log\n\
         protocols = imap pop3 sieve\nlisten = 127.0.0.1\nssl = no\n\
         disable_plaintext_auth = no\nfirst_valid_uid = 1\n\
         mail_location = maildir:{at}/mail/%u/Maildir\n\
         passdb {{\ndriver = static\nargs = password=secret\n}}\n\
         userdb {{\ndriver = static\nargs = uid=65534 gid=65534 home={at}/mail/%u\n}}\n\
         {}{}service managesieve-login {{\nchroot =\ninet_listener sieve {{\nport = {}\n}}\n}}\n\
         service anvil {{\nchroot =\n}}\n\
         plugin {{\nsieve = file:{at}/mail/%u/sieve;active={at}/mail/%u/.dovecot.sieve\n}}\n",
        login("imap-login", "imap", ports[0]),
        login("pop3-login", "pop3", ports[1]),
        ports[2].port(),
    );
    let config = write(dir.path(), "dovecot.conf", &config);
    sh(&format!("mkdir -p {at}/run {at}/mail/ann; chown -R nobody {at}/mail"));
    Server::start(dir, ports, &["dovecot", "-F", "-c", &config])
}

/// Dovecot with LMTP, for the mailboxes of jim, john and bob at shop.example.
pub(crate) fn dovecot_lmtp() -> Server {
    let (dir, ports) = (dir(), ports(1));
    let at = dir.path().display();
    let user = |name| format!("{name}@shop.example:{{PLAIN}}x:65534:65534::{at}/mail/{name}::\n");
    write(dir.path(), "users", &["jim", "john", "bob"].map(user).concat());
    let config = format!(
        "base_dir = {at}/run\nstate_dir = {at}/run\nlog_path = {at}/log\nprotocols = lmtp\n\
         ssl = no\nfirst_valid_uid = 1\nmail_location = maildir:{at}/mail/%u/Maildir\n\
         passdb {{\ndriver = passwd-file\nargs = {at}/users\n}}\n\
         userdb {{\ndriver = passwd-file\nargs = {at}/users\n}}\n\
         service lmtp {{\nchroot =\ninet_listener lmtp {{\naddress = 127.0.0.1\nport = {}\n}}\n}}\n\
         service anvil {{\nchroot =\n}}\n",
        ports[0].port()
    );
    let config = write(dir.path(), "dovecot.conf", &config);
    sh(&format!("mkdir -p {at}/run {at}/mail; chown -R nobody {at}/mail"));
    Server::start(dir, ports, &["dovecot", "-F", "-c", &config])
}

/// Prosody for clients and for servers; ann has the password `secret`.
pub fn prosody() -> Server {
    let (dir, ports) = (dir(), ports(2));
    let at = dir.path().display();
    let account = "return { [\"password\"] = \"secret\" };\n";
    write(dir.path(), "data/shop%2eexample/accounts/ann.dat", account);
    let config = format!(
        "data_path = \"{at}/data\"\npidfile = \"{at}/pid\"\n\
         modules_enabled = {{ \"roster\", \"saslauth\", \"disco\", \"ping\", \"dialback\" }}\n\
         modules_disabled = {{ \"tls\" }}\ninterfaces = {{ \"127.0.0.1\" }}\n\
         local_interfaces = {{ \"127.0.0.1\" }}\nc2s_ports = {{ {} }}\ns2s_ports = {{ {} }}\n\
         c2s_require_encryption = false\ns2s_require_encryption = false\n\
         s2s_secure_auth = false\nallow_unencrypted_plain_auth = true\n\
         authentication = \"internal_plain\"\nlog = {{ info = \"{at}/log\" }}\n\
         VirtualHost \"shop.example\"\n",
        ports[0].port(),
        ports[1].port(),
    );
    let config = write(dir.path(), "prosody.cfg.lua", &config);
    sh(&format!("chown -R prosody {at}"));
    let user = ["setpriv", "--reuid", "prosody", "--regid", "prosody", "--clear-groups"];
    let words = ["prosody", "--config", &config, "-F"];
    Server::start(dir, ports, &[&user[..], &words].concat())
}

/// OpenLDAP with an empty tree `dc=shop,dc=example`, whose administrator has `secret`.
pub fn slapd() -> Server {
    let (dir, ports) = (dir(), ports(1));
    let at = dir.path().display();
    let config = format!(
        "include /etc/ldap/schema/core.schema\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\n\
         pidfile {at}/pid\ndatabase mdb\nsuffix \"dc=shop,dc=example\"\n\
         rootdn \"cn=admin,dc=shop,dc=example\"\nrootpw secret\ndirectory {at}/db\n\
         maxsize 10485760\n"
    );
    let config = write(dir.path(), "slapd.conf", &config);
    sh(&format!("mkdir {at}/db"));
    let url = format!("ldap://{}", ports[0]);
    Server::start(dir, ports, &["slapd", "-d", "0", "-h", &url, "-f", &config])
}

/// The newest PostgreSQL that is installed.
pub fn postgres_dir() -> Option<String> {
    let find = "ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1";
    let found = Command::new("sh").args(["-c", find]).output().unwrap().stdout;
    let found = String::from_utf8(found).unwrap().trim().to_owned();
    (!found.is_empty()).then_some(found)
}

/// PostgreSQL; ann has the password `secret` (SCRAM).
pub fn postgres(programs: &str) -> Server {
    let (dir, ports) = (dir(), ports(1));
    let at = dir.path().display();
    write(dir.path(), "password", "secret\n");
    sh(&format!("mkdir {at}/data; chown -R postgres {at}"));
    let user = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"];
    let (data, password) = (format!("{at}/data"), format!("--pwfile={at}/password"));
    let initdb = format!("{programs}/initdb");
    let words = ["-D", &data, "-U", "ann", &password, "-A", "scram-sha-256", "--no-sync"];
    let made = Command::new(user[0]).args(&user[1..]).arg(&initdb).args(words).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (program, port) = (format!("{programs}/postgres"), ports[0].port().to_string());
    let sockets = format!("unix_socket_directories={at}");
    let words = ["-D", &data, "-h", "127.0.0.1", "-p", &port, "-c", &sockets, "-c", "fsync=off"];
    Server::start(dir, ports, &[&user[..], &[&program], &words].concat())
}

/// vsftpd; anybody reads `file.txt`.
pub fn vsftpd() -> Server {
    let (dir, ports) = (dir(), ports(1));
    let at = dir.path().display();
    write(dir.path(), "root/file.txt", "hello by ftp\n");
    let config = format!(
        "listen=YES\nlisten_address=127.0.0.1\nlisten_port={}\nbackground=NO\n\
         anonymous_enable=YES\nlocal_enable=NO\nanon_root={at}/root\n\
         secure_chroot_dir={at}/empty\nftp_username=daemon\nnopriv_user=nobody\n\
         pasv_enable=YES\nxferlog_enable=NO\nvsftpd_log_file={at}/log\nisolate=NO\n\
         isolate_network=NO\nseccomp_sandbox=NO\n",
        ports[0].port()
    );
    let config = write(dir.path(), "vsftpd.conf", &config);
    sh(&format!("mkdir {at}/empty; chmod 755 {at}/root {at}/empty"));
    Server::start(dir, ports, &["vsftpd", &config])
}
