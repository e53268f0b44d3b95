//! Strangers who only know docs/openapi.json: a client that a generator made, and schemathesis.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use conclave_tests::{Cluster, Node, Pair, has_program};

/// Seconds for schemathesis, if `CONCLAVE_CONTRACT_SECONDS` does not say.
const SECONDS: &str = "60";
const DOMAINS: [&str; 3] = ["a.example", "b.example", "xn--bcher-kva.example"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The programs of tests/contract/requirements.txt; none, with the reason said, if they are missing.
fn programs() -> Option<PathBuf> {
    let found = std::env::var_os("CONCLAVE_CONTRACT").map(PathBuf::from);
    if found.is_none() {
        assert!(std::env::var_os("CONCLAVE_TEST_ALL").is_none(), "no programs that read OpenAPI");
        println!("SKIPPED: no programs that read OpenAPI: tests/contract/run installs them");
    }
    found.filter(|_| has_program("openssl"))
}

/// What a stranger is told: where the node is, by what authority, and a token.
struct Told {
    url: String,
    authority: String,
    token: String,
    id: String,
}

fn url(node: &Node) -> String {
    let said = node.said();
    said.split_whitespace().find(|word| word.starts_with("https://")).unwrap().to_owned()
}

fn told(node: &Node) -> Told {
    let role = ["--role", "admin,operator,security"];
    let made = node.run(&[&["token", "create", "stranger", "-o", "json"], &role[..]].concat());
    let made = made.json();
    let token = made["token"].as_str().unwrap();
    // The authority comes with the node's certificate, and its fingerprint with the token.
    let url = url(node);
    let show = ["s_client", "-showcerts", "-connect", url.strip_prefix("https://").unwrap()];
    let shown = Command::new("openssl").args(show).stdin(std::process::Stdio::null()).output();
    let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
    let end = "-----END CERTIFICATE-----\n";
    let last = shown.rsplit_once(end).unwrap().0.rsplit_once("-----BEGIN").unwrap().1;
    let authority = node.file("authority.pem", format!("-----BEGIN{last}{end}").as_bytes());
    let digest = ["x509", "-noout", "-fingerprint", "-sha256", "-in", &authority];
    let digest = Command::new("openssl").args(digest).output().unwrap().stdout;
    let digest = String::from_utf8(digest).unwrap().replace(':', "").to_lowercase();
    let (token, fingerprint) = token.rsplit_once('.').unwrap();
    assert!(digest.contains(fingerprint), "{digest} {fingerprint}");
    let id = made["id"].as_str().unwrap().to_owned();
    Told { url, authority, token: token.to_owned(), id }
}

impl Told {
    /// A program of the virtual environment, which is told all this.
    fn program(&self, programs: &Path, name: &str) -> Command {
        let paths = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(programs.join(name));
        command
            .env("PATH", paths)
            .env("CONCLAVE_URL", &self.url)
            .env("CONCLAVE_CA", &self.authority)
            .env("CONCLAVE_TOKEN", &self.token)
            .env("CONCLAVE_TOKEN_ID", &self.id);
        command
    }
}

fn run(command: &mut Command) {
    let ran = command.output().unwrap();
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    println!("{}{}", shown(&ran.stdout), shown(&ran.stderr));
    assert!(ran.status.success(), "{command:?}: {}", ran.status);
}

#[test]
fn a_client_made_from_the_document_cares_for_a_domain() {
    let Some(programs) = programs() else { return };
    let cluster = Cluster::start(3);
    let told = told(&cluster.nodes[0]);
    let (dir, document) = (cluster.dir.path(), root().join("docs/openapi.json"));
    run(told.program(&programs, "openapi-spec-validator").arg(&document));
    let generate = ["generate", "--meta", "none", "--fail-on-warning", "--output-path"];
    let mut generator = told.program(&programs, "openapi-python-client");
    run(generator.args(generate).arg(dir.join("client")).arg("--path").arg(&document));
    let stranger = root().join("tests/contract/stranger.py");
    run(told.program(&programs, "python").arg(stranger).env("PYTHONPATH", dir));
}

/// Writes words for schemathesis, one a line.
fn words(dir: &Path, name: &str, words: &[String]) {
    let lines = words.iter().map(|word| format!("{word:?}\n"));
    std::fs::write(dir.join(name), lines.collect::<String>()).unwrap();
}

#[test]
fn schemathesis_finds_no_failure_and_nothing_that_the_document_does_not_have() {
    let Some(programs) = programs() else { return };
    let cluster = Cluster::start(3);
    let one = &cluster.nodes[0];
    let told = told(one);
    let dir = cluster.dir.path().join("contract");
    std::fs::create_dir(&dir).unwrap();
    for file in ["schemathesis.toml", "hooks.py"] {
        std::fs::copy(root().join("tests/contract").join(file), dir.join(file)).unwrap();
    }
    let pairs = DOMAINS.map(Pair::make);
    words(&dir, "domains.dict", &DOMAINS.map(str::to_owned));
    words(&dir, "certificates.dict", &pairs.each_ref().map(Pair::bundle));
    words(&dir, "keys.dict", &pairs.each_ref().map(|pair| pair.key.clone()));
    let key = dir.join("backup.key");
    let recipient = one.run(&["-q", "backup", "keygen", "--out", key.to_str().unwrap()]).ok();
    words(&dir, "recipients.dict", &[recipient.trim().to_owned()]);
    let seconds = std::env::var("CONCLAVE_CONTRACT_SECONDS").unwrap_or(SECONDS.to_owned());
    let mut program = told.program(&programs, "schemathesis");
    let options = ["--no-color", "--continue-on-failure", "--max-time", &seconds];
    program.current_dir(&dir).env("SCHEMATHESIS_HOOKS", "hooks").arg("run").args(options);
    program.args(["--url", &told.url, "--tls-verify", &told.authority]);
    run(program.arg(root().join("docs/openapi.json")));
}
