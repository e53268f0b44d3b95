//! `conclave cluster recover`: makes a stopped survivor the only voter of its cluster.

use std::path::Path;

use conclave_api::cluster::Recovery as Plan;
use conclave_node::Recovery;

use super::{Done, confirm};
use crate::{args::Global, output};

/// First level on which secrets are sealed anew under a new generation.
const RESEAL_LEVEL: u32 = 3;

pub(super) fn run(global: &Global, config: &Path, is_dry_run: bool, is_sure: bool) -> Done {
    let recovery = Recovery::open(config)?;
    let plan = recovery.plan().clone();
    if is_dry_run || !plan.changed {
        let plan = Plan { dry_run: is_dry_run, ..plan };
        if !output::object_of(global, "Recovery", &plan.cluster, &plan) {
            show(&plan);
            if !plan.changed {
                output::success(global, &nothing(&plan));
            }
        }
        return Ok(0);
    }
    if output::is_table(global) && !global.quiet {
        show(&plan);
    }
    let (cluster, former) = (plan.cluster.clone(), former(&plan));
    let what = format!("{former} from cluster {cluster} for ever");
    confirm(global, is_sure, &what, &cluster)?;
    let done = recovery.execute()?;
    if !output::object_of(global, "Recovery", &done.cluster, &done) {
        let (node, index) = (&done.node, done.last_index);
        output::success(
            global,
            &format!(
                "{node} is the only voter of cluster {cluster:?}: recovered from index {index}."
            ),
        );
        output::advice(
            global,
            &format!(
                "Next: systemctl start conclave    then empty the data_dir of {former}, and let them join anew"
            ),
        );
    }
    Ok(0)
}

fn nothing(plan: &Plan) -> String {
    format!("{} is the only voter of cluster {:?}: nothing to recover", plan.node, plan.cluster)
}

fn former(plan: &Plan) -> String {
    let names: Vec<&str> = plan.former.iter().map(|one| one.name.as_str()).collect();
    match names.as_slice() {
        [] => "no member".to_owned(),
        [one] => (*one).to_owned(),
        [others @ .., last] => format!("{} and {last}", others.join(", ")),
    }
}

fn show(plan: &Plan) {
    let Plan { cluster, id, node, last_term, last_index, committed_index, .. } = plan;
    output::line(&format!("Cluster {cluster:?} (id {id}), survivor {node}"));
    output::line(&format!("  last entry   index {last_index} of term {last_term}"));
    let behind = match plan.uncommitted_entries {
        0 => "all entries are known to be committed".to_owned(),
        count => format!(
            "up to index {committed_index}; {count} later entries are kept, since one of them may have been acknowledged"
        ),
    };
    output::line(&format!("  committed    {behind}"));
    if !plan.changed {
        return;
    }
    output::line(&format!("  afterwards   {node} is the only voter, in term {}", plan.term));
    for one in &plan.former {
        let role = if one.is_voter { "voter" } else { "learner" };
        output::line(&format!("  put out      {} ({role}, {})", one.name, one.address));
    }
    if plan.unfinished {
        output::line("An earlier recovery was interrupted; this one finishes it.");
    }
    output::line(&format!(
        "!  Writes that another member acknowledged after index {last_index} may be missing. Choose the \
         survivor with the highest term and index: run this with --dry-run on each, and compare."
    ));
    output::line(
        "!  Members that are put out must be wiped: started with their old data, they could go on \
         as a second cluster.",
    );
    if plan.level < RESEAL_LEVEL {
        output::line(&format!(
            "!  The cluster is at level {}: until it reaches level {RESEAL_LEVEL}, private keys stay sealed \
             under generations that the members put out can open.",
            plan.level
        ));
    }
}
