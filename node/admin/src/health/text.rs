//! The older text format of Prometheus, made from OpenMetrics. Clients that do not ask for
//! OpenMetrics, such as `curl` and `promtool check metrics`, get it.

/// Converts OpenMetrics text. In the older format a description has the name of the samples, which
/// for counters and infos is longer, and there are no infos.
pub(super) fn older(open_metrics: &str) -> String {
    let mut out = String::with_capacity(open_metrics.len());
    let mut help = None;
    for line in open_metrics.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ');
            continue;
        }
        let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|of| of.split_once(' '))
        else {
            out.push_str(line);
            out.push('\n');
            continue;
        };
        let (suffix, kind) = match kind {
            "counter" => ("_total", "counter"),
            "info" => ("_info", "gauge"),
            other => ("", other),
        };
        if let Some((_, text)) = help.take() {
            out.push_str(&format!("# HELP {name}{suffix} {text}\n"));
        }
        out.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::older;

    #[test]
    fn descriptions_have_the_names_of_their_samples() {
        let open_metrics = "# HELP a_b Text of it.\n# TYPE a_b counter\na_b_total{c=\"d\"} 1\n\
             # HELP e Text.\n# TYPE e gauge\n# UNIT e seconds\ne 2\n\
             # HELP f Text.\n# TYPE f info\nf_info{g=\"h\"} 1\n# EOF\n";
        let expected = "# HELP a_b_total Text of it.\n# TYPE a_b_total counter\n\
             a_b_total{c=\"d\"} 1\n# HELP e Text.\n# TYPE e gauge\ne 2\n\
             # HELP f_info Text.\n# TYPE f_info gauge\nf_info{g=\"h\"} 1\n";
        assert_eq!(older(open_metrics), expected);
    }
}
