//! Reads the picture of the states: boxes, and arrows that run from border to border.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use machine::Phase;

use crate::PHASES;

struct Picture {
    cells: Vec<Vec<char>>,
    boxes: Vec<(Phase, RangeInclusive<usize>, RangeInclusive<usize>)>,
}

/// A place, row first.
type Place = (usize, usize);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
    Left,
    Right,
}

impl Way {
    /// Of an arrow whose head looks like this.
    const fn of(head: char) -> Option<Self> {
        match head {
            '^' => Some(Self::Up),
            'v' => Some(Self::Down),
            '<' => Some(Self::Left),
            '>' => Some(Self::Right),
            _ => None,
        }
    }

    const fn back(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }

    const fn turns(self) -> [Self; 2] {
        match self {
            Self::Up | Self::Down => [Self::Left, Self::Right],
            Self::Left | Self::Right => [Self::Up, Self::Down],
        }
    }

    /// What a line looks like that goes this way.
    const fn line(self) -> char {
        match self {
            Self::Up | Self::Down => '|',
            Self::Left | Self::Right => '-',
        }
    }

    fn from(self, (row, column): Place) -> Place {
        match self {
            Self::Up => (row.wrapping_sub(1), column),
            Self::Down => (row + 1, column),
            Self::Left => (row, column.wrapping_sub(1)),
            Self::Right => (row, column + 1),
        }
    }
}

/// From where to where arrows run.
pub(crate) fn arrows(text: &str) -> BTreeSet<(Phase, Phase)> {
    let picture = Picture::new(text);
    let places = (0..picture.cells.len())
        .flat_map(|row| (0..picture.cells[row].len()).map(move |column| (row, column)));
    places.filter_map(|place| picture.arrow_with_head(place)).collect()
}

impl Picture {
    fn new(text: &str) -> Self {
        let cells = text.lines().map(|line| line.chars().collect()).collect();
        let mut picture = Self { cells, boxes: Vec::new() };
        for phase in PHASES {
            let place =
                text.lines().enumerate().find_map(|(row, line)| Some((row, line.find(phase.as_str())?)));
            let (row, column) = place.expect("a box for every state");
            let end = |way: Way, border: char| {
                let mut place = (row, column);
                while picture.at(place) != border {
                    place = way.from(place);
                }
                place
            };
            let (left, right) = (end(Way::Left, '|').1, end(Way::Right, '|').1);
            let corner = |way: Way| {
                let mut place = (row, left);
                while picture.at(place) != '+' {
                    place = way.from(place);
                }
                place.0
            };
            let (top, bottom) = (corner(Way::Up), corner(Way::Down));
            picture.boxes.push((phase, top..=bottom, left..=right));
        }
        picture
    }

    fn at(&self, (row, column): Place) -> char {
        self.cells.get(row).and_then(|line| line.get(column)).copied().unwrap_or(' ')
    }

    /// The box that an end of a line touches, with a space between or none.
    fn beyond(&self, place: Place, way: Way) -> Option<Phase> {
        let next = way.from(place);
        let next = if self.at(next) == ' ' { way.from(next) } else { next };
        let touched = self
            .boxes
            .iter()
            .find(|(_, rows, columns)| rows.contains(&next.0) && columns.contains(&next.1))?;
        Some(touched.0)
    }

    fn arrow_with_head(&self, head: Place) -> Option<(Phase, Phase)> {
        let ahead = Way::of(self.at(head))?;
        let mut way = ahead.back();
        let mut place = way.from(head);
        // Letters look like heads, too.
        if self.at(place) != way.line() {
            return None;
        }
        let to = self.beyond(head, ahead)?;
        loop {
            if let Some(from) = self.beyond(place, way) {
                return Some((from, to));
            }
            let next = way.from(place);
            if self.at(next) == '+' {
                let turn = way.turns().into_iter().find(|turn| self.at(turn.from(next)) == turn.line());
                way = turn.expect("a line goes on after its corner");
            } else {
                assert_eq!(self.at(next), way.line(), "a line from {head:?} breaks off at {next:?}");
            }
            place = next;
        }
    }
}
