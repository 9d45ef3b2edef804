//! A small reader of OpenMetrics text that takes nothing from the library which writes it. It checks what the
//! specification demands of the whole, and finds series.

use std::collections::{BTreeMap, BTreeSet};

/// A text that keeps the rules.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    /// By name.
    pub(super) families: BTreeMap<String, Head>,
    /// By name and labels.
    pub(super) samples: BTreeMap<Series, Sample>,
}

/// What a family says of itself.
#[derive(Debug, Default)]
pub(super) struct Head {
    pub(super) kind: String,
    pub(super) unit: Option<String>,
    pub(super) help: String,
}

/// The identity of a sample; in which order its labels are written means nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) labels: Labels,
}

pub(super) type Labels = BTreeMap<String, String>;

/// A value.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) value: f64,
    pub(super) exemplar: Option<Exemplar>,
}

/// A reference to what is outside the metrics.
#[derive(Debug, PartialEq)]
pub(super) struct Exemplar {
    pub(super) labels: Labels,
    pub(super) value: f64,
    pub(super) at: f64,
}

impl Exposition {
    /// Reads a text, or says which line breaks which rule.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let body = text.strip_suffix("# EOF\n").ok_or("it does not end with # EOF")?;
        let mut all = Self::default();
        let (mut open, mut over) = (String::new(), BTreeSet::new());
        for line in body.lines() {
            let told = match line.strip_prefix("# ") {
                Some(words) => all.head(words, &mut open, &mut over),
                None => all.sample(line, &open),
            };
            told.map_err(|why| format!("{why}: {line}"))?;
        }
        all.histograms_add_up()?;
        Ok(all)
    }

    /// A sample, by name and labels as they could be written, without the prefix.
    pub(super) fn get(&self, series: &str) -> Option<&Sample> {
        let (series, rest) = series_of(series).unwrap();
        assert_eq!(rest, "", "no series: {series:?}");
        self.samples.get(&Series { name: format!("zen_lead_{}", series.name), ..series })
    }

    /// The value of one.
    pub(super) fn value(&self, series: &str) -> Option<f64> {
        self.get(series).map(|sample| sample.value)
    }

    /// The series that have this label.
    pub(super) fn of(&self, label: &str, value: &str) -> Vec<&Series> {
        let has = |series: &&Series| series.labels.get(label).is_some_and(|is| is == value);
        self.samples.keys().filter(has).collect()
    }

    /// The series of this name, without the prefix.
    pub(super) fn named(&self, name: &str) -> Vec<(&Labels, f64)> {
        let is = |series: &Series| series.name.strip_prefix("zen_lead_") == Some(name);
        let all = self.samples.iter().filter(|(series, _)| is(series));
        all.map(|(series, sample)| (&series.labels, sample.value)).collect()
    }

    fn head(&mut self, words: &str, open: &mut String, over: &mut BTreeSet<String>) -> Result<(), String> {
        let [what, name, rest] = *words.splitn(3, ' ').collect::<Vec<_>>() else {
            return Err("no comment that means something".into());
        };
        if name != open {
            over.insert(std::mem::replace(open, name.to_owned()));
        }
        if over.contains(name) {
            return Err("the family is not in one piece".into());
        }
        let head = self.families.entry(name.to_owned()).or_default();
        match what {
            "HELP" if head.help.is_empty() => rest.clone_into(&mut head.help),
            "TYPE" if head.kind.is_empty() => rest.clone_into(&mut head.kind),
            "UNIT" if head.unit.is_none() && name.ends_with(&format!("_{rest}")) => {
                head.unit = Some(rest.to_owned());
            }
            _ => return Err("twice, unknown, or a unit that the name does not have".into()),
        }
        Ok(())
    }

    fn sample(&mut self, line: &str, open: &str) -> Result<(), String> {
        let (series, rest) = series_of(line)?;
        let rest = rest.strip_prefix(' ').ok_or("no space before the value")?;
        let (value, exemplar) = match rest.split_once(" # ") {
            Some((value, exemplar)) => (value, Some(read_exemplar(exemplar)?)),
            None => (rest, None),
        };
        let head = self.families.get(open).ok_or("a sample without a family")?;
        let suffixes: &[&str] = match head.kind.as_str() {
            "gauge" => &[""],
            "counter" => &["_total"],
            "histogram" => &["_sum", "_count", "_bucket"],
            "info" => &["_info"],
            _ => return Err("unknown type".into()),
        };
        let suffix = series.name.strip_prefix(open).filter(|suffix| suffixes.contains(suffix));
        let suffix = suffix.ok_or("no name of its family")?;
        if exemplar.is_some() && suffix != "_bucket" && suffix != "_total" {
            return Err("no place for an exemplar".into());
        }
        let value: f64 = value.parse().map_err(|_| "no number")?;
        if head.kind != "gauge" && value < 0.0 {
            return Err("negative".into());
        }
        match self.samples.insert(series, Sample { value, exemplar }) {
            Some(_) => Err("twice".into()),
            None => Ok(()),
        }
    }

    fn histograms_add_up(&self) -> Result<(), String> {
        let mut histograms = BTreeMap::<_, Vec<(f64, f64)>>::new();
        for (series, sample) in &self.samples {
            let Some(name) = series.name.strip_suffix("_bucket") else { continue };
            let mut labels = series.labels.clone();
            let bound = labels.remove("le").ok_or("a bucket without bound")?;
            let bound =
                if bound == "+Inf" { f64::INFINITY } else { bound.parse().map_err(|_| "no bound")? };
            histograms.entry((name, labels)).or_default().push((bound, sample.value));
        }
        for ((name, labels), mut buckets) in histograms {
            buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
            let find = |suffix| {
                let name = format!("{name}{suffix}");
                self.samples.get(&Series { name, labels: labels.clone() })
            };
            let count = find("_count").map(|sample| (f64::INFINITY, sample.value));
            let is_cumulative = buckets.is_sorted_by(|one, other| one.1 <= other.1);
            if !is_cumulative || buckets.last().copied() != count || find("_sum").is_none() {
                return Err(format!("{name} {labels:?} does not add up: {buckets:?}"));
            }
        }
        Ok(())
    }
}

/// A name with its labels, and what follows.
fn series_of(text: &str) -> Result<(Series, &str), String> {
    let at = text.find(['{', ' ']).ok_or("no value")?;
    let (labels, rest) = labels(&text[at..])?;
    Ok((Series { name: text[..at].to_owned(), labels }, rest))
}

fn read_exemplar(text: &str) -> Result<Exemplar, String> {
    let (labels, rest) = labels(text)?;
    let [value, at] = *rest.trim_start().split(' ').collect::<Vec<_>>() else {
        return Err("an exemplar without value or time".into());
    };
    let length: usize = labels.iter().map(|(key, value)| key.chars().count() + value.chars().count()).sum();
    if length > 128 {
        return Err("an exemplar of more than 128 characters".into());
    }
    let number = |text: &str| text.parse::<f64>().map_err(|_| "no number".to_owned());
    Ok(Exemplar { labels, value: number(value)?, at: number(at)? })
}

/// Labels in braces, if there are any, and what follows.
fn labels(text: &str) -> Result<(Labels, &str), String> {
    let mut labels = Labels::new();
    let Some(mut rest) = text.strip_prefix('{') else { return Ok((labels, text)) };
    loop {
        let (key, after) = rest.split_once("=\"").ok_or("no label")?;
        let is_name = key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') && !key.is_empty();
        let (value, after) = quoted(after)?;
        if !is_name || labels.insert(key.to_owned(), value).is_some() {
            return Err(format!("`{key}` is no name of a label, or there twice"));
        }
        match (after.strip_prefix(','), after.strip_prefix('}')) {
            (Some(more), _) => rest = more,
            (None, Some(end)) => return Ok((labels, end)),
            (None, None) => return Err("labels do not end".into()),
        }
    }
}

/// What stands up to the closing quote, and what follows it.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => value.push(match chars.next() {
                Some((_, 'n')) => '\n',
                Some((_, escaped @ ('"' | '\\'))) => escaped,
                _ => return Err("no escape".into()),
            }),
            _ => value.push(char),
        }
    }
    Err("a quote does not end".into())
}

#[test]
fn what_breaks_the_rules_is_noticed() {
    for (text, why) in [
        ("# TYPE a gauge\na 1\n", "# EOF"),
        ("# TYPE a gauge\na 1\na 2\n# EOF\n", "twice"),
        ("# TYPE a counter\na 1\n# EOF\n", "no name of its family"),
        ("# TYPE a gauge\n# TYPE b gauge\n# HELP a A.\n# EOF\n", "not in one piece"),
        ("# TYPE a gauge\na{b=\"c} 1\n# EOF\n", "does not end"),
        ("# TYPE a gauge\na{b=\"c\",b=\"d\"} 1\n# EOF\n", "there twice"),
        ("# TYPE a gauge\na x\n# EOF\n", "no number"),
        ("# TYPE a gauge\na 1 # {b=\"c\"} 1 2\n# EOF\n", "no place for an exemplar"),
        ("# TYPE a histogram\na_bucket{le=\"+Inf\"} 2\na_sum 1\na_count 1\n# EOF\n", "does not add up"),
        ("# TYPE a histogram\na_bucket{le=\"1\"} 1\na_sum 1\na_count 1\n# EOF\n", "does not add up"),
        ("# TYPE a gauge\n# UNIT a seconds\n# EOF\n", "a unit that the name does not have"),
    ] {
        let error = Exposition::read(text).unwrap_err();
        assert!(error.contains(why), "{text}{error}");
    }
}
