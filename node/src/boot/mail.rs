//! The LMTP proxy of a node.

use std::{io, sync::Arc};

use conclave_api::problem::{Code, Problem};
use conclave_cluster::node::Node;
use conclave_mail::{Certificates, Mail, NotReady};
use conclave_store::id::EmailAddress;
use conclave_system::clock;

/// Certificates of accounts from the node's own State. They are public, so a sealed node has them,
/// and a node without a quorum.
struct OfState(Node);

impl Certificates for OfState {
    fn of(&self, account: &EmailAddress) -> Result<Option<Vec<u8>>, NotReady> {
        // A node without a cluster knows of no account, which is no reason to refuse mail for good.
        let member = self.0.member().ok_or(NotReady)?;
        let point = member.replica.point();
        let found = point.state.receiving_certificate(account, clock::now());
        Ok(found.map(|one| one.certificate.der.clone()))
    }
}

/// Opens the proxy, if the configuration has one.
pub(super) fn open(node: &Node, say: &dyn Fn(&str)) -> Result<Option<Mail>, Problem> {
    let Some(settings) = node.config().lmtp.clone() else { return Ok(None) };
    let (listen, upstream) = (settings.listen.clone(), settings.upstream.clone());
    let counters = Arc::clone(&node.observed().lmtp);
    let name = node.config().name.as_str();
    let mail = Mail::open(name, settings, Arc::new(OfState(node.clone())), counters);
    let mail = mail.map_err(|error| {
        let code = match error.kind() {
            io::ErrorKind::PermissionDenied => Code::PortForbidden,
            _ => Code::PortUnavailable,
        };
        Problem::new(code, format!("cannot open {listen} for [lmtp] listen"))
            .detail(error.to_string())
            .hint("[lmtp] listen in the configuration names another place")
    })?;
    mail.follow(node.edge().drains());
    say(&format!("  lmtp     {}, stored at {upstream}", mail.place()));
    Ok(Some(mail))
}
