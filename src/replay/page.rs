//! A page to look at: what phases each Service went through, what each failover took, and every step with its cause.
//! One file, without scripts and without anything from elsewhere.

mod course;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use machine::{Election, Micros, Phase, Timestamp};

use super::words::{span, state, time};
use crate::notice::cause_words;
use crate::record::{Header, Record, Start};

use course::{Course, Failover, Row, Span};

/// More elections than this make no page that somebody would read.
const COURSES_MOST: usize = 200;

/// The width of the picture, in its own units.
const WIDTH: f64 = 1_000.0;

/// A span that is shorter is shown this wide: most failovers would not be seen at all.
const WIDTH_LEAST: f64 = 2.0;

/// Collects what is to be shown.
pub(super) struct Page {
    budget: Micros,
    courses: Vec<(Arc<str>, Course)>,
    /// Where each Service is among them: the last one of its name.
    places: BTreeMap<Arc<str>, usize>,
    /// Records of Services that found no room.
    left_out: u64,
}

impl Page {
    pub(super) const fn new(budget: Micros) -> Self {
        Self { budget, courses: Vec::new(), places: BTreeMap::new(), left_out: 0 }
    }

    pub(super) fn start(&mut self, header: &Header, election: &Election) {
        let known = self.places.get(&header.service).copied();
        // A new election is a new story.
        let known = known.filter(|_| matches!(header.start, Start::Midst(_)));
        let place = known.unwrap_or(self.courses.len());
        if known.is_none() {
            self.places.remove(&header.service);
            if place == COURSES_MOST {
                return;
            }
            self.courses.push((header.service.clone(), Course::default()));
            self.places.insert(header.service.clone(), place);
        }
        self.courses[place].1.start(header, election);
    }

    pub(super) fn step(&mut self, service: &Arc<str>, record: &Record, election: &Election) {
        match self.places.get(service) {
            Some(place) => self.courses[*place].1.step(record, election),
            None => self.left_out += 1,
        }
    }

    pub(super) fn html(&self) -> String {
        let mut html = String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
        html.push_str("<meta name=\"viewport\" content=\"width=device-width\"><title>zen-lead replay</title>\n<style>\n");
        html.push_str(include_str!("page.css"));
        html.push_str("</style></head><body>\n<h1>zen-lead replay</h1>\n<p class=\"key faint\">Phases:");
        for phase in [Phase::Elected, Phase::Draining, Phase::Reelecting, Phase::Leaderless] {
            push(&mut html, format_args!("<i class=\"{}\"></i>{}", class(phase), phase.as_str()));
        }
        html.push_str("</p>\n");
        for (service, course) in &self.courses {
            self.service(&mut html, service, course);
        }
        if self.left_out > 0 {
            let left_out = self.left_out;
            push(
                &mut html,
                format_args!(
                    "<p>More than {COURSES_MOST} elections: {left_out} records of others are not shown.</p>\n"
                ),
            );
        }
        html.push_str("</body></html>\n");
        html
    }

    fn service(&self, html: &mut String, service: &str, course: &Course) {
        push(html, format_args!("<section>\n<h2>{}</h2>\n", escaped(service)));
        if let Some(note) = &course.note {
            push(html, format_args!("<p>{}</p>\n", escaped(note)));
        }
        let (first, last) = course.bounds();
        let length = span(last.since(first));
        push(
            html,
            format_args!(
                "<p class=\"faint\">{} and the {length} after, {} steps</p>\n",
                time(first),
                course.steps
            ),
        );
        picture(html, course);
        if !course.failovers.is_empty() {
            self.failovers(html, course);
        }
        steps(html, course);
        html.push_str("</section>\n");
    }

    fn failovers(&self, html: &mut String, course: &Course) {
        let budget = self.budget;
        push(
            html,
            format_args!(
                "<h3>Failovers, against a budget of {}</h3>\n<table class=\"failovers\">\n",
                span(budget)
            ),
        );
        html.push_str("<tr><th>from</th><th>why</th><th>leader</th><th>took</th><th></th></tr>\n");
        let longest = course.failovers.iter().map(|failover| failover.took().0).max().unwrap_or_default();
        // The line that is the budget is a little before the end, so that it is seen.
        let scale = longest.max(budget.0 + budget.0 / 50);
        for failover in &course.failovers {
            let Failover { spans, cause, before, after, .. } = failover;
            let took = failover.took();
            let name = |pod: &Option<machine::Pod>| {
                pod.as_ref().map_or_else(|| "nobody".to_owned(), |pod| escaped(pod.name()))
            };
            let over = if took > budget { " over" } else { "" };
            push(
                html,
                format_args!(
                    "<tr><td class=\"time\">{}</td><td title=\"{}\">{}</td><td>{} &rarr; {}</td><td class=\"number{over}\">{}</td><td class=\"bar\"><div class=\"track\">",
                    time(failover.began()),
                    cause_words(*cause),
                    cause.as_str(),
                    name(before),
                    name(after),
                    span(took),
                ),
            );
            for part in spans {
                let width = share(part.lasted().0, scale) * 100.0;
                push(
                    html,
                    format_args!(
                        "<i class=\"{}\" style=\"width:{width:.3}%\" title=\"{}\"></i>",
                        class(part.phase),
                        escaped(&told(part))
                    ),
                );
            }
            let limit = share(budget.0, scale) * 100.0;
            push(
                html,
                format_args!(
                    "<b class=\"limit\" style=\"left:{limit:.3}%\" title=\"the budget\"></b></div></td></tr>\n"
                ),
            );
        }
        html.push_str("</table>\n");
    }
}

/// The phases along the time.
fn picture(html: &mut String, course: &Course) {
    let (first, last) = course.bounds();
    let whole = last.since(first).0.max(1);
    let at = |when: Timestamp| share(when.since(first).0, whole) * WIDTH;
    push(html, format_args!("<svg viewBox=\"0 0 {WIDTH} 34\" role=\"img\" aria-label=\"phases\">\n"));
    // Short ones last, so that long ones do not hide them.
    let mut spans: Vec<&Span> = course.spans.iter().collect();
    spans.sort_by_key(|span| std::cmp::Reverse(span.lasted()));
    for part in spans {
        let (x, width) = (at(part.from), (at(part.to) - at(part.from)).max(WIDTH_LEAST));
        let x = x.min(WIDTH - WIDTH_LEAST);
        push(
            html,
            format_args!(
                "<rect class=\"{}\" x=\"{x:.2}\" y=\"2\" width=\"{width:.2}\" height=\"18\"><title>{}</title></rect>\n",
                class(part.phase),
                escaped(&told(part)),
            ),
        );
    }
    push(html, format_args!("<text x=\"0\" y=\"32\">{}</text>", &time(first)[11..19]));
    push(
        html,
        format_args!(
            "<text x=\"{WIDTH}\" y=\"32\" text-anchor=\"end\">{}</text>\n</svg>\n",
            &time(last)[11..19]
        ),
    );
}

fn steps(html: &mut String, course: &Course) {
    let shown = course.rows.len();
    let which = if shown as u64 == course.steps {
        format!("{shown} steps")
    } else {
        format!("The last {shown} of {} steps", course.steps)
    };
    push(html, format_args!("<details open><summary>{which}</summary>\n<table class=\"steps\">\n"));
    for Row { at, seq, fact, change, orders, cause } in &course.rows {
        let cause = cause.map_or("nothing changes", cause_words);
        push(
            html,
            format_args!(
                "<tr title=\"{cause}\"><td class=\"time\">{}</td><td class=\"number faint\">#{seq}</td><td>{}</td><td>{}</td><td>",
                time(*at),
                escaped(fact),
                escaped(change),
            ),
        );
        for order in orders {
            push(html, format_args!("{}<br>", escaped(order)));
        }
        html.push_str("</td></tr>\n");
    }
    html.push_str("</table></details>\n");
}

/// What the pointer shows over a span.
fn told(part: &Span) -> String {
    let what = state(part.phase, part.pod.as_ref());
    let why =
        part.cause.map_or_else(String::new, |cause| format!(", {}: {}", cause.as_str(), cause_words(cause)));
    format!("{what} for {}{why}; from {}", span(part.lasted()), time(part.from))
}

const fn class(phase: Phase) -> &'static str {
    match phase {
        Phase::Elected => "elected",
        Phase::Draining => "draining",
        Phase::Leaderless => "leaderless",
        Phase::Reelecting => "reelecting",
    }
}

#[allow(clippy::cast_precision_loss, reason = "a picture")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn push(html: &mut String, words: std::fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _ = html.write_fmt(words);
}

/// Names and words of others are text, not markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
