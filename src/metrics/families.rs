//! The names of all families, and what each says of itself. The prefix `zen_lead_`, the unit and a counter's `_total`
//! are added as they are written down.

use std::fmt::Error;
use std::time::Duration;

use machine::Timestamp;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, GaugeValueEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::counts::Counter;
use super::gauges::{Gauges, Tally};

static SECONDS: Unit = Unit::Seconds;

/// A family of series.
pub(super) struct Family {
    name: &'static str,
    kind: MetricType,
    is_in_seconds: bool,
    help: &'static str,
}

impl Family {
    const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: MetricType::Gauge, is_in_seconds: false, help }
    }

    const fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: MetricType::Counter, is_in_seconds: false, help }
    }

    const fn histogram(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: MetricType::Histogram, is_in_seconds: false, help }.in_seconds()
    }

    const fn in_seconds(mut self) -> Self {
        self.is_in_seconds = true;
        self
    }

    /// Writes its head; its series must follow before another family begins.
    pub(super) fn begin<'a>(
        &'a self,
        encoder: &'a mut DescriptorEncoder<'_>,
    ) -> Result<MetricEncoder<'a>, Error> {
        encoder.encode_descriptor(self.name, self.help, self.is_in_seconds.then_some(&SECONDS), self.kind)
    }
}

/// A gauge of a namespace.
type Sum = fn(&Tally) -> u64;

/// A gauge of a Service.
pub(super) struct OfService {
    pub(super) family: Family,
    /// Its value at this moment; none: there is no such series now.
    pub(super) value: fn(&Gauges, Timestamp) -> Option<Value>,
    /// What the namespace has in aggregate detail, where that means something.
    pub(super) sum: Option<Sum>,
}

/// A gauge's value, written the short way if it is whole.
pub(super) enum Value {
    Whole(u64),
    Seconds(Duration),
}

impl EncodeGaugeValue for Value {
    fn encode(&self, encoder: &mut GaugeValueEncoder<'_>) -> Result<(), Error> {
        match self {
            Self::Whole(value) => value.encode(encoder),
            Self::Seconds(value) => value.as_secs_f64().encode(encoder),
        }
    }
}

#[allow(clippy::unnecessary_wraps, reason = "the shape of a gauge's value")]
fn yes(is_so: bool) -> Option<Value> {
    Some(Value::Whole(is_so.into()))
}

/// The time since; zero if there is no beginning.
#[allow(clippy::unnecessary_wraps, reason = "the shape of a gauge's value")]
fn age(since: Option<Timestamp>, now: Timestamp) -> Option<Value> {
    let micros = since.map_or(0, |since| now.since(since).0);
    Some(Value::Seconds(Duration::from_micros(micros)))
}

/// The gauges of a Service, but for its phase.
pub(super) const OF_SERVICE: [OfService; 7] = [
    OfService {
        family: Family::gauge(
            "leader_duration",
            "How long the present leader has led, in seconds; 0 without a leader. Not in aggregate detail.",
        )
        .in_seconds(),
        value: |gauges, now| age(gauges.leader_since, now),
        sum: None,
    },
    OfService {
        family: Family::gauge(
            "leader_pod_age",
            "Time since the leader's pod was created, in seconds; 0 without a leader. Not in aggregate detail.",
        )
        .in_seconds(),
        value: |gauges, now| age(gauges.leader_created, now),
        sum: None,
    },
    OfService {
        family: Family::gauge(
            "pods_available",
            "Pods of the Service that could lead now; in aggregate detail those of all Services of the namespace.",
        ),
        value: |gauges, _| Some(Value::Whole(gauges.available.into())),
        sum: Some(|tally| tally.available),
    },
    OfService {
        family: Family::gauge(
            "leader_stable",
            "1 if the leader is fit and nothing is under way, else 0; in aggregate detail the number of such Services.",
        ),
        value: |gauges, _| yes(gauges.is_stable),
        sum: Some(|tally| tally.stable),
    },
    OfService {
        family: Family::gauge(
            "leader_service_without_endpoints",
            "1 while the leader Service sends clients nowhere, else 0; in aggregate detail the number of such Services.",
        ),
        value: |gauges, _| yes(!gauges.has_endpoints),
        sum: Some(|tally| tally.without_endpoints),
    },
    OfService {
        family: Family::gauge(
            "epoch",
            "Term of the leader or candidate, the fencing token; grows with each new term and is absent without one. \
             Not in aggregate detail.",
        ),
        value: |gauges, _| gauges.epoch.map(|epoch| Value::Whole(epoch.0)),
        sum: None,
    },
    OfService {
        family: Family::gauge(
            "paused",
            "1 while the Service is paused and no choices are made, else 0; in aggregate detail the number of such \
             Services.",
        ),
        value: |gauges, _| yes(gauges.is_paused),
        sum: Some(|tally| tally.paused),
    },
];

/// The phase of each Service, one series for each phase.
pub(super) const PHASE: Family = Family::gauge(
    "phase",
    "1 for the phase that the Service's election is in, 0 for the others. Not in aggregate detail: see services.",
);

/// The counters of a Service that have no further label.
pub(super) const fn of_counter(counter: Counter) -> Family {
    match counter {
        Counter::EndpointWriteError => Family::counter(
            "endpoint_write_errors",
            "Writes of the leader slice that failed; grows with each answer but success.",
        ),
        Counter::PortResolutionFailure => Family::counter(
            "port_resolution_failures",
            "Pods that cannot lead because a port of the Service does not resolve on them; grows when it is found out.",
        ),
        Counter::LeaderSelection => Family::counter(
            "leader_selection_attempts",
            "Looks for a leader among the pods; grows with each.",
        ),
        Counter::StickyHit => Family::counter(
            "sticky_leader_hits",
            "Decisions by which a leader stayed leader; grows with each.",
        ),
        Counter::StickyMiss => Family::counter(
            "sticky_leader_misses",
            "Decisions by which a leader did not stay leader; grows with each.",
        ),
        Counter::Retry => Family::counter(
            "retry_attempts",
            "Writes of the leader slice that follow one that failed; grows with each.",
        ),
        Counter::RetrySuccess => Family::counter(
            "retry_success_after_retry",
            "Writes of the leader slice that succeeded after one that failed; grows with each.",
        ),
        Counter::BudgetExceeded => Family::counter(
            "failover_budget_exceeded",
            "Failovers that took longer than their budget; grows when one passes it.",
        ),
    }
}

/// Failovers by cause.
pub(super) const FAILOVERS: Family = Family::counter(
    "failover_count",
    "Changes of leadership by cause; grows when the new leader, or that nobody leads, is acknowledged. The causes \
     unready, terminating, gone, failback and switchover begin with 0, others appear when they first occur.",
);

/// Decisions by result.
pub(super) const RECONCILIATIONS: Family = Family::counter(
    "reconciliations",
    "Times that the Service was looked at and brought in line, by result; grows with each fact that concerns it.",
);

/// Errors by type.
pub(super) const ERRORS: Family = Family::counter(
    "reconciliation_errors",
    "Requests for the Service that failed, by type of error; a type appears when it first occurs.",
);

/// How long failovers of a Service took.
pub(super) const LATENCY: Family = Family::histogram(
    "failover_latency",
    "Time of the Service's failovers from the trigger seen to the acknowledgement of the new leader, or that nobody \
     leads, in seconds; observed at the end of each.",
);

/// How long decisions took.
pub(super) const RECONCILIATION: Family = Family::histogram(
    "reconciliation_duration",
    "Time that it took to look at the Service and decide, in seconds, without waiting for the API server.",
);

/// The gauges of a namespace.
pub(super) const OF_NAMESPACE: [(Family, Sum); 3] = [
    (
        Family::gauge(
            "leader_services_total",
            "Leader Services that exist now; a gauge in spite of its name.",
        ),
        |tally| tally.leader_services,
    ),
    (
        Family::gauge("endpointslices_total", "Leader slices that exist now; a gauge in spite of its name."),
        |tally| tally.slices,
    ),
    (Family::gauge("cache_size", "Services that have opted in."), Tally::services),
];

/// Services by phase.
pub(super) const SERVICES: Family =
    Family::gauge("services", "Services that have opted in, by the phase of their election.");

/// All failovers by cause.
pub(super) const FAILOVER_DURATION: Family = Family::histogram(
    "failover_duration",
    "Time of all failovers from the trigger seen to the acknowledgement of the new leader, or that nobody leads, by \
     cause, in seconds; exemplars name the trace.",
);

/// All failovers by phase.
pub(super) const PHASE_DURATION: Family = Family::histogram(
    "failover_phase_duration",
    "Time that failovers spent in each phase, in seconds; exemplars name the trace.",
);

/// Calls to the API server.
pub(super) const CALLS: Family = Family::histogram(
    "api_call_duration",
    "Time of calls to the API server until the answer or the time limit, by operation, in seconds.",
);

/// Writes to the API server.
pub(super) const WRITES: Family =
    Family::counter("writes", "Writes to the API server by resource and outcome; grows when one is over.");

/// Lost spans.
pub(super) const SPANS_DROPPED: Family = Family::counter(
    "spans_dropped",
    "Spans that were not exported, by reason: the queue was full, or the collector did not take them.",
);

/// Lost records.
pub(super) const RECORDS_DROPPED: Family = Family::counter(
    "records_dropped",
    "Steps that were not written to --record's files: the disk was full, slow or failed.",
);

/// Orders that wait.
pub(super) const QUEUE_DEPTH: Family = Family::gauge(
    "apply_queue_depth",
    "Requests to the API server that wait for their turn, by lane; a sample is taken twice a second.",
);

/// Watches.
pub(super) const WATCH_AGE: Family = Family::gauge(
    "watch_age",
    "Time since the API server last sent something on the watch of this resource, in seconds; the longest one if there \
     are several.",
)
.in_seconds();

/// Lost nodes.
pub(super) const NODES_LOST: Family = Family::gauge(
    "nodes_lost",
    "Nodes that are taken for lost: they do not renew their Leases, or are out of service. Always 0 without --watch-nodes.",
);

/// Nodes that may be lost.
pub(super) const NODES_HELD: Family = Family::gauge(
    "nodes_held",
    "Nodes that do not renew their Leases and are not taken for lost, since so many do not at once that it is not them \
     but what is between them and us.",
);

/// The Lease.
pub(super) const ACTS_FIRST: Family = Family::gauge(
    "acts_first",
    "Whether this replica acts first: it holds the Lease, or there are no others. Gauges of Services and namespaces are \
     shown by that one alone.",
);

/// The program.
pub(super) const BUILD: Family = Family {
    name: "build",
    kind: MetricType::Info,
    is_in_seconds: false,
    help: "The version of the program, and which replica of which installation this is.",
};
