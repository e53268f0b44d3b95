//! Commands for the audit trail.

use std::{collections::VecDeque, io::BufRead, path::Path, time::Duration};

use conclave_api::{
    API_VERSION,
    audit::{Entry, Keep, Verified},
    problem::{Code, Problem},
};
use conclave_client::{AuditFilter, Client, Failure};

use super::{ATTENTION, Asking, Done, change, file_problem};
use crate::{
    args::{Audit, Choosing, Form},
    output::{self, Columns},
};

/// Entries in one request.
const PAGE: usize = 1_000;
/// Pause between looks for new entries.
const FOLLOW_PAUSE: Duration = Duration::from_millis(500);
/// Longest line of an exported file.
const LINE_BYTES_MAX: u64 = 1024 * 1024;
/// Most faults of a file that are told.
const FAULTS_MAX: usize = 100;

pub(super) async fn run(asking: &Asking, command: Audit) -> Done {
    match command {
        Audit::List { choosing, limit } => {
            let entries = last(asking.client()?, &filter(choosing), limit).await?;
            show(asking, entries);
            Ok(0)
        }
        Audit::Tail { choosing, follow, lines } => tail(asking, choosing, follow, lines).await,
        Audit::Verify { file: Some(file) } => verified(asking, &verify_file(&file)?),
        Audit::Verify { file: None } => {
            let found = asking.client()?.verify_audit().await?;
            verified(asking, &found)
        }
        Audit::Keep { entries, changing } => {
            let done = asking.client()?.keep_audit(&Keep { entries }, &change(&changing)).await?;
            output::change(&asking.global, &format!("audit trail: keeps {entries} entries"), &done);
            Ok(0)
        }
    }
}

fn filter(choosing: Choosing) -> AuditFilter {
    let Choosing { who, event, object, result } = choosing;
    AuditFilter { who, event, object, result }
}

/// Reads the last entries, the last one first.
async fn last(client: &Client, filter: &AuditFilter, count: usize) -> Result<Vec<Entry>, Failure> {
    let (mut entries, mut after) = (Vec::new(), None);
    while entries.len() < count {
        let page = client.audit(filter, after, PAGE.min(count - entries.len())).await?;
        entries.extend(page.items);
        after = page.next.and_then(|next| next.parse().ok());
        if after.is_none() {
            break;
        }
    }
    Ok(entries)
}

fn show(asking: &Asking, entries: Vec<Entry>) {
    let columns = Columns {
        kind: "AuditEntry",
        head: &["NUMBER", "TIME", "WHO", "FROM", "EVENT", "RESULT", "OBJECT"],
        wide: &["NODE", "CHANGE", "REASON", "OPERATION"],
        name: |entry: &Entry| entry.sequence.to_string(),
    };
    if asking.global.output == Form::Jsonl {
        // Without a kind: the line is what the hash is about.
        return one_by_one(asking, &entries);
    }
    output::list(&asking.global, &columns, &entries, |entry, _| cells(entry));
}

fn cells(entry: &Entry) -> Vec<String> {
    let or_dash = |text: Option<&String>| text.cloned().unwrap_or_else(|| "-".to_owned());
    let result = match &entry.code {
        Some(code) => format!("{} {code}", entry.result),
        None => entry.result.clone(),
    };
    let object = if entry.object.is_empty() { "-".to_owned() } else { entry.object.clone() };
    vec![
        entry.sequence.to_string(),
        entry.time.clone(),
        entry.who.clone(),
        or_dash(entry.from.as_ref()),
        entry.event.clone(),
        result,
        object,
        or_dash(entry.node.map(|node| node.to_string()).as_ref()),
        differences(entry),
        or_dash(entry.reason.as_ref()),
        or_dash(entry.operation.as_ref()),
    ]
}

fn differences(entry: &Entry) -> String {
    let none = || "-".to_owned();
    let told = entry.differences.iter().map(|one| {
        let (before, after) = (one.before.clone(), one.after.clone());
        format!("{}: {} -> {}", one.what, before.unwrap_or_else(none), after.unwrap_or_else(none))
    });
    told.collect::<Vec<_>>().join("; ")
}

/// Shows the last entries in their order, and then those that come.
async fn tail(asking: &Asking, choosing: Choosing, follow: bool, lines: usize) -> Done {
    let (client, filter) = (asking.client()?, filter(choosing));
    let mut entries = last(client, &filter, lines).await?;
    entries.reverse();
    let newest = last(client, &AuditFilter::default(), 1).await?;
    let mut shown = newest.first().map_or(0, |entry| entry.sequence);
    one_by_one(asking, &entries);
    while follow && output::failed().is_none() {
        tokio::time::sleep(FOLLOW_PAUSE).await;
        let mut new = VecDeque::new();
        let mut after = None;
        'pages: loop {
            let page = client.audit(&AuditFilter::default(), after, PAGE).await?;
            for entry in page.items {
                if entry.sequence <= shown {
                    break 'pages;
                }
                new.push_front(entry);
            }
            after = page.next.and_then(|next| next.parse().ok());
            if after.is_none() {
                break;
            }
        }
        shown = new.back().map_or(shown, |entry| entry.sequence);
        let wanted: Vec<Entry> = new.into_iter().filter(|entry| takes(&filter, entry)).collect();
        one_by_one(asking, &wanted);
    }
    Ok(0)
}

/// The filter of the node, for entries that were asked for without it.
fn takes(filter: &AuditFilter, entry: &Entry) -> bool {
    let is = |wanted: &Option<String>, text: &str| wanted.as_deref().is_none_or(|one| one == text);
    let event = filter.event.as_deref().is_none_or(|wanted| match wanted.ends_with('.') {
        true => entry.event.starts_with(wanted),
        false => entry.event == wanted,
    });
    event
        && is(&filter.who, &entry.who)
        && is(&filter.object, &entry.object)
        && is(&filter.result, &entry.result)
}

/// Writes entries as lines: a table would need all of them first.
fn one_by_one(asking: &Asking, entries: &[Entry]) {
    for entry in entries {
        if !output::json(&asking.global, entry) {
            output::line(&cells(entry).iter().take(7).cloned().collect::<Vec<_>>().join("  "));
        }
    }
}

fn verified(asking: &Asking, found: &Verified) -> Done {
    // A majority has every entry. Without one the end may have been cut off: so it is on a node that
    // was put back from an old copy.
    let members = 1 + found.compared.len() + found.silent.len();
    let is_end_known = (1 + found.compared.len()) * 2 > members;
    let code = if found.valid && is_end_known { 0 } else { ATTENTION };
    if output::object(&asking.global, &found.hash, found) {
        return Ok(code);
    }
    let (first, last) = (found.first, found.last);
    match found.valid {
        true if last < first => output::line("ok  the audit trail has no entries yet"),
        true if !is_end_known => output::line(&format!(
            "!   entries {first} to {last}: none of these is missing or changed; too few members \
             answer to tell whether there are later ones"
        )),
        true => output::line(&format!("ok  entries {first} to {last}: none is missing or changed")),
        false => output::line(&format!("x   entries {first} to {last}: not as they were written")),
    }
    for fault in &found.faults {
        output::line(&format!("x   {fault}"));
    }
    if !found.compared.is_empty() {
        output::line(&format!("    compared with {}", found.compared.join(" ")));
    }
    if !found.silent.is_empty() {
        output::line(&format!("!   no answer from {}", found.silent.join(" ")));
    }
    Ok(code)
}

/// Checks an exported file: each line has its hash, and that of the line before it.
fn verify_file(path: &Path) -> Result<Verified, Failure> {
    let file = std::fs::File::open(path).map_err(|error| file_problem(path, error.to_string()))?;
    let mut lines = std::io::BufReader::new(file);
    let mut found = Verified {
        api_version: API_VERSION.to_owned(),
        kind: "AuditVerification".to_owned(),
        valid: true,
        first: 0,
        last: 0,
        hash: String::new(),
        faults: Vec::new(),
        compared: Vec::new(),
        silent: Vec::new(),
    };
    for number in 1.. {
        let mut line = String::new();
        let read = std::io::Read::take(&mut lines, LINE_BYTES_MAX).read_line(&mut line);
        if read.map_err(|error| file_problem(path, error.to_string()))? == 0 {
            break;
        }
        if line.trim().is_empty() {
            continue;
        }
        let Some(entry) = entry_of(line.trim_end()) else {
            let title =
                format!("line {number} of {} is no entry of an audit trail", path.display());
            return Err(Box::new(Problem::new(Code::Malformed, title).hint(
                "conclave audit tail -n 1000 -o jsonl    and the file of [audit] have such lines",
            )));
        };
        check(&mut found, &entry, line.trim_end());
    }
    found.valid = found.faults.is_empty();
    Ok(found)
}

fn entry_of(line: &str) -> Option<Entry> {
    serde_json::from_str(line).ok()
}

fn check(found: &mut Verified, entry: &Entry, line: &str) {
    let number = entry.sequence;
    let mut faults = Vec::new();
    if found.last == 0 {
        found.first = number;
    } else if number != found.last + 1 {
        faults.push(format!("entry {number} comes after entry {}", found.last));
    } else if entry.previous != found.hash {
        faults.push(format!("entry {number} does not follow the one before it"));
    }
    let end = format!(",\"hash\":\"{}\"}}", entry.hash);
    let text = line.strip_suffix(&end).map(|text| format!("{text}}}"));
    let hash = text.map(|text| conclave_node::shown_fingerprint(text.as_bytes()));
    if hash.as_deref() != Some(entry.hash.as_str()) {
        faults.push(format!("entry {number} was changed: it does not have its hash"));
    }
    (found.last, found.hash) = (number, entry.hash.clone());
    let room = FAULTS_MAX.saturating_sub(found.faults.len());
    found.faults.extend(faults.into_iter().take(room));
}
