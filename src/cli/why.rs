//! `zen-lead why`: each member with the reason why it leads, could lead or cannot.

use std::io::{self, Write};

use machine::{Chance, Departure, Election, Failback, MaxSwitches, Pod, Strategy};
use serde::Serialize;

use super::Error;
use super::age::{age, span};
use super::cluster::Cluster;
use super::look::Look;
use super::nodes::Trouble;
use super::notes::bar_words;
use super::output::{Output, Structure};
use super::summary::Summary;
use super::survey::{Survey, Wanted, warn};
use super::table::Table;
use crate::config::{Format, WhyArgs};
use crate::rows::PodRow;

/// Explains it.
pub(super) async fn run(args: &WhyArgs, out: &mut Output) -> Result<(), Error> {
    let cluster = Cluster::find(&args.cluster).await?;
    let look = look(&cluster, &args.name, Some(&args.controller.controller_namespace)).await?;
    let explanation = Explanation::of(&look);
    match args.output {
        Some(Format::Json) => out.structured(&explanation, Structure::Json),
        Some(Format::Yaml) => out.structured(&explanation, Structure::Yaml),
        Some(Format::Name) => {
            for pod in &explanation.pods {
                writeln!(out, "pod/{}", pod.name)?;
            }
            Ok(out.flush()?)
        }
        None | Some(Format::Wide) => {
            explanation.write(args.output.is_some(), out)?;
            Ok(out.flush()?)
        }
    }
}

/// A closer look at the Service that is meant, its pods included; also their nodes, if it is said where the controller runs.
pub(super) async fn look(cluster: &Cluster, name: &str, controller: Option<&str>) -> Result<Look, Error> {
    let wanted = Wanted::read(name, cluster.namespace.as_deref());
    let mut survey = Survey::take(cluster, wanted.namespace.as_deref(), Some(&wanted.name)).await?;
    let key = survey.find(cluster, &wanted).await?;
    if let Some(controller) = controller {
        warn(&survey.add_nodes(cluster, &key.0, controller).await?);
    }
    let look = survey.look(&key);
    match look.filter(|look| look.pods.is_some() || look.view.is_err()) {
        Some(look) => Ok(look),
        None => Err(survey.missing.into_iter().next().map_or_else(
            || Error::Refused(format!("Service {}/{} has just opted out", key.0, key.1)),
            |(_, error)| error,
        )),
    }
}

/// Why things are as they are.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Explanation {
    #[serde(flatten)]
    summary: Summary,
    /// Whether the controller goes by nodes, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    watches_nodes: Option<bool>,
    /// By what the choice is made.
    rules: Vec<String>,
    /// The pods that the selector matches, best first.
    pods: Vec<Explained>,
}

/// A pod that the selector matches.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Explained {
    name: String,
    uid: String,
    /// Its place among those that could be chosen, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    rank: Option<usize>,
    verdict: Verdict,
    reason: String,
    priority: i32,
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    /// What is wrong with that.
    #[serde(skip_serializing_if = "Option::is_none")]
    node_is: Option<Trouble>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    #[serde(skip)]
    age: String,
}

/// What a pod is to the choice, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Leads,
    Next,
    Could,
    Soon,
    Cannot,
}

impl Verdict {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Leads => "leads",
            Self::Next => "next",
            Self::Could => "could",
            Self::Soon => "soon",
            Self::Cannot => "cannot",
        }
    }
}

impl Explanation {
    fn of(look: &Look) -> Self {
        let mut pods = Vec::new();
        if let Some(election) = &look.election {
            let mut rank = 0;
            for candidate in election.candidates() {
                rank += usize::from(candidate.chance == Chance::Eligible);
                let place = (candidate.chance == Chance::Eligible).then_some(rank);
                let (verdict, reason) = verdict(look, election, &candidate.member.pod, candidate.chance);
                pods.extend(
                    row(look, &candidate.member.pod).map(|row| explained(look, row, place, verdict, reason)),
                );
            }
        }
        for row in look.pods.iter().flatten() {
            let selector = look.view.as_ref().map(|view| &view.source.selector);
            if selector.is_ok_and(|selector| row.membership(selector) == Err(Departure::Finished)) {
                let reason = "its containers are done".to_owned();
                pods.push(explained(look, row, None, Verdict::Cannot, reason));
            }
        }
        let watches_nodes = look.nodes.are_watched;
        Self { summary: Summary::of(look), watches_nodes, rules: rules(look), pods }
    }

    fn write(&self, wide: bool, out: &mut impl Write) -> io::Result<()> {
        self.summary.write(out)?;
        for (number, rule) in self.rules.iter().enumerate() {
            writeln!(out, "{:<16}{rule}", if number == 0 { "Rules:" } else { "" })?;
        }
        writeln!(out)?;
        if self.pods.is_empty() {
            return writeln!(out, "The selector matches no pod.");
        }
        let mut headings = vec!["RANK", "POD", "VERDICT", "REASON"];
        headings.extend(wide.then_some(["PRIORITY", "AGE", "NODE", "ZONE"]).into_iter().flatten());
        let mut table = Table::new(&headings);
        for pod in &self.pods {
            let rank = pod.rank.map(|rank| rank.to_string()).unwrap_or_default();
            let mut cells = vec![rank, pod.name.clone(), pod.verdict.as_str().into(), pod.reason.clone()];
            if wide {
                let text = |text: &Option<String>| text.clone().unwrap_or_default();
                cells.extend([pod.priority.to_string(), pod.age.clone(), text(&pod.node), text(&pod.zone)]);
            }
            table.row(cells);
        }
        table.write("", out)
    }
}

fn row<'a>(look: &'a Look, pod: &Pod) -> Option<&'a PodRow> {
    look.pods.iter().flatten().find(|row| row.pod == *pod)
}

fn explained(look: &Look, row: &PodRow, rank: Option<usize>, verdict: Verdict, reason: String) -> Explained {
    let reason = match look.nodes.words(row) {
        Some(words) => format!("{reason}; {words}"),
        None => reason,
    };
    Explained {
        name: row.pod.name().to_owned(),
        uid: row.pod.uid().to_owned(),
        rank,
        verdict,
        reason,
        priority: row.priority,
        ready: row.ready,
        node: row.node.as_deref().map(str::to_owned),
        node_is: look.nodes.trouble(row),
        zone: look.nodes.zone(row).map(str::to_owned),
        age: age(look.at.since(row.created())),
    }
}

fn verdict(look: &Look, election: &Election, pod: &Pod, chance: Chance) -> (Verdict, String) {
    let leads = look.leader().is_some_and(|(leader, _)| leader == pod);
    let is_wanted = election.state().pod() == Some(pod);
    if leads {
        let reason = match chance {
            Chance::Eligible | Chance::From(_) if is_wanted => stays(look, election, pod),
            Chance::Eligible | Chance::From(_) => "published, and somebody else is to follow".into(),
            Chance::Barred(bar) if is_wanted => {
                format!("stays for now, though it is {}", bar_words(look, pod, bar))
            }
            Chance::Barred(bar) => format!("published still, and lost: {}", bar_words(look, pod, bar)),
        };
        return (Verdict::Leads, reason);
    }
    match chance {
        _ if is_wanted => (Verdict::Next, "chosen, and not published yet".into()),
        Chance::Eligible if election.successor() == Some(pod) => {
            (Verdict::Next, "leads if the leader is lost".into())
        }
        Chance::Eligible => (Verdict::Could, "others rank before it".into()),
        Chance::From(from) => {
            let wait = span(from.since(look.at));
            (Verdict::Soon, format!("can lead in {wait}: Ready for less than min-ready-duration"))
        }
        Chance::Barred(bar) => {
            let since = row(look, pod).filter(|row| !row.ready && bar == machine::Bar::Unready);
            let since = since.map(|row| format!(" for {}", age(look.at.since(row.ready_changed()))));
            (Verdict::Cannot, format!("{}{}", bar_words(look, pod, bar), since.unwrap_or_default()))
        }
    }
}

/// Why a leader that may stay does.
fn stays(look: &Look, election: &Election, leader: &Pod) -> String {
    if let Some((next, from)) = election.deferred() {
        let wait = span(from.since(look.at));
        return format!("fit: {} takes over in {wait}, when max-switches allows it", next.name());
    }
    let candidates = election.candidates();
    let best = candidates.first().filter(|best| best.chance == Chance::Eligible).map(|best| &best.member.pod);
    match (best, look.settings.policy.failback) {
        (None, _) => "fit, and nobody else can lead now".into(),
        (Some(best), _) if best == leader => "fit, and first by rank".into(),
        (Some(_), Failback::Never) => "fit: a better-ranked pod does not take over (failback: never)".into(),
        (Some(_), Failback::After(wait)) => {
            format!("fit: a better-ranked pod takes over once it was eligible for {}", span(wait))
        }
    }
}

/// By what the choice is made, in the order of the rules.
fn rules(look: &Look) -> Vec<String> {
    let policy = &look.settings.policy;
    let preferred = &look.settings.preferred;
    let mut order = Vec::new();
    order.extend((look.nodes.are_watched == Some(true)).then_some("sound node"));
    order.push("higher priority");
    order.extend(preferred.node.is_some().then_some("preferred node"));
    order.extend(preferred.zone.is_some().then_some("preferred zone"));
    order.extend(policy.prefer_new_revision.then_some("newest revision during a rollout"));
    order.push(match policy.strategy {
        Strategy::Oldest => "oldest pod",
        Strategy::Newest => "newest pod",
        Strategy::LongestReady => "longest Ready",
    });
    let mut rules = vec![format!("rank by {}", order.join(", then "))];
    if policy.min_ready_duration.0 > 0 {
        rules.push(format!("chosen after being Ready for {}", span(policy.min_ready_duration)));
    }
    if policy.failover_min_delay.0 > 0 {
        rules.push(format!("a NotReady leader is tolerated for {}", span(policy.failover_min_delay)));
    }
    if let Some(MaxSwitches { count, window }) = policy.max_switches {
        let changes = if count.get() == 1 { "change" } else { "changes" };
        rules.push(format!(
            "a fit leader stays after {count} {changes} of leader within {}, unless a person asks",
            span(window)
        ));
    }
    rules
}
