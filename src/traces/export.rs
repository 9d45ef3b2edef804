//! The exporter: a thread of its own, so that whatever the collector does, the deciding task never notices.

use std::thread;
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry_otlp::{RetryPolicy, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::transport::Endpoint;
use tracing::{debug, warn};

use super::spans::{Renderer, count};
use super::{Settings, Tracer, WAITING};
use crate::failover::Failover;
use crate::metrics::SpansDropped;

/// A failover waits so long for others before it is sent: many at once are then few exports, and the processor is
/// not needed while they happen.
const LINGER: Duration = Duration::from_millis(500);

/// Failovers in one export.
const BATCH: usize = 64;

/// Pauses between tries of one export. A collector that is restarted loses nothing; what is refused is given up, so
/// that it does not block what comes after.
const PAUSES: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
];

/// How often a collector that does not work is worth a line.
const COMPLAIN_EVERY: Duration = Duration::from_mins(1);

/// Why there can be no exporter.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings do not make a connection.
    #[error("OTEL_EXPORTER_OTLP_ENDPOINT={endpoint}: {why}")]
    Connection {
        /// The collector.
        endpoint: String,
        /// What is wrong.
        why: String,
    },
    /// The system gave us no thread.
    #[error("no thread for traces: {0}")]
    Thread(#[source] std::io::Error),
}

/// The exporting thread.
#[derive(Debug)]
pub(crate) struct Exporter {
    stop: oneshot::Sender<Instant>,
    stopped: oneshot::Receiver<()>,
}

impl Exporter {
    /// Starts it, for an API server with this URL.
    pub(crate) fn start(
        settings: Settings,
        server: &str,
        propagates: bool,
        lost: &SpansDropped,
    ) -> Result<(Tracer, Self), StartError> {
        let (queue, failovers) = mpsc::channel(WAITING);
        let (stop, told_to_stop) = oneshot::channel();
        let (has_stopped, stopped) = oneshot::channel();
        let tracer = Tracer::new(queue, settings.sampler.clone(), lost.clone(), propagates);
        let endpoint = settings.endpoint.to_string();
        let (resource, renderer) = (settings.resource.clone(), Renderer::new(server));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(StartError::Thread)?;
        let exporter = {
            // The connection belongs to the runtime within which it is made.
            let _within = runtime.enter();
            let mut exporter = connect(settings)
                .map_err(|why| StartError::Connection { endpoint: endpoint.clone(), why })?;
            exporter.set_resource(&resource);
            exporter
        };
        let task = Task {
            failovers,
            told_to_stop,
            deadline: None,
            renderer,
            exporter,
            lost: lost.clone(),
            complaint: None,
            overflown: 0,
            endpoint,
        };
        let run = move || {
            runtime.block_on(task.run());
            // Nobody may be waiting any more.
            let _ = has_stopped.send(());
        };
        thread::Builder::new().name("traces".into()).spawn(run).map_err(StartError::Thread)?;
        Ok((tracer, Self { stop, stopped }))
    }

    /// Sends what waits, within this time.
    pub(crate) async fn stop(self, within: Duration) {
        let deadline = Instant::now() + within;
        if self.stop.send(deadline).is_ok() && timeout_at(deadline, self.stopped).await.is_err() {
            warn!("traces were still on their way {within:?} after the signal to stop");
        }
    }
}

fn connect(settings: Settings) -> Result<opentelemetry_otlp::SpanExporter, String> {
    let Settings { endpoint, tls, headers, timeout, .. } = settings;
    // A third of what a call may take: a connection on which nothing comes back is given up while the call is still
    // waited for, and a server that counts pings against its clients sees two of them at most.
    let patience = timeout / 3;
    let mut endpoint = Endpoint::from(endpoint)
        .timeout(timeout)
        .connect_timeout(timeout)
        .http2_keep_alive_interval(patience)
        .keep_alive_timeout(patience);
    if let Some(tls) = tls {
        endpoint = endpoint.tls_config(tls).map_err(|error| with_reason(&error))?;
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    // With a connector of ours, the limit holds for TLS as well: without one, tonic bounds TCP alone, and a handshake
    // that never ends would be waited for as long as the process lives.
    let channel = endpoint.connect_with_connector_lazy(tcp);
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_channel(channel)
        .with_timeout(timeout)
        .with_metadata(headers)
        // Tries are repeated here, where it is known when to stop.
        .with_retry_policy(RetryPolicy::disabled());
    exporter.build().map_err(|error| error.to_string())
}

/// What tonic says of its own errors is only where they come from.
fn with_reason(error: &tonic::transport::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), |why| format!("{error}: {why}"))
}

struct Task {
    failovers: mpsc::Receiver<Failover>,
    told_to_stop: oneshot::Receiver<Instant>,
    /// When to give up, once told to stop.
    deadline: Option<Instant>,
    renderer: Renderer,
    exporter: opentelemetry_otlp::SpanExporter,
    lost: SpansDropped,
    complaint: Option<Instant>,
    /// Spans that had found no room by the last look.
    overflown: u64,
    endpoint: String,
}

impl Task {
    async fn run(mut self) {
        let mut batch = Vec::new();
        loop {
            if self.deadline.is_none() {
                tokio::select! {
                    received = self.failovers.recv() => batch.extend(received),
                    stop = &mut self.told_to_stop => self.deadline = Some(stop.unwrap_or_else(|_| Instant::now())),
                }
                self.pause(LINGER).await;
            }
            // All that waits: one export after each pause would be 128 failovers a second, and the queue would overflow
            // before a collector that could take more.
            loop {
                while batch.len() < BATCH
                    && let Ok(failover) = self.failovers.try_recv()
                {
                    batch.push(failover);
                }
                if batch.is_empty() {
                    break;
                }
                let is_full = batch.len() == BATCH;
                self.send(&mut batch).await;
                if !is_full && self.deadline.is_none() {
                    break;
                }
            }
            if self.deadline.is_some() {
                return;
            }
        }
    }

    /// Waits, unless told to stop.
    async fn pause(&mut self, pause: Duration) {
        if self.deadline.is_some() {
            return;
        }
        tokio::select! {
            () = sleep(pause) => {}
            stop = &mut self.told_to_stop => self.deadline = Some(stop.unwrap_or_else(|_| Instant::now())),
        }
    }

    async fn send(&mut self, batch: &mut Vec<Failover>) {
        let spans: Vec<SpanData> = batch.iter().flat_map(|failover| self.renderer.spans(failover)).collect();
        let number: u64 = batch.iter().map(count).sum();
        batch.clear();
        let mut pauses = PAUSES.into_iter();
        loop {
            let Err(error) = self.export(spans.clone()).await else {
                debug!(spans = number, "exported");
                self.look_for_losses();
                return;
            };
            self.complain(reason(&error));
            // Whoever has been told to stop has no time for a collector to recover.
            let Some(pause) = pauses.next().filter(|_| self.deadline.is_none()) else { break };
            self.pause(pause).await;
        }
        self.lost.export_failed.fetch_add(number, Relaxed);
    }

    /// One try. A hanging collector must not hold up who has been told to stop.
    async fn export(&mut self, spans: Vec<SpanData>) -> Result<(), OTelSdkError> {
        let export = self.exporter.export(spans);
        tokio::pin!(export);
        if self.deadline.is_none() {
            tokio::select! {
                result = &mut export => return result,
                stop = &mut self.told_to_stop => self.deadline = Some(stop.unwrap_or_else(|_| Instant::now())),
            }
        }
        let deadline = self.deadline.unwrap_or_else(Instant::now);
        timeout_at(deadline, export).await.unwrap_or(Err(OTelSdkError::Timeout(Duration::ZERO)))
    }

    /// A collector that takes what it is sent, but more slowly than failovers happen.
    fn look_for_losses(&mut self) {
        let overflown = self.lost.queue_full.load(Relaxed);
        if std::mem::replace(&mut self.overflown, overflown) < overflown {
            self.complain("it is slower than the failovers, and the queue was full");
        }
    }

    fn complain(&mut self, reason: &str) {
        if self.complaint.is_some_and(|last| last.elapsed() < COMPLAIN_EVERY) {
            return;
        }
        self.complaint = Some(Instant::now());
        let lost = total(&self.lost);
        warn!(endpoint = self.endpoint, lost, "traces do not reach the collector: {reason}");
    }
}

fn reason(error: &OTelSdkError) -> &str {
    match error {
        OTelSdkError::Timeout(_) => "no answer",
        OTelSdkError::AlreadyShutdown => "already shut down",
        OTelSdkError::InternalFailure(reason) => reason,
    }
}

fn total(lost: &SpansDropped) -> u64 {
    let [queue_full, export_failed] =
        [&lost.queue_full, &lost.export_failed].map(|count: &std::sync::Arc<AtomicU64>| count.load(Relaxed));
    queue_full + export_failed
}

#[cfg(test)]
mod tests;
