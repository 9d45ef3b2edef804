//! What people see: plain lines, with colours and the width of the terminal if there is one.

use std::env;
use std::io::{IsTerminal, Write, stdout};
use std::time::Duration;

use super::state::State;

/// Wide enough for the rows; of a pipe or a file.
const PLAIN_WIDTH: usize = 118;
/// The columns before the words, with their gaps.
const COLUMNS: usize = 65;
/// Narrower than this, the words of a row get a line of their own.
const LEAST_WORDS: usize = 30;

/// Where the show is printed. What cannot be printed is lost: a closed pipe must not keep the show from cleaning up.
pub struct Screen {
    out: Box<dyn Write + Send>,
    colours: bool,
    width: usize,
}

/// How a text is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Strong,
    Faint,
    Good,
    Warning,
    Bad,
}

impl Screen {
    /// This process's standard output.
    #[must_use]
    pub fn stdout() -> Self {
        let is_terminal = stdout().is_terminal();
        let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || env::var_os("TERM").is_some_and(|term| term == "dumb");
        let size = rustix::termios::tcgetwinsize(stdout()).ok().filter(|size| size.ws_col > 0);
        let width = size.map_or(PLAIN_WIDTH, |size| usize::from(size.ws_col).clamp(60, 160));
        Self { out: Box::new(stdout()), colours: is_terminal && !unwanted, width }
    }

    /// Anything that takes plain text.
    #[must_use]
    pub fn plain(out: impl Write + Send + 'static) -> Self {
        Self { out: Box::new(out), colours: false, width: PLAIN_WIDTH }
    }

    /// A line as it is.
    pub(super) fn line(&mut self, text: &str) {
        let _ = writeln!(self.out, "{text}");
        let _ = self.out.flush();
    }

    /// Lines of this tone, wrapped at the width and indented.
    pub(super) fn text(&mut self, indent: usize, tone: Tone, text: &str) {
        for part in wrapped(text, self.width.saturating_sub(indent)) {
            let painted = self.paint(tone, &part);
            self.line(&format!("{:indent$}{painted}", ""));
        }
    }

    /// What is being prepared or cleaned up, and when that was.
    pub(super) fn progress(&mut self, since_start: Duration, text: &str) {
        let time = self.paint(Tone::Faint, &format!("{:7.1} s", since_start.as_secs_f64()));
        let mut parts = wrapped(text, self.width.saturating_sub(11)).into_iter();
        self.line(&format!("{time}  {}", parts.next().unwrap_or_default()));
        for part in parts {
            self.line(&format!("{:11}{part}", ""));
        }
    }

    /// A scene's title and what it shows.
    pub(super) fn scene(&mut self, title: &str, what: &str) {
        self.line("");
        let title = self.paint(Tone::Strong, title);
        self.line(&title);
        self.text(0, Tone::Faint, what);
    }

    /// What the columns of the rows are.
    pub(super) fn header(&mut self) {
        let columns = self.columns(["time", "phase", "leader", "endpoint", "epoch"], [Tone::Faint; 5]);
        let words = self.paint(Tone::Faint, "what happened, and why");
        self.words(&columns, &[if self.has_room() { words } else { String::new() }]);
    }

    /// One row: the time since the trigger (none: this is the trigger), how things are, and why.
    pub(super) fn row(&mut self, time: Option<Duration>, state: &State, words: &str) {
        let phase = match state.phase {
            "Elected" => Tone::Good,
            "Draining" => Tone::Warning,
            "Leaderless" => Tone::Bad,
            _ => Tone::Faint,
        };
        let elapsed = time.map_or_else(|| "0".into(), |time| format!("+{}", milliseconds(time)));
        let epoch = state.epoch.map_or_else(|| "-".into(), |epoch| epoch.to_string());
        let texts = [
            &*elapsed,
            state.phase,
            state.leader.as_deref().unwrap_or("-"),
            state.endpoint.as_deref().unwrap_or("-"),
            &epoch,
        ];
        // What follows from the trigger stands out, how things were when it came does not.
        let tones = if time.is_some() {
            [Tone::Strong, phase, Tone::Strong, Tone::Plain, Tone::Plain]
        } else {
            [Tone::Faint; 5]
        };
        let columns = self.columns(texts, tones);
        let room = if self.has_room() { self.width - COLUMNS } else { self.width.saturating_sub(13) };
        self.words(&columns, &wrapped(words, room));
    }

    /// Something that should be and is not.
    pub(super) fn not_held(&mut self, text: &str) {
        self.text(2, Tone::Bad, &format!("NOT HELD: {text}"));
    }

    pub(super) fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.into(),
            Tone::Strong => "1",
            Tone::Faint => "2",
            Tone::Good => "32",
            Tone::Warning => "33",
            Tone::Bad => "1;31",
        };
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.into() }
    }

    fn columns(&self, texts: [&str; 5], tones: [Tone; 5]) -> String {
        let [time, phase, leader, endpoint, epoch] = texts;
        let padded = [
            format!("{time:>10}"),
            format!("{phase:<10}"),
            format!("{leader:<8}"),
            format!("{endpoint:<16}"),
            format!("{epoch:<10}"),
        ];
        let painted: Vec<String> =
            padded.iter().zip(tones).map(|(text, tone)| self.paint(tone, text)).collect();
        format!(" {}", painted.join("  "))
    }

    const fn has_room(&self) -> bool {
        self.width >= COLUMNS + LEAST_WORDS
    }

    /// The words beside the columns if there is room, else below.
    fn words(&mut self, columns: &str, words: &[String]) {
        let mut rest = words.iter();
        let indent = if self.has_room() {
            let first = rest.next().map_or("", String::as_str);
            self.line(format!("{columns}  {first}").trim_end());
            COLUMNS
        } else {
            self.line(columns);
            13
        };
        for line in rest.filter(|line| !line.is_empty()) {
            self.line(&format!("{:indent$}{line}", ""));
        }
    }
}

/// `3.42 ms`.
pub(super) fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

/// The text in lines of at most this width, broken between words.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let fits = line.chars().count() + 1 + word.chars().count() <= width;
        if !line.is_empty() && !fits {
            lines.push(std::mem::take(&mut line));
        } else if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn printed(width: usize, colours: bool) -> String {
        let paper = Paper::default();
        let mut screen = Screen { out: Box::new(paper.clone()), colours, width };
        let state = State {
            phase: "Elected",
            leader: Some("orders-1".into()),
            uid: None,
            endpoint: Some("10.244.0.2:8080".into()),
            epoch: Some(1_764_000_000),
        };
        screen.header();
        screen.row(
            Some(Duration::from_micros(3_421)),
            &state,
            "LeaderChanged: the leader was told to terminate",
        );
        String::from_utf8(paper.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_row_is_one_line_where_there_is_room() {
        let text = printed(PLAIN_WIDTH, false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "       time  phase       leader    endpoint          epoch       what happened, and why",
                "   +3.42 ms  Elected     orders-1  10.244.0.2:8080   1764000000  LeaderChanged: the leader was told \
                 to terminate",
            ]
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in [70, 80, 100, 120] {
            let text = printed(width, false);
            assert!(text.lines().all(|line| line.len() <= width), "{width}:\n{text}");
            assert!(text.split_whitespace().collect::<Vec<_>>().join(" ").contains("was told to terminate"));
        }
    }

    #[test]
    fn colours_change_nothing_but_the_colour() {
        let coloured = printed(PLAIN_WIDTH, true);
        assert!(coloured.contains("\x1b[32mElected   \x1b[0m"));
        let mut plain = String::new();
        for part in coloured.split('\x1b') {
            plain.push_str(
                part.split_once('m').filter(|(code, _)| code.starts_with('[')).map_or(part, |(_, text)| text),
            );
        }
        assert_eq!(
            plain.lines().map(str::trim_end).collect::<Vec<_>>(),
            printed(PLAIN_WIDTH, false).lines().collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_word_longer_than_the_line_stands_alone() {
        assert_eq!(wrapped("a extraordinarily b", 5), ["a", "extraordinarily", "b"]);
        assert_eq!(wrapped("", 5), [""]);
    }
}
