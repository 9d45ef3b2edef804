//! What stands for one Service that opts in, and all that is to be said of it.

use k8s_openapi::api::core::v1::Service;

use super::Prospect;
use super::{leader, objects};
use crate::annotations::INSTANCE;
use crate::cli::doctor::finding::Evidence;
use crate::cli::doctor::invalid;
use crate::cli::look::Look;
use crate::kinds::{ServiceLite, SliceLite};
use crate::names::{SERVICE_NAME_MAX, leader_service};

/// What stands for one Service that opts in.
pub(super) struct Heritage<'a> {
    pub(super) look: &'a Look,
    /// The Service itself.
    pub(super) source: Option<&'a ServiceLite>,
    /// What has the leader Service's name.
    pub(super) leader: Option<&'a ServiceLite>,
    /// The same, whole, if its label says that zen-lead made it.
    pub(super) whole: Option<&'a Service>,
    /// All slices that nodes take for the leader Service's.
    pub(super) slices: Vec<SliceLite>,
}

impl Heritage<'_> {
    /// All that is to be said, in the order in which it matters.
    pub(super) fn prospects(&self) -> Vec<Prospect> {
        let mut prospects: Vec<_> = self.settings().collect();
        if let Some(finding) = invalid(self.look) {
            prospects.push(Prospect { look: true, finding });
            return prospects;
        }
        prospects.extend(self.shortened());
        if let Some(refused) = objects::refused(self) {
            prospects.push(refused);
            return prospects;
        }
        prospects.extend(objects::leader_service(self));
        prospects.extend(leader::leader(self.look));
        prospects.extend(objects::slices(self));
        prospects
    }

    /// The installation that has taken it over already.
    pub(super) fn instance(&self) -> Option<&str> {
        let objects = self.leader.map(|leader| &leader.metadata).into_iter();
        let mut objects = objects.chain(self.slices.iter().map(|slice| &slice.metadata));
        objects.find_map(|metadata| metadata.annotations.as_ref()?.get(INSTANCE)).map(String::as_str)
    }

    /// Annotations that the Go program took for something, or did not know.
    fn settings(&self) -> impl Iterator<Item = Prospect> {
        self.look.settings.invalid.iter().map(|invalid| {
            let evidence =
                Evidence::new(self.object(), format!("metadata.annotations[{}]", invalid.annotation), &*invalid.value);
            Prospect::open(
                "invalid-annotation",
                format!("{}; used instead: {}", invalid.why, invalid.default),
                vec![evidence],
                "correct it or take it off, after a look at what the Go program did with it: a leader-service-name that is \
                 the Service's own made it take the Service's selector away",
            )
        })
    }

    /// A name that the API server refused the Go program.
    fn shortened(&self) -> Option<Prospect> {
        let (_, name) = &self.look.key;
        let is_long = self.look.settings.leader_service_name.is_none()
            && *leader_service(name) != *format!("{name}-leader");
        is_long.then(|| {
            let evidence = Evidence::new(self.object(), "metadata.name", format!("{} characters", name.len()));
            let leader = &self.look.leader_service;
            Prospect::settled(
                "shortened-name",
                format!(
                    "{name}-leader is longer than {SERVICE_NAME_MAX} characters, and was refused for ever: clients use \
                     {leader} from now on"
                ),
                vec![evidence],
            )
        })
    }

    /// The source Service, as kubectl takes it.
    pub(super) fn object(&self) -> String {
        format!("service/{}", self.look.key.1)
    }

    /// The leader Service, as kubectl takes it.
    pub(super) fn leader_object(&self) -> String {
        format!("service/{}", self.look.leader_service)
    }
}
