//! What people should know of a Service, each in a sentence.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use machine::{Bar, Candidate, Chance, Micros, Obstruction, Phase, Pod};

use super::age::moment;
use super::look::Look;
use crate::annotations::Pause;
use crate::kinds::Family;

/// For how long a notice of something that may be over is still shown.
const RECENT: Micros = Micros::from_secs(600);

/// What people should know.
pub(super) fn notes(look: &Look, candidates: &[Candidate<'_>]) -> Vec<String> {
    let mut notes = Vec::new();
    if let Err(why) = &look.view {
        notes.push(format!("cannot have a leader: {why}"));
        return notes;
    }
    if let Some(Obstruction::Service(what) | Obstruction::Slice(what)) = &look.obstruction {
        notes.push(format!("blocked by {what}"));
    }
    match look.pause() {
        Some(pause) => notes.push(paused(pause)),
        None => notes.extend(look.election.as_ref().and_then(|_| disagreement(look))),
    }
    if look.mirror.is_none() && look.obstruction.is_none() {
        notes.push("there is no leader Service yet: is a controller running?".into());
    }
    if let Some(request) = look.election.as_ref().and_then(machine::Election::pending_switchover) {
        let until = request.expires.map(|at| format!(" until {}", moment(at))).unwrap_or_default();
        notes.push(format!("asked to hand over to {}{until}", request.pod));
    }
    notes.extend(never_eligible(look, candidates));
    for invalid in &look.settings.invalid {
        let (annotation, value) = (invalid.annotation, &invalid.value);
        notes.push(format!(
            "{annotation} is {value:?}, but {}; used instead: {}",
            invalid.why, invalid.default
        ));
    }
    for told in look.notices.iter().filter(|told| look.at.since(told.at) < RECENT) {
        let note = match &*told.reason {
            "PublicationContested" => {
                "contested: another writer keeps changing the leader's EndpointSlice back"
            }
            "PublishRejected" => "the API server did not take the leader's EndpointSlice",
            _ => continue,
        };
        if !notes.iter().any(|known| known == note) {
            notes.push(note.to_owned());
        }
    }
    notes
}

/// That no choices are made, and for how long.
pub(super) fn paused(pause: Pause) -> String {
    match pause.until {
        Some(until) => format!("paused until {}", moment(until)),
        None => "paused".to_owned(),
    }
}

/// The machine wants something else than what is published: a controller should be about to do it.
fn disagreement(look: &Look) -> Option<String> {
    let election = look.election.as_ref()?;
    let published = look.leader().map(|(leader, _)| leader);
    match (look.phase(), election.state().pod()) {
        (Phase::Reelecting, Some(candidate)) => {
            Some(format!("{candidate} is to lead, and is not published yet: is a controller running?"))
        }
        (Phase::Leaderless, _) if published.is_some() && look.obstruction.is_none() => {
            Some("nobody can lead, and that is not published yet: is a controller running?".into())
        }
        (Phase::Leaderless, _) => Some("nobody can lead: see `zen-lead why`".into()),
        (Phase::Elected | Phase::Draining | Phase::Reelecting, _) => None,
    }
}

/// Members that time alone will not make eligible, by reason.
fn never_eligible(look: &Look, candidates: &[Candidate<'_>]) -> Vec<String> {
    let mut reasons: Vec<(String, usize)> = Vec::new();
    for Candidate { member, chance } in candidates {
        let Chance::Barred(bar @ (Bar::Excluded | Bar::NoAddress | Bar::PortUnresolved | Bar::Refused)) =
            chance
        else {
            continue;
        };
        let words = bar_words(look, &member.pod, *bar);
        match reasons.iter_mut().find(|(known, _)| *known == words) {
            Some((_, count)) => *count += 1,
            None => reasons.push((words, 1)),
        }
    }
    let note = |(words, count): (String, usize)| {
        format!("{count} {} never eligible: {words}", if count == 1 { "member" } else { "members" })
    };
    reasons.into_iter().map(note).collect()
}

/// Why a member cannot be chosen.
pub(super) fn bar_words(look: &Look, pod: &Pod, bar: Bar) -> String {
    match bar {
        Bar::Terminating => "terminating".into(),
        Bar::Unready => "not Ready".into(),
        Bar::Excluded => "zen-lead.io/never-lead".into(),
        Bar::NoAddress => {
            let family = look.view.as_ref().map_or(Family::V4, |view| view.source.first_family());
            format!("no {} address", family.as_str())
        }
        Bar::PortUnresolved => {
            let row = look.pods.iter().flatten().find(|row| row.pod == *pod);
            let port = row.zip(look.view.as_ref().ok()).and_then(|(row, view)| row.unresolved(view));
            let target = port.map(|port| match &port.target_port {
                Some(IntOrString::String(name)) => name.clone(),
                Some(IntOrString::Int(number)) => number.to_string(),
                None => port.port.to_string(),
            });
            format!("port {} missing", target.unwrap_or_default())
        }
        Bar::Refused => "the API server refused its endpoint".into(),
        Bar::NodeLost => "on a lost node".into(),
    }
}
