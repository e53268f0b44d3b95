//! A node among other software: signals, its service manager, its configuration.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::UnixDatagram,
    time::Duration,
};

use conclave_tests::{Cluster, has_program, probe_stream, run_alone, wait_for};

#[test]
fn a_hangup_reads_the_settings_again_and_ends_nothing() {
    if !has_program("openssl") {
        return;
    }
    let mut cluster = Cluster::start(1);
    let port = cluster.listen();
    let one = &mut cluster.nodes[0];
    let speaks = |version: &str| {
        let mut client = std::process::Command::new("openssl");
        client.args(["s_client", "-connect", &format!("127.0.0.1:{port}"), version]);
        client.stdin(std::process::Stdio::null()).output().unwrap().status.success()
    };
    assert!(speaks("-tls1_2"), "TLS 1.2 is spoken at first");
    let file = one.dir.join("node.toml");
    let set = |old: &str, new: &str| {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(old), "{text}");
        std::fs::write(&file, text.replace(old, new)).unwrap();
    };
    one.run(&["domain", "create", "a.example", "--dry-run"]).ok();
    assert!(!one.log().contains("api.tried"), "debug lines are off");
    set("level = \"info\"", "level = \"debug\"");
    set("[log]", "[tls]\nmin_version = \"1.3\"\n[log]");
    set("[public]", "[dtls]\nidle_timeout = \"9m\"\n[public]");
    one.signal("HUP");
    wait_for("what needs a restart is said", || {
        one.log().contains("settings=\"[dtls] idle_timeout\"").then_some(())
    });
    wait_for("it is read", || one.log().contains("config.read").then_some(()));
    one.run(&["domain", "create", "a.example", "--dry-run"]).ok();
    wait_for("debug lines are on", || one.log().contains("api.tried").then_some(()));
    let shown = one.run(&["tls", "show", "-o", "json"]).json();
    assert_eq!(shown["node"]["min_version"], "1.3", "{shown}");
    assert!(!speaks("-tls1_2"), "TLS 1.2 is refused from now on");
    assert!(speaks("-tls1_3"), "TLS 1.3 is not");
    // A file with a mistake changes nothing.
    set("level = \"debug\"", "level = \"loud\"");
    one.signal("HUP");
    wait_for("the mistake is said", || one.log().contains("config.refused").then_some(()));
    assert!(one.log().contains("\"loud\" is none of"), "{}", one.log());
    one.run(&["domain", "create", "a.example"]).ok();
    one.stop();
}

#[test]
fn the_service_manager_hears_when_the_node_serves_and_ends() {
    let mut cluster = Cluster::start(1);
    let one = &mut cluster.nodes[0];
    one.stop();
    let path = one.dir.join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let hear = || {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    one.start_under(&["env", &format!("NOTIFY_SOCKET={}", path.display())]);
    assert_eq!(hear(), "READY=1\n");
    one.signal("HUP");
    let reloading = hear();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(hear(), "READY=1\n");
    one.stop();
    assert_eq!(hear(), "STOPPING=1\n");
}

#[test]
fn a_connection_that_is_open_at_the_signal_finishes_its_exchange() {
    let mut cluster = Cluster::start(1);
    let address = (cluster.nodes[0].address, cluster.listen()).into();
    let one = &mut cluster.nodes[0];
    let (_, mut stream) = probe_stream(address, "-", rustls::ALL_VERSIONS).unwrap();
    one.signal("TERM");
    wait_for("no new connection is taken", || TcpStream::connect(address).is_err().then_some(()));
    stream.write_all(b"are you there").unwrap();
    let mut echo = [0; 13];
    stream.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"are you there");
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"bye", "the upstream has the last word");
    one.wait_ended();
}

#[test]
fn a_configuration_that_would_not_start_is_refused_by_the_check_in_the_same_words() {
    let dir = tempfile::tempdir().unwrap();
    let shown = dir.path().display();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let file = dir.path().join("node.toml");
    let config = file.to_str().unwrap();
    for (more, wrong) in [
        ("[log]\nlevel = \"nosuch=notalevel\"\n", "[log] level"),
        ("[log]\nlevel = \"loud\"\n", "[log] level"),
        ("[keyring]\nunlock = \"file:/nosuchdir/k\"\n", "[keyring] unlock"),
        ("[cluster]\nbind = \"192.0.2.1:7444\"\n", "[cluster] bind"),
    ] {
        let text = format!("[node]\nname = \"n1\"\ndata_dir = \"{shown}/data\"\n{more}");
        std::fs::write(&file, text).unwrap();
        let checked = run_alone(&["config", "check", config]);
        let run = run_alone(&["server", "run", "--config", config]);
        assert_eq!((checked.code, run.code), (2, 2), "{more}: {}{}", checked.err, run.err);
        assert!(checked.err.contains(wrong), "{}", checked.err);
        assert_eq!(checked.err, run.err);
    }
    assert!(!dir.path().join("data").exists());
    // Another file in the socket's place is not deleted.
    let text = format!(
        "[node]\nname = \"n1\"\ndata_dir = \"{shown}/data\"\n[admin]\nsocket = \"{shown}/file\"\n\
         [cluster]\nbind = \"127.0.0.1:0\"\n"
    );
    std::fs::write(&file, text).unwrap();
    let run = run_alone(&["server", "run", "--config", config]);
    assert!(run.code != 0 && run.err.contains("no socket"), "{}", run.err);
    assert!(dir.path().join("file").exists());
}
