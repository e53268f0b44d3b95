//! The metrics of a node. Names and labels are a contract: docs/monitoring.md lists them, and a test
//! compares the alert rules and the dashboard with them.
//!
//! No label holds what a client has chosen: no address, no server name, no path. The number of
//! series is bounded by the members, the listeners, the routes and, up to a bound, the domains.

use std::{collections::BTreeMap, fmt, sync::atomic::Ordering::Relaxed, time::Duration};

use conclave_cluster::{
    member::Member,
    node::Node,
    observe::{CertificateFacts, log},
    replica::NodeReport,
};
use conclave_edge::socket::{ListenerTotals, failure_reasons};
use conclave_mail::Outcome;
use conclave_raft::Status;
use conclave_store::{id::NodeId, record::LEVEL_MAX, scope::Scope};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text::encode},
    registry::Registry,
};

use super::{
    families::{Families, Value},
    sample::Sample,
};

/// Longest text that is expected without series for domains, to reserve memory once.
const TEXT_BYTES: usize = 128 * 1024;

/// Returns the metrics as OpenMetrics text; none: they cannot be written. The registry is that of
/// this scrape, so that a metric never outlives what it is about, such as a removed listener.
pub(super) fn write(node: &Node, sample: Sample) -> Option<String> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape { node: node.clone(), sample }));
    node.observed().requests().register(&mut registry);
    let mut text = String::with_capacity(TEXT_BYTES);
    match encode(&mut text, &registry) {
        Ok(()) => Some(text),
        Err(error) => {
            tracing::error!(event = "metrics.not_written", %error);
            None
        }
    }
}

/// A node at one moment.
struct Scrape {
    node: Node,
    sample: Sample,
}

impl fmt::Debug for Scrape {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Scrape").finish_non_exhaustive()
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Families(encoder);
        self.build(&mut out)?;
        let member = self.node.member();
        self.raft(&mut out, member.as_deref())?;
        self.quorum(&mut out, member.as_deref())?;
        self.peers(&mut out, member.as_deref())?;
        self.durations(&mut out, member.as_deref())?;
        self.storage(&mut out, member.as_deref())?;
        self.secrets(&mut out, member.as_deref())?;
        self.domains(&mut out)?;
        self.certificates(&mut out)?;
        let listeners = self.node.edge().totals();
        handshakes(&mut out, &listeners)?;
        connections(&mut out, &listeners)?;
        self.listeners(&mut out)?;
        self.mail(&mut out)?;
        self.process(&mut out)
    }
}

impl Scrape {
    fn build(&self, out: &mut Families<'_>) -> fmt::Result {
        let level = LEVEL_MAX.to_string();
        let commit = option_env!("CONCLAVE_COMMIT").unwrap_or("unknown");
        out.info(
            "conclave_build",
            "Version of the program, and the highest level of the rules that it knows.",
            &[("version", env!("CARGO_PKG_VERSION")), ("commit", commit), ("level", &level)],
        )?;
        out.gauge(
            "conclave_node_ready",
            "Whether /readyz answers 200.",
            super::probes::ready(&self.node).iter().all(|check| check.problem.is_none()),
        )
    }

    fn raft(&self, out: &mut Families<'_>, member: Option<&Member>) -> fmt::Result {
        let status = member.map(|member| member.replica.raft().status());
        let of = |value: fn(&Status) -> u64| status.as_ref().map_or(0, value);
        let contact = self.sample.contact.as_ref();
        out.gauge(
            "conclave_raft_is_leader",
            "Whether this node leads and hears a quorum.",
            contact.is_some_and(|contact| contact.is_leader),
        )?;
        out.gauge(
            "conclave_raft_has_leader",
            "Whether this node leads, or a leader asked it just now.",
            contact.is_some_and(|contact| contact.has_leader),
        )?;
        out.gauge("conclave_raft_term", "Raft term.", of(|status| status.term))?;
        out.gauge(
            "conclave_raft_last_index",
            "Index of the last entry in the log.",
            of(|status| status.last),
        )?;
        out.gauge(
            "conclave_raft_commit_index",
            "Index of the last entry known to be committed.",
            of(|status| status.committed),
        )?;
        out.gauge(
            "conclave_raft_applied_index",
            "Index of the last applied entry.",
            of(|status| status.applied),
        )?;
        out.gauge(
            "conclave_served_index",
            "Index of the last command that new handshakes use.",
            self.node.live().reports(Scope::Shared).borrow().index.0,
        )?;
        let counters = member.map(|member| member.replica.counters());
        out.counter(
            "conclave_raft_leader_changes",
            "How often this node saw another leader than before.",
            counters.map_or(0, |counters| counters.leader_changes.load(Relaxed)),
        )?;
        out.counter(
            "conclave_api_forwarded",
            "Changes that this node sent to the leader.",
            counters.map_or(0, |counters| counters.forwarded.load(Relaxed)),
        )?;
        out.gauge(
            "conclave_write_queue_commands",
            "Commands that wait on this leader for a place in the log.",
            member.map_or(0, |member| member.replica.commands_waiting()),
        )?;
        out.gauge(
            "conclave_snapshot_last_success_timestamp_seconds",
            "Time of the last snapshot that this node took since its start.",
            counters.map_or(0, |counters| counters.snapshot_s.load(Relaxed)),
        )
    }

    fn quorum(&self, out: &mut Families<'_>, member: Option<&Member>) -> fmt::Result {
        let status = member.map(|member| member.replica.raft().status());
        let voters = status.map(|status| status.voters).unwrap_or_default();
        let contact = self.sample.contact.as_ref();
        let answers = |id: &conclave_raft::NodeId| {
            contact.is_some_and(|contact| contact.reports.contains_key(&NodeId(id.0)))
        };
        let reachable = voters.keys().filter(|id| answers(id)).count();
        let quorum = voters.len() / 2 + 1;
        out.gauge("conclave_raft_voters", "Voters of the cluster.", voters.len())?;
        out.gauge(
            "conclave_raft_voters_reachable",
            "Voters that answer the leader; on a node without a leader only itself.",
            reachable,
        )?;
        out.gauge(
            "conclave_raft_failures_tolerated",
            "Voters that may still fail before no change is possible.",
            reachable.saturating_sub(quorum),
        )
    }

    /// Returns the names of the members by their ids.
    fn names(&self, member: Option<&Member>) -> BTreeMap<NodeId, String> {
        let point = member.map(|member| member.replica.point()).unwrap_or_default();
        point.state.members().map(|(id, member)| (*id, member.name.to_string())).collect()
    }

    fn peers(&self, out: &mut Families<'_>, member: Option<&Member>) -> fmt::Result {
        let names = self.names(member);
        let raft = member.map(|member| member.replica.raft());
        let status = raft.map(|raft| raft.status());
        let name = |id: u64| names.get(&NodeId(id));
        let own = member.map(|member| member.replica.id());
        out.gauges(
            "conclave_raft_replication_lag_entries",
            "Entries of the log that a peer does not have yet, as the leader knows it.",
            |each| {
                let Some(status) = &status else { return Ok(()) };
                let peers =
                    status.peers.iter().filter(|(id, _)| Some(id.0) != own.map(|own| own.0));
                for (id, peer) in peers {
                    let Some(name) = name(id.0) else { continue };
                    let lag = status.last.saturating_sub(peer.matched);
                    each(&[("peer", name)], lag.into())?;
                }
                Ok(())
            },
        )?;
        out.gauges(
            "conclave_peer_round_trip_seconds",
            "Time for a packet to a peer and back, on the connection that this node has dialled.",
            |each| {
                let trips = raft.map(|raft| raft.round_trips()).unwrap_or_default();
                for (id, time) in trips {
                    let Some(name) = name(id.0) else { continue };
                    each(&[("peer", name)], time.as_secs_f64().into())?;
                }
                Ok(())
            },
        )?;
        out.gauges(
            "conclave_clock_skew_seconds",
            "How far the clock of a peer is ahead of this leader's.",
            |each| {
                let contact = self.sample.contact.as_ref().filter(|contact| contact.is_leader);
                let reports = contact.iter().flat_map(|contact| &contact.reports);
                for (id, report) in reports.filter(|(id, _)| Some(**id) != own) {
                    let (Some(name), Some(ahead)) = (name(id.0), ahead_s(report)) else { continue };
                    each(&[("peer", name)], ahead.into())?;
                }
                Ok(())
            },
        )
    }

    fn durations(&self, out: &mut Families<'_>, member: Option<&Member>) -> fmt::Result {
        let counters = member.map(|member| member.replica.counters());
        out.histograms(
            "conclave_raft_commit_duration_seconds",
            "Time from a proposal of this leader until it was committed and applied.",
            |each| counters.map_or(Ok(()), |counters| each(&[], &counters.commits.read())),
        )?;
        out.histograms(
            "conclave_storage_flush_duration_seconds",
            "Time until a group of records was durable in the log.",
            |each| counters.map_or(Ok(()), |counters| each(&[], &counters.flushes.read())),
        )?;
        out.histograms(
            "conclave_apply_to_serving_seconds",
            "Time from the application of a command until new handshakes use it.",
            |each| each(&[], &self.node.live().serving_times()),
        )
    }

    fn storage(&self, out: &mut Families<'_>, member: Option<&Member>) -> fmt::Result {
        let Sample { stored_bytes, space, .. } = &self.sample;
        out.gauge(
            "conclave_storage_size_bytes",
            "Size of all files in the data directory.",
            *stored_bytes,
        )?;
        out.gauge(
            "conclave_storage_free_bytes",
            "Room on the disk of the data directory.",
            space.map_or(0, |space| space.free),
        )?;
        out.gauge(
            "conclave_storage_has_room",
            "Whether the disk has room for changes; without it TLS goes on.",
            member.is_none_or(|member| member.replica.raft().has_room()),
        )?;
        out.gauge(
            "conclave_log_size_bytes",
            "Size of all entries in the log.",
            member.map_or(0, |member| member.replica.raft().log_bytes()),
        )?;
        let point = member.map(|member| member.replica.point()).unwrap_or_default();
        out.gauge("conclave_state_rows", "Rows of the shared State.", point.state.row_count())?;
        out.gauge(
            "conclave_backup_last_success_timestamp_seconds",
            "Time of the last complete backup that the cluster knows; 0: none.",
            point.state.last_backup().map_or(0, |last| last.time.0 / 1_000),
        )?;
        out.counter(
            "conclave_audit_write_failures",
            "Failed attempts to copy the audit trail out of the cluster, and entries left out.",
            self.node.observed().audit_failures.load(Relaxed),
        )
    }

    fn secrets(&self, out: &mut Families<'_>, member: Option<&Member>) -> fmt::Result {
        out.gauge(
            "conclave_keyring_sealed",
            "Whether this node is sealed and serves no private key.",
            self.node.keyring().is_sealed(),
        )?;
        let point = member.map(|member| member.replica.point()).unwrap_or_default();
        out.gauge(
            "conclave_keyring_generation",
            "Current generation of the keyring.",
            point.state.cluster().map_or(0, |cluster| cluster.generation.0),
        )
    }

    fn domains(&self, out: &mut Families<'_>) -> fmt::Result {
        let facts = self.node.observed().domains();
        let counts = &facts.counts;
        out.gauges(
            "conclave_domains",
            "Domains of the cluster and of this node, by what was found about them.",
            |each| {
                for (state, count) in [
                    ("valid", counts.valid),
                    ("expiring", counts.expiring),
                    ("problem", counts.problem),
                    ("unchecked", counts.unchecked),
                    ("test", counts.test),
                    ("disabled", counts.disabled),
                ] {
                    each(&[("state", state)], count.into())?;
                }
                Ok(())
            },
        )?;
        out.gauge(
            "conclave_domains_expired",
            "Enabled domains with a certificate that has expired.",
            facts.expired,
        )?;
        out.gauge(
            "conclave_domains_not_served",
            "Enabled domains that this node does not serve as its State says.",
            facts.not_served,
        )?;
        out.gauges(
            "conclave_certificate_next_expiration_timestamp_seconds",
            "End of the certificate of an enabled domain that ends first.",
            |each| facts.first_end_s.map_or(Ok(()), |end| each(&[], end.into())),
        )
    }

    /// Writes the series of single domains.
    fn certificates(&self, out: &mut Families<'_>) -> fmt::Result {
        let facts = self.node.observed().domains();
        out.gauges(
            "conclave_certificate_expiration_timestamp_seconds",
            "End of a certificate of an enabled domain, and of the first to end in its CA chain.",
            |each| {
                for one in &facts.certificates {
                    let ends = [("tls", Some(one.ends_s)), ("chain", one.chain_ends_s)];
                    for (used, end) in ends {
                        let Some(end) = end else { continue };
                        labelled(one, Some(used), end, each)?;
                    }
                }
                Ok(())
            },
        )?;
        out.gauges(
            "conclave_certificate_served_fingerprint",
            "First 48 bits of the SHA-256 of the certificate that this node shows; 0: none.",
            |each| {
                facts.certificates.iter().try_for_each(|one| labelled(one, None, one.shown, each))
            },
        )
    }

    fn listeners(&self, out: &mut Families<'_>) -> fmt::Result {
        let listeners = self.node.edge().listeners();
        out.gauges(
            "conclave_listener_open",
            "Whether all sockets of a listener are open on this node.",
            |each| {
                listeners.iter().try_for_each(|one| {
                    let is_open = one.problems.is_empty() && !one.open.is_empty();
                    each(&[("listener", one.name.as_str())], is_open.into())
                })
            },
        )?;
        out.gauge(
            "conclave_draining",
            "Whether this node takes no new connections.",
            self.node.edge().drain_progress().is_some(),
        )
    }

    fn mail(&self, out: &mut Families<'_>) -> fmt::Result {
        let counters = &self.node.observed().lmtp;
        out.counters(
            "conclave_lmtp_messages",
            "Messages that the LMTP proxy took or refused, one for each recipient, by outcome.",
            |each| {
                Outcome::ALL.into_iter().try_for_each(|outcome| {
                    each(&[("outcome", outcome.word())], counters.count(outcome).into())
                })
            },
        )
    }

    fn process(&self, out: &mut Families<'_>) -> fmt::Result {
        let used = &self.sample.usage;
        let started = Duration::from_millis(self.node.started().0).as_secs_f64();
        out.counter(
            "process_cpu_seconds",
            "Time of this process on all processors.",
            used.cpu.as_secs_f64(),
        )?;
        out.counter(
            "conclave_log_lines_lost",
            "Lines of the log that journald did not take.",
            log::lost_lines(),
        )?;
        out.gauge("process_resident_memory_bytes", "Memory in use.", used.resident_bytes)?;
        out.gauge(
            "process_virtual_memory_bytes",
            "Size of the address space.",
            used.virtual_bytes,
        )?;
        out.gauge("process_threads", "Threads.", used.threads)?;
        out.gauge("process_open_fds", "Open descriptors.", used.descriptors)?;
        out.gauge("process_max_fds", "Most descriptors.", used.descriptors_max)?;
        out.gauge("process_start_time_seconds", "Start of this node.", started)
    }
}

/// Writes a value of a certificate.
fn labelled(
    one: &CertificateFacts,
    used: Option<&str>,
    value: u64,
    each: &mut dyn FnMut(super::families::Labels<'_>, Value) -> fmt::Result,
) -> fmt::Result {
    let scope = if one.scope == Scope::Shared { "shared" } else { "local" };
    let family = one.family.to_string().to_lowercase();
    let labels = [("domain", one.domain.as_str()), ("family", &family), ("scope", scope)];
    match used {
        Some(used) => {
            let [domain, family, scope] = labels;
            each(&[domain, family, scope, ("use", used)], value.into())
        }
        None => each(&labels, value.into()),
    }
}

/// Returns how far the clock of a member is ahead of the leader's, in seconds.
fn ahead_s(report: &NodeReport) -> Option<f64> {
    let ahead = report.ahead_ms?;
    let apart = Duration::from_millis(ahead.unsigned_abs()).as_secs_f64();
    Some(if ahead < 0 { -apart } else { apart })
}

fn handshakes(out: &mut Families<'_>, listeners: &[ListenerTotals]) -> fmt::Result {
    out.counters("conclave_tls_handshakes", "Completed handshakes.", |each| {
        for one in listeners {
            let protocol = if one.is_datagram { "dtls" } else { "tls" };
            for kind in &one.handshakes {
                let result = if kind.is_resumed { "resumed" } else { "full" };
                let labels = [
                    ("listener", one.name.as_str()),
                    ("protocol", protocol),
                    ("version", kind.version),
                    ("result", result),
                ];
                each(&labels, kind.count.into())?;
            }
        }
        Ok(())
    })?;
    out.counters(
        "conclave_tls_handshake_failures",
        "Refused and failed connections, by reason.",
        |each| {
            for one in listeners {
                for (reason, count) in &one.failures {
                    let labels = [("listener", one.name.as_str()), ("reason", reason)];
                    each(&labels, (*count).into())?;
                }
            }
            Ok(())
        },
    )?;
    out.histograms(
        "conclave_tls_handshake_duration_seconds",
        "Time from the first wait for a hello until the handshake was complete.",
        |each| {
            for one in listeners {
                for (resumed, observed) in ["false", "true"].into_iter().zip(&one.durations) {
                    each(&[("listener", one.name.as_str()), ("resumed", resumed)], observed)?;
                }
            }
            Ok(())
        },
    )?;
    out.counters(
        "conclave_client_certificates",
        "Certificates that clients have shown, by what was found about them.",
        |each| {
            let accepted = listeners.iter().map(|one| one.client_certificates).sum::<u64>();
            each(&[("result", "accepted")], accepted.into())?;
            let reasons = failure_reasons().enumerate();
            for (place, reason) in reasons {
                let Some(result) = reason.strip_prefix("client_certificate_") else { continue };
                let of =
                    |one: &ListenerTotals| one.failures.get(place).map_or(0, |(_, count)| *count);
                let count: u64 = listeners.iter().map(of).sum();
                each(&[("result", result)], count.into())?;
            }
            Ok(())
        },
    )
}

fn connections(out: &mut Families<'_>, listeners: &[ListenerTotals]) -> fmt::Result {
    out.gauges("conclave_connections", "Connections open now.", |each| {
        listeners
            .iter()
            .try_for_each(|one| each(&[("listener", one.name.as_str())], one.open.into()))
    })?;
    out.counters("conclave_connections_accepted", "Connections accepted.", |each| {
        listeners
            .iter()
            .try_for_each(|one| each(&[("listener", one.name.as_str())], one.accepted.into()))
    })?;
    out.counters(
        "conclave_connection_bytes",
        "Plaintext bytes from clients (in) and to clients (out).",
        |each| {
            for one in listeners {
                let name = one.name.as_str();
                each(&[("listener", name), ("direction", "in")], one.bytes_up.into())?;
                each(&[("listener", name), ("direction", "out")], one.bytes_down.into())?;
            }
            Ok(())
        },
    )
}
