//! Why something is not done, in one line that says what to do.

use std::fmt;
use std::io;

use crate::client::{ConnectError, explain};

/// Why something is not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no way to the API server.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The API server does not let the caller do that.
    #[error("{}", forbidden(.request, .user))]
    Forbidden {
        /// What was asked for.
        request: Box<Request>,
        /// Whom the API server takes the caller for.
        user: String,
    },
    /// The API server did not do it.
    #[error("cannot {request}: {}", explain(.error))]
    Failed {
        /// What was asked for.
        request: Box<Request>,
        /// The answer.
        error: Box<kube::Error>,
    },
    /// It cannot be done, for this reason.
    #[error("{0}")]
    Refused(String),
    /// What is known cannot be told.
    #[error("cannot write the answer: {0}")]
    Tell(#[from] io::Error),
}

/// A request to the API server, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The verb, as roles have it.
    pub verb: &'static str,
    /// The API group; empty is the core.
    pub group: String,
    /// The resource, in the plural.
    pub resource: String,
    /// The namespace; none is all of them.
    pub namespace: Option<String>,
    /// The object; none is all of them.
    pub name: Option<String>,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.verb)?;
        match (&self.name, &self.namespace) {
            (Some(name), Some(namespace)) => {
                write!(f, "{} {namespace}/{name}", self.resource.trim_end_matches('s'))
            }
            (Some(name), None) => write!(f, "{} {name}", self.resource.trim_end_matches('s')),
            (None, Some(namespace)) => write!(f, "{} in namespace {namespace}", self.resource),
            (None, None) => write!(f, "{} in all namespaces", self.resource),
        }
    }
}

/// The resource of forwarded ports.
pub(super) const PORT_FORWARD: &str = "pods/portforward";

/// The rule to ask for, ready to be copied into a role.
fn forbidden(request: &Request, user: &str) -> String {
    let Request { verb, group, resource, namespace, name } = request;
    let verbs = match &**resource {
        // Forwarding begins as a GET, and newer API servers want `create` as well: whoever lacks one lacks both.
        PORT_FORWARD => "get\", \"create",
        _ => verb,
    };
    let role = match (namespace, name) {
        (Some(namespace), _) => format!("a Role in namespace {namespace}"),
        // What is read by its name is in no namespace.
        (None, Some(_)) => "a ClusterRole".to_owned(),
        (None, None) => "a ClusterRole (or name a namespace with -n)".to_owned(),
    };
    format!(
        "{user} may not {request}; ask for {role} with the rule \
         {{apiGroups: [\"{group}\"], resources: [\"{resource}\"], verbs: [\"{verbs}\"]}}"
    )
}

impl Error {
    /// What an answer to a request means.
    pub(super) fn answer(request: Request, error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) if status.code == 403 => match user(&status.message, request.verb) {
                Some(user) => Self::Forbidden { request: request.into(), user },
                // A webhook, or a namespace that goes.
                None => Self::Failed { request: request.into(), error: error.into() },
            },
            _ => Self::Failed { request: request.into(), error: error.into() },
        }
    }

    /// Whether the object has changed since it was read.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Failed { error, .. } if matches!(&**error, kube::Error::Api(status) if status.code == 409))
    }

    /// Whether a right is missing.
    pub(super) const fn is_forbidden(&self) -> bool {
        matches!(self, Self::Forbidden { .. })
    }
}

/// Whom an answer of the authorizer names, in `... is forbidden: User "x" cannot list resource ...`.
pub(super) fn user(message: &str, verb: &str) -> Option<String> {
    let (_, rest) = message.split_once("User \"")?;
    let (user, rest) = rest.split_once('"')?;
    rest.trim_start().starts_with(&format!("cannot {verb} ")).then(|| user.to_owned())
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn listing(namespace: Option<&str>) -> Request {
        Request {
            verb: "list",
            group: "discovery.k8s.io".into(),
            resource: "endpointslices".into(),
            namespace: namespace.map(str::to_owned),
            name: None,
        }
    }

    fn refused(message: &str) -> kube::Error {
        kube::Error::Api(Box::new(Status::failure(message, "Forbidden").with_code(403)))
    }

    #[test]
    fn a_missing_right_tells_the_rule_to_ask_for() {
        let words = "endpointslices.discovery.k8s.io is forbidden: User \"jane\" cannot list resource \
                     \"endpointslices\" in API group \"discovery.k8s.io\" in the namespace \"shop\"";
        assert_eq!(
            Error::answer(listing(Some("shop")), refused(words)).to_string(),
            "jane may not list endpointslices in namespace shop; ask for a Role in namespace shop with the rule \
             {apiGroups: [\"discovery.k8s.io\"], resources: [\"endpointslices\"], verbs: [\"list\"]}"
        );
        let everywhere = Error::answer(listing(None), refused(words)).to_string();
        assert!(everywhere.contains("a ClusterRole (or name a namespace with -n)"), "{everywhere}");
    }

    #[test]
    fn what_somebody_else_forbids_is_no_missing_right() {
        let error =
            Error::answer(listing(Some("shop")), refused("admission webhook \"x\" denied the request"));
        assert!(!error.is_forbidden());
        assert!(
            error.to_string().starts_with("cannot list endpointslices in namespace shop: 403: "),
            "{error}"
        );
    }
}
