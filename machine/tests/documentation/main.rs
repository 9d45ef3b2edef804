//! The crate's documentation opens with a picture of the states and a table of every event in each of them. Both are
//! held against what the machine does: what they say happens, and what happens they say.

#![allow(clippy::panic, reason = "a test")]

#[path = "../support/builders.rs"]
mod builders;
mod explore;
mod picture;
mod table;
mod world;

use std::collections::BTreeSet;

use machine::{Event, Phase};

use explore::REALITY;
use table::{COLUMNS, documentation};

const PHASES: [Phase; 4] = [Phase::Leaderless, Phase::Reelecting, Phase::Elected, Phase::Draining];

/// All events there are. A new one that is not listed here does not compile; one that is listed wants its row.
macro_rules! events {
    ($($name:ident)*) => {
        const EVENTS: &[&str] = &[$(stringify!($name)),*];

        const fn kind(event: &Event) -> &'static str {
            match event {
                $(Event::$name { .. } => stringify!($name),)*
            }
        }
    };
}

events! {
    Synced PodReady PodUnready PodTerminating PodGone PodChanged PolicyChanged OptedOut ServiceGone
    Published PublishFailed ReadDone ReadFailed Confirmed ConfirmFailed Mirrored MirrorFailed Notified NotifyFailed
    Removed RemoveFailed PublicationObserved Blocked Unblocked SwitchoverRequested SwitchoverWithdrawn Paused Resumed
    LeaseHeld LeaseLost NodeLost NodeBack ServerBack DeadlineReached
}

/// A state that looks may find what had been held back until then, but seldom: at most once in so many times.
const SELDOM: usize = 500;

#[test]
fn the_picture_has_the_arrows_of_every_choice_and_no_other() {
    let shown = picture::arrows(table::picture(&documentation()));
    let is_seen = |(from, to): &&(Phase, Phase)| from != to;
    let taken: BTreeSet<_> = REALITY.chosen.iter().filter(is_seen).copied().collect();
    let never: Vec<_> = shown.difference(&taken).collect();
    let missing: Vec<_> = taken.difference(&shown).collect();
    assert!(never.is_empty() && missing.is_empty(), "never taken: {never:?}; missing: {missing:?}");
}

#[test]
fn the_readme_has_the_same_picture() {
    let readme = include_str!("../../../README.md");
    let states = readme.split_once("## The four states").expect("they are explained").1;
    assert_eq!(table::picture(states), table::picture(&documentation()));
}

#[test]
fn the_table_has_a_row_for_every_event() {
    let table = table::table(&documentation());
    let rows: BTreeSet<_> = table.keys().map(String::as_str).collect();
    assert_eq!(rows, EVENTS.iter().copied().collect());
    for event in EVENTS {
        for column in COLUMNS {
            assert!(REALITY.told.contains_key(&(column, event)), "{event} was never told in {column:?}");
        }
    }
}

#[test]
fn what_the_table_says_happens() {
    for (event, row) in &table::table(&documentation()) {
        for (column, cell) in row {
            for to in &cell.named {
                let is_taken = REALITY.taken.keys().any(|taken| *taken == (*column, event, *to));
                assert!(is_taken, "{event} never leads from {column:?} to {to:?}");
            }
        }
    }
}

#[test]
fn what_happens_the_table_says() {
    let table = table::table(&documentation());
    let shown = picture::arrows(table::picture(&documentation()));
    for ((column, event, to), times) in &REALITY.taken {
        let cell = &table[*event][column];
        if cell.named.contains(to) {
            continue;
        }
        assert!(cell.looks, "{event} leads from {column:?} to {to:?}");
        let from = column.phase();
        let is_shown = from == *to || shown.contains(&(from, *to)) || explore::ADOPTIONS.contains(event);
        assert!(is_shown, "{event} leads from {column:?} to {to:?}, and no arrow does");
        let told = REALITY.told[&(*column, *event)];
        assert!(times * SELDOM < told, "{event} leads from {column:?} to {to:?}, {times} times of {told}");
    }
}

#[test]
fn while_paused_nobody_new_is_chosen() {
    let mut into = REALITY.paused.iter().filter(|(_, to)| *to == Phase::Reelecting);
    // Back to the incumbent, in a new term.
    assert!(into.all(|(from, _)| *from == Phase::Reelecting));
    assert!(REALITY.paused.contains(&(Phase::Elected, Phase::Leaderless)), "losses are seen to");
}
