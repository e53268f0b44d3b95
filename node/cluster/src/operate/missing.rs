//! Why a change is not in use on every node.

use conclave_api::{
    change::Change,
    problem::{Code, Problem},
};

use super::Operator;
use crate::replica::{NodeReport, Replica};

impl Operator {
    /// Adds to an answer why nodes are missing in it. Fails if the caller requires all of them.
    pub(super) async fn explained(&self, mut change: Change) -> Result<Change, Problem> {
        if change.served.missing.is_empty() {
            return Ok(change);
        }
        if let Ok(replica) = self.node.replica() {
            self.explain(&replica, &mut change).await;
        }
        if !self.is_all_required || self.is_dry_run {
            return Ok(change);
        }
        let (served, missing) = (change.served.nodes.len(), change.served.missing.len());
        let what = if change.changed { "changed" } else { "unchanged" };
        let title = format!(
            "{} is {what}, but in use on {served} of {} nodes only",
            change.object,
            served + missing
        );
        let reasons = change.served.missing.iter().map(|name| {
            let reason = change.served.reasons.get(name).map_or("unknown", String::as_str);
            format!("{name}: {reason}")
        });
        let mut problem = Problem::new(Code::NotOnAllNodes, title)
            .detail(reasons.collect::<Vec<_>>().join("; "))
            .hint("conclave status    the others follow by themselves when they can");
        problem.operation = Some(change.operation);
        Err(problem)
    }

    async fn explain(&self, replica: &Replica, change: &mut Change) {
        let reports = replica.all_reports().await;
        let point = replica.point();
        for (id, member) in point.state.members() {
            let name = member.name.to_string();
            if change.served.missing.contains(&name) {
                let reason = reason(reports.get(id), &change.object, change.index);
                change.served.reasons.insert(name, reason);
            }
        }
    }
}

/// Returns why a member does not serve the change of `object` at `index`, by its report.
fn reason(report: Option<&NodeReport>, object: &str, index: u64) -> String {
    let Some(report) = report else { return "it does not answer".to_owned() };
    if report.is_sealed {
        return "it is sealed and serves no private keys".to_owned();
    }
    let of_object = report.attention.iter().find(|one| one.object == object);
    if let Some(attention) = of_object {
        return attention.text.clone();
    }
    let is_failed = report.failed.iter().any(|failed| failed.0 == index);
    if is_failed {
        return "it cannot use it; its log says why".to_owned();
    }
    if report.index.0 < index {
        return "it lags behind, and follows".to_owned();
    }
    "it serves it by now".to_owned()
}

#[cfg(test)]
mod tests {
    use conclave_store::id::LogIndex;

    use super::*;
    use crate::replica::Attention;

    #[test]
    fn the_reason_is_what_the_member_says_of_itself() {
        let report = |index| NodeReport { index: LogIndex(index), ..NodeReport::default() };
        let reason = |report: &NodeReport| reason(Some(report), "https", 7);
        assert_eq!(reason(&report(6)), "it lags behind, and follows");
        assert_eq!(reason(&report(7)), "it serves it by now");
        let failed = NodeReport { failed: [LogIndex(7)].into(), ..report(9) };
        assert_eq!(reason(&failed), "it cannot use it; its log says why");
        let attention = Attention {
            code: "N001".to_owned(),
            is_error: true,
            object: "https".to_owned(),
            text: "the port is in use".to_owned(),
            hint: String::new(),
        };
        let closed = NodeReport { attention: vec![attention], ..failed };
        assert_eq!(reason(&closed), "the port is in use");
        let sealed = NodeReport { is_sealed: true, ..closed };
        assert_eq!(reason(&sealed), "it is sealed and serves no private keys");
        assert_eq!(super::reason(None, "https", 7), "it does not answer");
    }
}
