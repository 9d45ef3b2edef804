//! What makes no sense is refused at start, by name and value.

use std::process::Command;

use anyhow::Result;

#[test]
fn variables_that_make_no_sense_are_refused() -> Result<()> {
    let no_certificate = env!("CARGO_MANIFEST_DIR").to_owned() + "/Cargo.toml";
    for (variable, value, why) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:port", "expected http://HOST:PORT"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "milliseconds"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", &*no_certificate, "no certificate in this file"),
        ("OTEL_TRACES_SAMPLER", "sometimes", "expected always_on"),
        ("ZEN_LEAD_FAILOVER_BUDGET", "-1s", "it is negative"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_zen-lead"))
            .args([
                "run",
                "--metrics-bind-address=0",
                "--health-probe-bind-address=0",
                "--debug-bind-address=0",
            ])
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:1")
            .env(variable, value)
            .output()?;
        let said = String::from_utf8(output.stderr)?;
        assert!(!output.status.success(), "{variable}: {said}");
        assert!(said.contains(value) && said.contains(why), "{variable}: {said}");
        let named = if variable.starts_with("ZEN_LEAD") { "--failover-budget" } else { variable };
        assert!(said.contains(named), "{variable}: {said}");
    }
    Ok(())
}
