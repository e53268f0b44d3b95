//! Families of metrics, written to an encoder one after the other.

use std::fmt;

use conclave_system::histogram::Observed;
use prometheus_client::{
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

/// Names of labels with their values.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// The value of a gauge or counter.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value {
    Whole(u64),
    Real(f64),
}

impl From<u64> for Value {
    fn from(value: u64) -> Value {
        Value::Whole(value)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Value {
        Value::Whole(u64::try_from(value).unwrap_or(u64::MAX))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Whole(u64::from(value))
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value::Real(value)
    }
}

/// Writes families. Each has its description even if it has no value right now: a dashboard that is
/// checked against a new node must find every name.
pub(super) struct Families<'a>(pub(super) DescriptorEncoder<'a>);

impl Families<'_> {
    /// Writes a gauge without labels.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl Into<Value>) -> fmt::Result {
        let value = value.into();
        self.gauges(name, help, |each| each(&[], value))
    }

    /// Writes a gauge with a value for each call of what `values` gets.
    pub(super) fn gauges(
        &mut self,
        name: &str,
        help: &str,
        values: impl FnOnce(&mut dyn FnMut(Labels<'_>, Value) -> fmt::Result) -> fmt::Result,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        values(&mut |labels, value| {
            labelled(&mut family, labels, |out| match value {
                Value::Whole(value) => out.encode_gauge(&value),
                Value::Real(value) => out.encode_gauge(&value),
            })
        })
    }

    /// Writes a counter without labels; `_total` is appended to its name.
    pub(super) fn counter(
        &mut self,
        name: &str,
        help: &str,
        value: impl Into<Value>,
    ) -> fmt::Result {
        let value = value.into();
        self.counters(name, help, |each| each(&[], value))
    }

    /// Writes a counter with a value for each call of what `values` gets.
    pub(super) fn counters(
        &mut self,
        name: &str,
        help: &str,
        values: impl FnOnce(&mut dyn FnMut(Labels<'_>, Value) -> fmt::Result) -> fmt::Result,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        values(&mut |labels, value| {
            labelled(&mut family, labels, |out| match value {
                Value::Whole(value) => out.encode_counter::<NoLabelSet, _, u64>(&value, None),
                Value::Real(value) => out.encode_counter::<NoLabelSet, _, f64>(&value, None),
            })
        })
    }

    /// Writes a histogram with a value for each call of what `values` gets.
    pub(super) fn histograms(
        &mut self,
        name: &str,
        help: &str,
        values: impl FnOnce(&mut dyn FnMut(Labels<'_>, &Observed) -> fmt::Result) -> fmt::Result,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        values(&mut |labels, Observed { buckets, sum_s, count }| {
            labelled(&mut family, labels, |out| {
                out.encode_histogram::<NoLabelSet>(*sum_s, *count, buckets, None)
            })
        })
    }

    /// Writes an info; `_info` is appended to its name.
    pub(super) fn info(&mut self, name: &str, help: &str, labels: Labels<'_>) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(&labels)
    }
}

/// Writes a value with its labels. An empty set of labels would leave a pair of braces.
fn labelled(
    family: &mut MetricEncoder<'_>,
    labels: Labels<'_>,
    write: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    match labels {
        [] => write(family),
        _ => write(&mut family.encode_family(&labels)?),
    }
}
