//! The figures for people.

use std::fmt::Write as _;

use super::summary::{Spread, Summary};
use super::targets::Target;

/// The columns, for `--help`.
pub(super) const COLUMNS: &str = "\
Each round: everything as it should be and quiet for 1.3 s; clients in the network of a pod, on a node other than the \
leader's, ask for a new TCP connection every 3 ms, a request on a connection that is kept every 5 ms, and a datagram \
every 5 ms; then something happens. Cells are p50 / p99 / max of the rounds, times in milliseconds:

  failed       new connections that failed: refused, closed before the answer, not there in 0.9 s, or unanswered for 5 s
  gap          the longest time between two new connections that were answered, one after the other
  detection    from the fault to when the API server told: the pod not Ready, or to be deleted
  controller   from then to the slice that leads elsewhere, as a watch shows it
  propagation  from that to the last new connection that failed or was answered by who led before: kube-proxy
  over limit   controller and propagation together over the same of put-delete (planned moves) or put-kill (losses), where
               a client that waited for it moves the slice by one PUT: nothing can be faster. p50 / p99
  behind       rounds in which another slice (mostly that of the source Service, which Kubernetes writes) changed in the
               second before: kube-proxy programs once a second (minSyncPeriod), so that propagation waits for the next
  late         answers by who led before, when the slice said otherwise already: all rounds together
  http, udp    requests on the kept connection without an answer in 1 s, and datagrams without an answer in 0.1 s: all rounds together

Established connections stay with the old leader until it ends, so http fails once a move. The pods serve on for 2 s after
SIGTERM: kube-proxy programs once a second at most.";

/// A line for each scenario.
pub(super) fn table(summaries: &[Summary]) -> String {
    let mut text = format!(
        "{:<13} {:>6} {:>16} {:>20} {:>20} {:>18} {:>18} {:>13} {:>6} {:>6} {:>6} {:>6}\n",
        "scenario",
        "rounds",
        "failed",
        "gap",
        "detection",
        "controller",
        "propagation",
        "over limit",
        "behind",
        "late",
        "http",
        "udp"
    );
    for one in summaries {
        let over =
            one.over_limit.map_or_else(String::new, |over| format!("{:.2} / {:.2}", over.p50, over.p99));
        // A String takes all that is written to it.
        let _ = writeln!(
            text,
            "{:<13} {:>6} {:>16} {:>20} {:>20} {:>18} {:>18} {:>13} {:>6} {:>6} {:>6} {:>6}",
            one.scenario.name(),
            one.rounds,
            whole(one.failed),
            cell(one.gap),
            cell(one.detection),
            cell(one.controller),
            cell(one.propagation),
            over,
            one.total(|figures| figures.behind.into()),
            one.total(|figures| figures.late),
            one.total(|figures| figures.failed_kept),
            one.total(|figures| figures.failed_datagrams),
        );
    }
    text
}

/// What is reached and what is not.
pub(super) fn verdicts(targets: &[Target]) -> String {
    let mut text = String::new();
    for target in targets {
        let word = if target.met { "met" } else { "MISSED" };
        let Target { what, measured, most, .. } = target;
        let _ = writeln!(text, "{word:<6}  {what}: {measured:.2}, at most {most:.2}");
    }
    text
}

fn cell(spread: Option<Spread>) -> String {
    // Three figures tell enough, and whole milliseconds do where there are many.
    let ms = |value: f64| if value < 99.95 { format!("{value:.1}") } else { format!("{value:.0}") };
    spread.map_or_else(String::new, |one| format!("{} / {} / {}", ms(one.p50), ms(one.p99), ms(one.max)))
}

fn whole(spread: Option<Spread>) -> String {
    spread.map_or_else(String::new, |one| format!("{:.0} / {:.0} / {:.0}", one.p50, one.p99, one.max))
}
