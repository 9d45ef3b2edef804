//! Bad input: one line that says what and what to do, and 1; wrong usage: 2.

use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use lab::Lab;

use crate::program::{finish, program, run, zen_lead};
use crate::support::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_named_with_what_is() -> Result<()> {
    let stage = Stage::new("errors").await?;
    stage.led("orders", 1).await?;
    stage.ns.service("plain").selector("a", "b").port("http", 80, 80).create().await?;
    for command in ["why", "status", "switchover", "pause", "resume", "history"] {
        let refusal = |name: &str| zen_lead(&stage.ns, &[command, name]).map(|done| done.refusal(&stage.ns));
        assert_eq!(
            refusal("ordres")?,
            "there is no Service NS/ordres: those that opt in there: orders",
            "{command}"
        );
        assert_eq!(
            refusal("orders-leader")?,
            "NS/orders-leader is a leader Service: ask for the Service orders instead"
        );
        assert_eq!(
            refusal("service/plain")?,
            "Service NS/plain does not opt in: kubectl annotate service plain -n NS zen-lead.io/enabled=true"
        );
        assert_eq!(
            refusal("nowhere/orders")?,
            "there is no namespace nowhere: name another one with -n, or all with -A"
        );
    }
    let wrong = zen_lead(&stage.ns, &["status", "-n", "nowhere"])?.refusal(&stage.ns);
    assert_eq!(wrong, "there is no namespace nowhere: name another one with -n, or all with -A");
    let empty = zen_lead(&stage.ns, &["status", "-n", "default"])?;
    assert_eq!((empty.code, &*empty.complained), (Some(0), "No Service opts in in namespace default.\n"));
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_in_several_namespaces_is_no_name() -> Result<()> {
    let lab = Lab::shared().await?;
    let (one, two) = (lab.namespace("twin-a").await?, lab.namespace("twin-b").await?);
    for ns in [&one, &two] {
        let service = ns.service("twins").annotation("zen-lead.io/enabled", "true").selector("a", "b");
        service.port("http", 80, 80).create().await?;
    }
    let only = one.service("only").annotation("zen-lead.io/enabled", "true").selector("a", "b");
    only.port("http", 80, 80).create().await?;
    let refusal = zen_lead(&one, &["status", "twins", "-A"])?.refusal(&one);
    assert_eq!(refusal, format!("twins is in several namespaces: NS, {}; name one with -n", two.name()));
    // As the Go program made them: with the annotations of their source.
    let copied = one.service("copied").annotation("zen-lead.io/enabled", "true");
    copied.label("zen-lead.io/source-service", "only").port("http", 80, 80).create().await?;
    assert_eq!(zen_lead(&one, &["status", "-o", "name"])?.told(&one), "service/only\nservice/twins");
    assert_eq!(zen_lead(&two, &["pause", "only", "-A"])?.told(&one), "NS/only paused");
    let nowhere = zen_lead(&one, &["status", "nobody-has-this", "-A"])?.refusal(&one);
    assert_eq!(nowhere, "there is no Service nobody-has-this in any namespace");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_cannot_be_used_is_named() -> Result<()> {
    let ns = Lab::shared().await?.namespace("unusable").await?;
    let account = ns.account("late").await?;
    let token = account.token_until(SystemTime::now() - Duration::from_hours(1)).await?;
    let (expired, _) = account.kubeconfig_with_token_in_file(ns.connection().url(0), &token)?;
    let refusal = run(&expired, &["status"])?.refusal(&ns);
    assert_eq!(
        refusal,
        "cannot list services in namespace NS: 401: the API server does not accept our token or client certificate: \
         expired, or not of this cluster"
    );

    let nobody = format!("https://127.0.0.1:{}", lab::free_port()?);
    let away = account.kubeconfig_for(&nobody).await?;
    let refusal = run(&away, &["why", "orders"])?.refusal(&ns);
    let server = nobody.trim_start_matches("https://");
    assert!(refusal.starts_with("cannot list services in namespace NS: "), "{refusal}");
    assert!(refusal.contains(server) && refusal.contains("refuses connections"), "{refusal}");

    let missing = run(std::path::Path::new("/nonexistent/kubeconfig"), &["status"])?.refusal(&ns);
    assert!(missing.starts_with("kubeconfig /nonexistent/kubeconfig: "), "{missing}");
    let context = zen_lead(&ns, &["status", "--context", "elsewhere"])?.refusal(&ns);
    assert!(context.contains("elsewhere"), "{context}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_ends_with_2() -> Result<()> {
    for arguments in [
        &["why"][..],
        &["status", "-n", "a", "-A"],
        &["status", "-o", "xml"],
        &["pause"],
        &["pause", "orders", "--all"],
        &["pause", "orders", "--for", "soon"],
        &["switchover", "orders", "--timeout", "0s"],
        &["explain", "orders"],
    ] {
        let mut command = Command::new(program());
        command.args(arguments);
        let done = finish(command)?;
        assert_eq!((done.code, &*done.told), (Some(2), ""), "{arguments:?}: {done:?}");
        assert!(done.complained.contains("error: "), "{arguments:?}: {done:?}");
    }
    Ok(())
}
