//! What can be said about a node from its machine alone, whether it runs or not.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::UnixStream,
    },
    path::{Path, PathBuf},
};

use conclave_api::{
    finding::{Finding, Severity},
    problem::{Code, Problem},
};
use conclave_cluster::config::Config;
use conclave_keys::{LockError, NodeKeys, Unlock};
use conclave_system::files;
use rustix::{
    net::UCred,
    process::{Resource, getrlimit},
};

/// Descriptors that a node wants: two for each connection, and some for itself.
const DESCRIPTORS_WANTED: u64 = 65_536;
/// Next step where this user may not look.
const AS_NODE: &str = "run it as root, or as the user of the node: sudo conclave doctor";
/// Free space below which a disk is said to fill up; less on a small disk.
const FREE_BYTES_MIN: u64 = 256 * 1024 * 1024;

/// What was found about a node on its machine.
#[derive(Debug, Default)]
pub struct Examination {
    /// What is right, in sentences.
    pub right: Vec<String>,
    /// What is not.
    pub findings: Vec<Finding>,
    /// The admin socket of the node, if its configuration can be read.
    pub socket: Option<PathBuf>,
    /// Whether a node answers there.
    pub is_running: bool,
}

impl Examination {
    fn add(&mut self, severity: Severity, code: Code, text: String, hint: Option<String>) {
        self.findings.push(Finding { code, severity, text, hint });
    }

    fn warn(&mut self, code: Code, text: String, hint: impl Into<String>) {
        self.add(Severity::Warning, code, text, Some(hint.into()));
    }

    fn refused(&mut self, problem: Problem) {
        let detail = problem.detail.map(|detail| format!(" ({detail})")).unwrap_or_default();
        let text = format!("configuration: {}{detail}", problem.title);
        self.add(Severity::Error, problem.code, text, problem.hint);
    }
}

/// Examines a node by its configuration file. Changes nothing.
pub(crate) fn examine(path: &Path) -> Examination {
    let mut found = Examination::default();
    let config = match Config::read(path) {
        Ok(config) => config,
        Err(problem) => {
            found.refused(problem);
            return found;
        }
    };
    let checked = config.check_machine().and_then(|()| config.check_addresses());
    match checked {
        Ok(()) => found.right.push(format!("configuration {}", path.display())),
        Err(problem) => found.refused(problem),
    }
    directory(&mut found, &config);
    let process = process(&mut found, &config);
    if let Some(process) = &process {
        owner(&mut found, &config, process.uid.as_raw());
    }
    unlock_key(&mut found, &config);
    audit_file(&mut found, &config);
    descriptors(&mut found, process.map(|process| process.pid.as_raw_nonzero().get()));
    found.socket = Some(config.admin_socket);
    found
}

fn directory(found: &mut Examination, config: &Config) {
    let (dir, shown) = (&config.data_dir, config.data_dir.display());
    let looked = std::fs::metadata(dir).and_then(|meta| Ok((meta, conclave_disk::space(dir)?)));
    let (meta, space) = match looked {
        Ok(looked) => looked,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let text = "does not exist yet: the first start makes it";
            return found.right.push(format!("data directory {shown} {text}"));
        }
        Err(error) => {
            let text = format!("data directory {shown} was not looked at: {error}");
            return found.warn(Code::DataUnusable, text, AS_NODE);
        }
    };
    let mode = meta.permissions().mode() & 0o777;
    if files::rights_of_others(dir).is_some() {
        let text = format!("data directory {shown}: other users can enter it (mode {mode:o})");
        found.warn(Code::DataUnusable, text, format!("chmod 700 {shown}"));
    }
    let free = in_units(space.free);
    match space.free < space.reserve(FREE_BYTES_MIN) {
        true => {
            let hint = format!("make room on the disk of {shown}");
            found.warn(Code::DiskFull, format!("data directory {shown}: {free} free"), hint);
        }
        false => found.right.push(format!("data directory {shown} mode {mode:04o}, {free} free")),
    }
}

/// Judges what the next start finds to open the secrets of the node with.
fn unlock_key(found: &mut Examination, config: &Config) {
    let unlock = &config.unlock;
    let path = unlock.path();
    if path.is_none() && matches!(unlock, Unlock::Credential(_)) {
        let text = format!("unlock key: {unlock} exists only in the unit, so it was not looked at");
        return found.add(Severity::Note, Code::Sealed, text, None);
    }
    let opened = path.as_ref().map(File::open);
    if let Some(Err(error)) = &opened
        && error.kind() != ErrorKind::NotFound
    {
        let text = format!("unlock key {unlock} was not looked at: {error}");
        return found.warn(Code::Sealed, text, AS_NODE);
    }
    match NodeKeys::obstacle(&config.data_dir, unlock) {
        // The check of the configuration has said it.
        Err(_) => {}
        Ok(Some(LockError::NoKey(why))) => {
            let name = &config.name;
            let otherwise = match found.is_running {
                true => "conclave keyring rekey --passphrase".to_owned(),
                false => format!("conclave node remove {name} on another node, and join anew"),
            };
            let hint = format!("put back the copy of the unlock key; without one: {otherwise}");
            let text = format!("unlock key: {why}: the next start is sealed and serves no TLS");
            found.add(Severity::Error, Code::Sealed, text, Some(hint));
        }
        Ok(Some(why)) => {
            let hint = Some("conclave keyring unseal    after each start".to_owned());
            found.add(Severity::Note, Code::Sealed, format!("unlock key: {why}"), hint);
        }
        Ok(None) => rights_of_key(found, config, opened.and_then(Result::ok)),
    }
}

/// Judges the rights on an unlock key that opens the node, or will open a new one.
fn rights_of_key(found: &mut Examination, config: &Config, key: Option<File>) {
    let Some(key) = key.and_then(|key| key.metadata().ok()) else { return };
    let node = std::fs::metadata(&config.data_dir).map_or(key.uid(), |data| data.uid());
    let (shown, owner, mode) = (&config.unlock, key.uid(), key.mode() & 0o777);
    if let Some(exposed) = config.unlock.exposure_to(node) {
        return found.warn(Code::UnlockKeyExposed, exposed, "conclave explain S002");
    }
    let is_of_node = node == 0 || owner == node;
    if !is_of_node && mode & 0o040 == 0 {
        let text = format!(
            "unlock key {shown} is of uid {owner} with mode {mode:o}, and the node of uid {node}: \
             it cannot read the key, and the next start is sealed"
        );
        let hint = Some(format!("chown {node} {shown}"));
        return found.add(Severity::Error, Code::Sealed, text, hint);
    }
    if !is_of_node {
        let text = format!(
            "unlock key {shown} is readable for its group {}; whether uid {node} of the node is in \
             it was not looked at",
            key.gid()
        );
        return found.add(Severity::Note, Code::Sealed, text, None);
    }
    found.right.push(format!("unlock key {shown} opens the node, mode {mode:04o}"));
}

/// Judges whether the data directory is that of the user whose node runs.
fn owner(found: &mut Examination, config: &Config, node: u32) {
    let shown = config.data_dir.display();
    let owner = std::fs::metadata(&config.data_dir).map(|data| data.uid());
    // Root may do everything. What could not be looked at was said.
    if let Some(owner) = owner.ok().filter(|owner| node != 0 && *owner != node) {
        let text = format!("data directory {shown} is of uid {owner}, and the node runs as {node}");
        found.warn(Code::DataUnusable, text, format!("chown -R {node} {shown}"));
    }
}

/// Judges the place of the copy of the audit trail.
fn audit_file(found: &mut Examination, config: &Config) {
    let Some(file) = &config.audit_file else { return };
    let dir = file.parent().unwrap_or(Path::new("/"));
    let text = format!("audit file {}", file.display());
    match std::fs::metadata(dir) {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => found.warn(
            Code::FileUnusable,
            format!("{text}: {} is no directory", dir.display()),
            "[audit] file: a file in a directory that the node can write to",
        ),
        Err(error) if error.kind() == ErrorKind::NotFound => found.warn(
            Code::FileUnusable,
            format!("{text}: {} does not exist, and no copy is written", dir.display()),
            format!("mkdir {0} && chown USER-OF-THE-NODE {0}", dir.display()),
        ),
        Err(error) => {
            found.warn(Code::FileUnusable, format!("{text} was not looked at: {error}"), AS_NODE);
        }
    }
}

/// Returns the process that answers at the admin socket.
fn process(found: &mut Examination, config: &Config) -> Option<UCred> {
    let shown = config.admin_socket.display();
    let stream = match UnixStream::connect(&config.admin_socket) {
        Ok(stream) => stream,
        Err(error) => {
            let (text, hint) = unanswered(&error);
            let text = format!("{text} at {shown} ({error}): only this machine is looked at");
            found.warn(Code::NodeUnreachable, text, hint);
            return None;
        }
    };
    found.is_running = true;
    let peer = rustix::net::sockopt::socket_peercred(&stream).ok();
    let named = peer.map(|peer| format!(", process {}", peer.pid.as_raw_nonzero()));
    found.right.push(format!("node {} runs{}", config.name, named.unwrap_or_default()));
    peer
}

/// Says what it means that a socket was not reached, and what to do.
fn unanswered(error: &io::Error) -> (&'static str, &'static str) {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            ("no node answers", "systemctl start conclave    or: conclave server run --config FILE")
        }
        _ => ("it is not known whether a node answers", AS_NODE),
    }
}

/// Judges the limit of descriptors: of the running node, or of this shell, which is not that of a
/// service.
fn descriptors(found: &mut Examination, process: Option<i32>) {
    let limits =
        process.and_then(|process| std::fs::read_to_string(format!("/proc/{process}/limits")).ok());
    let (whose, limit) = match limits.as_deref().and_then(open_files) {
        Some(limit) => ("of the node", limit),
        // A node raises its limit to the hard one.
        None => ("here", getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)),
    };
    let text = format!("open files: limit {limit} {whose}");
    match limit < DESCRIPTORS_WANTED {
        true => {
            let text = format!("{text}, {DESCRIPTORS_WANTED} wanted");
            found.warn(Code::ConfigurationInvalid, text, "in the unit: LimitNOFILE=1048576");
        }
        false => found.right.push(text),
    }
}

/// Returns the limit of descriptors in a text of /proc/PID/limits (proc(5)).
fn open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let limit = line.split_whitespace().next()?;
    if limit == "unlimited" { Some(u64::MAX) } else { limit.parse().ok() }
}

fn in_units(bytes: u64) -> String {
    match bytes >> 30 {
        0 => format!("{} MiB", bytes >> 20),
        gib => format!("{gib} GiB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_node_is_examined_on_its_machine() {
        let dir = tempfile::tempdir().unwrap();
        let (path, shown) = (dir.path().join("node.toml"), dir.path().display());
        let text = format!(
            "[node]\nname = \"n1\"\ndata_dir = \"{shown}/data\"\n[admin]\nsocket = \"{shown}/s\"\n"
        );
        std::fs::write(&path, &text).unwrap();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        let mode = |mode| {
            let rights = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(dir.path().join("data"), rights).unwrap();
            let found = examine(&path);
            assert!(!found.is_running && found.socket == Some(dir.path().join("s")));
            found.findings.into_iter().map(|one| one.code).collect::<Vec<_>>()
        };
        assert!(!mode(0o700).contains(&Code::DataUnusable));
        assert!(mode(0o755).contains(&Code::DataUnusable));
        assert!(mode(0o700).contains(&Code::NodeUnreachable));
        let audit = format!("{text}[audit]\nfile = \"{shown}/none/audit.jsonl\"\n");
        std::fs::write(&path, audit).unwrap();
        assert!(mode(0o700).contains(&Code::FileUnusable));
        std::fs::create_dir(dir.path().join("none")).unwrap();
        assert!(!mode(0o700).contains(&Code::FileUnusable));
        std::fs::write(&path, "[node]\n").unwrap();
        let found = examine(&path);
        assert!(found.socket.is_none() && found.findings.len() == 1, "{found:?}");
    }

    #[test]
    fn the_limit_of_another_process_is_read() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
            Max open files            1024                 524288               files     \n";
        assert_eq!(open_files(limits), Some(1024));
        assert_eq!(open_files("Max open files  unlimited  unlimited  files"), Some(u64::MAX));
        assert_eq!(open_files("Max processes  1  1"), None);
        assert_eq!((in_units(41 << 30), in_units(12 << 20)), ("41 GiB".into(), "12 MiB".into()));
    }
}
