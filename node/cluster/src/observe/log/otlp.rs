//! Log lines for an OpenTelemetry collector: OTLP over HTTP, as protobuf, without TLS.
//!
//! Lines wait in a bounded queue for a thread of the library, so a collector that is slow or away
//! holds up nothing; lines that find no place there are lost for the collector, not for the log
//! itself.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{LogExporter, Protocol, WithExportConfig};
use opentelemetry_sdk::{Resource, logs::SdkLoggerProvider};
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

/// Path of a collector for logs (OTLP 1.x, "OTLP/HTTP request").
const LOGS: &str = "/v1/logs";
/// Longest time for a collector to take a batch, and for the last one when the process ends.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Beginnings of the names of what sends. What it logs itself must not be sent: each failure would
/// make the next one.
const OF_SENDING: [&str; 4] = ["opentelemetry", "hyper", "reqwest", "h2"];

/// The queue to a collector. Dropping it sends what waits.
pub(super) struct Otlp(SdkLoggerProvider);

impl Otlp {
    /// Makes the queue. Nothing is sent before the first line.
    pub(super) fn open(collector: &str, node: &str) -> Result<Otlp, String> {
        // The library's client wants one, though it speaks no TLS here. All others name theirs; a
        // second one is refused, which is no harm.
        let _ = (*conclave_tls::ring_provider()).clone().install_default();
        let exporter = LogExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}{LOGS}", collector.trim_end_matches('/')))
            .with_timeout(TIMEOUT)
            .build()
            .map_err(|error| error.to_string())?;
        // As the semantic conventions for resources name them.
        let resource = Resource::builder_empty().with_service_name("conclave").with_attributes([
            KeyValue::new("service.instance.id", node.to_owned()),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ]);
        let provider = SdkLoggerProvider::builder();
        let provider = provider.with_resource(resource.build()).with_batch_exporter(exporter);
        Ok(Otlp(provider.build()))
    }

    /// Returns the layer that fills the queue.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    {
        let is_own = |target: &str| OF_SENDING.iter().any(|one| target.starts_with(one));
        OpenTelemetryTracingBridge::new(&self.0)
            .with_filter(filter_fn(move |metadata| !is_own(metadata.target())))
    }
}

impl Drop for Otlp {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(TIMEOUT) {
            tracing::warn!(event = "log.otlp_incomplete", %error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Read, Write},
        net::{TcpListener, TcpStream},
    };

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// The head and the body of a request, which is answered.
    fn read(stream: &mut TcpStream) -> (String, Vec<u8>) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let begin = head.len();
            reader.read_line(&mut head).unwrap();
            let line = head[begin..].to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        (head, body)
    }

    #[test]
    fn a_collector_gets_each_line_with_its_event_and_none_about_sending() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let otlp = Otlp::open(&format!("http://{}", listener.local_addr().unwrap()), "n1").unwrap();
        let subscriber = tracing_subscriber::registry().with(otlp.layer());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(event = "domain.loaded", name = "shop.example", "words for people");
            tracing::warn!(target: "hyper::client", event = "never.sent");
        });
        let ending = std::thread::spawn(move || drop(otlp));
        let (head, body) = read(&mut listener.accept().unwrap().0);
        ending.join().unwrap();
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with("post /v1/logs "), "{head}");
        assert!(head.contains("content-type: application/x-protobuf"), "{head}");
        // Protobuf keeps texts as they are.
        let has = |text: &str| body.windows(text.len()).any(|part| part == text.as_bytes());
        for text in ["conclave", "n1", "domain.loaded", "shop.example", "words for people", "INFO"]
        {
            assert!(has(text), "{text}");
        }
        assert!(!has("never.sent"));
    }

    #[test]
    fn a_collector_that_is_away_holds_up_nothing() {
        let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let otlp = Otlp::open(&format!("http://{unused}/"), "n1").unwrap();
        let subscriber = tracing_subscriber::registry().with(otlp.layer());
        let begun = std::time::Instant::now();
        tracing::subscriber::with_default(subscriber, || {
            (0..10_000).for_each(|number| tracing::info!(event = "flood", number));
        });
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        drop(otlp);
        assert!(begun.elapsed() < 3 * TIMEOUT, "{:?}", begun.elapsed());
    }
}
