//! What can be said about a node from its machine alone, whether it runs or not.

use std::{
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
};

use conclave_api::{
    finding::{Finding, Severity},
    problem::{Code, Problem},
};
use conclave_system::files;
use rustix::process::{Resource, getrlimit};

use crate::config::Config;

/// Descriptors that a node wants: two for each connection, and some for itself.
const DESCRIPTORS_WANTED: u64 = 65_536;
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
    unlock_key(&mut found, &config);
    let process = process(&mut found, &config);
    descriptors(&mut found, process);
    found.socket = Some(config.admin_socket);
    found
}

fn directory(found: &mut Examination, config: &Config) {
    let (dir, shown) = (&config.data_dir, config.data_dir.display());
    let Ok(meta) = std::fs::metadata(dir) else {
        found
            .right
            .push(format!("data directory {shown} is not there yet: the first start makes it"));
        return;
    };
    let mode = meta.permissions().mode() & 0o777;
    if files::rights_of_others(dir).is_some() {
        let text = format!("data directory {shown}: other users can enter it (mode {mode:o})");
        found.add(Severity::Warning, Code::DataUnusable, text, Some(format!("chmod 700 {shown}")));
    }
    let Ok(space) = conclave_disk::space(dir) else { return };
    let free = in_units(space.free);
    match space.free < space.reserve(FREE_BYTES_MIN) {
        true => {
            let hint = format!("make room on the disk of {shown}");
            let text = format!("data directory {shown}: {free} free");
            found.add(Severity::Warning, Code::DiskFull, text, Some(hint));
        }
        false => found.right.push(format!("data directory {shown} mode {mode:04o}, {free} free")),
    }
}

fn unlock_key(found: &mut Examination, config: &Config) {
    let Some(path) = config.unlock.path().filter(|path| path.exists()) else { return };
    let shown = path.display();
    match files::rights_of_others(&path) {
        Some(mode) => {
            let text = format!("unlock key {shown}: other users can use it (mode {mode:o})");
            let hint = Some(format!("chmod 600 {shown}"));
            found.add(Severity::Warning, Code::UnlockKeyExposed, text, hint);
        }
        None => found.right.push(format!("unlock key {shown} is for its owner alone")),
    }
}

/// Returns the process that answers at the admin socket.
fn process(found: &mut Examination, config: &Config) -> Option<i32> {
    let shown = config.admin_socket.display();
    let answered = UnixStream::connect(&config.admin_socket);
    let peer = answered
        .as_ref()
        .ok()
        .and_then(|stream| rustix::net::sockopt::socket_peercred(stream).ok());
    match answered {
        Ok(_) => {
            found.is_running = true;
            let process = peer.map(|peer| peer.pid.as_raw_nonzero().get());
            let named = process.map(|process| format!(", process {process}")).unwrap_or_default();
            found.right.push(format!("node {} runs{named}", config.name));
            process
        }
        Err(error) => {
            let text =
                format!("no node answers at {shown} ({error}): only this machine is looked at");
            let hint = "systemctl start conclave    or: conclave server run --config FILE";
            found.add(Severity::Warning, Code::NodeUnreachable, text, Some(hint.to_owned()));
            None
        }
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
            let hint = Some("in the unit: LimitNOFILE=1048576".to_owned());
            found.add(Severity::Warning, Code::ConfigurationInvalid, text, hint);
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
        std::fs::write(&path, text).unwrap();
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
