//! Counters of the requests to the admin API.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

/// Upper bounds of the buckets for durations, in seconds. A change waits for all nodes, so the last
/// ones are long.
const BOUNDS_S: [f64; 9] = [0.001, 0.005, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 60.0];
/// Methods of the API. A client may send any other word, which must not become a label.
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// Labels of a request. The route is the template that the request matched, never its path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: String,
    method: &'static str,
    status: u16,
}

/// Labels of a duration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    route: String,
    method: &'static str,
}

/// Counters of requests, for one node.
#[derive(Clone)]
pub struct Requests {
    answered: Family<Answered, Counter>,
    durations: Family<Asked, Histogram, fn() -> Histogram>,
}

impl Default for Requests {
    fn default() -> Requests {
        let histogram: fn() -> Histogram = || Histogram::new(BOUNDS_S);
        let (answered, durations) = (Family::default(), Family::new_with_constructor(histogram));
        // A family without a series is not described, and a dashboard is checked against the
        // descriptions of a new node.
        let (route, method, status) = ("none".to_owned(), "other", 404);
        drop(durations.get_or_create(&Asked { route: route.clone(), method }));
        drop(answered.get_or_create(&Answered { route, method, status }));
        Requests { answered, durations }
    }
}

impl Requests {
    /// Counts a request. `route` is the template that it matched; none: no route.
    pub fn count(&self, route: Option<&str>, method: &str, status: u16, took: Duration) {
        let route = route.unwrap_or("none").to_owned();
        let known = METHODS.into_iter().find(|known| *known == method);
        let method = known.unwrap_or("other");
        let asked = Asked { route: route.clone(), method };
        self.durations.get_or_create(&asked).observe(took.as_secs_f64());
        self.answered.get_or_create(&Answered { route, method, status }).inc();
    }

    /// Adds the counters to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "conclave_api_requests",
            "Requests to the admin API",
            self.answered.clone(),
        );
        registry.register(
            "conclave_api_request_duration_seconds",
            "Time until a request to the admin API was answered",
            self.durations.clone(),
        );
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn no_word_of_a_client_becomes_a_label() {
        let (requests, took) = (Requests::default(), Duration::from_millis(2));
        requests.count(Some("/v1/domains/{name}"), "GET", 200, took);
        requests.count(None, "BREW", 404, took);
        let (mut registry, mut text) = (Registry::default(), String::new());
        requests.register(&mut registry);
        encode(&mut text, &registry).unwrap();
        let counted = |labels: &str| {
            let line = format!("conclave_api_requests_total{{{labels}}} 1\n");
            assert!(text.contains(&line), "{line}{text}");
        };
        counted("route=\"/v1/domains/{name}\",method=\"GET\",status=\"200\"");
        counted("route=\"none\",method=\"other\",status=\"404\"");
        assert!(!text.contains("BREW"));
    }
}
