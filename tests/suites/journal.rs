//! Log lines for journald.

use std::{
    os::unix::{fs::MetadataExt, net::UnixDatagram},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use conclave_tests::{Cluster, binary};

/// The socket of journald, where programs look for it.
const SOCKET: &str = "/run/systemd/journal/socket";

/// The socket of a journald that the test itself is; none: the machine has a real one.
fn journald() -> Option<UnixDatagram> {
    if Path::new(SOCKET).exists() {
        println!("SKIPPED: this machine has a journald");
        return None;
    }
    let made = std::fs::create_dir_all(Path::new(SOCKET).parent().unwrap());
    match made.and_then(|()| UnixDatagram::bind(SOCKET)) {
        Ok(socket) => {
            socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            Some(socket)
        }
        Err(error) => {
            println!("SKIPPED: {SOCKET} cannot be made: {error}");
            None
        }
    }
}

/// Receives lines until one has this field.
fn wait_line(journald: &UnixDatagram, field: &str) -> String {
    loop {
        let mut line = [0; 65_536];
        let length = journald.recv(&mut line).unwrap_or_else(|error| panic!("{field}: {error}"));
        let line = String::from_utf8_lossy(&line[..length]).into_owned();
        if line.lines().any(|one| one == field) {
            return line;
        }
    }
}

/// systemd tells by JOURNAL_STREAM that stderr goes to journald; a node then speaks to it directly.
#[test]
fn under_systemd_journald_gets_each_field() {
    let Some(journald) = journald() else { return };
    let cluster = Cluster::unfounded(1);
    let node = &cluster.nodes[0];
    let dir = cluster.dir.path().join("other");
    std::fs::create_dir(&dir).unwrap();
    let shown = dir.display();
    let config = dir.join("node.toml");
    let text = format!(
        "[node]\nname = \"other\"\ndata_dir = \"{shown}/data\"\n[cluster]\nbind = \"{}:0\"\n\
         [admin]\nsocket = \"{shown}/s\"\n",
        node.address
    );
    std::fs::write(&config, text).unwrap();
    let log = std::fs::File::create(dir.join("log")).unwrap();
    let named = log.metadata().unwrap();
    let mut process = Command::new(binary("conclave"))
        .args(["server", "run", "--config", config.to_str().unwrap()])
        .env("JOURNAL_STREAM", format!("{}:{}", named.dev(), named.ino()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
    let said = std::io::BufReader::new(process.stdout.take().unwrap());
    let ready = std::io::BufRead::lines(said).map_while(Result::ok);
    assert!(ready.into_iter().any(|line| line.starts_with("ready")));
    let id = process.id().to_string();
    assert!(Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
    let line = wait_line(&journald, "CONCLAVE_EVENT=config.read");
    for field in [
        "MESSAGE=config.read log_level=info",
        "PRIORITY=6",
        "SYSLOG_IDENTIFIER=conclave",
        "CONCLAVE_LOG_LEVEL=info",
    ] {
        assert!(line.lines().any(|one| one == field), "{field}: {line}");
    }
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    wait_line(&journald, "CONCLAVE_EVENT=node.stopping");
    assert!(process.wait().unwrap().success());
    assert_eq!(std::fs::read_to_string(dir.join("log")).unwrap(), "", "nothing goes to stderr");
    drop(journald);
    std::fs::remove_file(SOCKET).unwrap();
}
