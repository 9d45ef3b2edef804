//! A trace as a tree: who is part of what.

use std::fmt;

use anyhow::{Context, Result, bail};

use crate::span::Span;

/// The spans of one trace, in the order in which they began.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    spans: Vec<Span>,
}

impl Trace {
    /// Groups spans by their traces, the trace that began first coming first.
    #[must_use]
    pub fn all(spans: &[Span]) -> Vec<Self> {
        let mut spans = spans.to_vec();
        // Stable: of those that began together, the one that was received first stays first.
        spans.sort_by_key(|span| span.start);
        let mut traces: Vec<Self> = Vec::new();
        for span in spans {
            match traces.iter_mut().find(|trace| trace.id() == span.trace_id) {
                Some(trace) => trace.spans.push(span),
                None => traces.push(Self { spans: vec![span] }),
            }
        }
        traces
    }

    /// Its id, as 32 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> &str {
        // `all` makes none without a span.
        self.spans.first().map_or("", |span| &span.trace_id)
    }

    /// All its spans, in the order in which they began.
    #[must_use]
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The one span that has no parent.
    pub fn root(&self) -> Result<&Span> {
        let mut roots = self.spans.iter().filter(|span| span.parent.is_none());
        match (roots.next(), roots.next()) {
            (Some(root), None) => Ok(root),
            (None, _) => bail!("no span is the root of this trace:\n{self}"),
            (Some(_), Some(_)) => bail!("more than one span is a root of this trace:\n{self}"),
        }
    }

    /// The parts of this span, in the order in which they began.
    #[must_use]
    pub fn children_of(&self, span: &Span) -> Vec<&Span> {
        self.spans.iter().filter(|child| child.parent.as_ref() == Some(&span.span_id)).collect()
    }

    /// The span that this one is a part of, if it has been received.
    #[must_use]
    pub fn parent_of(&self, span: &Span) -> Option<&Span> {
        self.spans.iter().find(|parent| Some(&parent.span_id) == span.parent.as_ref())
    }

    /// The one span of this name.
    pub fn span(&self, name: &str) -> Result<&Span> {
        let mut named = self.spans.iter().filter(|span| span.name == name);
        let found = named.next().with_context(|| format!("no span is called {name}:\n{self}"))?;
        match named.next() {
            None => Ok(found),
            Some(_) => bail!("more than one span is called {name}:\n{self}"),
        }
    }

    /// The way from the root to this span: `failover > reelecting > publish`. A parent that has not been received is
    /// a `?`.
    #[must_use]
    pub fn path(&self, span: &Span) -> String {
        match (self.parent_of(span), &span.parent) {
            (Some(parent), _) => format!("{} > {}", self.path(parent), span.name),
            (None, Some(_)) => format!("? > {}", span.name),
            (None, None) => span.name.clone(),
        }
    }

    /// The way to each span, a span before its parts: the shape of the trace, to be compared as a whole.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        self.walk().into_iter().map(|(_, span)| self.path(span)).collect()
    }

    /// Each span with its depth, a span before its parts.
    fn walk(&self) -> Vec<(usize, &Span)> {
        let mut walked = Vec::new();
        for top in self.spans.iter().filter(|span| self.parent_of(span).is_none()) {
            self.walk_below(top, 0, &mut walked);
        }
        walked
    }

    fn walk_below<'a>(&'a self, span: &'a Span, depth: usize, walked: &mut Vec<(usize, &'a Span)>) {
        walked.push((depth, span));
        for child in self.children_of(span) {
            self.walk_below(child, depth + 1, walked);
        }
    }
}

/// The tree for people, with durations.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "trace {}", self.id())?;
        for (depth, span) in self.walk() {
            let lost_parent = if depth == 0 && span.parent.is_some() { "? > " } else { "" };
            let took = span.end.duration_since(span.start);
            let took = took.map_or_else(|_| "ends before it begins".into(), |took| format!("{took:?}"));
            write!(f, "\n{:width$}{lost_parent}{} ({took})", "", span.name, width = 2 * depth + 2)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::span::{Attributes, Kind, Status};

    fn span(trace: &str, id: &str, parent: Option<&str>, start: u64, end: u64) -> Span {
        let at = |ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        Span {
            trace_id: trace.into(),
            span_id: format!("{trace}-{id}"),
            parent: parent.map(|parent| format!("{trace}-{parent}")),
            name: id.into(),
            kind: Kind::Internal,
            start: at(start),
            end: at(end),
            attributes: Attributes::new(),
            events: vec![],
            links: vec![],
            status: Status::Unset,
            resource: Attributes::new(),
            scope: String::new(),
        }
    }

    #[test]
    fn spans_become_trees_by_their_traces_in_the_order_they_began() {
        // Received as exporters send them: parts first, traces mixed.
        let spans = [
            span("b", "failover", None, 50, 60),
            span("a", "PUT", Some("publish"), 3, 4),
            span("a", "publish", Some("reelecting"), 2, 5),
            span("a", "reelecting", Some("failover"), 1, 5),
            span("a", "detect", Some("failover"), 0, 1),
            span("a", "failover", None, 0, 5),
        ];
        let traces = Trace::all(&spans);
        assert_eq!(traces.iter().map(Trace::id).collect::<Vec<_>>(), ["a", "b"]);
        let paths = [
            "failover",
            "failover > detect",
            "failover > reelecting",
            "failover > reelecting > publish",
            "failover > reelecting > publish > PUT",
        ];
        assert_eq!(traces[0].paths(), paths);
        let root = traces[0].root().unwrap();
        let parts: Vec<_> = traces[0].children_of(root).into_iter().map(|part| part.name.as_str()).collect();
        assert_eq!((root.name.as_str(), parts), ("failover", vec!["detect", "reelecting"]));
        assert_eq!(traces[0].span("publish").unwrap().duration().unwrap(), Duration::from_millis(3));
        let text = "trace a\n  failover (5ms)\n    detect (1ms)\n    reelecting (4ms)\n      publish (3ms)\n        PUT (1ms)";
        assert_eq!(traces[0].to_string(), text);
    }

    #[test]
    fn what_is_wrong_with_a_tree_is_told_with_the_tree() {
        let lost = [span("a", "PUT", Some("publish"), 3, 2)];
        let [trace] = &Trace::all(&lost)[..] else { panic!("one trace") };
        assert_eq!(trace.paths(), ["? > PUT"]);
        let error = trace.root().unwrap_err().to_string();
        assert!(
            error.contains("no span is the root") && error.contains("? > PUT (ends before it begins)"),
            "{error}"
        );
        let error = trace.spans()[0].duration().unwrap_err().to_string();
        assert!(error.contains("span PUT ended before it began"), "{error}");

        let twice = [span("a", "failover", None, 0, 1), span("a", "failover", None, 2, 3)];
        let [trace] = &Trace::all(&twice)[..] else { panic!("one trace") };
        assert!(trace.root().unwrap_err().to_string().contains("more than one span is a root"));
        assert!(
            trace.span("failover").unwrap_err().to_string().contains("more than one span is called failover")
        );
        assert!(trace.span("detect").unwrap_err().to_string().contains("no span is called detect"));
    }
}
