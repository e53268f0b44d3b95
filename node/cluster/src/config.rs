//! The configuration file of a node, in TOML. Unknown keys are errors.

mod account;
mod audit;
mod check;
mod lmtp;
mod logging;

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use conclave_api::problem::{Code, Location, Problem};
use conclave_edge::socket::limits::DATAGRAM_IDLE;
use conclave_keys::Unlock;
use conclave_store::{
    id::{DomainName, NodeName},
    record::TlsVersion,
};
use conclave_tls::CIPHER_SUITES;
use serde::Deserialize;

use crate::tls_names;
use audit::AuditSection;
use lmtp::LmtpSection;
use logging::LogSection;

pub(crate) use audit::SyslogServer;
pub(crate) use logging::Logging;

const FILE_BYTES_MAX: u64 = 1024 * 1024;
const ADMIN_NAMES_MAX: usize = 32;
/// Default for `keep_log_mib`: more than a minute of the fastest writes, in which a member can
/// install a snapshot of 100,000 domains.
const KEEP_LOG_MIB: u32 = 256;
/// Most domains with metrics of their own, unless the configuration says otherwise.
const PER_DOMAIN_MAX: u64 = 10_000;

/// The effective settings, with defaults filled in.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name of this node.
    pub name: NodeName,
    /// Data directory: everything of this node except its unlock key.
    pub data_dir: PathBuf,
    /// Addresses of this host for listeners; empty: all.
    pub addresses: Vec<IpAddr>,
    /// Name of the local domain that serves clients which ask for no known name.
    pub main_domain: DomainName,
    /// UDP address for other nodes (QUIC).
    pub cluster_bind: SocketAddr,
    /// Address (`HOST:PORT`) of this node for other nodes. Default: the bind address, or this
    /// host's outgoing address if the bind address is unspecified.
    pub(crate) cluster_advertise: Option<String>,
    /// Raft election timeout.
    pub(crate) election_timeout: Duration,
    /// Most bytes of the log kept for members that lag behind.
    pub(crate) keep_log_bytes: u64,
    /// Whether an upgrade is finalized only by `cluster upgrade --finalize`.
    pub is_finalized_by_hand: bool,
    /// Unix socket of the admin API.
    pub admin_socket: PathBuf,
    /// TCP address of the admin API over HTTPS; none: off.
    pub admin_bind: Option<SocketAddr>,
    /// Names and addresses by which clients reach the admin API, besides those that the node finds.
    pub(crate) admin_names: Vec<String>,
    /// TCP address of the public certificate pages over HTTP; none: off.
    pub public_bind: Option<SocketAddr>,
    /// TCP address on this machine of the page and API for owners of accounts, over HTTP with a
    /// PROXY header; none: off.
    pub account_bind: Option<SocketAddr>,
    /// Where owners reach it, as `https://accounts.example`; none: not known.
    pub account_url: Option<String>,
    /// TCP address of health and metrics over HTTP; none: off.
    pub health_bind: Option<SocketAddr>,
    /// Whether the metrics list each domain.
    pub per_domain: PerDomain,
    /// File for a copy of the audit trail; none: no copy.
    pub audit_file: Option<PathBuf>,
    /// Size at which that file is put aside.
    pub(crate) audit_file_bytes: u64,
    /// Syslog server for a copy of the audit trail; none: no copy.
    pub(crate) audit_syslog: Option<SyslogServer>,
    /// Oldest accepted TLS version of this node, even if the cluster accepts older ones.
    pub tls_version_min: TlsVersion,
    /// The only accepted cipher suites of this node, by their IANA names; empty: those of the
    /// cluster.
    pub tls_cipher_suites: Vec<String>,
    /// Idle timeout of DTLS sessions.
    pub dtls_idle_timeout: Duration,
    /// Unix sockets, or directories of unix sockets, that upstreams may name; empty: none.
    pub upstream_unix: Vec<PathBuf>,
    /// Settings of the LMTP proxy; none: off.
    pub lmtp: Option<conclave_mail::Settings>,
    /// Place of the unlock key.
    pub unlock: Unlock,
    /// What is logged, and how.
    pub log: Logging,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    node: NodeSection,
    #[serde(default)]
    cluster: ClusterSection,
    #[serde(default)]
    admin: AdminSection,
    #[serde(default)]
    public: PublicSection,
    #[serde(default)]
    account: account::Section,
    #[serde(default)]
    health: HealthSection,
    #[serde(default)]
    audit: AuditSection,
    #[serde(default)]
    tls: TlsSection,
    #[serde(default)]
    dtls: DtlsSection,
    #[serde(default)]
    upstream: UpstreamSection,
    #[serde(default)]
    lmtp: LmtpSection,
    #[serde(default)]
    keyring: KeyringSection,
    #[serde(default)]
    log: LogSection,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeSection {
    name: String,
    data_dir: PathBuf,
    #[serde(default)]
    addresses: Vec<IpAddr>,
    main_domain: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct ClusterSection {
    bind: Option<SocketAddr>,
    advertise: Option<String>,
    election_timeout: Option<String>,
    keep_log_mib: Option<u32>,
    finalize: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct AdminSection {
    socket: Option<PathBuf>,
    bind: Option<SocketAddr>,
    #[serde(default)]
    names: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct PublicSection {
    bind: Option<SocketAddr>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct HealthSection {
    bind: Option<SocketAddr>,
    #[serde(default)]
    per_domain_metrics: PerDomain,
}

/// Whether the metrics have series for each domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum PerDomain {
    /// Up to 10,000 domains.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

impl PerDomain {
    /// Returns whether they have with this number of domains.
    pub fn is_on(self, domains: u64) -> bool {
        match self {
            PerDomain::Auto => domains <= PER_DOMAIN_MAX,
            PerDomain::On => true,
            PerDomain::Off => false,
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct TlsSection {
    min_version: Option<String>,
    #[serde(default)]
    cipher_suites: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct DtlsSection {
    idle_timeout: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct UpstreamSection {
    #[serde(default)]
    unix: Vec<PathBuf>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct KeyringSection {
    unlock: Option<String>,
}

impl Config {
    /// Reads and checks the file. The problem of a syntax error names line and column.
    pub fn read(path: &Path) -> Result<Config, Problem> {
        let shown = path.display().to_string();
        let too_large = std::fs::metadata(path).is_ok_and(|meta| meta.len() > FILE_BYTES_MAX);
        if too_large {
            return Err(Problem::new(
                Code::ConfigurationInvalid,
                format!("{shown} is larger than 1 MiB"),
            ));
        }
        let text = std::fs::read_to_string(path).map_err(|error| {
            Problem::new(
                Code::ConfigurationInvalid,
                format!("cannot read the configuration file {shown}"),
            )
            .detail(error.to_string())
            .hint("conclave config init    prints one to start from")
        })?;
        let file = toml::from_str(&text).map_err(|error| syntax_problem(&shown, &text, &error))?;
        Config::settle(file, path)
    }

    fn settle(file: File, path: &Path) -> Result<Config, Problem> {
        let name = NodeName::parse(&file.node.name)
            .map_err(|error| setting_problem("[node] name", error))?;
        let main_domain = file.node.main_domain.unwrap_or_else(|| name.to_string());
        let main_domain = DomainName::parse(&main_domain)
            .map_err(|error| setting_problem("[node] main_domain", error))?;
        let election_timeout = match file.cluster.election_timeout {
            Some(text) => {
                let (setting, least) = ("[cluster] election_timeout", Duration::from_millis(100));
                timeout(setting, &text, least, Duration::from_secs(60))?
            }
            None => Duration::from_millis(300),
        };
        let dtls_idle_timeout = datagram_idle(file.dtls.idle_timeout.as_deref())?;
        if !file.node.data_dir.is_absolute() {
            let found = file.node.data_dir.display();
            return Err(setting_problem("[node] data_dir", format!("{found} is not absolute")));
        }
        let unlock = unlock(file.keyring.unlock.as_deref(), path, &name, &file.node.data_dir)?;
        let tls_version_min = match &file.tls.min_version {
            Some(text) => tls_names::version(text)
                .map_err(|problem| tls_problem("[tls] min_version", problem))?,
            None => TlsVersion::V1_2,
        };
        let suites = Some(file.tls.cipher_suites.as_slice());
        let tls_cipher_suites = tls_names::names("cipher suite", suites, &CIPHER_SUITES, &[])
            .map_err(|problem| tls_problem("[tls] cipher_suites", problem))?;
        if let Some(path) = file.upstream.unix.iter().find(|path| !path.is_absolute()) {
            let why = format!("{} is not absolute", path.display());
            return Err(setting_problem("[upstream] unix", why));
        }
        let (audit_file_bytes, audit_syslog) = file.audit.check()?;
        let default_bind = SocketAddr::from(([0, 0, 0, 0], 7444));
        let default_socket = PathBuf::from("/run/conclave/admin.sock");
        Ok(Config {
            name,
            data_dir: file.node.data_dir,
            addresses: file.node.addresses,
            main_domain,
            cluster_bind: file.cluster.bind.unwrap_or(default_bind),
            cluster_advertise: file.cluster.advertise,
            election_timeout,
            keep_log_bytes: u64::from(file.cluster.keep_log_mib.unwrap_or(KEEP_LOG_MIB)) << 20,
            is_finalized_by_hand: is_by_hand(file.cluster.finalize.as_deref())?,
            admin_socket: file.admin.socket.unwrap_or(default_socket),
            admin_bind: file.admin.bind,
            admin_names: admin_names(file.admin.names)?,
            public_bind: file.public.bind,
            account_bind: file.account.bind()?,
            account_url: file.account.url()?,
            health_bind: file.health.bind,
            per_domain: file.health.per_domain_metrics,
            audit_file: file.audit.file,
            audit_file_bytes,
            audit_syslog,
            tls_version_min,
            tls_cipher_suites,
            dtls_idle_timeout,
            upstream_unix: file.upstream.unix,
            lmtp: file.lmtp.check()?,
            unlock,
            log: Logging::settle(file.log)?,
        })
    }
}

impl Config {
    /// Returns the names of the settings that differ.
    pub fn differences(&self, other: &Config) -> Vec<&'static str> {
        let all = [
            ("[node] name", self.name == other.name),
            ("[node] data_dir", self.data_dir == other.data_dir),
            ("[node] addresses", self.addresses == other.addresses),
            ("[node] main_domain", self.main_domain == other.main_domain),
            ("[cluster] bind", self.cluster_bind == other.cluster_bind),
            ("[cluster] advertise", self.cluster_advertise == other.cluster_advertise),
            ("[cluster] election_timeout", self.election_timeout == other.election_timeout),
            ("[cluster] keep_log_mib", self.keep_log_bytes == other.keep_log_bytes),
            ("[cluster] finalize", self.is_finalized_by_hand == other.is_finalized_by_hand),
            ("[admin] socket", self.admin_socket == other.admin_socket),
            ("[admin] bind", self.admin_bind == other.admin_bind),
            ("[admin] names", self.admin_names == other.admin_names),
            ("[public] bind", self.public_bind == other.public_bind),
            ("[account] bind", self.account_bind == other.account_bind),
            ("[account] url", self.account_url == other.account_url),
            ("[health] bind", self.health_bind == other.health_bind),
            ("[health] per_domain_metrics", self.per_domain == other.per_domain),
            ("[audit] file", self.audit_file == other.audit_file),
            ("[audit] file_mib", self.audit_file_bytes == other.audit_file_bytes),
            ("[audit] syslog", self.audit_syslog == other.audit_syslog),
            ("[tls] min_version", self.tls_version_min == other.tls_version_min),
            ("[tls] cipher_suites", self.tls_cipher_suites == other.tls_cipher_suites),
            ("[dtls] idle_timeout", self.dtls_idle_timeout == other.dtls_idle_timeout),
            ("[upstream] unix", self.upstream_unix == other.upstream_unix),
            ("[lmtp]", self.lmtp == other.lmtp),
            ("[keyring] unlock", self.unlock == other.unlock),
            ("[log] level", self.log.level == other.log.level),
            ("[log] format", self.log.format == other.log.format),
            ("[log] otlp", self.log.otlp == other.log.otlp),
            ("[log] connections", self.log.access.every == other.log.access.every),
            ("[log] connection_listeners", self.log.access.listeners == other.log.access.listeners),
        ];
        all.into_iter().filter(|(_, is_same)| !is_same).map(|(name, _)| name).collect()
    }
}

fn datagram_idle(text: Option<&str>) -> Result<Duration, Problem> {
    let (least, most) = (Duration::from_secs(1), Duration::from_secs(24 * 60 * 60));
    match text {
        Some(text) => timeout("[dtls] idle_timeout", text, least, most),
        None => Ok(DATAGRAM_IDLE),
    }
}

/// Checks the names for the certificate of the admin API.
fn admin_names(names: Vec<String>) -> Result<Vec<String>, Problem> {
    let setting = "[admin] names";
    if names.len() > ADMIN_NAMES_MAX {
        return Err(setting_problem(setting, format!("more than {ADMIN_NAMES_MAX}")));
    }
    let is_wrong = |name: &&String| name.contains('@') || !conclave_pki::issue::is_name(name);
    match names.iter().find(is_wrong) {
        Some(wrong) => {
            let why = format!("{wrong:?} is neither a DNS name nor an IP address");
            Err(setting_problem(setting, why))
        }
        None => Ok(names),
    }
}

/// Parses how upgrades are finalized.
fn is_by_hand(finalize: Option<&str>) -> Result<bool, Problem> {
    match finalize {
        None | Some("automatic") => Ok(false),
        Some("manual") => Ok(true),
        Some(other) => Err(setting_problem(
            "[cluster] finalize",
            format!("{other:?} is neither \"automatic\" nor \"manual\""),
        )),
    }
}

/// Parses a duration such as `300ms`, `10m` or `1h` and checks its bounds.
fn timeout(
    setting: &str,
    text: &str,
    least: Duration,
    most: Duration,
) -> Result<Duration, Problem> {
    let time = text.parse::<jiff::SignedDuration>().ok();
    match time.and_then(|time| Duration::try_from(time).ok()) {
        Some(time) if (least..=most).contains(&time) => Ok(time),
        Some(_) => {
            Err(setting_problem(setting, format!("{text} is not within {least:?} and {most:?}")))
        }
        None => {
            Err(setting_problem(setting, format!("invalid duration {text:?}, expected e.g. 300ms")))
        }
    }
}

fn unlock(
    unlock: Option<&str>,
    config: &Path,
    name: &NodeName,
    data_dir: &Path,
) -> Result<Unlock, Problem> {
    let setting = "[keyring] unlock";
    let unlock = match unlock {
        None => {
            let absolute =
                std::path::absolute(config).map_err(|error| setting_problem(setting, error))?;
            Unlock::File(absolute.with_file_name(format!("{name}.unlock.key")))
        }
        Some(text) => Unlock::parse(text).map_err(|why| setting_problem(setting, why))?,
    };
    match &unlock {
        Unlock::File(path) if path.starts_with(data_dir) => {
            let why = "the unlock key lies inside data_dir, where it would protect nothing";
            Err(setting_problem(setting, why))
        }
        _ => Ok(unlock),
    }
}

/// Makes the problem of a setting.
pub fn setting_problem(setting: &str, why: impl std::fmt::Display) -> Problem {
    Problem::new(Code::ConfigurationInvalid, format!("{setting}: {why}"))
}

/// Turns a problem of a cluster setting into one of the same setting in this file.
fn tls_problem(setting: &str, problem: Problem) -> Problem {
    Problem {
        title: format!("{setting}: {}", problem.title),
        code: Code::ConfigurationInvalid,
        ..problem
    }
}

fn syntax_problem(file: &str, text: &str, error: &toml::de::Error) -> Problem {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.get(..start).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    // A private key that was pasted into this file must not appear in a message.
    let has_pem = text.contains("-----BEGIN ");
    let message = match has_pem {
        true => "keys and certificates do not belong into this file",
        false => error.message().lines().next().unwrap_or_default(),
    };
    Problem::new(Code::ConfigurationInvalid, format!("{file}:{line}:{column}: {message}"))
        .at(Location {
            file: file.to_owned(),
            line: u64::try_from(line).unwrap_or(u64::MAX),
            text: text.lines().nth(line - 1).filter(|_| !has_pem).map(ToOwned::to_owned),
        })
        .hint("conclave config init    prints every setting with its default")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, Problem> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.toml");
        std::fs::write(&path, text).unwrap();
        Config::read(&path)
    }

    #[test]
    fn an_unknown_key_is_shown_with_line_and_column() {
        let problem =
            read("[node]\nname = \"n1\"\ndata_dir = \"/tmp/x\"\n[cluster]\nbimd = \"a\"\n")
                .unwrap_err();
        assert_eq!(problem.code, Code::ConfigurationInvalid);
        assert!(problem.title.contains("node.toml:5:1"), "{}", problem.title);
        assert!(problem.title.contains("bimd"), "{}", problem.title);
    }

    #[test]
    fn wrong_values_are_refused_by_name() {
        let check = |text: &str, expected: &str| {
            let problem = read(text).unwrap_err();
            assert!(problem.title.contains(expected), "{}", problem.title);
        };
        let node = "[node]\nname = \"n1\"\ndata_dir = \"/tmp/x\"\n";
        check("[node]\nname = \"n 1\"\ndata_dir = \"/tmp/x\"\n", "[node] name");
        check("[node]\nname = \"n1\"\ndata_dir = \"x\"\n", "[node] data_dir");
        check(&format!("{node}[keyring]\nunlock = \"file:/tmp/x/k\"\n"), "inside data_dir");
        check(&format!("{node}[keyring]\nunlock = \"k\"\n"), "file:PATH");
        check(&format!("{node}[cluster]\nelection_timeout = \"1ms\"\n"), "not within");
        check(&format!("{node}[log]\nformat = \"xml\"\n"), "none of auto");
        check(&format!("{node}[audit]\nsyslog = \"log:514\"\n"), "[audit] syslog: \"log:514\"");
        check(&format!("{node}[log]\nlevel = \"loud\"\n"), "[log] level: \"loud\" is none of");
        check(&format!("{node}[log]\nconnections = \"some\"\n"), "[log] connections");
        check(&format!("{node}[log]\nconnections = \"sample:0\"\n"), "[log] connections");
        let listeners = "[log]\nconnection_listeners = [\"a b\"]\n";
        check(&format!("{node}{listeners}"), "[log] connection_listeners");
        check(&format!("{node}[tls]\nmin_version = \"1.1\"\n"), "[tls] min_version: TLS 1.1");
        check(&format!("{node}[tls]\ncipher_suites = [\"RC4\"]\n"), "[tls] cipher_suites");
        check(&format!("{node}[dtls]\nidle_timeout = \"10ms\"\n"), "[dtls] idle_timeout");
        check(&format!("{node}[dtls]\nidle_timeout = \"long\"\n"), "invalid duration");
        check(&format!("{node}[upstream]\nunix = [\"app.sock\"]\n"), "[upstream] unix");
        let lmtp = |lines: &str| format!("{node}[lmtp]\n{lines}\n");
        let both = "listen = \"127.0.0.1:2424\"\nupstream = \"unix:/run/lmtp\"";
        check(&lmtp("upstream = \"127.0.0.1:24\""), "[lmtp] listen");
        check(&lmtp("listen = \"192.0.2.1:24\""), "[lmtp] listen: 192.0.2.1:24 is not a loopback");
        check(&lmtp("listen = \"127.0.0.1:24\""), "[lmtp] upstream");
        check(&lmtp("listen = \"unix:/a\"\nupstream = \"unix:/a\""), "is the proxy itself");
        check(&lmtp(&format!("{both}\ncipher = \"des\"")), "[lmtp] cipher");
        check(&lmtp(&format!("{both}\nwithout_certificate = \"ask\"")), "without_certificate");
        assert!(read(&lmtp(both)).unwrap().lmtp.is_some());
    }

    #[test]
    fn the_unlock_key_lies_beside_the_configuration_file_by_default() {
        let config = read("[node]\nname = \"n1\"\ndata_dir = \"/tmp/x\"\n").unwrap();
        assert!(config.unlock.path().unwrap().ends_with("n1.unlock.key"));
        assert_eq!(config.main_domain.as_str(), "n1");
    }
}
