use std::path::Path;

use super::*;
use crate::NodeKeys;

fn secret(text: &str) -> Given {
    Given::Passphrase(passphrase(text))
}

fn passphrase(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

fn share(text: &Zeroizing<String>) -> Given {
    Given::Share(text.clone())
}

fn new_node(dir: &Path) -> (NodeKeys, Unlock) {
    let unlock = Unlock::File(dir.join("unlock"));
    std::fs::create_dir(dir.join("data")).unwrap();
    (NodeKeys::open(&dir.join("data"), &unlock).unwrap(), unlock)
}

fn error(opened: Result<Unlocked, LockError>) -> LockError {
    opened.err().expect("an error")
}

/// Ends the pause after a wrong passphrase.
fn end_pause(lock: &Lock) {
    lock.lock().pause_end = None;
}

#[test]
fn a_new_node_waits_for_its_passphrase_and_opens_with_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("node-keys.json");
    let new = NodeKeys::open(dir.path(), &Unlock::Passphrase).unwrap();
    assert!(new.unlocked.is_err() && !file.exists(), "nothing is written before");
    assert!(new.lock.status().is_unset && new.lock.is_manual());
    assert!(matches!(error(new.lock.open(Given::Nothing)), LockError::PassphraseUnset));
    assert!(matches!(error(new.lock.open(secret("short"))), LockError::PassphraseWeak(_)));
    let set = new.lock.open(secret("correct horse")).unwrap();
    assert_eq!(set.sealing.public(), new.sealing_public);
    // A restart.
    let again = NodeKeys::open(dir.path(), &Unlock::Passphrase).unwrap();
    assert_eq!(again.identity.public_key_der(), new.identity.public_key_der());
    assert_eq!(again.unlocked.err().as_deref(), Some("this node opens with its passphrase"));
    let lock = &again.lock;
    assert_eq!((lock.status().how, lock.status().is_unset), ("passphrase", false));
    let wrong = error(lock.open(secret("correct horsf")));
    assert!(matches!(wrong, LockError::PassphraseWrong));
    let hasty = error(lock.open(secret("correct horse")));
    assert!(matches!(hasty, LockError::Busy(_)), "{hasty}");
    end_pause(lock);
    assert!(lock.open(secret("correct horse")).is_ok());
    let other = error(lock.open(Given::Share("cvs1-0000".to_owned().into())));
    assert!(matches!(other, LockError::OtherMeans { .. }));
}

#[test]
fn the_pause_after_wrong_passphrases_grows_to_its_bound_and_ends_with_a_right_one() {
    let (stored, _) = Stored::make().unwrap();
    let mut inner = Inner::of(stored);
    let mut pause = || {
        inner.count_attempt(false);
        match inner.check_pause() {
            Err(LockError::Busy(left)) => left.as_secs_f64().round(),
            _ => 0.0,
        }
    };
    let pauses: Vec<f64> = std::iter::repeat_with(&mut pause).take(8).collect();
    assert_eq!(pauses, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]);
    inner.count_attempt(true);
    assert!(inner.check_pause().is_ok());
}

#[test]
fn one_attempt_is_made_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let keys = NodeKeys::open(dir.path(), &Unlock::Passphrase).unwrap();
    let held = keys.lock.attempt().unwrap();
    assert!(matches!(error(keys.lock.open(secret("correct horse"))), LockError::Busy(_)));
    drop(held);
    assert!(keys.lock.open(secret("correct horse")).is_ok());
}

#[test]
fn a_node_of_a_file_goes_to_shares_and_back_with_the_same_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let (keys, unlock) = new_node(dir.path());
    let data = dir.path().join("data");
    let secrets = keys.unlocked.ok().unwrap();
    let stored = keys.lock.rekey(&secrets, NewKey::Stored);
    assert!(matches!(stored, Err(LockError::AlreadyStored(_))));
    let wrong = keys.lock.rekey(&secrets, NewKey::Shares { needed: 4, count: 3 });
    assert!(matches!(wrong, Err(LockError::SharesNumbers { .. })));
    let old = keys.lock.rekey(&secrets, NewKey::Shares { needed: 3, count: 5 }).unwrap();
    let shares = keys.lock.rekey(&secrets, NewKey::Shares { needed: 3, count: 5 }).unwrap();
    // A restart. The unlock key in the file opens nothing any more.
    let keys = NodeKeys::open(&data, &unlock).unwrap();
    let reason = keys.unlocked.err().unwrap();
    assert_eq!(reason, "this node opens with shares: 0 of 3 are given");
    let lock = keys.lock;
    let needed = |opened: Result<Unlocked, LockError>| match error(opened) {
        LockError::SharesNeeded { given, .. } => given,
        other => panic!("{other}"),
    };
    assert_eq!(needed(lock.open(share(&shares[4]))), 1);
    assert_eq!(needed(lock.open(share(&shares[4]))), 1, "the same again counts once");
    let of_old_set = error(lock.open(share(&old[0])));
    assert!(of_old_set.to_string().starts_with("share 1 is of set "), "{of_old_set}");
    assert_eq!(needed(lock.open(share(&shares[0]))), 2);
    let status = lock.status();
    assert_eq!((status.how, status.place), ("shares", None));
    assert_eq!(status.shares.unwrap().given, [1, 5]);
    let unsealed = lock.open(share(&shares[2])).unwrap();
    assert_eq!(unsealed.sealing.expose(), secrets.sealing.expose());
    assert!(lock.status().shares.unwrap().given.is_empty(), "forgotten with the success");
    // Back to the file.
    assert!(lock.rekey(&unsealed, NewKey::Stored).unwrap().is_empty());
    assert_eq!(lock.status().how, "file");
    let keys = NodeKeys::open(&data, &unlock).unwrap();
    assert_eq!(keys.unlocked.ok().unwrap().local.expose(), secrets.local.expose());
}

#[test]
fn given_shares_are_forgotten_after_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let (keys, _) = new_node(dir.path());
    let secrets = keys.unlocked.ok().unwrap();
    let shares = keys.lock.rekey(&secrets, NewKey::Shares { needed: 2, count: 2 }).unwrap();
    assert!(keys.lock.open(share(&shares[0])).is_err());
    keys.lock.lock().shares_end = Some(Instant::now());
    keys.lock.forget_old_shares();
    assert!(keys.lock.lock().shares.is_empty());
    let given = error(keys.lock.open(share(&shares[1])));
    assert!(matches!(given, LockError::SharesNeeded { given: 1, .. }), "{given}");
}

#[test]
fn a_file_under_a_passphrase_is_of_format_3_and_back_under_a_key_of_format_2() {
    let dir = tempfile::tempdir().unwrap();
    let (keys, unlock) = new_node(dir.path());
    let file = dir.path().join("data/node-keys.json");
    let format = || {
        let json: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        json["format"].as_u64().unwrap()
    };
    assert_eq!(format(), 2, "earlier versions read it");
    let secrets = keys.unlocked.ok().unwrap();
    keys.lock.rekey(&secrets, NewKey::Passphrase(passphrase("correct horse"))).unwrap();
    assert_eq!(format(), 3);
    // Half of what makes a format does not make it.
    let mut json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    json["format"] = 2.into();
    assert!(Stored::parse(json.to_string().as_bytes()).is_none());
    keys.lock.rekey(&secrets, NewKey::Stored).unwrap();
    assert_eq!(format(), 2);
    assert!(NodeKeys::open(&dir.path().join("data"), &unlock).unwrap().unlocked.is_ok());
}
