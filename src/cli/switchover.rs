//! `zen-lead switchover`: asks for a handover, and waits for its acknowledgement.

use std::io::Write as _;
use std::time::Instant;

use machine::{Chance, Election, Micros, Phase, Pod, Timestamp};
use serde_json::json;

use super::Error;
use super::age::{moment, span};
use super::cluster::Cluster;
use super::handover::{Handover, Outcome};
use super::look::Look;
use super::notes::{bar_words, paused};
use super::output::Output;
use super::why::look;
use crate::annotations::SWITCHOVER_TO;
use crate::config::SwitchoverArgs;
use crate::dice::Dice;

/// Somebody who changes the Service more often meanwhile will not stop.
const TRIES: u8 = 5;

/// Asks for it.
pub(super) async fn run(args: &SwitchoverArgs, out: &mut Output) -> Result<(), Error> {
    let cluster = Cluster::find(&args.cluster).await?;
    let mut tries = 0;
    loop {
        tries += 1;
        // Who is named is chosen whatever the node.
        let controller = args.to.is_none().then_some(&*args.controller.controller_namespace);
        let look = look(&cluster, &args.name, controller).await?;
        let Some(to) = target(&look, args.to.as_deref())? else {
            let leader = look.leader().map(|(leader, _)| leader.name()).unwrap_or_default();
            writeln!(out, "{}: {leader} leads already", place(&look))?;
            return Ok(out.flush()?);
        };
        match ask(&cluster, args, &look, &to, out).await {
            // Somebody has changed the Service: perhaps by a request of their own, which must not be lost.
            Err(error) if error.is_conflict() && tries < TRIES => {}
            outcome => return outcome,
        }
    }
}

async fn ask(
    cluster: &Cluster,
    args: &SwitchoverArgs,
    look: &Look,
    to: &Pod,
    out: &mut Output,
) -> Result<(), Error> {
    let holds = Micros(u64::try_from(args.timeout.as_micros()).unwrap_or(u64::MAX));
    // To the second, as annotations have it; never shorter than asked for.
    let until = Timestamp::from_secs(look.at.plus(holds).as_secs() + 1);
    let token = Dice::new().number();
    let text = format!("{}/{};{token:016x};{}", to.name(), to.uid(), moment(until));
    let from = look.leader().map(|(leader, _)| leader.name().to_owned());
    let from = from.map(|from| format!(" from {from}")).unwrap_or_default();
    let place = place(look);
    // Opened before the request, so that its end cannot be missed.
    let is_awaited = args.wait && !args.dry_run;
    let handover = if is_awaited { Some(Handover::expect(cluster, look, &text, to).await?) } else { None };
    let version = look.version.0.to_string();
    let metadata = json!({ "resourceVersion": version, "annotations": { SWITCHOVER_TO: text } });
    let asked = Instant::now();
    cluster.patch(&look.key, json!({ "metadata": metadata }), args.dry_run).await?;
    if args.dry_run {
        writeln!(out, "{place}: would hand over{from} to {to} (dry run)")?;
        return Ok(out.flush()?);
    }
    let Some(handover) = handover else {
        writeln!(out, "{place}: asked to hand over{from} to {to}, until {}", moment(until))?;
        return Ok(out.flush()?);
    };
    match handover.outcome(asked + args.timeout).await? {
        Outcome::Done { epoch } => {
            let took = span(Micros(u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX)));
            let epoch = epoch.map(|epoch| format!(", epoch {epoch}")).unwrap_or_default();
            writeln!(out, "{place}: handed over{from} to {to} in {took}{epoch}")?;
            Ok(out.flush()?)
        }
        Outcome::Refused { words } => {
            Err(Error::Refused(format!("{place}: not handed over to {to}: {words}")))
        }
        Outcome::Nothing => Err(Error::Refused(format!(
            "{place}: not handed over to {to}: nobody has answered within {}, and the request is over; is a controller \
             running?",
            span(holds)
        ))),
    }
}

fn place(look: &Look) -> String {
    let (namespace, name) = &look.key;
    format!("{namespace}/{name}")
}

/// The pod that shall lead; nothing if it does already.
fn target(look: &Look, named: Option<&str>) -> Result<Option<Pod>, Error> {
    let place = place(look);
    let refused = |words: String| Err(Error::Refused(format!("{place}: {words}")));
    let election = match (&look.view, &look.obstruction, &look.election) {
        (Err(why), _, _) => return refused(format!("it cannot have a leader: {why}")),
        (_, None, Some(election)) => election,
        (_, _, _) => {
            return refused(
                "a foreign object stands where its leader Service belongs; see zen-lead status".into(),
            );
        }
    };
    if let Some(pause) = look.pause() {
        let words = paused(pause);
        return refused(format!("it is {words}: zen-lead resume {place} comes first"));
    }
    if let Some(request) = election.pending_switchover() {
        let until = request.expires.map(|at| format!(" until {}", moment(at))).unwrap_or_default();
        return refused(format!(
            "a handover to {} is asked for already{until}: wait for it, or take the annotation {SWITCHOVER_TO} off",
            request.pod
        ));
    }
    let leader = look.leader().map(|(leader, _)| leader).filter(|_| look.phase() == Phase::Elected);
    let Some(named) = named.map(|named| named.strip_prefix("pod/").unwrap_or(named)) else {
        let Some(next) = election.successor() else {
            return refused(format!("nobody can follow: zen-lead why {place} tells why"));
        };
        return Ok(Some(next.clone()));
    };
    let candidates = election.candidates();
    let Some(candidate) = candidates.iter().find(|candidate| candidate.member.pod.name() == named) else {
        return refused(format!("{named} is no member: {}", members(election)));
    };
    let pod = &candidate.member.pod;
    if leader == Some(pod) {
        return Ok(None);
    }
    match candidate.chance {
        Chance::Eligible => Ok(Some(pod.clone())),
        Chance::From(from) => {
            let wait = span(from.since(look.at));
            refused(format!(
                "{named} cannot lead for another {wait}: it is Ready for less than min-ready-duration"
            ))
        }
        Chance::Barred(bar) => refused(format!("{named} cannot lead: {}", bar_words(look, pod, bar))),
    }
}

fn members(election: &Election) -> String {
    let candidates = election.candidates();
    let names: Vec<&str> = candidates.iter().map(|candidate| candidate.member.pod.name()).collect();
    if names.is_empty() { "there are none".into() } else { format!("those are {}", names.join(", ")) }
}
