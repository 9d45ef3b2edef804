//! Reads the table of the crate's documentation.

use std::collections::{BTreeMap, BTreeSet};

use machine::Phase;

use crate::PHASES;
use crate::world::Column;

/// The columns after the event's name, in their order.
pub(crate) const COLUMNS: [Column; 5] = [
    Column::Waiting,
    Column::In(Phase::Leaderless),
    Column::In(Phase::Reelecting),
    Column::In(Phase::Elected),
    Column::In(Phase::Draining),
];

/// What happens in a state after an event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    /// Where it leads.
    pub(crate) named: BTreeSet<Phase>,
    /// The state looks again at all it knows.
    pub(crate) looks: bool,
}

/// The events, by name.
pub(crate) type Table = BTreeMap<String, BTreeMap<Column, Cell>>;

/// The documentation of the crate, as it is written.
pub(crate) fn documentation() -> String {
    let source = include_str!("../../src/lib.rs");
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// The first block of plain text.
pub(crate) fn picture(text: &str) -> &str {
    let begun = text.split_once("```text\n").expect("a picture").1;
    begun.split_once("```").expect("its end").0
}

pub(crate) fn table(text: &str) -> Table {
    let mut table = Table::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let event = cells[0].trim_matches('`').to_owned();
        let row = COLUMNS.into_iter().zip(&cells[1..]).map(|(column, cell)| (column, Cell::new(cell)));
        let former = table.insert(event, row.collect());
        assert_eq!(former, None, "two rows: {line}");
    }
    table
}

impl Cell {
    fn new(text: &str) -> Self {
        let phase = |initial: &str| {
            let phase = PHASES.into_iter().find(|phase| phase.as_str()[..1] == *initial);
            phase.unwrap_or_else(|| panic!("no state begins with {initial}"))
        };
        match text {
            "-" => Self { named: BTreeSet::new(), looks: false },
            "look" => Self { named: BTreeSet::new(), looks: true },
            initials => Self { named: initials.split_whitespace().map(phase).collect(), looks: true },
        }
    }
}
