//! How the members stand in the choice of a leader, for whoever wants to know why.

use crate::facts::{Facts, Row};
use crate::{Member, Timestamp};

/// A member and how it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// The member.
    pub member: &'a Member,
    /// Whether it could be chosen.
    pub chance: Chance,
}

/// Whether a member could be chosen as leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chance {
    /// It could be chosen now.
    Eligible,
    /// It is fit, and can be chosen from then on: it has not been Ready for `min-ready-duration` yet.
    From(Timestamp),
    /// It cannot be chosen, and this is the first reason.
    Barred(Bar),
}

/// Why a member cannot be chosen. But for [`Bar::NodeLost`], it could not stay leader either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bar {
    /// It is terminating.
    Terminating,
    /// It is not Ready.
    Unready,
    /// It says that it never leads.
    Excluded,
    /// It has no address of the Service's first family.
    NoAddress,
    /// A port of the Service does not resolve on it.
    PortUnresolved,
    /// The API server refused its endpoint for good.
    Refused,
    /// Its node is lost.
    NodeLost,
}

impl Facts {
    /// All members: first those that can be chosen, then those that will be, then the others, each by rank.
    pub(crate) fn candidates(&self, at: Timestamp) -> Vec<Candidate<'_>> {
        let chance = |row: &Row| match row.eligible_at(&self.policy) {
            Some(from) if from <= at => Chance::Eligible,
            Some(from) => Chance::From(from),
            None => Chance::Barred(row.bar().unwrap_or(Bar::NodeLost)),
        };
        let ranking = self.ranking(at);
        let mut rows: Vec<_> = self.rows.iter().map(|row| (row, chance(row))).collect();
        rows.sort_by(|(a, a_chance), (b, b_chance)| {
            a_chance.order().cmp(&b_chance.order()).then_with(|| ranking.compare(a, b))
        });
        rows.into_iter().map(|(row, chance)| Candidate { member: &row.member, chance }).collect()
    }
}

impl Chance {
    const fn order(self) -> (u8, Timestamp) {
        match self {
            Self::Eligible => (0, Timestamp(0)),
            Self::From(from) => (1, from),
            Self::Barred(_) => (2, Timestamp(0)),
        }
    }
}
