//! Health and metrics of a node, as load balancers and Prometheus ask for them.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::Node;

/// An answer of the listener for health and metrics.
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Header lines, in lower case.
    pub head: String,
    /// Body.
    pub body: String,
}

impl Node {
    /// Adds the listener for health and metrics to its configuration; it counts from the next start
    /// on. Port 0: any.
    pub fn serve_health(&self, port: u16) {
        let path = self.dir.join("node.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        let section = format!("[health]\nbind = \"{}\"\n", SocketAddr::new(self.address, port));
        std::fs::write(&path, format!("{config}{section}")).unwrap();
    }

    /// Where health and metrics are.
    pub fn health_address(&self) -> SocketAddr {
        let said = self.said();
        let mut lines = said.lines().filter_map(|line| line.trim().strip_prefix("health"));
        let line = lines.next_back().unwrap_or_else(|| panic!("no health: {said}"));
        let address = line.trim().strip_prefix("http://").unwrap().strip_suffix("/metrics");
        address.unwrap().parse().unwrap()
    }

    /// Asks for a path there; none: nobody answers.
    pub fn try_fetch(&self, path: &str, accept: &str) -> Option<Answer> {
        let mut stream = TcpStream::connect(self.health_address()).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some(Answer { status, head: head.to_lowercase(), body: body.to_owned() })
    }

    /// Asks for a path there.
    pub fn fetch(&self, path: &str) -> Answer {
        self.try_fetch(path, "*/*").unwrap_or_else(|| panic!("{path} is not answered"))
    }

    /// Its metrics.
    pub fn metrics(&self) -> Metrics {
        let answer = self.fetch("/metrics");
        assert_eq!(answer.status, 200, "{}", answer.body);
        Metrics(answer.body)
    }
}

/// Metrics in the older text format.
pub struct Metrics(pub String);

impl Metrics {
    /// The value of a series, written as in the text: `name{label="value"}`.
    pub fn value(&self, series: &str) -> Option<f64> {
        let start = format!("{series} ");
        let line = self.0.lines().find_map(|line| line.strip_prefix(&start));
        line.map(|value| value.parse().unwrap())
    }

    /// Names of all families with their types.
    pub fn families(&self) -> Vec<(&str, &str)> {
        let types = self.0.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types.map(|line| line.split_once(' ').unwrap()).collect()
    }

    /// Names of all series that the families can have.
    pub fn names(&self) -> Vec<String> {
        let suffixes = |kind: &str| match kind {
            "histogram" => vec!["_bucket", "_sum", "_count"],
            _ => vec![""],
        };
        let families = self.families().into_iter();
        families
            .flat_map(|(name, kind)| suffixes(kind).into_iter().map(move |end| (name, end)))
            .map(|(name, end)| format!("{name}{end}"))
            .collect()
    }
}
