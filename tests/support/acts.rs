//! What most tests of behaviour begin with, and how they show that nothing happened.

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Service as ServiceObject;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, Patch, PatchParams};
use lab::{Pod, Service, until_object};
use serde_json::{Value, json};

use super::{SOON, SOURCE_SERVICE, Stage};

impl Stage {
    /// A source with so many Ready members, `<name>-0` and so on, the first of which leads.
    pub async fn led(&self, name: &str, members: usize) -> Result<(Service, Vec<Pod>)> {
        let source = self.source(name).create().await?;
        Ok((source, self.members(name, members).await?))
    }

    /// So many Ready members of a source, `<name>-0` and so on, the first of which leads.
    pub async fn members(&self, name: &str, members: usize) -> Result<Vec<Pod>> {
        let mut pods = Vec::new();
        for number in 0..members {
            pods.push(self.member(name, &format!("{name}-{number}")).ready().create().await?);
            if number == 0 {
                self.until_led(name, &pods[0]).await?;
            }
        }
        Ok(pods)
    }

    /// Waits until this pod leads the source.
    pub async fn until_led(&self, source: &str, pod: &Pod) -> Result<EndpointSlice> {
        let slice = self.ns.slices().until_leader(&format!("{source}-leader"), pod.name(), SOON).await?;
        let uid = slice.endpoints[0].target_ref.as_ref().and_then(|target| target.uid.as_deref());
        ensure!(uid == Some(pod.uid()), "another pod of the name {} leads", pod.name());
        Ok(slice)
    }

    /// Waits until nobody leads the source.
    pub async fn until_leaderless(&self, source: &str) -> Result<()> {
        self.ns.slices().until_leaderless(&format!("{source}-leader"), SOON).await
    }

    /// The leader slice of the source.
    pub async fn slice(&self, source: &str) -> Result<EndpointSlice> {
        Ok(self.slices_api().get(&format!("{source}-leader")).await?)
    }

    /// The leader Service of the source.
    pub async fn leader_service(&self, source: &str) -> Result<ServiceObject> {
        Ok(self.services_api().get(&format!("{source}-leader")).await?)
    }

    /// Waits until the leader Service of the source is as wanted.
    pub async fn until_leader_service(
        &self,
        source: &str,
        wanted: impl Fn(&ServiceObject) -> bool,
    ) -> Result<ServiceObject> {
        until_object(&self.services_api(), &format!("{source}-leader"), SOON, wanted).await
    }

    /// Changes a slice by hand.
    pub async fn edit_slice(&self, name: &str, patch: &Value) -> Result<EndpointSlice> {
        Ok(self.slices_api().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?)
    }

    /// Changes a Service by hand.
    pub async fn edit_service(&self, name: &str, patch: &Value) -> Result<ServiceObject> {
        Ok(self.services_api().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?)
    }

    pub fn slices_api(&self) -> Api<EndpointSlice> {
        self.ns.api()
    }

    pub fn services_api(&self) -> Api<ServiceObject> {
        self.ns.api()
    }

    /// Waits for a notice with this reason whose note contains all of `words`.
    pub async fn until_told(&self, reason: &str, words: &[&str]) -> Result<Event> {
        let found = |notice: &Event| {
            let note = notice.note.as_deref().unwrap_or_default();
            notice.reason.as_deref() == Some(reason) && words.iter().all(|word| note.contains(word))
        };
        let notices =
            lab::until(&self.ns.api::<Event>(), "", SOON, |notices| notices.iter().any(found)).await;
        let notices = notices.with_context(|| format!("waiting for the notice {reason} with {words:?}"))?;
        notices.into_iter().find(found).context("it was among them")
    }

    /// How often a source's objects were written and its people were told something.
    pub async fn written_for(&self, source: &str) -> Result<Written> {
        let asked = self.writes()?;
        let count = |what: &str| {
            let of_source = |write: &&String| {
                let mut words = write.split(' ');
                let (_, resource, name) = (words.next(), words.next(), words.next());
                resource == Some(what)
                    && name.is_some_and(|name| name.starts_with(&format!("{source}-leader")))
            };
            asked.iter().filter(of_source).count()
        };
        let notices = self.reasons_about(source).await?.len();
        Ok(Written { slice: count("endpointslices"), service: count("services"), notices })
    }

    /// Waits until the controller's writes are as wanted: the audit log has them right after their answers.
    pub async fn until_writes(&self, wanted: impl Fn(&[String]) -> bool) -> Result<Vec<String>> {
        self.audit.until(SOON, |_| self.writes().is_ok_and(|writes| wanted(&writes))).await?;
        self.writes()
    }

    /// Waits until what the controller has asked for is as wanted.
    pub async fn until_asked(&self, wanted: impl Fn(&[lab::Entry]) -> bool) -> Result<()> {
        let asked = |_: &[lab::Entry]| self.asked().is_ok_and(|asked| wanted(&asked));
        self.audit.until(SOON, asked).await.map(drop)
    }

    /// Waits until a slice of the Service `orders` is as wanted.
    pub async fn slice_when(&self, wanted: impl Fn(&EndpointSlice) -> bool) -> Result<EndpointSlice> {
        self.ns.slices().until("orders-leader", SOON, wanted).await
    }

    /// That nothing but notices and the leader objects of this source was written.
    pub fn only_ours_were_written(&self, source: &str) -> Result<()> {
        for write in self.writes()? {
            let words: Vec<_> = write.splitn(3, ' ').collect();
            let [verb, resource, name] = words[..] else { bail!("{write}") };
            let is_creation =
                verb == "create" && ["services", "endpointslices", "events"].contains(&resource);
            let is_ours = ["services", "endpointslices"].contains(&resource)
                && name.starts_with(&format!("{source}-leader"));
            ensure!(is_creation || is_ours, "the controller wrote {write}");
        }
        Ok(())
    }

    /// Waits until the leader Service names this pod, and a notice with this reason was sent: what follows a
    /// publication.
    pub async fn until_announced(&self, source: &str, pod: &Pod, reason: &str) -> Result<()> {
        self.until_leader_service(source, |service| {
            let annotations = service.metadata.annotations.as_ref();
            annotations.and_then(|all| all.get("zen-lead.io/leader-pod-uid").map(String::as_str))
                == Some(pod.uid())
        })
        .await?;
        self.until_told(reason, &[pod.name()]).await.map(drop)
    }

    /// Returns when the controller has dealt with everything that has happened up to now: to Services, to pods, and
    /// to its slices, which have a watch of their own.
    pub async fn all_is_seen(&self) -> Result<()> {
        let name = self.marker().await?;
        let label = |value: Option<&str>| json!({ "metadata": { "labels": { SOURCE_SERVICE: value } } });
        self.edit_slice(&format!("{name}-leader"), &label(None)).await?;
        let repaired = |slice: &EndpointSlice| {
            slice.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(SOURCE_SERVICE))
        };
        self.ns.slices().until(&format!("{name}-leader"), SOON, repaired).await?;
        self.catch_up_with_the_log().await
    }
}

/// Writes for one source. Creations have no name in the audit log, and are not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    pub slice: usize,
    pub service: usize,
    pub notices: usize,
}

impl Written {
    /// What was added since.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            slice: self.slice - before.slice,
            service: self.service - before.service,
            notices: self.notices - before.notices,
        }
    }

    #[must_use]
    pub const fn nothing() -> Self {
        Self { slice: 0, service: 0, notices: 0 }
    }
}
