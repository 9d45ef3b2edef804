//! The two ways to install: the Helm chart in `deploy/chart`, and the folders for kustomize beside it.
//!
//! `cluster` applies what is rendered to a real API server, strictly; `schemas` looks whether other versions of Kubernetes
//! know each field, too.

mod cluster;
mod readme;
mod rendered;
mod schemas;
mod uninstall;
mod values;
