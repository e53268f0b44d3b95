//! One frame of `conclave top`.

use std::collections::BTreeMap;

use conclave_api::{finding::Severity, status::Health};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Text},
    widgets::{Paragraph, Row, Table},
};

use super::{View, rates::Rates};

const MIB: u64 = 1024 * 1024;
/// Failed connections in a minute from which on a sign stands behind their number.
const FAILED_MANY: f64 = 30.0;
/// Longest lists below the table.
const LISTED_MAX: usize = 12;

const HEAD: [&str; 13] = [
    "NODE",
    "ROLE",
    "STATE",
    "LAG",
    "CONN",
    "TLS/s",
    "DTLS/s",
    "p99 ms",
    "RESUMED",
    "FAILED/min",
    "CPU",
    "MEM",
    "UP",
];

/// Draws the frame.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View) {
    let rows = u16::try_from(view.rates.len()).unwrap_or(u16::MAX).saturating_add(2);
    let [head, nodes, lists] =
        Layout::vertical([Constraint::Length(2), Constraint::Length(rows), Constraint::Min(0)])
            .areas(frame.area());
    frame.render_widget(Paragraph::new(title(view)), head);
    self::nodes(frame, nodes, &view.rates);
    let [failing, attention] =
        Layout::horizontal([Constraint::Length(34), Constraint::Min(0)]).areas(lists);
    frame.render_widget(Paragraph::new(why_they_fail(&view.rates)), failing);
    frame.render_widget(Paragraph::new(needs_attention(view)), attention);
}

fn title(view: &View) -> Text<'static> {
    let status = &view.status;
    let ready = status.nodes.iter().filter(|node| node.state == "ready").count();
    let all = status.nodes.len();
    let first = match &status.cluster {
        None => format!("{}: belongs to no cluster yet", status.node),
        Some(cluster) => {
            let leader = cluster.leader.as_deref().unwrap_or("none");
            let spare = match (cluster.stale, cluster.can_lose) {
                (true, _) => "no change is possible".to_owned(),
                (false, 0) => "none may fail".to_owned(),
                (false, count) => format!("{count} may fail"),
            };
            let (name, term) = (&cluster.name, cluster.term);
            format!("{name}   leader {leader}  term {term}   {ready}/{all} ready   {spare}")
        }
    };
    let is_well = status.cluster.as_ref().is_some_and(|cluster| cluster.health == Health::Healthy);
    let color = if is_well && view.failed.is_none() { Color::Green } else { Color::Yellow };
    let mut lines =
        vec![Line::styled(format!(" {first}   q quits"), Style::new().fg(color).bold())];
    if let Some(failed) = &view.failed {
        lines.push(Line::styled(
            format!(" not new: {} {}", failed.code.as_str(), failed.title),
            Style::new().fg(Color::Red),
        ));
    }
    Text::from(lines)
}

fn nodes(frame: &mut Frame<'_>, area: Rect, rates: &[Rates]) {
    let width = |least: usize, of: fn(&Rates) -> &str| {
        let longest = rates.iter().map(|node| of(node).len()).max().unwrap_or_default();
        Constraint::Length(u16::try_from(longest.max(least)).unwrap_or(u16::MAX))
    };
    let widths = [
        width(8, |node| &node.name),
        width(8, |node| &node.role),
        width(6, |node| &node.state),
        Constraint::Length(4),
        Constraint::Length(6),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Length(10),
        Constraint::Length(5),
        Constraint::Length(6),
        Constraint::Length(5),
    ];
    let rows = rates.iter().map(|node| {
        let is_ready = node.state == "ready";
        let style = if is_ready { Style::new() } else { Style::new().fg(Color::Red) };
        Row::new(cells(node)).style(style)
    });
    let head = Row::new(HEAD).style(Style::new().add_modifier(Modifier::BOLD));
    frame.render_widget(Table::new(rows, widths).header(head), area);
}

fn cells(node: &Rates) -> [String; 13] {
    let dash = || "-".to_owned();
    let lag = node.lag_entries.map_or_else(dash, |lag| lag.to_string());
    let first = [node.name.clone(), node.role.clone(), node.state.clone(), lag];
    let rest = match &node.done {
        None => [(); 9].map(|()| dash()),
        Some(done) => {
            let sign = if done.failed_per_min >= FAILED_MANY { "!" } else { "" };
            [
                done.connections.to_string(),
                format!("{:.1}", done.tls_per_s),
                format!("{:.1}", done.dtls_per_s),
                done.p99_ms.map_or_else(dash, |ms| format!("{ms:.1}")),
                done.resumed_percent.map_or_else(dash, |share| format!("{share:.0}%")),
                format!("{:.0}{sign}", done.failed_per_min),
                format!("{:.0}%", done.cpu_percent),
                format!("{}M", done.resident_bytes / MIB),
                since(done.up_s),
            ]
        }
    };
    let mut all = [const { String::new() }; 13];
    for (cell, text) in all.iter_mut().zip(first.into_iter().chain(rest)) {
        *cell = text;
    }
    all
}

fn since(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7_199 => format!("{}m", seconds / 60),
        7_200..=172_799 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn heading(text: &'static str) -> Line<'static> {
    Line::styled(text, Style::new().add_modifier(Modifier::BOLD))
}

fn why_they_fail(rates: &[Rates]) -> Text<'static> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for (reason, count) in
        rates.iter().filter_map(|node| node.done.as_ref()).flat_map(|done| &done.failures)
    {
        *counts.entry(reason).or_default() += count;
    }
    let mut sorted: Vec<(&str, u64)> = counts.into_iter().collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let mut lines = vec![heading("WHY HANDSHAKES FAIL")];
    if sorted.is_empty() {
        lines.push(Line::raw("none failed"));
    }
    let shown = sorted.iter().take(LISTED_MAX);
    lines.extend(
        shown.map(|(reason, count)| {
            Line::raw(format!("{:24} {count:>6}", reason.replace('_', " ")))
        }),
    );
    Text::from(lines)
}

fn needs_attention(view: &View) -> Text<'static> {
    let mut lines = vec![heading("NEEDS ATTENTION")];
    let problems = &view.status.problems;
    if problems.is_empty() {
        lines.push(Line::raw("nothing"));
    }
    let sign = |severity: Severity| if severity == Severity::Error { "x" } else { "!" };
    lines.extend(
        problems
            .iter()
            .take(LISTED_MAX)
            .map(|one| Line::raw(format!("{}  {}  {}", sign(one.severity), one.object, one.text))),
    );
    if problems.len() > LISTED_MAX {
        lines.push(Line::raw(format!("and {} more: conclave status", problems.len() - LISTED_MAX)));
    }
    Text::from(lines)
}
