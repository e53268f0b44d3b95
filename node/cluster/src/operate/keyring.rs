//! Sealing and unsealing of this node at run time, and its change to another unlock key. All of it
//! concerns the answering node only; no command is ordered.

use std::sync::Arc;

use conclave_api::problem::{Code, Problem};
use conclave_keys::{Given, LockError, NewKey, Unlocked};
use zeroize::Zeroizing;

use crate::{fault::internal, node::Node};

/// Why a node is sealed that forgot its keys on request.
const BY_HAND: &str = "it was sealed by conclave keyring seal";

/// Forgets the keyring and all private keys. A leader hands over first, as long as it can prove
/// what it asks for. Returns whether anything changed.
pub async fn seal(node: &Node) -> bool {
    if node.keyring().is_sealed() {
        return false;
    }
    if let Some(member) = node.member() {
        member.replica.hand_over_to_fit().await;
    }
    node.keyring().forget(BY_HAND.to_owned());
    node.live().forget_keys();
    node.set_restoring(None);
    tracing::warn!(event = "keyring.sealed", "{BY_HAND}");
    true
}

/// Opens the keyring with what the caller gives. Returns whether anything changed: a share that is
/// not the last one changes something too.
pub async fn unseal(node: &Node, given: Given) -> Result<bool, Problem> {
    if !node.keyring().is_sealed() {
        return Ok(false);
    }
    let is_share = matches!(given, Given::Share(_));
    let lock = Arc::clone(node.lock());
    let opened = tokio::task::spawn_blocking(move || lock.open(given));
    match opened.await.map_err(|error| internal("the attempt to unseal failed", error))? {
        Ok(unlocked) => {
            use_unlocked(node, unlocked);
            tracing::info!(event = "keyring.unsealed", how = node.lock().status().how);
            Ok(true)
        }
        Err(LockError::SharesNeeded { given, needed }) if is_share => {
            tracing::info!(event = "keyring.share_given", given, needed);
            Ok(true)
        }
        Err(error) => {
            tracing::warn!(event = "keyring.not_unsealed", %error);
            Err(problem(node, &error))
        }
    }
}

/// Seals the secrets of this node under another unlock key. Returns the texts of the shares.
pub async fn rekey(node: &Node, new: NewKey) -> Result<Vec<Zeroizing<String>>, Problem> {
    let Some(unlocked) = node.keyring().unlocked() else {
        node.check_unsealed()?;
        return Err(internal("the keyring changes right now", "try again"));
    };
    let lock = Arc::clone(node.lock());
    let sealed = tokio::task::spawn_blocking(move || lock.rekey(&unlocked, new));
    let sealed = sealed.await.map_err(|error| internal("the new unlock key failed", error))?;
    let shares = sealed.map_err(|error| problem(node, &error))?;
    tracing::warn!(event = "keyring.rekeyed", how = node.lock().status().how);
    Ok(shares)
}

/// Follows State if a change of the keyring was applied just while the node was unsealed.
pub fn catch_up(node: &Node) {
    let Some(member) = node.member() else { return };
    let point = member.replica.point();
    if node.keyring().is_behind(&point.state) {
        node.keyring().follow(&point.state, member.replica.id());
        node.live().use_keys(&point.state);
    }
}

fn use_unlocked(node: &Node, unlocked: Unlocked) {
    node.keyring().unseal(unlocked);
    let Some(member) = node.member() else { return };
    // Commands are applied meanwhile, and the State that was followed last must be the newest.
    loop {
        let point = member.replica.point();
        node.keyring().follow(&point.state, member.replica.id());
        node.live().use_keys(&point.state);
        if Arc::ptr_eq(&point, &member.replica.point()) {
            return;
        }
    }
}

fn problem(node: &Node, error: &LockError) -> Problem {
    let (code, hint) = match error {
        LockError::NoKey(_)
        | LockError::PassphraseNeeded
        | LockError::PassphraseUnset
        | LockError::SharesNeeded { .. } => {
            let name = &node.config().name;
            return Problem::new(Code::Sealed, format!("{name} stays sealed"))
                .why(error.to_string())
                .hint(node.how_to_unseal());
        }
        LockError::OtherMeans { .. } => (Code::Malformed, node.how_to_unseal()),
        LockError::PassphraseWrong => {
            (Code::UnsealRefused, "each wrong attempt doubles the wait for the next one")
        }
        LockError::PassphraseWeak(_) => (Code::Malformed, "several words make a good one"),
        LockError::Busy(_) => (Code::UnsealTooSoon, "wait, then try again"),
        LockError::Share(_) | LockError::SharesWrong => {
            (Code::ShareRefused, "conclave keyring status    says which shares are given")
        }
        LockError::SharesNumbers { .. } => (Code::Malformed, "--unseal-shares 3/5"),
        LockError::NotUsable(_) => (
            Code::ConfigurationInvalid,
            "set [keyring] unlock to file:PATH or credential:NAME, restart, unseal, and repeat",
        ),
        LockError::AlreadyStored(_) => (Code::Malformed, "conclave keyring status"),
        _ => (Code::DataUnusable, "data_dir must belong to the user of the node, and have room"),
    };
    let problem = Problem::new(code, error.to_string()).hint(hint);
    match std::error::Error::source(error) {
        Some(source) if code == Code::DataUnusable => problem.detail(source.to_string()),
        _ => problem,
    }
}
