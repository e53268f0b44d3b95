//! `tls probe`: a handshake with any server, and what it shows.

use std::{
    net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs},
    sync::Arc,
    time::{Duration, Instant},
};

use conclave_api::{
    finding::{Finding, Severity},
    problem::{Code, Problem},
    tls::Served,
    trust::Type,
};
use conclave_client::Failure;
use conclave_pki::{
    builtin,
    certificate::{Certificate, read_many},
    judge,
    verify::{Purpose, Request, Rules, Subject, verify},
};
use conclave_preface::starttls::ListenerProtocol;
use conclave_tls::{any_certificate, cipher_name, group_name, provider};
use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};
use serde::Serialize;

use super::{
    super::{ATTENTION, Asking, Done},
    datagrams, starttls,
};
use crate::output;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Parameters of a probe.
pub(super) struct Probe {
    /// `HOST:PORT`.
    pub(super) target: String,
    /// Server name to send; `None`: the host, `-`: no name.
    pub(super) server_name: Option<String>,
    /// Application protocols to offer.
    pub(super) alpn: Vec<String>,
    /// Protocol for STARTTLS; `None`: TLS from the first byte.
    pub(super) starttls: Option<ListenerProtocol>,
    /// DTLS over UDP instead of TLS over TCP.
    pub(super) is_dtls: bool,
}

impl Probe {
    fn host(&self) -> &str {
        let host = self.target.rsplit_once(':').map_or(self.target.as_str(), |(host, _)| host);
        host.trim_matches(['[', ']'])
    }

    /// Returns the server name to send.
    fn name(&self) -> Option<String> {
        match self.server_name.as_deref() {
            Some("-") => None,
            Some(name) => Some(name.to_owned()),
            None => self.host().parse::<IpAddr>().is_err().then(|| self.host().to_owned()),
        }
    }
}

/// Result of a handshake with a server.
#[derive(Serialize)]
struct Shown {
    address: SocketAddr,
    /// Protocol of the STARTTLS command.
    starttls: Option<&'static str>,
    version: String,
    cipher: String,
    group: Option<String>,
    alpn: Option<String>,
    connect_ms: u128,
    handshake_ms: u128,
    /// The certificate first, then its chain.
    certificates: Vec<conclave_api::certificate::Certificate>,
    #[serde(flatten)]
    judged: Judged,
}

/// Validity of the certificate, and what the cluster knows about it.
#[derive(Default, Serialize)]
struct Judged {
    valid: bool,
    /// Subject of the trusted certificate to which it leads, and the set that contains it.
    anchor: Option<String>,
    set: Option<String>,
    /// Reason why it is not valid.
    detail: Option<String>,
    /// What clients will make of the chain.
    findings: Vec<Finding>,
    /// Answer of the cluster: what it serves under this name at this address.
    served: Option<Served>,
    /// Whether the certificate is one of that domain.
    is_served_here: bool,
}

/// Probes a server, and asks a node about the result if one answers. The exit code is 9 if the
/// certificate is not valid for the name.
pub(super) async fn run(asking: &Asking, probe: Probe) -> Done {
    let (name, target) = (probe.name(), probe.target.clone());
    let shaken = tokio::task::spawn_blocking(move || match probe.is_dtls {
        true => shake_datagrams(&probe),
        false => shake(&probe),
    });
    let failed = |error: &dyn std::fmt::Display| -> Failure {
        Box::new(Problem::new(Code::Internal, "the probe broke off").detail(error.to_string()))
    };
    let (mut shown, chain) = shaken.await.map_err(|error| failed(&error))??;
    let ip = shown.address.ip();
    // Without a node it is unknown what the cluster serves.
    if let Ok(client) = asking.client() {
        shown.judged.served = client.tls_served(name.as_deref(), ip).await.ok();
    }
    let expected = name.as_deref().map_or(Subject::Ip(ip), Subject::parse);
    judge(asking, &mut shown.judged, &chain, &expected).await;
    if let (Some(served), Some(first)) = (&shown.judged.served, shown.certificates.first()) {
        let is_own = |one: &String| first.sha256.replace(':', "").eq_ignore_ascii_case(one);
        shown.judged.is_served_here = served.certificates.iter().any(is_own);
    }
    if !output::object_of(&asking.global, "Probe", &target, &shown) {
        show(&shown);
    }
    Ok(if shown.judged.valid { 0 } else { ATTENTION })
}

/// Validates the certificate by the built-in set, and by the cluster's sets if a node answers.
async fn judge(asking: &Asking, judged: &mut Judged, chain: &[Certificate], expected: &Subject) {
    let mut sets = vec!["builtin".to_owned(); builtin::certificates().len()];
    let mut anchors = builtin::certificates().to_vec();
    let domain = judged.served.as_ref().and_then(|served| served.domain.as_ref());
    let set = domain.map_or_else(|| "cluster".to_owned(), |domain| format!("domain:{domain}"));
    // What the asked node knows is enough, so that a cluster without a quorum is not in the way.
    let listed = match asking.client() {
        Ok(client) => client.with_stale().trusted(&set).await.ok(),
        Err(_) => None,
    };
    for one in listed.into_iter().flat_map(|listed| listed.items) {
        if one.of == Type::Crl || one.set == "builtin" {
            continue;
        }
        let read = read_many(one.pem.as_bytes(), 1).unwrap_or_default();
        sets.extend(read.iter().map(|_| one.set.clone()));
        anchors.extend(read);
    }
    let Some((certificate, intermediates)) = chain.split_first() else { return };
    let at = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0);
    let judgement = judge::judge(certificate, intermediates, &anchors, at);
    judged.findings = judgement.findings.iter().map(conclave_node::shown_finding).collect();
    let found = verify(&Request {
        certificate,
        intermediates,
        anchors: &anchors,
        crls: &[],
        is_list_required: false,
        purpose: Purpose::Server,
        name: Some(expected),
        at,
        rules: Rules::Path,
        depth: None,
    });
    match found {
        Ok(path) => {
            judged.valid = true;
            judged.anchor = anchors.get(path.anchor).map(Certificate::subject);
            judged.set = sets.get(path.anchor).cloned();
        }
        Err(refused) => judged.detail = Some(format!("{}: {}", refused.at_fault, refused.detail)),
    }
}

fn unreachable(address: &str, error: &dyn std::fmt::Display) -> Failure {
    let problem = Problem::new(Code::NodeUnreachable, format!("cannot connect to {address}"));
    Box::new(problem.detail(error.to_string()))
}

fn no_start(address: &str, protocol: ListenerProtocol, error: &std::io::Error) -> Failure {
    let protocol = protocol.as_str();
    let title = format!("{address} starts no TLS by the command of {protocol}");
    let hint = format!("whether {protocol} is spoken there, and offers TLS, is up to that server");
    Box::new(Problem::new(Code::NodeUnreachable, title).detail(error.to_string()).hint(hint))
}

fn look_up(address: &str) -> Result<SocketAddr, Failure> {
    let mut found = address.to_socket_addrs().map_err(|error| unreachable(address, &error))?;
    found.next().ok_or_else(|| unreachable(address, &"it has no address"))
}

fn no_handshake(address: &str, error: &dyn std::fmt::Display) -> Failure {
    let problem = Problem::new(Code::NodeUnreachable, format!("{address} makes no handshake"));
    Box::new(problem.detail(error.to_string()))
}

/// Describes a server that does not begin with TLS. If it speaks a protocol with STARTTLS, the hint
/// is the command for it.
fn no_tls(address: &str, at: SocketAddr, error: &std::io::Error) -> Failure {
    let failure = no_handshake(address, error);
    match starttls::guess(at) {
        None => failure,
        Some(protocol) => {
            let protocol = protocol.as_str();
            let why = format!("it speaks {protocol}, where TLS begins by a command");
            let hint = format!("conclave tls probe {address} --starttls {protocol}");
            Box::new(failure.why(why).hint(hint))
        }
    }
}

/// Makes a DTLS handshake over UDP.
fn shake_datagrams(probe: &Probe) -> Result<(Shown, Vec<Certificate>), Failure> {
    let address = look_up(&probe.target)?;
    let shaken = datagrams::shake(address, probe.name().as_deref(), TIMEOUT)
        .map_err(|error| no_handshake(&probe.target, &error))?;
    let datagrams::Shaken { facts, answer_ms, handshake_ms } = shaken;
    let chain = certificates(&facts.peer_chain);
    let alpn = facts.alpn.map(|id| id.escape_ascii().to_string());
    let shown = Shown {
        address,
        starttls: None,
        version: facts.version.to_owned(),
        cipher: facts.cipher,
        group: None,
        alpn,
        connect_ms: answer_ms,
        handshake_ms,
        certificates: chain.iter().map(conclave_node::shown_certificate).collect(),
        judged: Judged::default(),
    };
    Ok((shown, chain))
}

/// Parses certificates, without those that cannot be parsed.
fn certificates(chain: &[impl AsRef<[u8]>]) -> Vec<Certificate> {
    chain.iter().filter_map(|der| Certificate::from_der(der.as_ref()).ok()).collect()
}

/// Connects. Returns the address, the stream and the duration in milliseconds.
fn dial(address: &str) -> Result<(SocketAddr, TcpStream, u128), Failure> {
    let to = look_up(address)?;
    let started = Instant::now();
    let tcp =
        TcpStream::connect_timeout(&to, TIMEOUT).map_err(|error| unreachable(address, &error))?;
    Ok((to, tcp, started.elapsed().as_millis()))
}

fn shake(probe: &Probe) -> Result<(Shown, Vec<Certificate>), Failure> {
    let (address, sent) = (probe.target.as_str(), probe.name());
    let (to, mut tcp, connect_ms) = dial(address)?;
    let refused = |error: &dyn std::fmt::Display| no_handshake(address, error);
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(&error))?
        .dangerous()
        .with_custom_certificate_verifier(any_certificate(provider()))
        .with_no_client_auth();
    config.enable_sni = sent.is_some();
    config.alpn_protocols = probe.alpn.iter().map(|one| one.as_bytes().to_vec()).collect();
    let name = sent.unwrap_or_else(|| to.ip().to_string());
    let name = ServerName::try_from(name).map_err(|error| refused(&error))?;
    if let Some(protocol) = probe.starttls {
        starttls::start(protocol, &mut tcp, &name.to_str(), TIMEOUT)
            .map_err(|error| no_start(address, protocol, &error))?;
    }
    let limits = tcp.set_read_timeout(Some(TIMEOUT));
    limits
        .and_then(|()| tcp.set_write_timeout(Some(TIMEOUT)))
        .map_err(|error| unreachable(address, &error))?;
    let mut tls = ClientConnection::new(Arc::new(config), name).map_err(|error| refused(&error))?;
    let started = Instant::now();
    while tls.is_handshaking() {
        tls.complete_io(&mut tcp).map_err(|error| match probe.starttls {
            None => no_tls(address, to, &error),
            Some(_) => refused(&error),
        })?;
    }
    let handshake_ms = started.elapsed().as_millis();
    tls.send_close_notify();
    // The server may have closed already.
    let _ = tls.complete_io(&mut tcp);
    let chain = certificates(tls.peer_certificates().unwrap_or_default());
    let version = match tls.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "TLSv1.2",
    };
    let suite = tls.negotiated_cipher_suite().map(|suite| suite.suite());
    let cipher = suite.map_or_else(String::new, cipher_name);
    let group = tls.negotiated_key_exchange_group();
    let shown = Shown {
        address: to,
        starttls: probe.starttls.map(ListenerProtocol::as_str),
        version: version.to_owned(),
        cipher,
        group: group.map(|group| group_name(group.name())),
        alpn: tls.alpn_protocol().map(|id| id.escape_ascii().to_string()),
        connect_ms,
        handshake_ms,
        certificates: chain.iter().map(conclave_node::shown_certificate).collect(),
        judged: Judged::default(),
    };
    Ok((shown, chain))
}

fn show(shown: &Shown) {
    let Shown { version, cipher, connect_ms, handshake_ms, judged, .. } = shown;
    let group = shown.group.as_deref().unwrap_or("-");
    let alpn = shown.alpn.as_deref().unwrap_or("-");
    output::line(&format!(
        "{version}  {cipher}  {group}  ALPN {alpn}   1 round trip {connect_ms} ms, handshake {handshake_ms} ms"
    ));
    if let Some(protocol) = shown.starttls {
        output::line(&format!("started by the command of {protocol}"));
    }
    if let Some((first, chain)) = shown.certificates.split_first() {
        let verdict = match (&judged.anchor, &judged.set, &judged.detail) {
            (Some(anchor), Some(set), _) => format!("leads to {anchor} ({set} trust)"),
            (_, _, Some(detail)) => format!("NOT VALID: {detail}"),
            _ => "not checked".to_owned(),
        };
        output::line(&format!(
            "certificate for {}, issued by {}, {} days left; chain of {} {verdict}",
            first.names.join(" "),
            first.issuer,
            first.days_left,
            chain.len(),
        ));
    }
    for finding in judged.findings.iter().filter(|one| one.severity > Severity::Note) {
        let hint = finding.hint.as_deref().map(|hint| format!("    {hint}")).unwrap_or_default();
        output::line(&format!("!   {}{hint}", finding.text));
    }
    let Some(served) = &judged.served else { return };
    let node = served.node.as_deref().unwrap_or("-");
    match (&served.domain, &served.chosen) {
        (Some(domain), Some(chosen)) if judged.is_served_here => output::line(&format!(
            "served by {node} (this cluster), domain {domain}, chosen by {chosen}"
        )),
        // Each node makes its own test certificate, and only that node knows it.
        (Some(domain), Some(chosen)) if served.is_test => output::line(&format!(
            "domain {domain}, chosen by {chosen}, is in test mode: whether this is the test certificate of {node} is known only there    --address of {node}"
        )),
        (Some(domain), Some(chosen)) => output::line(&format!(
            "not a certificate of this cluster, where domain {domain} is chosen by {chosen}"
        )),
        // It is the Main Domain of another node, or a local domain there.
        _ if served.node.is_some() => output::line(&format!(
            "served by {node} (this cluster); which of its own domains this is, is known only there    --address of {node}"
        )),
        _ => {}
    }
}
