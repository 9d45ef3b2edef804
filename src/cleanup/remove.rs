//! Deleting one object: the one that was seen, as it was seen.

use std::fmt;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, DeleteParams, Preconditions};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;

use super::find::{Kind, Object, again};
use crate::config::Instance;

/// Somebody who changes an object more often meanwhile will not stop.
const TRIES: u8 = 5;

/// Deletes it; that it is gone, or somebody else's by now, is as good.
pub(super) async fn remove(client: &Client, object: &Object, instance: &Instance) -> kube::Result<()> {
    match object.kind {
        Kind::Service => remove_from::<Service>(client, object, instance).await,
        Kind::Slice => remove_from::<EndpointSlice>(client, object, instance).await,
    }
}

async fn remove_from<K>(client: &Client, object: &Object, instance: &Instance) -> kube::Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + fmt::Debug,
{
    let api = Api::<K>::namespaced(client.clone(), &object.namespace);
    let mut version = object.version.clone();
    let mut tries = 0;
    loop {
        tries += 1;
        let as_seen = Preconditions { uid: Some(object.uid.clone()), resource_version: Some(version) };
        let parameters = DeleteParams { preconditions: Some(as_seen), ..DeleteParams::default() };
        match api.delete(&object.name, &parameters).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 && tries < TRIES => {
                match again(&api, object, instance).await? {
                    Some(now) => version = now.version,
                    None => return Ok(()),
                }
            }
            Err(error) => return Err(error),
        }
    }
}
