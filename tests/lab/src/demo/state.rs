//! How things are, as the API server has them.

use k8s_openapi::api::discovery::v1::EndpointSlice;

/// The annotation of the leader slice and of the leader Service that holds the epoch.
pub(super) const EPOCH: &str = "zen-lead.io/epoch";

/// What a leader slice says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// As far as it can be told from outside: Reelecting lasts for one write, and shows as what was before.
    pub(super) phase: &'static str,
    /// The pod behind the only endpoint.
    pub(super) leader: Option<String>,
    pub(super) uid: Option<String>,
    /// Address and port.
    pub(super) endpoint: Option<String>,
    pub(super) epoch: Option<u64>,
}

impl State {
    /// Of a Service that has no leader slice.
    pub(super) fn none() -> Self {
        Self { phase: "-", ..Self::default() }
    }

    pub(super) fn of(slice: &EndpointSlice) -> Self {
        let annotations = slice.metadata.annotations.as_ref();
        let epoch = annotations.and_then(|all| all.get(EPOCH)).and_then(|epoch| epoch.parse().ok());
        let [endpoint] = slice.endpoints.as_slice() else {
            let phase = if slice.endpoints.is_empty() { "Leaderless" } else { "several!" };
            return Self { phase, epoch, ..Self::default() };
        };
        let conditions = endpoint.conditions.clone().unwrap_or_default();
        let phase = match (conditions.ready, conditions.serving, conditions.terminating) {
            (Some(true) | None, _, _) => "Elected",
            (Some(false), Some(true), Some(true)) => "Draining",
            (Some(false), _, _) => "not ready",
        };
        let target = endpoint.target_ref.clone().unwrap_or_default();
        let address = endpoint.addresses.first().map_or("?", String::as_str);
        let address = if address.contains(':') { format!("[{address}]") } else { address.into() };
        let port = slice.ports.as_deref().unwrap_or_default().first().and_then(|port| port.port);
        let port = port.map_or_else(|| "?".into(), |port| port.to_string());
        Self {
            phase,
            leader: target.name,
            uid: target.uid,
            endpoint: Some(format!("{address}:{port}")),
            epoch,
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.phase)?;
        if let (Some(leader), Some(endpoint)) = (&self.leader, &self.endpoint) {
            write!(f, ", {leader} at {endpoint}")?;
        }
        self.epoch.map_or(Ok(()), |epoch| write!(f, ", epoch {epoch}"))
    }
}

/// How many addresses of a slice new connections may go to.
pub(super) fn ready_addresses(slice: &EndpointSlice) -> usize {
    let is_ready = |endpoint: &&k8s_openapi::api::discovery::v1::Endpoint| {
        endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
    };
    slice.endpoints.iter().filter(is_ready).map(|endpoint| endpoint.addresses.len()).sum()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn state(endpoints: &Value) -> State {
        let slice = json!({
            "metadata": { "annotations": { EPOCH: "7" } }, "addressType": "IPv4",
            "endpoints": endpoints, "ports": [{ "port": 8080 }],
        });
        State::of(&serde_json::from_value(slice).unwrap())
    }

    fn endpoint(conditions: &Value) -> Value {
        json!({ "addresses": ["10.0.0.1"], "conditions": conditions, "targetRef": { "name": "a", "uid": "u" } })
    }

    #[test]
    fn the_phase_is_told_from_the_endpoint() {
        assert_eq!(state(&json!([])).phase, "Leaderless");
        let ready = endpoint(&json!({ "ready": true, "serving": true, "terminating": false }));
        let elected = state(&json!([ready]));
        assert_eq!((elected.phase, elected.epoch), ("Elected", Some(7)));
        assert_eq!(elected.endpoint.as_deref(), Some("10.0.0.1:8080"));
        let leaving = endpoint(&json!({ "ready": false, "serving": true, "terminating": true }));
        assert_eq!(state(&json!([leaving])).phase, "Draining");
        assert_eq!(state(&json!([ready, leaving])).phase, "several!");
        assert_eq!(
            state(&json!([endpoint(&json!({ "ready": false, "serving": false }))])).phase,
            "not ready"
        );
    }
}
