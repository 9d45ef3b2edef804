//! Alerts and dashboard in `deploy/monitoring`, checked by Prometheus' own promtool. No cluster is needed.

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use lab::{Assets, Promtool, documents};
use serde_json::{Value, json};
use support::{manifest, named_in, named_metrics};

// --- alerts ---

#[test]
fn alerts_are_complete_and_name_what_they_are_about() -> Result<()> {
    let groups = alert_groups()?;
    for alert in concat(&groups["groups"], "rules")? {
        let name = alert["alert"].as_str().context("every rule is an alert")?;
        let severity = &alert["labels"]["severity"];
        assert!(["critical", "warning"].iter().any(|known| severity == known), "{name} is {severity}");
        for part in ["summary", "description", "remedy"] {
            let text =
                alert["annotations"][part].as_str().with_context(|| format!("{name} has no {part}"))?;
            assert!(text.contains("$labels.") || name == "ZenLeadDown", "{part} of {name} names nothing");
        }
        let remedy = &alert["annotations"]["remedy"];
        assert!(remedy.to_string().contains("kubectl"), "{name} does not say where to look: {remedy}");
    }
    let place = Place::new("alerts-check")?;
    let rules = place.write("rules.yaml", &groups)?;
    Promtool::find_or_build()?.run(&["check".as_ref(), "rules".as_ref(), rules.as_os_str()])?;
    Ok(())
}

#[test]
fn alerts_fire_when_they_should_and_not_otherwise() -> Result<()> {
    let mut groups = alert_groups()?;
    let tests = documents(&manifest("tests/monitoring/alerts.yaml")?)?.remove(0);
    let cases = concat(&tests["tests"], "alert_rule_test")?;
    for alert in concat(&groups["groups"], "rules")? {
        let of_it = |case: &&&Value| case["alertname"] == alert["alert"];
        let (firing, quiet): (Vec<&&Value>, _) = cases
            .iter()
            .filter(of_it)
            .partition(|case| case["exp_alerts"].as_array().is_some_and(|a| !a.is_empty()));
        assert!(
            !firing.is_empty() && !quiet.is_empty(),
            "{}: a case that fires, and one that does not",
            alert["alert"]
        );
    }
    // promtool compares all annotations; a case is to show whom an alert names, and not three paragraphs.
    for rule in groups["groups"].as_array_mut().into_iter().flatten().flat_map(rules_of) {
        let summary = rule["annotations"]["summary"].take();
        rule["annotations"] = json!({ "summary": summary });
    }
    let place = Place::new("alerts-test")?;
    place.write("rules.yaml", &groups)?;
    let tests = place.write("tests.yaml", &tests)?;
    Promtool::find_or_build()?.run(&["test".as_ref(), "rules".as_ref(), tests.as_os_str()])?;
    Ok(())
}

/// The rules as Prometheus itself reads them.
fn alert_groups() -> Result<Value> {
    let mut documents = documents(&manifest("deploy/monitoring/prometheusrule.yaml")?)?;
    ensure!(documents.len() == 1, "the PrometheusRule is one document");
    Ok(documents.remove(0)["spec"].take())
}

fn rules_of(group: &mut Value) -> impl Iterator<Item = &mut Value> {
    group["rules"].as_array_mut().into_iter().flatten()
}

// --- the dashboard ---

#[test]
fn every_panel_says_what_it_shows() -> Result<()> {
    for panel in panels()? {
        let title = panel["title"].as_str().context("every panel has a title")?;
        if panel["type"] != "row" {
            let description = panel["description"].as_str().unwrap_or_default();
            assert!(description.len() > 20, "{title} has no description");
            assert!(!elements(&panel["targets"])?.is_empty(), "{title} shows nothing");
        }
    }
    Ok(())
}

#[test]
fn every_panel_finds_its_series() -> Result<()> {
    let series = series()?;
    find("dashboard-full", &expressions()?, &series)?;
    // By Service there is nothing to show then.
    let rest: Vec<Expression> =
        expressions()?.into_iter().filter(|expression| !expression.row.starts_with("By Service")).collect();
    assert!(rest.len() < expressions()?.len(), "there is a row for the Services");
    let aggregate: Vec<String> = series.iter().map(|line| line.replace(r#"service="orders","#, "")).collect();
    assert_ne!(series, aggregate);
    find("dashboard-aggregate", &rest, &aggregate)
}

/// One expression of the dashboard with its variables filled in, and where it is.
struct Expression {
    row: String,
    place: String,
    text: String,
}

fn expressions() -> Result<Vec<Expression>> {
    let mut row = String::new();
    let mut expressions = Vec::new();
    for panel in panels()? {
        let title = panel["title"].as_str().context("every panel has a title")?;
        if panel["type"] == "row" {
            title.clone_into(&mut row);
            continue;
        }
        for target in elements(&panel["targets"])? {
            let place = format!("{title} {}", target["refId"].as_str().context("refId")?);
            let text = target["expr"].as_str().with_context(|| format!("{place} has no expression"))?;
            let text = text
                .replace("$__rate_interval", "5m")
                .replace("$__range", "1h")
                // What Grafana puts in their place when all are chosen.
                .replace("$namespace", ".*")
                .replace("$service", ".*");
            ensure!(!text.contains('$'), "{place} has a variable that this test does not know: {text}");
            expressions.push(Expression { row: row.clone(), place, text });
        }
    }
    Ok(expressions)
}

fn panels() -> Result<Vec<Value>> {
    let dashboard: Value = serde_json::from_str(&manifest("deploy/monitoring/dashboard.json")?)?;
    Ok(elements(&dashboard["panels"])?.clone())
}

fn series() -> Result<Vec<String>> {
    let text = manifest("tests/monitoring/series.txt")?;
    Ok(text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect())
}

/// Checks that each expression has a result if these series exist. promtool compares alerts most readily, so each
/// expression is one: it fires if there is anything to show.
fn find(purpose: &str, expressions: &[Expression], series: &[String]) -> Result<()> {
    let rule = |e: &Expression| json!({ "alert": e.place, "expr": format!("count({}) > 0", e.text) });
    let rules: Vec<Value> = expressions.iter().map(rule).collect();
    let rising = |series: &String| json!({ "series": series, "values": "1+1x60" });
    let fires = |e: &Expression| json!({ "eval_time": "1h", "alertname": e.place, "exp_alerts": [{}] });
    let test = json!({
        "interval": "1m",
        "input_series": series.iter().map(rising).collect::<Vec<_>>(),
        "alert_rule_test": expressions.iter().map(fires).collect::<Vec<_>>(),
    });
    let place = Place::new(purpose)?;
    let rules = place.write("rules.yaml", &json!({ "groups": [{ "name": "dashboard", "rules": rules }] }))?;
    let tests = place.write("tests.yaml", &json!({ "rule_files": ["rules.yaml"], "tests": [test] }))?;
    let promtool = Promtool::find_or_build()?;
    promtool.run(&["check".as_ref(), "rules".as_ref(), rules.as_os_str()])?;
    promtool.run(&["test".as_ref(), "rules".as_ref(), tests.as_os_str()])?;
    Ok(())
}

// --- names, and the folder as a whole ---

#[test]
fn only_metrics_of_the_list_are_named() -> Result<()> {
    let listed = named_in(&series()?.join("\n"));
    let unknown: BTreeSet<String> = named_metrics().difference(&listed).cloned().collect();
    assert!(unknown.is_empty(), "tests/monitoring/series.txt does not have {unknown:?}");
    let families =
        named_in("zen_lead_a_seconds_bucket{} + zen_lead_failover_count_total (zen_lead_, zen_lead::run)");
    assert_eq!(Vec::from_iter(families), ["zen_lead_a_seconds", "zen_lead_failover_count_total"]);
    Ok(())
}

#[test]
fn the_folder_renders() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/monitoring");
    let output =
        Command::new(Assets::find_or_build()?.program("kubectl")).arg("kustomize").arg(folder).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let objects = documents(&String::from_utf8(output.stdout)?)?;
    let of_kind = |kind: &str| objects.iter().find(|object| object["kind"] == kind);
    let dashboard = of_kind("ConfigMap").context("the dashboard")?;
    assert_eq!(dashboard["metadata"]["labels"]["grafana_dashboard"], "1");
    assert_eq!(dashboard["data"]["zen-lead.json"], manifest("deploy/monitoring/dashboard.json")?);
    assert!(of_kind("PrometheusRule").is_some());

    // What is to be scraped is a port that the controller's pods have.
    let deployment = documents(&manifest("deploy/base/deployment.yaml")?)?.remove(0);
    let (pod, monitor) = (&deployment["spec"]["template"], of_kind("PodMonitor").context("the monitor")?);
    let port = &monitor["spec"]["podMetricsEndpoints"][0]["port"];
    let ports = elements(&pod["spec"]["containers"][0]["ports"])?;
    assert!(ports.iter().any(|known| known["name"] == *port), "{port} is none of {ports:?}");
    assert_eq!(monitor["spec"]["selector"]["matchLabels"], pod["metadata"]["labels"]);
    assert_eq!(monitor["metadata"]["namespace"], deployment["metadata"]["namespace"]);
    Ok(())
}

/// The lists that the elements of a list have under `key`, as one.
fn concat<'a>(list: &'a Value, key: &str) -> Result<Vec<&'a Value>> {
    let inner = elements(list)?.iter().map(|element| elements(&element[key]));
    Ok(inner.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

fn elements(value: &Value) -> Result<&Vec<Value>> {
    value.as_array().with_context(|| format!("{value} is no list"))
}

/// A folder for the files of one test.
struct Place(PathBuf);

impl Place {
    fn new(purpose: &str) -> Result<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{purpose}-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    /// Writes a file; JSON is YAML.
    fn write(&self, name: &str, content: &Value) -> Result<PathBuf> {
        let path = self.0.join(name);
        fs::write(&path, serde_json::to_vec_pretty(content)?)?;
        Ok(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
