//! What the show measured, and the table of it.

use std::fmt::Write as _;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::screen::{Screen, Tone, milliseconds};
use crate::audit::Entry;

/// What was measured, in the table's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    OptIn,
    Unready,
    Terminating,
    Draining,
    Outage,
    Recovery,
    SwitchBack,
    OptOut,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::OptIn,
        Self::Unready,
        Self::Terminating,
        Self::Draining,
        Self::Outage,
        Self::Recovery,
        Self::SwitchBack,
        Self::OptOut,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::OptIn => "opted in -> first leader",
            Self::Unready => "leader NotReady -> next leader",
            Self::Terminating => "leader told to terminate -> next leader",
            Self::Draining => "last one told to terminate -> draining",
            Self::Outage => "last one gone -> nobody",
            Self::Recovery => "one Ready again -> leader",
            Self::SwitchBack => "better pod Ready -> leader (not sticky)",
            Self::OptOut => "opted out -> everything removed",
        }
    }

    /// Whether one leader follows another: these have a budget of writes.
    pub(super) const fn is_failover(self) -> bool {
        matches!(self, Self::Unready | Self::Terminating | Self::SwitchBack)
    }
}

/// One measured event, from its trigger on.
#[derive(Clone, Debug)]
pub(super) struct Figure {
    pub(super) kind: Kind,
    /// From the trigger to the change, both as seen on a watch.
    pub(super) took: Duration,
    /// When it began, right before the request that triggers it.
    pub(super) from: Timestamp,
    /// When the show went on to something else.
    pub(super) to: Option<Timestamp>,
}

/// All of them, in order.
#[derive(Default)]
pub(super) struct Figures(Vec<Figure>);

/// The controller's writes for one figure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Writes {
    pub(super) all: usize,
    /// Answered no later than the last one of the slice: traffic moves after them.
    pub(super) critical: usize,
    pub(super) slices: usize,
}

impl Figures {
    pub(super) fn push(&mut self, figure: Figure) {
        self.0.push(figure);
    }

    /// The show goes on to something else.
    pub(super) fn close(&mut self, now: Timestamp) {
        if let Some(figure) = self.0.last_mut() {
            figure.to.get_or_insert(now);
        }
    }

    /// Each figure with the writes among `entries` that came for it.
    pub(super) fn writes<'a>(&'a self, entries: &'a [Entry]) -> impl Iterator<Item = (Kind, Writes)> + 'a {
        self.0.iter().map(|figure| {
            let until = figure.to.unwrap_or(Timestamp::MAX);
            let window = figure.from..until;
            let mine = || entries.iter().filter(|entry| is_write(entry) && window.contains(&entry.received));
            let slices = || mine().filter(|entry| entry.resource == "endpointslices");
            let switch = slices().map(|entry| entry.answered).max();
            let writes = Writes {
                all: mine().count(),
                critical: mine()
                    .filter(|entry| switch.is_some_and(|switch| entry.answered <= switch))
                    .count(),
                slices: slices().count(),
            };
            (figure.kind, writes)
        })
    }

    /// Prints the table; with `entries` of the audit log, also the writes.
    pub(super) fn print(&self, screen: &mut Screen, entries: Option<&[Entry]>) {
        let writes = if entries.is_some() { "  writes  up to the switch" } else { "" };
        let head = format!(
            "  {:<40}{:>4}{:>12}{:>12}{:>12}{writes}",
            "trigger -> effect", "n", "median", "min", "max"
        );
        let head = screen.paint(Tone::Faint, &head);
        screen.line(&head);
        for kind in Kind::ALL {
            let mut took: Vec<Duration> =
                self.0.iter().filter(|figure| figure.kind == kind).map(|figure| figure.took).collect();
            took.sort_unstable();
            let (Some(min), Some(max)) = (took.first(), took.last()) else { continue };
            let times = [median(&took), *min, *max].map(|time| format!("{:>12}", milliseconds(time)));
            let mut row = format!("  {:<40}{:>4}{}", kind.label(), took.len(), times.concat());
            if let Some(entries) = entries {
                let mine = || self.writes(entries).filter(|(of, _)| *of == kind).map(|(_, writes)| writes);
                let all: Vec<usize> = mine().map(|writes| writes.all).collect();
                let critical: Vec<usize> = mine().map(|writes| writes.critical).collect();
                // Removing has no switch that anybody waits for.
                let critical = if kind == Kind::OptOut { "-".into() } else { range(&critical) };
                let _ = write!(row, "{:>8}{critical:>18}", range(&all));
            }
            screen.line(&row);
        }
    }
}

/// Whether a request changed something, or tried to.
pub(super) fn is_write(entry: &Entry) -> bool {
    !matches!(entry.verb.as_str(), "get" | "list" | "watch")
}

/// The times are sorted.
fn median(times: &[Duration]) -> Duration {
    let middle = times.len() / 2;
    if times.len().is_multiple_of(2) { (times[middle - 1] + times[middle]) / 2 } else { times[middle] }
}

/// `3`, or `3-4` if they differ.
fn range(numbers: &[usize]) -> String {
    match (numbers.iter().min(), numbers.iter().max()) {
        (Some(min), Some(max)) if min == max => min.to_string(),
        (Some(min), Some(max)) => format!("{min}-{max}"),
        _ => "-".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millisecond: i64) -> Timestamp {
        Timestamp::from_millisecond(1_764_000_000_000 + millisecond).unwrap()
    }

    fn entry(verb: &str, resource: &str, received: i64) -> Entry {
        Entry {
            user: "controller".into(),
            verb: verb.into(),
            resource: resource.into(),
            subresource: String::new(),
            namespace: "demo".into(),
            name: "orders-leader".into(),
            uri: String::new(),
            code: 200,
            user_agent: String::new(),
            received: at(received),
            answered: at(received + 1),
            stage: "ResponseComplete".into(),
        }
    }

    #[test]
    fn writes_belong_to_the_figure_during_which_they_came() {
        let mut figures = Figures::default();
        for (from, to) in [(0, Some(at(100))), (100, None)] {
            let took = Duration::from_millis(3);
            figures.push(Figure { kind: Kind::Unready, took, from: at(from), to });
        }
        let entries = [
            entry("update", "endpointslices", 2),
            entry("patch", "services", 5),
            entry("create", "events", 5),
            entry("get", "pods", 99),
            entry("patch", "services", 150),
            entry("update", "endpointslices", 160),
        ];
        let writes: Vec<Writes> = figures.writes(&entries).map(|(_, writes)| writes).collect();
        assert_eq!(
            writes,
            [Writes { all: 3, critical: 1, slices: 1 }, Writes { all: 2, critical: 2, slices: 1 }]
        );
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        let times = [1, 2, 4, 9].map(Duration::from_millis);
        assert_eq!(median(&times), Duration::from_millis(3));
        assert_eq!(median(&times[..3]), Duration::from_millis(2));
    }
}
