//! The scrape: everything that is counted, as OpenMetrics text.
//!
//! Prometheus asks for OpenMetrics and takes it by its content type. Nothing is kept between scrapes: a collector
//! reads the counters where they are and writes them out.

mod exception;
mod families;
mod forwarding;
mod kernel;
mod ports;
mod process;
mod workers;

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;

use self::families::Families;
use super::source::MetricsSource;

/// The content type of what [`Exposition::encode`] writes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Writes the metrics of one source.
#[derive(Debug)]
pub struct Exposition<S: ?Sized + 'static> {
    registry: Registry,
    source: Arc<S>,
}

impl<S: MetricsSource + ?Sized + 'static> Exposition<S> {
    /// An exposition of what `source` tells.
    #[must_use]
    pub fn new(source: Arc<S>) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(SourceCollector(Arc::clone(&source))));
        Self { registry, source }
    }

    /// One scrape, read now.
    ///
    /// # Errors
    /// None in practice: writing to a `String` does not fail.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut out = String::with_capacity(64 * 1024);
        text::encode_registry(&mut out, &self.registry)?;
        workers::write_burst_durations(&mut out, self.source.workers(), self.source.cycles_per_second())?;
        text::encode_eof(&mut out)?;
        Ok(out)
    }
}

struct SourceCollector<S: ?Sized>(Arc<S>);

impl<S: ?Sized> fmt::Debug for SourceCollector<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SourceCollector")
    }
}

impl<S: MetricsSource + ?Sized + 'static> Collector for SourceCollector<S> {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut families = Families::new(encoder);
        let source = &self.0;
        process::encode(&mut families, &source.build(), source.started())?;
        let readings = source.port_readings();
        ports::encode(&mut families, &readings, source.control())?;
        let bridges = source.bridge_labels();
        forwarding::encode_bridges(&mut families, source.workers(), source.control(), &bridges)?;
        forwarding::encode_storms(&mut families, source.workers(), &bridges, &readings)?;
        let remotes = source.remote_labels();
        forwarding::encode_remotes(&mut families, source.workers(), &remotes)?;
        forwarding::encode_spread(&mut families, source.entropy(), &remotes)?;
        forwarding::encode_groups(&mut families, source.workers(), &source.group_labels())?;
        forwarding::encode_drops_and_events(&mut families, source.workers())?;
        exception::encode(&mut families, source.workers(), source.exception(), &readings)?;
        workers::encode(&mut families, source.workers(), source.cycles_per_second())?;
        workers::encode_ports(&mut families, source.workers(), &readings)?;
        process::encode_control(&mut families, source.control())?;
        process::encode_threads(&mut families, source.threads())?;
        kernel::encode(&mut families, &source.control().kernel)
    }
}
