//! Figures: what Conclave does, beside what its neighbours do in the same run.
#![allow(clippy::print_stdout, reason = "figures are for people")]

mod accounts;
mod audit;
mod backup;
mod disturbed;
mod dtls;
mod edge;
mod etcd;
mod failover;
mod haproxy;
mod measure;
mod metrics;
mod page;
mod served;
mod smime;
mod soak;
mod start;
mod writes;

use clap::{Parser, Subcommand};

/// Measures; `docs/benchmarks.md` says what came out.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    what: What,
    /// Seconds for each figure.
    #[arg(long, default_value_t = 5, global = true)]
    seconds: u64,
}

#[derive(Subcommand)]
enum What {
    /// Durable writes per second at 1, 16, 64, 256 in flight, beside etcd.
    Writes,
    /// kill -9 of the leader: time to the next acknowledged write, beside etcd.
    Failover {
        #[arg(long, default_value_t = 30)]
        kills: usize,
    },
    /// The same writes without and with the audit trail.
    Audit {
        /// Rounds of four measurements for each number of writes in flight.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
    },
    /// A scrape of the metrics of a node with many domains.
    Metrics {
        /// Domains with a key and a certificate each.
        #[arg(long, default_value_t = 100_000)]
        domains: usize,
    },
    /// The web page of a node with many domains, in a browser with an empty cache.
    Page {
        /// Domains with a key and a certificate each.
        #[arg(long, default_value_t = 100_000)]
        domains: usize,
    },
    /// Time from a request to its being served on all nodes.
    Served,
    /// Writes while snapshots are made, the log is purged, a member installs a snapshot; and an
    /// election meanwhile.
    Disturbed {
        /// Domains with a key and a certificate each.
        #[arg(long, default_value_t = 100_000)]
        domains: u64,
    },
    /// Writes while a backup is made; then its test, and its restore into a new cluster.
    Backup {
        /// Domains with a key and a certificate each.
        #[arg(long, default_value_t = 100_000)]
        domains: u64,
    },
    /// TLS termination on one core, beside haproxy, nginx, hitch and stunnel.
    Edge {
        /// Beside this one only.
        #[arg(long)]
        beside: Option<String>,
        /// Another build of `conclave` as well, at this path.
        #[arg(long)]
        other: Option<String>,
    },
    /// DTLS termination, beside OpenSSL's and GnuTLS's servers.
    Dtls(dtls::Wishes),
    /// Certificates for accounts, and messages, these beside OpenSSL's CMS.
    Smime {
        /// Accounts, each of which gets seven certificates.
        #[arg(long, default_value_t = 1_000)]
        accounts: u64,
    },
    /// A node with many accounts: time of its start, memory, what single operations take.
    Accounts {
        /// Accounts with a key and a certificate each.
        #[arg(long, default_value_t = 100_000)]
        accounts: u64,
    },
    /// A node with many domains: time to its first handshake, memory, handshakes in a second.
    Start {
        /// Domains with a key and a certificate each.
        #[arg(long, default_value_t = 100_000)]
        domains: usize,
    },
    /// A node under everything that happens: nothing may grow.
    Soak {
        #[arg(long, default_value_t = 10)]
        minutes: u64,
    },
    /// All but the soak and DTLS.
    All,
}

fn main() {
    let args = Args::parse();
    let time = std::time::Duration::from_secs(args.seconds);
    println!("{}", machine());
    match args.what {
        What::Writes => writes::run(time),
        What::Audit { rounds } => audit::run(time, rounds),
        What::Metrics { domains } => metrics::run(domains),
        What::Page { domains } => page::run(domains),
        What::Failover { kills } => failover::run(kills),
        What::Disturbed { domains } => disturbed::run(time, domains),
        What::Backup { domains } => backup::run(time, domains),
        What::Served => served::run(),
        What::Smime { accounts } => smime::run(time, accounts),
        What::Edge { beside, other } => edge::run(time, beside.as_deref(), other.as_deref()),
        What::Dtls(wishes) => dtls::run(time, &wishes),
        What::Accounts { accounts } => accounts::run(time, accounts),
        What::Start { domains } => start::run(time, domains),
        What::Soak { minutes } => soak::run(minutes),
        What::All => {
            writes::run(time);
            served::run();
            // Last: these pin this process to one core.
            start::run(time, 100_000);
            edge::run(time, None, None);
        }
    }
}

fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models = info.lines().filter_map(|line| line.strip_prefix("model name"));
    let model = models.clone().next().unwrap_or("unknown").trim_start_matches(['\t', ':', ' ']);
    let profile = if cfg!(debug_assertions) { "DEVELOPMENT" } else { "release" };
    format!("{} x {model}, {profile} profile", models.count())
}
