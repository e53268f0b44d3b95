//! Commands for the keyring, and for the unlocking of a node.

use std::{
    io::{IsTerminal, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use conclave_api::{
    keyring::{Keyring as Shown, Rekey, Rekeyed, Unlocking, Unseal},
    problem::{Code, Problem},
};
use conclave_client::Failure;

use super::{ATTENTION, Asking, Done, change, key, prompt, read_file, unwritable};
use crate::{
    args::{Global, Keyring, Rekeying},
    output, progress,
};

pub(super) async fn run(asking: &Asking, command: Keyring) -> Done {
    let (client, global) = (asking.client()?, &asking.global);
    match command {
        Keyring::Status => status(asking).await,
        Keyring::Rotate { changing } => {
            let done = client.rotate_keyring(&change(&changing)).await?;
            output::change(global, &format!("keyring: {}", done.object), &done);
            Ok(0)
        }
        Keyring::Seal => {
            let done = client.seal().await?;
            if !output::object(global, &done.node, &done) {
                let node = &done.node;
                let text = match done.changed {
                    true => format!("{node} is sealed: it has forgotten all private keys"),
                    false => format!("{node} is sealed already: unchanged"),
                };
                output::success(global, &text);
                output::advice(global, "Next: conclave keyring unseal    on this node");
            }
            Ok(0)
        }
        Keyring::Unseal { passphrase_file, share_file } => {
            unseal(asking, passphrase_file.as_deref(), share_file.as_deref()).await
        }
        Keyring::Rekey(rekeying) => rekey(asking, rekeying).await,
    }
}

async fn status(asking: &Asking) -> Done {
    let (client, global) = (asking.client()?, &asking.global);
    match client.keyring().await {
        Ok(keyring) => {
            if !output::object(global, &keyring.generation.to_string(), &keyring) {
                show(&keyring);
            }
        }
        // How a node unlocks is known before it has a cluster.
        Err(failure) if failure.code == Code::NoCluster => {
            let unlocking = client.unlocking().await?;
            if !output::object(global, &unlocking.node, &unlocking) {
                show_unlocking(&unlocking);
            }
        }
        Err(failure) => return Err(failure),
    }
    Ok(0)
}

fn show(keyring: &Shown) {
    let Shown { generation, generations, members, sealed_nodes, silent_nodes, .. } = keyring;
    let is_open = |name: &&String| !sealed_nodes.contains(name) && !silent_nodes.contains(name);
    let open: Vec<&str> = members.iter().filter(is_open).map(String::as_str).collect();
    let open = if open.is_empty() { "no node".to_owned() } else { open.join(" ") };
    output::line(&format!("Generation {generation}, {generations} kept, opened by {open}"));
    if keyring.unfinished > 0 {
        let count = keyring.unfinished;
        output::line(&format!("   {count} rows are still to be sealed or proved anew under it"));
    }
    if !sealed_nodes.is_empty() {
        let names = sealed_nodes.join(" ");
        output::line(&format!(
            "x  sealed, so without private keys: {names}    on each: conclave keyring unseal"
        ));
    }
    if !silent_nodes.is_empty() {
        output::line(&format!("!  no answer, so not known: {}", silent_nodes.join(" ")));
    }
    if let Some(unlocking) = &keyring.unlocking {
        show_unlocking(unlocking);
    }
}

fn show_unlocking(unlocking: &Unlocking) {
    let Unlocking { node, sealed, reason, unset, .. } = unlocking;
    let how = in_words(unlocking);
    match (sealed, unset) {
        (true, true) => output::line(&format!(
            "{node}  sealed: its passphrase is not set yet    conclave keyring unseal"
        )),
        (true, false) => {
            let reason = reason.as_deref().unwrap_or("unknown");
            output::line(&format!("{node}  sealed, unlocks with {how}: {reason}"));
        }
        (false, _) => output::line(&format!("{node}  unsealed, unlocks with {how}")),
    }
    if let Some(shares) = unlocking.shares.as_ref().filter(|shares| !shares.given.is_empty()) {
        let given: Vec<String> = shares.given.iter().map(u8::to_string).collect();
        output::line(&format!("   given shares: {} (set {})", given.join(" "), shares.set));
    }
    unlocking.warnings.iter().for_each(|text| output::line(&format!("!  {text}")));
}

fn in_words(unlocking: &Unlocking) -> String {
    let place = unlocking.place.as_deref().unwrap_or_default();
    match (unlocking.how.as_str(), &unlocking.shares) {
        ("file", _) => format!("the file {place}"),
        ("credential", _) => format!("the systemd credential {place}"),
        ("passphrase", _) => "a passphrase".to_owned(),
        ("shares", Some(shares)) => {
            format!("{} of {} shares, set {}", shares.needed, shares.count, shares.set)
        }
        ("none", _) => "a stored key, and [keyring] unlock names none".to_owned(),
        (other, _) => other.to_owned(),
    }
}

async fn unseal(asking: &Asking, passphrase: Option<&Path>, share: Option<&Path>) -> Done {
    let (client, global) = (asking.client()?, &asking.global);
    let before = client.unlocking().await?;
    let wanted = match (before.how.as_str(), before.sealed) {
        _ if passphrase.is_some() || share.is_some() => "given",
        (_, false) => "nothing",
        (how, true) => how,
    };
    let asked = match wanted {
        "given" => Unseal {
            passphrase: key::passphrase(passphrase)?,
            share: share.map(read_file).transpose()?,
        },
        "passphrase" => {
            let passphrase = Some(secret(global, "Passphrase: ", before.unset)?);
            Unseal { passphrase, share: None }
        }
        "shares" => Unseal { passphrase: None, share: Some(secret(global, "Share: ", false)?) },
        _ => Unseal::default(),
    };
    let done = client.unseal(&asked).await?;
    let code = if done.sealed { ATTENTION } else { 0 };
    if output::object(global, &done.node, &done) {
        return Ok(code);
    }
    let node = &done.node;
    match (&done.shares, done.sealed) {
        (Some(shares), true) => {
            let (given, needed) = (shares.given.len(), shares.needed);
            output::line(&format!("{node} is still sealed: {given} of {needed} shares given"));
            output::advice(global, "Next: the same with another share, within ten minutes");
        }
        _ if !done.changed => {
            output::success(global, &format!("{node} is unsealed already: unchanged"));
        }
        _ if before.unset => {
            output::success(global, &format!("{node} is unsealed, and its passphrase is set"));
            output::advice(
                global,
                "It is asked for after each start. Without it this node can use no private key.",
            );
        }
        _ => output::success(global, &format!("{node} is unsealed")),
    }
    done.warnings.iter().for_each(|text| output::advice(global, &format!("!  {text}")));
    Ok(code)
}

async fn rekey(asking: &Asking, rekeying: Rekeying) -> Done {
    let (client, global) = (asking.client()?, &asking.global);
    let passphrase = match (&rekeying.passphrase_file, rekeying.passphrase) {
        (Some(file), _) => key::passphrase(Some(file))?,
        (None, true) => Some(secret(global, "New passphrase: ", true)?),
        (None, false) => None,
    };
    let out = rekeying.shares_out.as_deref().map(SharesFile::create).transpose()?;
    let asked = Rekey { passphrase, shares: rekeying.unseal_shares };
    let done = match client.rekey(&asked).await {
        Ok(done) => done,
        Err(failure) => {
            // A file without shares helps nobody.
            if let Some(out) = out {
                let _ = std::fs::remove_file(out.path);
            }
            return Err(failure);
        }
    };
    let is_kept = out.is_some();
    if let Some(out) = out {
        out.write(&done.shares)?;
    }
    tell_rekeyed(global, done, is_kept)
}

fn tell_rekeyed(global: &Global, mut done: Rekeyed, is_kept: bool) -> Done {
    let shares = std::mem::take(&mut done.shares);
    let old_key = done.old_key.clone();
    if !is_kept {
        done.shares.clone_from(&shares);
    }
    if !output::object(global, &done.unlocking.node, &done) {
        let (node, how) = (&done.unlocking.node, in_words(&done.unlocking));
        output::success(global, &format!("{node} unlocks with {how} from now on"));
        if !shares.is_empty() && !is_kept {
            let text = "The shares are shown once and stored nowhere. Give each to another person:";
            output::advice(global, text);
            shares.iter().for_each(|text| output::line(text));
        }
    }
    if let Some(path) = old_key {
        let text = format!(
            "{path} opens nothing any more but earlier copies of the data directory: delete it"
        );
        output::advice(global, &text);
    }
    match output::lost() {
        Some(lost) if !shares.is_empty() && !is_kept => Err(Box::new(
            lost.why("the new shares could not be shown, and without them a restart stays sealed")
                .hint("conclave keyring rekey    again, before the node restarts"),
        )),
        _ => Ok(0),
    }
}

/// A new file for shares, made before anything changes: afterwards it would be too late to find out
/// that it cannot be written.
struct SharesFile {
    path: PathBuf,
    file: std::fs::File,
}

impl SharesFile {
    fn create(path: &Path) -> Result<SharesFile, Failure> {
        let mut options = std::fs::OpenOptions::new();
        let opened = options.write(true).create_new(true).mode(0o600).open(path);
        let file = opened.map_err(|error| unwritable(path, &error))?;
        Ok(SharesFile { path: path.to_owned(), file })
    }

    fn write(mut self, shares: &[String]) -> Result<(), Failure> {
        let text: String = shares.iter().flat_map(|share| [share, "\n"]).collect();
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_all());
        written.map_err(|error| {
            let mut failure = unwritable(&self.path, &error);
            failure.hint =
                Some("conclave keyring rekey    again, before the node restarts".to_owned());
            failure
        })
    }
}

/// Reads a secret from the terminal without echo, or one line from standard input. A new one is
/// asked for twice on a terminal.
pub(super) fn secret(global: &Global, question: &str, is_new: bool) -> Result<String, Failure> {
    let missing = |why: &str| {
        let problem = Problem::new(Code::Malformed, why.to_owned());
        Box::new(problem.hint("--passphrase-file FILE    or --share-file FILE"))
    };
    if !std::io::stdin().is_terminal() {
        let text = read_file(Path::new("-"))?;
        let line = text.lines().next().unwrap_or_default().to_owned();
        return if line.is_empty() { Err(missing("standard input is empty")) } else { Ok(line) };
    }
    if global.no_input {
        return Err(missing("a passphrase or share is needed"));
    }
    progress::end();
    let ask = |question: &str| {
        let answer = prompt::secret(question).map_err(|_| missing("nothing was typed"))?;
        Ok::<String, Failure>(answer.trim_end_matches(['\n', '\r']).to_owned())
    };
    let answer = ask(question)?;
    if is_new && ask("The same again: ")? != answer {
        return Err(missing("the two passphrases differ"));
    }
    Ok(answer)
}
