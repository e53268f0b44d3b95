//! Contexts of the command line: clusters with names.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use conclave_tests::{Cluster, Node, binary};

struct Home(PathBuf);

impl Home {
    /// Runs a command of a user with this home: its exit code, output and errors.
    fn run(&self, words: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(binary("conclave"));
        command.env("HOME", &self.0).env_remove("XDG_CONFIG_HOME").env_remove("CONCLAVE_ADDRESS");
        let output = command.env_remove("CONCLAVE_TOKEN_FILE").args(words).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn ok(&self, words: &[&str]) -> String {
        let (code, out, err) = self.run(words);
        assert_eq!(code, 0, "{words:?}: {err}");
        out
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(".config/conclave").join(name)
    }
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

fn url(node: &Node) -> String {
    let said = node.said();
    said.split_whitespace().find(|word| word.starts_with("https://")).unwrap().to_owned()
}

#[test]
fn a_context_is_asked_and_keeps_a_session() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let home = Home(one.dir.join("home"));
    let password = one.file("password", b"correct horse battery");
    one.run(&["user", "create", "alice", "--role", "admin", "--password-file", &password]).ok();
    let fingerprint = one.status()["cluster"]["fingerprint"].as_str().unwrap().to_owned();
    let socket = format!("unix:{}", one.dir.join("admin.sock").display());
    // Without its authority nobody could tell this cluster from another one.
    let (code, _, told) = home.run(&["context", "add", "prod", "--nodes", &url(one)]);
    assert!(code == 2 && told.contains("--authority"), "{told}");
    home.ok(&["context", "add", "prod", "--nodes", &url(one), "--authority", &fingerprint]);
    home.ok(&["context", "add", "here", "--nodes", &socket]);
    let (code, _, told) = home.run(&["token", "whoami"]);
    assert!(code == 5 && told.contains("X003"), "no session yet: {told}");
    let told = home.ok(&["login", "alice", "--password-file", &password, "--save"]);
    assert!(told.starts_with("prod: logged in until") && !told.contains("cvt_"), "{told}");
    assert_eq!(home.ok(&["token", "whoami", "-o", "name"]).trim(), "user alice");
    assert!(home.ok(&["-c", "here", "token", "whoami", "-o", "name"]).starts_with("uid "));
    assert_eq!(
        (mode(&home.file("contexts.toml")), mode(&home.file("prod.session"))),
        (0o600, 0o600)
    );
    assert_eq!(home.ok(&["context", "list", "-o", "name"]), "here\nprod\n");
    let (code, _, told) = home.run(&["-c", "nowhere", "status"]);
    assert!(code == 3 && told.contains("no context"), "{told}");
    let (code, ..) = home.run(&["-c", "prod", "--address", &socket, "status"]);
    assert_eq!(code, 2, "either a context or an address");
    home.ok(&["logout"]);
    assert!(!home.file("prod.session").exists());
    assert_eq!(home.run(&["token", "whoami"]).0, 5);
    // A cluster that is not the one that was added gets nothing.
    let other = "00".repeat(32);
    home.ok(&["context", "add", "false", "--nodes", &url(one), "--authority", &other]);
    let (code, _, told) =
        home.run(&["-c", "false", "login", "alice", "--password-file", &password]);
    assert!(code == 6 && told.contains("X010"), "{told}");
    home.ok(&["context", "use", "here"]);
    home.ok(&["context", "remove", "prod"]);
    assert_eq!(home.ok(&["context", "list", "-o", "name"]), "false\nhere\n");
    std::fs::write(home.file("contexts.toml"), "nonsense").unwrap();
    let (code, _, told) = home.run(&["status"]);
    assert!(code == 2 && told.contains("contexts.toml"), "{told}");
}
