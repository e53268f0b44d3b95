//! Application of a document: the cluster becomes what the document says.
//!
//! Only differences are sent, each object in changes of its own. So a repetition changes nothing,
//! and a repetition after a failure does what is left.

mod credential;
mod domain;
mod plan;
mod request;
mod trusted;

use std::{collections::BTreeSet, path::Path};

use conclave_api::{
    API_VERSION,
    change::Difference,
    problem::{Code, Problem},
};
use conclave_client::{Change, Client, Failure};
use futures::StreamExt;
use serde::Serialize;
use tokio::time::Instant;

pub(super) use self::credential::family_word;
use self::plan::{Action, Plan, Sides, Step};
use super::{
    Asking, Done, confirm,
    document::{
        Document,
        present::{Present, REQUESTS_MAX},
    },
};
use crate::{
    args::{Applying, Form},
    output,
};

/// Most objects that the question before a removal names.
const NAMED_MAX: usize = 10;

/// What came of a document.
#[derive(Serialize)]
struct Applied {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    kind: &'static str,
    dry_run: bool,
    /// Whether anything changed, or would change.
    changed: bool,
    counts: Counts,
    objects: Vec<Object>,
    warnings: Vec<String>,
}

#[derive(Default, Serialize)]
struct Counts {
    changed: usize,
    unchanged: usize,
    failed: usize,
    /// Left out after a failure.
    not_tried: usize,
}

/// What came of one object.
#[derive(Serialize)]
struct Object {
    object: String,
    action: Action,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<Difference>,
    #[serde(skip)]
    changed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Failure>,
}

pub(super) async fn run(asking: &Asking, applying: Applying) -> Done {
    let (client, started) = (asking.client()?.with_scope(None), Instant::now());
    let document = Document::read(&applying.file)?;
    let present = Present::read(&client).await?;
    let directory = applying.file.parent().filter(|_| applying.file != Path::new("-"));
    let plan = Sides {
        directory: directory.unwrap_or(Path::new("")),
        document: &document,
        present: &present,
        is_pruned: applying.prune,
    };
    let plan = plan.plan()?;
    confirm_removals(asking, &applying, &plan)?;
    let mut applied = Applied {
        api_version: API_VERSION,
        kind: "Applied",
        dry_run: applying.dry_run,
        changed: false,
        counts: Counts::default(),
        objects: Vec::new(),
        warnings: plan.warnings,
    };
    let mut not_tried = BTreeSet::new();
    for phase in plan.phases {
        // What comes later needs this phase.
        if applied.counts.failed > 0 {
            not_tried.extend(phase.into_iter().map(|step| step.object));
            continue;
        }
        let objects = match applying.dry_run {
            true => phase.into_iter().map(Object::planned).collect(),
            false => execute([&client, &present.here], phase, applying.reason.as_ref()).await,
        };
        for object in objects {
            applied.counts.failed += usize::from(object.problem.is_some());
            take(&mut applied.objects, object);
        }
    }
    // An object may have been changed or have failed before the step that was not tried.
    applied.objects.iter().for_each(|one| _ = not_tried.remove(&one.object));
    applied.counts.not_tried = not_tried.len();
    let changed = |one: &&Object| one.changed && one.problem.is_none();
    applied.counts.changed = applied.objects.iter().filter(changed).count();
    applied.changed = applied.objects.iter().any(|one| one.changed);
    let Counts { changed, failed, not_tried, .. } = applied.counts;
    applied.counts.unchanged = plan.objects.saturating_sub(changed + failed + not_tried);
    report(asking, &applied, started);
    match applied.objects.iter().find_map(|one| Some((one, one.problem.clone()?))) {
        Some((object, problem)) => Err(stopped(&object.object, problem, &applied.counts)),
        None => Ok(0),
    }
}

/// Adds the result of an object. An object may have a step in several phases.
fn take(objects: &mut Vec<Object>, object: Object) {
    match objects.iter_mut().rev().find(|known| known.object == object.object) {
        Some(known) => {
            known.changed |= object.changed;
            known.differences.extend(object.differences);
            known.warnings.extend(object.warnings);
            known.problem = known.problem.take().or(object.problem);
        }
        None => objects.push(object),
    }
}

impl Object {
    fn of(step: Step) -> (Object, Vec<request::Request>) {
        let Step { object, action, differences, requests } = step;
        let object = Object {
            object,
            action,
            differences,
            changed: false,
            warnings: Vec::new(),
            problem: None,
        };
        (object, requests)
    }

    /// Returns the name alone, without the kind.
    fn name(&self) -> &str {
        self.object.rsplit(' ').next().unwrap_or_default()
    }

    /// Makes the result of a step that is not taken.
    fn planned(step: Step) -> Object {
        Object { changed: true, ..Object::of(step).0 }
    }
}

/// Takes the steps of a phase: with the client of all nodes, or with that of the answering node.
async fn execute(clients: [&Client; 2], phase: Vec<Step>, reason: Option<&String>) -> Vec<Object> {
    let work = phase.into_iter().map(|step| {
        let ([client, here], reason) = (clients.map(Client::clone), reason.cloned());
        async move {
            let (mut object, requests) = Object::of(step);
            let last = requests.len();
            for (place, request) in requests.iter().enumerate() {
                // Only the last change of an object is waited for until it is in use.
                let is_committed_enough = place + 1 < last;
                let reason = reason.clone();
                let change = Change { is_committed_enough, reason, ..Change::default() };
                match request.send(&client, &here, &change).await {
                    Ok(done) => {
                        object.changed |= done.changed;
                        object.warnings.extend(done.warnings);
                    }
                    Err(problem) => {
                        object.problem = Some(problem);
                        break;
                    }
                }
            }
            object
        }
    });
    futures::stream::iter(work).buffered(REQUESTS_MAX).collect().await
}

fn confirm_removals(asking: &Asking, applying: &Applying, plan: &Plan) -> Result<(), Failure> {
    let removed = plan.phases.iter().flatten().flat_map(Step::removed).collect::<Vec<_>>();
    if removed.is_empty() {
        return Ok(());
    }
    let mut what = removed.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    if removed.len() > NAMED_MAX {
        what.push_str(&format!(" and {} more", removed.len() - NAMED_MAX));
    }
    confirm(&asking.global, applying.yes || applying.dry_run, &what, "prune")
}

fn report(asking: &Asking, applied: &Applied, started: Instant) {
    let global = &asking.global;
    if output::json(global, applied) {
        return;
    }
    if global.output == Form::Name {
        let changed = applied.objects.iter().filter(|one| one.changed && one.problem.is_none());
        return changed.for_each(|one| output::line(one.name()));
    }
    // A dry run is a question, so its answer is written even with --quiet.
    let is_quiet = global.quiet && !applied.dry_run;
    for object in &applied.objects {
        if let Some(problem) = &object.problem {
            output::line(&format!("{}: failed: {}", object.object, problem.title));
        } else if object.changed && !is_quiet {
            said(object, applied.dry_run);
        }
        for warning in &object.warnings {
            output::advice(global, &format!("!  {}: {warning}", object.object));
        }
    }
    applied.warnings.iter().for_each(|text| output::advice(global, &format!("!  {text}")));
    if is_quiet {
        return;
    }
    let Counts { changed, unchanged, failed, not_tried } = applied.counts;
    let mut summary = match applied.dry_run {
        true => format!("Would change {changed}, {unchanged} unchanged"),
        false => format!("{changed} changed, {unchanged} unchanged"),
    };
    if failed > 0 {
        summary.push_str(&format!(", {failed} failed, {not_tried} not tried"));
    }
    if !applied.dry_run {
        summary.push_str(&format!(" after {} ms", started.elapsed().as_millis()));
    }
    output::line(&summary);
}

/// Reports one object: in a dry run its differences, otherwise one line.
fn said(object: &Object, is_dry_run: bool) {
    let Object { object, action, differences, .. } = object;
    if !is_dry_run {
        let done = match action {
            Action::Add => "added",
            Action::Change => "changed",
            Action::Remove => "removed",
        };
        return output::line(&format!("{object}: {done}"));
    }
    let sign = match action {
        Action::Add => '+',
        Action::Change => '~',
        Action::Remove => '-',
    };
    output::line(&format!("{sign} {object}"));
    for Difference { what, before, after } in differences {
        let values = [('-', before), ('+', after)].into_iter();
        for (sign, text) in values.filter_map(|(sign, text)| Some((sign, text.as_ref()?))) {
            output::line(&format!("    {what:<20} {sign} {text}"));
        }
    }
}

/// Returns the error of a document that was applied in part.
fn stopped(object: &str, problem: Failure, counts: &Counts) -> Failure {
    let Counts { changed, failed, not_tried, .. } = counts;
    let title = format!("{object}: {}", problem.title);
    let detail = format!("{changed} changed, {failed} failed, {not_tried} not tried");
    let detail = match &problem.detail {
        Some(why) => format!("{why}; {detail}"),
        None => detail,
    };
    let again = "correct it and repeat the command: what is done is not done again";
    let hint = match &problem.hint {
        Some(hint) => format!("{hint}    then {again}"),
        None => again.to_owned(),
    };
    // An unknown outcome is no reason to repeat under one operation: a repetition looks first.
    let code = problem.code;
    let stopped = Problem { title, detail: Some(detail), hint: Some(hint), ..*problem };
    Box::new(if code == Code::OutcomeUnknown {
        Problem { operation: None, ..stopped }
    } else {
        stopped
    })
}
