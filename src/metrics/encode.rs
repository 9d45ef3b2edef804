//! Writes a snapshot down in OpenMetrics text.
//!
//! All series of a family stand together, so that each family walks over all Services.

use std::fmt::{Error, Write as _};
use std::sync::atomic::Ordering::Relaxed;

use machine::Phase;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, EncodeMetric, LabelSetEncoder, MetricEncoder,
    NoLabelSet, text,
};
use prometheus_client::registry::Registry;

use super::counts::{self, CAUSES, Counter, Counts, ERROR_TYPES};
use super::families as family;

use super::histogram::{Buckets, FINE};
use super::snapshot::Snapshot;
use crate::record::Recorder;

/// What all names begin with.
const PREFIX: &str = "zen_lead";

/// Appends the whole text, up to the mark of its end.
pub(super) fn encode(snapshot: Snapshot, text: &mut String) {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(snapshot));
    // Writing to a string cannot fail.
    let _ = text::encode(text, &registry);
}

/// Whose series it is, and which one.
#[derive(Clone, Copy, Default)]
struct Labels<'a> {
    namespace: Option<&'a str>,
    service: Option<&'a str>,
    more: [Option<(&'static str, &'a str)>; 3],
}

impl<'a> Labels<'a> {
    /// Of a namespace, or of one Service in it.
    fn of(namespace: &'a str, service: Option<&'a str>) -> Self {
        Self { namespace: Some(namespace), service, ..Self::default() }
    }

    /// Of the whole process.
    fn global(key: &'static str, value: &'a str) -> Self {
        Self::default().and(key, value)
    }

    fn and(mut self, key: &'static str, value: &'a str) -> Self {
        if let Some(free) = self.more.iter_mut().find(|label| label.is_none()) {
            *free = Some((key, value));
        }
        self
    }
}

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, labels: &mut LabelSetEncoder<'_>) -> Result<(), Error> {
        let namespace = self.namespace.map(|name| ("namespace", name));
        let service = self.service.map(|name| ("service", name));
        for (key, value) in [namespace, service].into_iter().chain(self.more).flatten() {
            let mut label = labels.encode_label();
            let mut label = label.encode_label_key()?;
            label.write_str(key)?;
            let mut label = label.encode_label_value()?;
            label.write_str(value)?;
            label.finish()?;
        }
        Ok(())
    }
}

/// One series of a family.
fn gauge(
    family: &mut MetricEncoder<'_>,
    labels: &Labels<'_>,
    value: &impl EncodeGaugeValue,
) -> Result<(), Error> {
    family.encode_family(labels)?.encode_gauge(value)
}

fn counter(family: &mut MetricEncoder<'_>, labels: &Labels<'_>, value: u64) -> Result<(), Error> {
    family.encode_family(labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
}

fn histogram<const N: usize>(
    family: &mut MetricEncoder<'_>,
    labels: &Labels<'_>,
    bounds: &[f64; N],
    buckets: &Buckets<N>,
) -> Result<(), Error> {
    let counts = buckets.with(bounds);
    family.encode_family(labels)?.encode_histogram::<NoLabelSet>(
        buckets.sum(),
        buckets.count(),
        &counts,
        None,
    )
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let acts_first = self.shared.acts_first.load(Relaxed);
        // How Services stand all replicas know, and one tells.
        if acts_first {
            self.gauges(&mut encoder)?;
            self.namespaces(&mut encoder)?;
        }
        self.counters(&mut encoder)?;
        self.histograms(&mut encoder)?;
        self.failovers(&mut encoder)?;
        self.traffic(&mut encoder)?;
        self.process(&mut encoder)
    }
}

impl Snapshot {
    /// What is counted, and for whom: each Service, or in aggregate detail each namespace.
    fn counts(&self) -> impl Iterator<Item = (Labels<'_>, &Counts)> {
        let services = self
            .services
            .iter()
            .map(|(key, _, counts)| (Labels::of(&key.namespace, Some(&key.name)), counts));
        let spaces = self
            .spaces
            .iter()
            .filter_map(|(name, _, counts)| Some((Labels::of(name, None), counts.as_ref()?)));
        services.chain(spaces)
    }

    fn gauges(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        for of_service in &family::OF_SERVICE {
            let mut family = of_service.family.begin(encoder)?;
            for (key, gauges, _) in &self.services {
                if let Some(value) = (of_service.value)(gauges, self.at) {
                    gauge(&mut family, &Labels::of(&key.namespace, Some(&key.name)), &value)?;
                }
            }
            let Some(sum) = of_service.sum else { continue };
            for (name, tally, counts) in &self.spaces {
                if counts.is_some() {
                    gauge(&mut family, &Labels::of(name, None), &sum(tally))?;
                }
            }
        }
        let mut family = family::PHASE.begin(encoder)?;
        for (key, gauges, _) in &self.services {
            for phase in Phase::ALL {
                let labels = Labels::of(&key.namespace, Some(&key.name)).and("phase", phase.as_str());
                gauge(&mut family, &labels, &u32::from(gauges.phase == phase))?;
            }
        }
        Ok(())
    }

    fn counters(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut family = family::FAILOVERS.begin(encoder)?;
        for (labels, counts) in self.counts() {
            for cause in CAUSES {
                let count = counts.failovers[counts::slot(cause)];
                if count > 0 || counts::is_everyday(cause) {
                    counter(&mut family, &labels.and("reason", cause.as_str()), count)?;
                }
            }
        }
        let mut family = family::RECONCILIATIONS.begin(encoder)?;
        for (labels, counts) in self.counts() {
            counter(&mut family, &labels.and("result", "success"), counts.succeeded)?;
            counter(&mut family, &labels.and("result", "error"), counts.failed)?;
        }
        let mut family = family::ERRORS.begin(encoder)?;
        for (labels, counts) in self.counts() {
            for (error_type, count) in ERROR_TYPES.into_iter().zip(counts.errors) {
                if count > 0 {
                    counter(&mut family, &labels.and("error_type", error_type), count)?;
                }
            }
        }
        for plain in Counter::ALL {
            let family = family::of_counter(plain);
            let mut family = family.begin(encoder)?;
            for (labels, counts) in self.counts() {
                counter(&mut family, &labels, counts.get(plain))?;
            }
        }
        Ok(())
    }

    fn histograms(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut family = family::LATENCY.begin(encoder)?;
        for (labels, counts) in self.counts() {
            histogram(&mut family, &labels, &counts::LATENCY, &counts.latency)?;
        }
        let mut family = family::RECONCILIATION.begin(encoder)?;
        for (labels, counts) in self.counts() {
            histogram(&mut family, &labels, &counts::RECONCILIATION, &counts.reconciliation)?;
        }
        Ok(())
    }

    fn namespaces(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        for (of_namespace, value) in &family::OF_NAMESPACE {
            let mut family = of_namespace.begin(encoder)?;
            for (name, tally, _) in &self.spaces {
                gauge(&mut family, &Labels::of(name, None), &value(tally))?;
            }
        }
        let mut family = family::SERVICES.begin(encoder)?;
        for (name, tally, _) in &self.spaces {
            for phase in Phase::ALL {
                let labels = Labels::of(name, None).and("phase", phase.as_str());
                gauge(&mut family, &labels, &tally.in_phase(phase))?;
            }
        }
        Ok(())
    }

    fn failovers(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut family = family::FAILOVER_DURATION.begin(encoder)?;
        for (cause, durations) in CAUSES.iter().zip(&self.shared.failovers.by_cause) {
            durations.encode(family.encode_family(&Labels::global("cause", cause.as_str()))?)?;
        }
        let mut family = family::PHASE_DURATION.begin(encoder)?;
        for (phase, durations) in Phase::ALL.iter().zip(&self.shared.failovers.by_phase) {
            durations.encode(family.encode_family(&Labels::global("phase", phase.as_str()))?)?;
        }
        Ok(())
    }

    /// What goes to the API server and comes from it.
    fn traffic(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut family = family::CALLS.begin(encoder)?;
        for (operation, durations) in &self.calls {
            histogram(&mut family, &Labels::global("operation", operation), &FINE, &durations.0)?;
        }
        let mut family = family::WRITES.begin(encoder)?;
        for ((resource, outcome), count) in &self.writes {
            counter(&mut family, &Labels::global("resource", resource).and("outcome", outcome), *count)?;
        }
        let mut family = family::QUEUE_DEPTH.begin(encoder)?;
        for (lane, depth) in &self.depths {
            gauge(&mut family, &Labels::global("lane", lane), depth)?;
        }
        let mut family = family::WATCH_AGE.begin(encoder)?;
        for (resource, age) in &self.watches {
            gauge(&mut family, &Labels::global("resource", resource), &age.as_secs_f64())?;
        }
        Ok(())
    }

    fn process(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let dropped = &self.shared.spans_dropped;
        let mut family = family::SPANS_DROPPED.begin(encoder)?;
        for (reason, count) in
            [("queue_full", &dropped.queue_full), ("export_failed", &dropped.export_failed)]
        {
            counter(&mut family, &Labels::global("reason", reason), count.load(Relaxed))?;
        }
        let dropped = self.shared.recorder.get().map_or(0, Recorder::dropped);
        family::RECORDS_DROPPED.begin(encoder)?.encode_counter::<NoLabelSet, u64, u64>(&dropped, None)?;
        let [lost, held] = self.shared.nodes.each_ref().map(|count| count.load(Relaxed));
        family::NODES_LOST.begin(encoder)?.encode_gauge(&lost)?;
        family::NODES_HELD.begin(encoder)?.encode_gauge(&held)?;
        let acts_first = u32::from(self.shared.acts_first.load(Relaxed));
        family::ACTS_FIRST.begin(encoder)?.encode_gauge(&acts_first)?;
        let build = &self.shared.build;
        let labels = Labels::global("version", build.version)
            .and("installation", &build.installation)
            .and("replica", &build.replica);
        family::BUILD.begin(encoder)?.encode_info(&labels)
    }
}
