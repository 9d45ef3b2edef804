//! The two ways to install: the Helm chart in `deploy/chart`, and the folders for kustomize beside it.
//!
//! Schemas of Kubernetes' kinds cannot be told from these files. A real API server knows them, so `cluster` applies what
//! is rendered to one, strictly, instead of comparing it with a copy of its schemas.

mod cluster;
mod rendered;
mod uninstall;
mod values;
