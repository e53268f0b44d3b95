//! Output of answers and errors, for people and for machines.

use std::{
    io::{IsTerminal, Write},
    sync::Mutex,
};

use comfy_table::{Table, presets};
use conclave_api::{
    API_VERSION,
    change::{Change, DryRun},
    problem::{Code, Problem},
};
use serde::Serialize;

use crate::{
    args::{Form, Global},
    progress,
};

/// The first failure to write to standard output.
static FAILED: Mutex<Option<std::io::Error>> = Mutex::new(None);

/// Writes a line to standard output. A failure is kept, and becomes the result of the command.
pub(crate) fn line(text: &str) {
    progress::end();
    let mut stdout = std::io::stdout();
    let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    if let (Err(error), Ok(mut failed)) = (written, FAILED.lock()) {
        failed.get_or_insert(error);
    }
}

/// Returns why an answer could not be written. A reader that has gone away, as in `| head`, is no
/// failure.
pub(crate) fn failed() -> Option<Problem> {
    let error = FAILED.lock().ok()?.take()?;
    (error.kind() != std::io::ErrorKind::BrokenPipe).then(|| unwritten(&error))
}

/// Returns why a secret could not be written that is shown only once. Here a reader that has gone
/// away is a failure: nobody has the secret.
pub(crate) fn lost() -> Option<Problem> {
    Some(unwritten(&FAILED.lock().ok()?.take()?))
}

pub(crate) fn unwritten(error: &std::io::Error) -> Problem {
    let title = "cannot write to standard output";
    Problem::new(Code::OutputFailed, title).detail(error.to_string())
}

/// Writes advice to standard error.
pub(crate) fn advice(global: &Global, text: &str) {
    if !global.quiet && is_table(global) {
        progress::end();
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}

/// Writes a warning to standard error, as an object of one line if the answer is JSON.
pub(crate) fn warning(global: &Global, text: &str) {
    if global.quiet {
        return;
    }
    progress::end();
    let text = match global.output {
        Form::Json | Form::Jsonl => {
            let warning = Warning { text };
            serde_json::to_string(&named("Warning", &warning)).unwrap_or_default()
        }
        _ => format!("!  {text}"),
    };
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[derive(Serialize)]
struct Warning<'a> {
    text: &'a str,
}

/// Writes what a successful change did, unless --quiet.
pub(crate) fn success(global: &Global, text: &str) {
    if !global.quiet {
        line(text);
    }
}

/// An object with its kind, as JSON shows it.
#[derive(Serialize)]
struct Named<'a, T> {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    kind: &'a str,
    #[serde(flatten)]
    object: &'a T,
}

fn named<'a, T>(kind: &'a str, object: &'a T) -> Named<'a, T> {
    Named { api_version: API_VERSION, kind, object }
}

/// Writes an object, which has a kind, as JSON if that is requested. Returns whether it did.
pub(crate) fn json<T: Serialize>(global: &Global, value: &T) -> bool {
    let text = match global.output {
        Form::Json => serde_json::to_string_pretty(value),
        Form::Jsonl => serde_json::to_string(value),
        _ => return false,
    };
    line(&text.unwrap_or_default());
    true
}

/// Writes an object, which has a kind, as JSON or by its name if that is requested. Returns whether
/// it did.
pub(crate) fn object<T: Serialize>(global: &Global, name: &str, object: &T) -> bool {
    if global.output == Form::Name {
        line(name);
        return true;
    }
    json(global, object)
}

/// Writes an object as JSON with this kind, or by its name, if that is requested. Returns whether
/// it did.
pub(crate) fn object_of<T: Serialize>(global: &Global, kind: &str, name: &str, object: &T) -> bool {
    if global.output == Form::Name {
        line(name);
        return true;
    }
    json(global, &named(kind, object))
}

/// Returns whether the answer is for people.
pub(crate) fn is_table(global: &Global) -> bool {
    matches!(global.output, Form::Table | Form::Wide)
}

/// How a list of objects is written.
pub(crate) struct Columns<'a, T> {
    /// Kind of one object; that of the list is this with `List` at its end.
    pub(crate) kind: &'a str,
    /// Heads of the columns of a table.
    pub(crate) head: &'a [&'a str],
    /// Heads of further columns of a wide table.
    pub(crate) wide: &'a [&'a str],
    /// What the next command takes.
    pub(crate) name: fn(&T) -> String,
}

/// A list, as JSON shows it.
#[derive(Serialize)]
struct Items<'a, T> {
    items: &'a [T],
}

/// Writes a list in the requested form. `row` gets whether the table is wide; only then its further
/// columns are shown.
pub(crate) fn list<T: Serialize>(
    global: &Global,
    columns: &Columns<'_, T>,
    items: &[T],
    row: impl Fn(&T, bool) -> Vec<String>,
) {
    match global.output {
        Form::Json => {
            let kind = format!("{}List", columns.kind);
            json(global, &named(&kind, &Items { items }));
        }
        Form::Jsonl => items.iter().for_each(|item| {
            let has_kind =
                serde_json::to_value(item).is_ok_and(|value| value.get("kind").is_some());
            match has_kind {
                true => json(global, item),
                false => json(global, &named(columns.kind, item)),
            };
        }),
        Form::Name => items.iter().for_each(|item| line(&(columns.name)(item))),
        Form::Table | Form::Wide => {
            let is_wide = global.output == Form::Wide;
            let further = if is_wide { columns.wide } else { &[] };
            let head: Vec<&str> = columns.head.iter().chain(further).copied().collect();
            let cells = |item: &T| row(item, is_wide).into_iter().take(head.len()).collect();
            let rows: Vec<Vec<String>> = items.iter().map(cells).collect();
            line(&table(&head, &rows));
        }
    }
}

/// Formats a table with two spaces between columns and no borders.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(head.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let text = table.to_string();
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// Reports the result of a change: on how many nodes it is in use, and after how long.
pub(crate) fn change(global: &Global, what: &str, change: &Change) {
    if json(global, change) {
        return;
    }
    if global.output == Form::Name {
        line(&change.object);
        return;
    }
    if let Some(would) = change.dry_run.as_ref().filter(|_| change.changed) {
        dry_run(change, would);
        return;
    }
    match change.changed {
        _ if global.quiet => {}
        true => served(what, change),
        false => {
            let version =
                change.version.map_or_else(String::new, |one| format!(" (version {one})"));
            line(&format!("{}: unchanged{version}", change.object));
        }
    }
    for node in &change.served.missing {
        let reason = change.served.reasons.get(node).map_or("unknown", String::as_str);
        advice(global, &format!("!  not yet on {node}: {reason}"));
    }
    for warning in &change.warnings {
        advice(global, &format!("!  {warning}"));
    }
}

/// Writes on how many nodes a change is in use.
fn served(what: &str, change: &Change) {
    let (served, missing) = (change.served.nodes.len(), change.served.missing.len());
    let version =
        change.version.map_or_else(String::new, |version| format!(" (version {version})"));
    let took = change.took_ms;
    if served + missing == 0 {
        line(&format!("{what}, committed after {took} ms{version}"));
    } else {
        let all = served + missing;
        line(&format!("{what}, in use on {served} of {all} nodes after {took} ms{version}"));
    }
}

/// Advises the next step. After a dry run there is none, since nothing was done.
pub(crate) fn next(global: &Global, change: &Change, text: &str) {
    if change.dry_run.is_none() && change.changed {
        advice(global, &format!("Next: {text}"));
    }
}

/// Returns a number with its noun, as people say it.
pub(crate) fn counted(count: impl Into<u64>, noun: &str) -> String {
    match count.into() {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}

/// Advises how to restore the previous version of the domain.
pub(crate) fn undo(global: &Global, change: &Change) {
    let before = change.version.and_then(|version| version.checked_sub(1)).filter(|one| *one > 0);
    if let (Some(before), None, true) = (before, &change.dry_run, change.changed) {
        advice(global, &format!("Undo: conclave domain rollback {} {before}", change.object));
    }
}

/// Reports the effects of a dry run.
fn dry_run(change: &Change, would: &DryRun) {
    let versions = match (would.version, change.version) {
        (Some(now), Some(then)) => format!(" (version {now} -> {then})"),
        _ => String::new(),
    };
    line(&format!("Would change {}{versions}:", change.object));
    let width = would.differences.iter().map(|one| one.what.len()).max().unwrap_or(0).max(14);
    for one in &would.differences {
        let what = &one.what;
        match (&one.before, &one.after) {
            (Some(before), Some(after)) if before == after => {
                line(&format!("  {what:<width$}   unchanged ({before})"));
            }
            (before, after) => {
                let signed = [("-", before), ("+", after)].into_iter();
                let said = signed.filter_map(|(sign, text)| Some((sign, text.as_ref()?)));
                for (place, (sign, text)) in said.enumerate() {
                    let what = if place == 0 { what.as_str() } else { "" };
                    line(&format!("  {what:<width$} {sign} {text}"));
                }
            }
        }
    }
    // Two keys of a domain pass the same checks.
    let mut checks: Vec<&str> = Vec::new();
    for check in &would.checks {
        if !checks.contains(&check.as_str()) {
            checks.push(check);
        }
    }
    if !checks.is_empty() {
        line(&format!("Checks: {}", checks.join(", ")));
    }
    for told in would.problems.iter().chain(&change.warnings) {
        line(&format!("!  {told}"));
    }
}

/// Returns the JSON form if the arguments ask for one, though they could not be read as a whole.
pub(crate) fn asked_form(mut args: impl Iterator<Item = String>) -> Option<Form> {
    let mut asked = None;
    while let Some(arg) = args.next() {
        let value = match arg.as_str() {
            "--" => break,
            "-o" | "--output" => args.next()?,
            other => {
                let value = other.strip_prefix("--output=").or_else(|| other.strip_prefix("-o"));
                let Some(value) = value else { continue };
                value.trim_start_matches('=').to_owned()
            }
        };
        asked = match value.as_str() {
            "json" => Some(Form::Json),
            "jsonl" => Some(Form::Jsonl),
            _ => None,
        };
    }
    asked
}

/// Writes an error: what, where, why, hint, more.
pub(crate) fn problem(form: Form, problem: &Problem) {
    progress::end();
    let mut stderr = std::io::stderr();
    if matches!(form, Form::Json | Form::Jsonl) {
        let _ = writeln!(stderr, "{}", serde_json::to_string(problem).unwrap_or_default());
        return;
    }
    let _ = write!(stderr, "{}", problem_text(problem, stderr.is_terminal()));
}

fn problem_text(problem: &Problem, is_coloured: bool) -> String {
    let code = problem.code.as_str();
    let is_coloured = is_coloured && std::env::var_os("NO_COLOR").is_none();
    let (red, plain) = if is_coloured { ("\u{1b}[31m", "\u{1b}[0m") } else { ("", "") };
    let mut text = format!("{red}error[{code}]{plain}: {}\n", problem.title);
    if let Some(location) = &problem.location {
        let line = location.line.to_string();
        let margin = " ".repeat(line.len());
        text.push_str(&format!("{margin} --> {}:{line}\n", location.file));
        if let Some(found) = &location.text {
            let marks = "^".repeat(found.chars().count().max(1));
            let detail = problem.detail.as_deref().unwrap_or_default();
            let marked = format!("{margin} | {marks} {detail}");
            let marked = marked.trim_end();
            text.push_str(&format!("{margin} |\n{line} | {found}\n{marked}\n{margin} |\n"));
        }
    }
    let shown = problem.location.as_ref().is_some_and(|location| location.text.is_some());
    if let Some(detail) = problem.detail.as_ref().filter(|_| !shown) {
        text.push_str(&format!("      {detail}\n"));
    }
    if let Some(why) = &problem.why {
        text.push_str(&format!("why:  {why}\n"));
    }
    if let Some(hint) = &problem.hint {
        text.push_str(&format!("hint: {hint}\n"));
    }
    text.push_str(&format!("more: conclave explain {code}\n"));
    text
}

#[cfg(test)]
mod tests {
    use conclave_api::problem::{Code, Location};

    use super::*;

    #[test]
    fn an_error_says_what_where_why_and_what_next() {
        let problem =
            Problem::new(Code::KeyEncrypted, "the private key is protected by a passphrase")
                .at(Location {
                    file: "shop.key".to_owned(),
                    line: 2,
                    text: Some("Proc-Type: 4,ENCRYPTED".to_owned()),
                })
                .detail("old OpenSSL encryption")
                .why("a node must be able to use the key without a person")
                .hint("openssl pkey -in shop.key -out shop.plain.key");
        let expected = "\
error[K002]: the private key is protected by a passphrase
  --> shop.key:2
  |
2 | Proc-Type: 4,ENCRYPTED
  | ^^^^^^^^^^^^^^^^^^^^^^ old OpenSSL encryption
  |
why:  a node must be able to use the key without a person
hint: openssl pkey -in shop.key -out shop.plain.key
more: conclave explain K002
";
        assert_eq!(problem_text(&problem, false), expected);
    }
}
