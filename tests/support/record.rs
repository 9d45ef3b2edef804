//! What the controller has done, and, harder to show, what it has not.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Service as ServiceObject;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::events::v1::Event;
use lab::{Change, Revision};

use super::{SOON, Stage};

/// The label and the annotation by which what zen-lead makes is told apart.
pub const SOURCE_SERVICE: &str = "zen-lead.io/source-service";
pub const ENABLED: &str = "zen-lead.io/enabled";

/// A place in the record of the controller's writes.
#[derive(Debug, Clone, Copy)]
pub struct Mark(usize);

impl Stage {
    /// Marks the present. Whatever had happened before this call, the controller has dealt with.
    pub async fn mark(&self) -> Result<Mark> {
        self.marker().await?;
        Ok(Mark(self.writes()?.len()))
    }

    /// The controller's writes since `mark`, less notices and renewals of the Lease, as `verb resource name`. Silence is shown by what comes
    /// after it: whatever had happened before this call, the controller has dealt with.
    pub async fn writes_since(&self, mark: Mark) -> Result<Vec<String>> {
        self.marker().await?;
        let mut writes = self.writes()?.split_off(mark.0);
        let is_quiet = |write: &String| {
            write.contains(" marker-")
                || write.starts_with("create events")
                || write.starts_with("update leases")
        };
        writes.retain(|write| !is_quiet(write));
        Ok(writes)
    }

    /// Waits until the replicas have nothing more to write but notices: two that correct each other never have.
    pub async fn is_silent(&self) -> Result<()> {
        let deadline = tokio::time::Instant::now() + SOON;
        loop {
            let mark = self.mark().await?;
            let writes = self.writes_since(mark).await?;
            if writes.is_empty() {
                return Ok(());
            }
            anyhow::ensure!(tokio::time::Instant::now() < deadline, "it never falls silent: {writes:?}");
        }
    }

    /// Another Service that opts in, with a pod. The controller hears of both after all that happened before, by the
    /// same watches, and its last write for them is in the log when this returns. Its name.
    pub(super) async fn marker(&self) -> Result<String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("marker-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let leader_service = format!("{name}-leader");
        self.source(&name).create().await?;
        let pod = self.member(&name, &format!("{name}-0")).ready().create().await?;
        self.until_mirrored(&leader_service, pod.name()).await?;
        let user = self.account.user();
        let mirrored = |entry: &lab::Entry| {
            entry.user == user && entry.verb == "patch" && entry.name == leader_service && entry.code == 200
        };
        self.audit.until(SOON, |entries| entries.iter().any(mirrored)).await?;
        Ok(name)
    }

    /// Waits until the audit log has all that was answered before this call: entries are written right after the
    /// answers, in their order.
    pub(super) async fn catch_up_with_the_log(&self) -> Result<()> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("last-entry-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.ns.api::<ServiceObject>().get_opt(&name).await?;
        self.audit.until(SOON, |entries| entries.iter().any(|entry| entry.name == name)).await.map(drop)
    }

    /// Waits until the leader Service tells of this leader, which is the last write of a change of leaders.
    pub async fn until_mirrored(&self, leader_service: &str, pod: &str) -> Result<ServiceObject> {
        let names = |service: &ServiceObject| {
            let annotations = service.metadata.annotations.as_ref();
            annotations.and_then(|all| all.get("zen-lead.io/current-leader")).is_some_and(|name| name == pod)
        };
        lab::until_object(&self.ns.api::<ServiceObject>(), leader_service, SOON, names).await
    }

    /// Waits until the leader Service of this name stands.
    pub async fn until_service(&self, name: &str) -> Result<ServiceObject> {
        lab::until_object(&self.ns.api::<ServiceObject>(), name, SOON, |_| true).await
    }

    /// Waits until nothing is left of what was made for this source Service.
    pub async fn until_nothing_for(&self, source: &str) -> Result<()> {
        let labels = format!("{SOURCE_SERVICE}={source}");
        lab::until(&self.ns.api::<ServiceObject>(), &labels, SOON, <[_]>::is_empty)
            .await
            .context("the leader Service stays")?;
        lab::until(&self.ns.api::<EndpointSlice>(), &labels, SOON, <[_]>::is_empty)
            .await
            .context("the leader slice stays")?;
        Ok(())
    }

    /// The names of what is there for this source Service now: Services, then slices.
    pub async fn made_for(&self, source: &str) -> Result<(Vec<String>, Vec<String>)> {
        let params = kube::api::ListParams::default().labels(&format!("{SOURCE_SERVICE}={source}"));
        let services = self.ns.api::<ServiceObject>().list(&params).await?.items;
        let slices = self.ns.api::<EndpointSlice>().list(&params).await?.items;
        let services = services.into_iter().filter_map(|service| service.metadata.name).collect();
        Ok((services, slices.into_iter().filter_map(|slice| slice.metadata.name).collect()))
    }

    /// The notices about this Service, oldest first.
    pub async fn notices_about(&self, service: &str) -> Result<Vec<Event>> {
        let mut notices = self.notices().await?;
        notices.retain(|notice| {
            notice.regarding.as_ref().is_some_and(|regarding| regarding.name.as_deref() == Some(service))
        });
        Ok(notices)
    }

    /// The reasons of the notices about this Service, oldest first.
    pub async fn reasons_about(&self, service: &str) -> Result<Vec<String>> {
        Ok(self.notices_about(service).await?.into_iter().filter_map(|notice| notice.reason).collect())
    }
}

/// Who led in the revisions of this slice, one after another: `nobody`, or the pod's name. Repeats are folded, and so
/// is the slice's creation, which is empty.
#[must_use]
pub fn leaders(revisions: &[Revision], slice: &str) -> Vec<String> {
    let of_slice = revisions.iter().filter(|revision| revision.slice.metadata.name.as_deref() == Some(slice));
    let mut leaders: Vec<String> = Vec::new();
    for Revision { change, slice, .. } in of_slice {
        let leader = match change {
            Change::Deleted => "deleted".to_owned(),
            Change::Found | Change::Added | Change::Modified => {
                lab::leader_of(slice).unwrap_or_else(|| "nobody".to_owned())
            }
        };
        if leaders.last() != Some(&leader) && !(leaders.is_empty() && leader == "nobody") {
            leaders.push(leader);
        }
    }
    leaders
}
