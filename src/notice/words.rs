//! The table of reasons, and the words for causes.

use machine::{Cause, Reason as Election};

use super::Reason;

/// How much a notice matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// As it should be.
    Normal,
    /// Somebody should look.
    Warning,
}

impl Severity {
    /// The Event's type, in Kubernetes' words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// How a reason is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    /// How much it matters.
    pub severity: Severity,
    /// What zen-lead did or tried.
    pub action: &'static str,
    /// What happened. The pods' names follow.
    pub headline: &'static str,
    /// What the notice's detail is.
    pub particulars: &'static str,
    /// What to do about it; empty if nothing.
    pub remedy: &'static str,
}

impl Reason {
    /// The reason's public name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Election(Election::LeaderElected) => "LeaderElected",
            Self::Election(Election::LeaderChanged) => "LeaderChanged",
            Self::Election(Election::LeaderDraining) => "LeaderDraining",
            Self::Election(Election::LeaderLost) => "LeaderLost",
            Self::Election(Election::LeaderRecovered) => "LeaderRecovered",
            Self::Election(Election::NoPodsFound) => "NoPodsFound",
            Self::Election(Election::NoReadyPods) => "NoReadyPods",
            Self::Election(Election::NamedPortResolutionFailed) => "NamedPortResolutionFailed",
            Self::Election(Election::PortResolutionFailed) => "PortResolutionFailed",
            Self::Election(Election::EndpointSliceDeleted) => "EndpointSliceDeleted",
            Self::Election(Election::SwitchoverCompleted) => "SwitchoverCompleted",
            Self::Election(Election::SwitchoverRefused) => "SwitchoverRefused",
            Self::Election(Election::Paused) => "Paused",
            Self::Election(Election::Resumed) => "Resumed",
            Self::Election(Election::LeaderServiceConflict) => "LeaderServiceConflict",
            Self::Election(Election::PublicationContested) => "PublicationContested",
            Self::Election(Election::PublishRejected) => "PublishRejected",
            Self::InvalidService => "InvalidService",
            Self::LeaderServiceCreated => "LeaderServiceCreated",
            Self::LeaderRoutingAvailable => "LeaderRoutingAvailable",
            Self::InvalidConfiguration => "InvalidConfiguration",
            Self::BudgetExceeded => "BudgetExceeded",
        }
    }
}

/// The table: how each reason is put.
#[must_use]
pub const fn words(reason: Reason) -> Words {
    use Severity::{Normal, Warning};
    const NOTE: &str = "Note";
    let (severity, action, headline, particulars, remedy) = match reason {
        Reason::Election(reason) => return election_words(reason),
        Reason::InvalidService => (
            Warning,
            "Inspect",
            "This Service opts in, but cannot have a leader",
            "Why",
            "Give it a selector and ports, or remove the annotation zen-lead.io/enabled.",
        ),
        Reason::LeaderServiceCreated => {
            (Normal, "CreateLeaderService", "The leader Service was created", "Its name", "")
        }
        Reason::LeaderRoutingAvailable => (
            Normal,
            "Route",
            "Traffic to the leader Service reaches the leader",
            "The leader Service",
            "Established connections stay where they are when the leader changes.",
        ),
        Reason::InvalidConfiguration => (
            Warning,
            "Configure",
            "An annotation cannot be understood",
            "Particulars",
            "Correct the annotation; it takes effect at once.",
        ),
        Reason::BudgetExceeded => (
            Warning,
            "FailOver",
            "A failover took longer than its budget",
            NOTE,
            "The trace of this failover shows where the time went.",
        ),
    };
    Words { severity, action, headline, particulars, remedy }
}

const fn election_words(reason: Election) -> Words {
    use Severity::{Normal, Warning};
    const NOTE: &str = "Note";
    let (severity, action, headline, particulars, remedy) = match reason {
        Election::LeaderElected => (Normal, "Elect", "The first leader was elected", NOTE, ""),
        Election::LeaderChanged => (Normal, "FailOver", "Another pod leads now", NOTE, ""),
        Election::LeaderDraining => (
            Normal,
            "Drain",
            "The leader is on its way out, and serves until another pod can follow",
            NOTE,
            "",
        ),
        Election::LeaderLost => (
            Warning,
            "Withdraw",
            "Nobody leads any more",
            NOTE,
            "The leader Service routes nowhere until a pod of this Service is Ready.",
        ),
        Election::LeaderRecovered => (Normal, "Elect", "There is a leader again", NOTE, ""),
        Election::NoPodsFound => (
            Warning,
            "Elect",
            "Nobody can lead: this Service selects no pods",
            NOTE,
            "Compare the Service's selector with the labels of the pods, and look whether they were scaled to zero.",
        ),
        Election::NoReadyPods => (
            Warning,
            "Elect",
            "Nobody can lead: no pod of this Service is Ready",
            NOTE,
            "See why the pods are not Ready, whether min-ready-duration is over, and whether they say never-lead.",
        ),
        Election::NamedPortResolutionFailed => (
            Warning,
            "ResolvePorts",
            "Nobody can lead: a named targetPort of this Service is declared by no container of its pods",
            NOTE,
            "Declare a container port of that name and protocol, or set zen-lead.io/ports-mode: available.",
        ),
        Election::PortResolutionFailed => (
            Warning,
            "ResolvePorts",
            "Nobody can lead: a targetPort of this Service is not a valid port number",
            NOTE,
            "Use a number from 1 to 65535.",
        ),
        Election::EndpointSliceDeleted => (
            Warning,
            "Publish",
            "Somebody deleted the leader's EndpointSlice; it is made anew",
            NOTE,
            "To stop the routing, remove the annotation zen-lead.io/enabled instead.",
        ),
        Election::SwitchoverCompleted => (Normal, "SwitchOver", "The handover came about", "The request", ""),
        Election::SwitchoverRefused => (
            Warning,
            "SwitchOver",
            "The handover will not come about",
            "Particulars",
            "Name a pod of this Service that exists and may lead, or ask again with a later time.",
        ),
        Election::Paused => (
            Normal,
            "Pause",
            "Paused: no failover, no failback and no switchover until resumed",
            NOTE,
            "Remove the annotation zen-lead.io/paused to resume.",
        ),
        Election::Resumed => (Normal, "Resume", "Resumed: leaders are chosen again", NOTE, ""),
        Election::LeaderServiceConflict => (
            Warning,
            "Publish",
            "An object that is not ours stands where the leader Service belongs; it is left alone",
            "Particulars",
            "Remove it, or give the leader Service another name with zen-lead.io/leader-service-name.",
        ),
        Election::PublicationContested => (
            Warning,
            "Publish",
            "Another writer keeps undoing what is written for the leader",
            "The writer",
            "Let only zen-lead write the leader Service and its EndpointSlices.",
        ),
        Election::PublishRejected => (
            Warning,
            "Publish",
            "The API server will not take the leader's EndpointSlice",
            "It says",
            "It is tried again every 30 s, and whenever something changes.",
        ),
    };
    Words { severity, action, headline, particulars, remedy }
}

/// What a cause's word means.
#[must_use]
pub const fn cause_words(cause: Cause) -> &'static str {
    match cause {
        Cause::FirstElection => "nobody had led before",
        Cause::Recovery => "nobody led for a while",
        Cause::Unready => "the leader was not Ready",
        Cause::Terminating => "the leader was told to terminate",
        Cause::Gone => "the leader was deleted",
        Cause::Finished => "the leader's containers were done",
        Cause::Relabelled => "the selector no longer matched the leader",
        Cause::Excluded => "the leader was told never to lead",
        Cause::AddressLost => "the leader lost its address",
        Cause::PortUnresolved => "a port no longer resolved on the leader",
        Cause::Refused => "the API server refused the leader's endpoint",
        Cause::NodeLost => "the leader's node was lost",
        Cause::Failback => "a better-ranked pod took over",
        Cause::Cordoned => "the leader's node was cordoned",
        Cause::Switchover => "somebody asked for it",
        Cause::Adopted => "another replica or a person published it",
        Cause::Obstruction => "an object that is not ours stood in the way",
        Cause::Removal => "the Service opted out or was deleted",
    }
}
