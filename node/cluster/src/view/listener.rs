//! A listener on each member, by the reports of the members.

use conclave_api::{listener::OnNode, problem::Code};
use conclave_store::{
    id::{ListenerName, LogIndex},
    record::RowKey,
    state::State,
};

use crate::replica::{NodeReport, Outlook};

/// Returns how a listener is on each member.
pub fn listener_on_nodes(state: &State, outlook: &Outlook, name: &ListenerName) -> Vec<OnNode> {
    let rows = [RowKey::Listener(name.clone()), RowKey::ListenerPolicy(name.clone())];
    let changed = rows.iter().filter_map(|key| state.row(key)).map(|row| row.changed_at).max();
    let changed = changed.unwrap_or(LogIndex(0));
    let on_node = |(id, member): (&_, &conclave_store::record::Member)| {
        let (state, problems) = said(outlook.reports.get(id), name, changed);
        OnNode { node: member.name.to_string(), state: state.to_owned(), problems }
    };
    state.members().map(on_node).collect()
}

/// Returns the state that a member reports, and its reasons.
fn said(
    report: Option<&NodeReport>,
    name: &ListenerName,
    changed: LogIndex,
) -> (&'static str, Vec<String>) {
    let Some(report) = report else { return ("unreachable", Vec::new()) };
    let is_about = |code: &str, object: &str| {
        code == Code::PortUnavailable.as_str() && object == name.as_str()
    };
    let about = report.attention.iter().filter(|one| is_about(&one.code, &one.object));
    let problems: Vec<String> = about.map(|one| one.text.clone()).collect();
    let state = match problems.is_empty() {
        _ if report.is_draining => "draining",
        false => "closed",
        true if report.index < changed => "lagging",
        true => "open",
    };
    (state, problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::Attention;

    #[test]
    fn a_listener_is_open_where_the_member_has_it_and_reports_no_problem() {
        let name = ListenerName::parse("https").unwrap();
        let attention = |object: &str| Attention {
            code: Code::PortUnavailable.as_str().to_owned(),
            is_error: true,
            object: object.to_owned(),
            text: "in use".to_owned(),
            hint: String::new(),
        };
        let report = |index, attention| NodeReport {
            index: LogIndex(index),
            attention,
            ..NodeReport::default()
        };
        let state = |report: Option<&NodeReport>| said(report, &name, LogIndex(5)).0;
        assert_eq!(state(None), "unreachable");
        assert_eq!(state(Some(&report(4, Vec::new()))), "lagging");
        assert_eq!(state(Some(&report(5, vec![attention("smtp")]))), "open");
        let closed = report(5, vec![attention("https")]);
        assert_eq!(said(Some(&closed), &name, LogIndex(5)), ("closed", vec!["in use".to_owned()]));
        assert_eq!(state(Some(&NodeReport { is_draining: true, ..closed })), "draining");
    }
}
