//! One test for each row of the design's tables of decisions and answers, named after it; by state.

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod asked;
mod candidates;
mod contests;
mod cordoned;
mod draining;
mod elected;
mod epochs;
mod failback;
mod initial;
mod leaderless;
mod life;
mod notices;
mod observed;
mod rank;
mod reelecting;
mod switches;
mod switchover;
