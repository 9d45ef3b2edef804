//! Who leads once this controller has taken over: asked of the machine that it runs.

use machine::{Chance, Failback, Pod, Shown};

use super::Prospect;
use crate::cli::age::span;
use crate::cli::doctor::finding::Evidence;
use crate::cli::look::Look;
use crate::cli::notes::bar_words;

/// Whether the leader stays, and if not, who follows and why.
pub(super) fn leader(look: &Look) -> Option<Prospect> {
    let election = look.election.as_ref()?;
    let wanted = election.state().pod();
    let slice = |value: String| {
        vec![Evidence::new(format!("endpointslice/{}", look.leader_service), "endpoints[*].targetRef", value)]
    };
    let published = look.published.as_ref();
    let Some(published) = published.filter(|published| published.shown != Shown::Nobody) else {
        return wanted.map(|pod| {
            let why = format!("nobody is published: {} becomes the leader", pod.name());
            Prospect::settled("first-leader", why, slice("none".into()))
        });
    };
    let Some(leader) = &published.leader else {
        let why = format!("what it publishes is replaced by {}", wanted.map_or("nobody", |pod| pod.name()));
        let remedy = format!("see who can lead: zen-lead why {} -n {}", look.key.1, look.key.0);
        return Some(Prospect::open("endpoints-replaced", why, slice("not one pod".into()), remedy));
    };
    let evidence = slice(format!("{} ({})", leader.name(), leader.uid()));
    let remedy = |what: &str| format!("{what}; see zen-lead why {} -n {}", look.key.1, look.key.0);
    Some(match wanted {
        Some(pod) if pod == leader => match outranked(look, leader) {
            None => Prospect::settled("same-leader", format!("{} stays the leader", leader.name()), evidence),
            Some(why) => Prospect::open(
                "another-leader",
                why,
                evidence,
                remedy("take failback or sticky off to prevent it"),
            ),
        },
        Some(pod) => Prospect::open(
            "another-leader",
            format!("{} takes over from {}, which is {}", pod.name(), leader.name(), unfit(look, leader)),
            evidence,
            remedy("mend that pod first to prevent it"),
        ),
        None => Prospect::open(
            "emptied",
            format!(
                "{} is {}, and nobody can follow: it is no longer published, and clients are refused at once instead of \
                 waiting in vain",
                leader.name(),
                unfit(look, leader)
            ),
            evidence,
            remedy("get a pod Ready"),
        ),
    })
}

/// Who takes over from a leader that is fit, if the Service asks for that.
fn outranked(look: &Look, leader: &Pod) -> Option<String> {
    let Failback::After(wait) = look.settings.policy.failback else { return None };
    let candidates = look.election.as_ref()?.candidates();
    let best =
        candidates.first().filter(|best| best.chance == Chance::Eligible && best.member.pod != *leader)?;
    let (best, leader) = (best.member.pod.name(), leader.name());
    Some(format!("{best} ranks before {leader} and takes over once it was eligible for {}", span(wait)))
}

/// Why a pod cannot stay leader.
fn unfit(look: &Look, leader: &Pod) -> String {
    let candidates = look.election.as_ref().map(machine::Election::candidates).unwrap_or_default();
    let chance = candidates.iter().find(|candidate| candidate.member.pod == *leader);
    match chance.map(|candidate| candidate.chance) {
        Some(Chance::Barred(bar)) => bar_words(look, leader, bar),
        Some(Chance::Eligible | Chance::From(_)) => "not first by rank".into(),
        None => "gone, or no longer selected".into(),
    }
}
