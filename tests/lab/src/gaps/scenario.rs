//! What can happen to a leader, to a node, to the control plane, and to the controller.

use clap::ValueEnum;
use serde::Serialize;

use super::place::Mover;

/// Something that happens while clients ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// The limit of planned moves: the leader is deleted, and a client that waits for that moves the slice by one PUT
    PutDelete,
    /// The limit of losses: the leader's container is killed, and a client moves the slice, likewise
    PutKill,
    /// The leader is deleted, with its grace period
    Delete,
    /// `kubectl drain` of the leader's node
    Drain,
    /// A rolling update of the workload
    Rollout,
    /// The annotation that asks for another leader
    Switchover,
    /// The leader's container is killed
    Kill,
    /// The leader's process hangs, which its readiness probe tells
    Hang,
    /// The leader's container is killed, and the controller's replica that acts first at the same instant
    KillReplica,
    /// The leader's container is killed while the replica that acts first is cut off from the API server
    KillCutOff,
    /// The workload is scaled to 0 and back
    ScaleToZero,
    /// etcd is killed and started again
    EtcdRestart,
    /// kube-proxy of the clients' node is killed and started again
    ProxyRestart,
    /// The API server is down for a minute
    ApiDown,
    /// The API server is down for a minute, and the leader's process hangs meanwhile
    ApiDownHang,
    /// The leader's node stops where it stands
    NodeFrozen,
    /// The leader's node loses its cable
    NodeCut,
    /// Two of the three nodes stop where they stand, the leader's among them
    TwoNodes,
    /// For 20 minutes the lines of all nodes lose 5 % of the packets, and deliver the others up to 200 ms late: nobody is
    /// to be replaced
    BadLines,
}

impl Scenario {
    /// All of them, the limits first.
    #[must_use]
    pub fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// As it is called on the command line.
    #[must_use]
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Who moves the slice.
    #[must_use]
    pub const fn mover(self) -> Mover {
        match self {
            Self::PutDelete | Self::PutKill => Mover::Hand,
            _ => Mover::Controller,
        }
    }

    /// Whether a round takes a minute or more.
    #[must_use]
    pub const fn is_long(self) -> bool {
        matches!(
            self,
            Self::ApiDown
                | Self::ApiDownHang
                | Self::NodeFrozen
                | Self::NodeCut
                | Self::TwoNodes
                | Self::BadLines
        )
    }

    /// Whether another pod is to lead afterwards.
    #[must_use]
    pub const fn moves(self) -> bool {
        !matches!(self, Self::EtcdRestart | Self::ProxyRestart | Self::ApiDown | Self::BadLines)
    }

    /// Whether somebody wants it and the old leader serves on for a while: nobody has to notice.
    #[must_use]
    pub const fn is_planned(self) -> bool {
        matches!(self, Self::PutDelete | Self::Delete | Self::Drain | Self::Rollout | Self::Switchover)
    }

    /// The limit with which it is compared: the same kind of loss, moved by a client's PUT.
    #[must_use]
    pub const fn limit(self) -> Option<Self> {
        match self {
            Self::Delete | Self::Drain | Self::Rollout | Self::Switchover => Some(Self::PutDelete),
            Self::Kill
            | Self::Hang
            | Self::KillReplica
            | Self::KillCutOff
            | Self::NodeFrozen
            | Self::NodeCut
            | Self::TwoNodes => Some(Self::PutKill),
            Self::PutDelete
            | Self::PutKill
            | Self::ScaleToZero
            | Self::EtcdRestart
            | Self::ProxyRestart
            | Self::ApiDown
            | Self::BadLines
            // What kube-proxy takes to come back to the API server has nothing to do with a PUT.
            | Self::ApiDownHang => None,
        }
    }
}
