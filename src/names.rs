//! Names that other people see: of the controller, of labels, and of the objects that it makes.
//!
//! Names of objects are functions of the source Service alone, so that every replica and every version
//! arrives at the same ones.

use crate::kinds::Family;

/// What the controller calls itself: `managed-by` label, reporting controller of notices.
pub const CONTROLLER: &str = "zen-lead";
/// The field manager of our writes. The Go zen-lead writes as `zen-lead` if its binary is called so, and its
/// writes must not pass for ours.
pub const FIELD_MANAGER: &str = "zen-lead-controller";

/// Label: who manages an object. Ours say [`CONTROLLER`].
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Label: the source Service's name, on everything that we make for it.
pub const LABEL_SOURCE_SERVICE: &str = "zen-lead.io/source-service";
/// Label: the Service that a slice belongs to. kube-proxy goes by it.
pub const LABEL_SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Label: which controller writes a slice. Kubernetes' own leaves slices of others alone.
pub const LABEL_SLICE_MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// Label: kube-proxy ignores what carries it.
pub const LABEL_HEADLESS: &str = "service.kubernetes.io/headless";
/// Label on pods: the zone.
pub const LABEL_ZONE: &str = "topology.kubernetes.io/zone";
/// Label on pods: the revision, as a Deployment writes it.
pub const LABEL_TEMPLATE_HASH: &str = "pod-template-hash";
/// Label on pods: the revision, as a StatefulSet or DaemonSet writes it.
pub const LABEL_REVISION_HASH: &str = "controller-revision-hash";

/// Labels by which Argo CD, Flux and the like know their own objects. Copied, they would make those tools
/// prune ours.
pub const GITOPS_LABELS: [&str; 9] = [
    "app.kubernetes.io/instance",
    LABEL_MANAGED_BY,
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/version",
    "argocd.argoproj.io/instance",
    "fluxcd.io/part-of",
    "kustomize.toolkit.fluxcd.io/name",
    "kustomize.toolkit.fluxcd.io/namespace",
    "kustomize.toolkit.fluxcd.io/revision",
];

/// The longest name of a Service, in bytes (an RFC 1035 label).
pub const SERVICE_NAME_MAX: usize = 63;

const LEADER_SUFFIX: &str = "-leader";

/// The default name of the leader Service: `<source>-leader`.
///
/// Where that is too long: as much of the source's name as fits, the hash of the whole source name in eight
/// hexadecimal digits, `-leader`. Two long names that begin alike so keep names of their own.
#[must_use]
pub fn leader_service(source: &str) -> String {
    if source.len() + LEADER_SUFFIX.len() <= SERVICE_NAME_MAX {
        return format!("{source}{LEADER_SUFFIX}");
    }
    let mut digest = Digest::new();
    digest.bytes(source.as_bytes());
    let hash = format!("{:08x}", digest.folded());
    let room = SERVICE_NAME_MAX - LEADER_SUFFIX.len() - hash.len() - 1;
    let kept = source[..source.floor_char_boundary(room)].trim_end_matches(['-', '.']);
    format!("{kept}-{hash}{LEADER_SUFFIX}")
}

/// The name of a leader slice: the leader Service's own for its first family, with `-ipv4` or `-ipv6` for the
/// second. Names of slices may be 253 bytes long, so that these always fit.
#[must_use]
pub fn leader_slice(leader_service: &str, family: Family, first: Family) -> String {
    if family == first {
        return leader_service.to_owned();
    }
    match family {
        Family::V4 => format!("{leader_service}-ipv4"),
        Family::V6 => format!("{leader_service}-ipv6"),
    }
}

/// Whether `name` is an RFC 1035 label, as the name of a Service must be.
#[must_use]
pub fn is_rfc1035_label(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    name.len() <= SERVICE_NAME_MAX
        && name.bytes().all(inner)
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
}

/// Whether it can be the value of a label, other than the empty one.
#[must_use]
pub fn is_label_value(value: &str) -> bool {
    let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    bytes.len() <= 63 && bytes.iter().all(is_inner) && is_end(bytes.first()) && is_end(bytes.last())
}

/// Whether `name` is an RFC 1123 subdomain, as the name of a pod must be.
#[must_use]
pub fn is_rfc1123_subdomain(name: &str) -> bool {
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// FNV-1a, 64 bits: a hash that is the same in every version, on every machine. Not for secrets, and not
/// against people who choose its input: those only ever mislead their own Service.
#[derive(Clone, Copy, Debug)]
pub struct Digest(u64);

impl Digest {
    /// Nothing hashed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Goes on with these bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// Goes on with a field that may be absent. Fields do not run into each other: absent differs from empty,
    /// and `ab`, `c` from `a`, `bc`.
    pub fn field(&mut self, field: Option<&str>) {
        if let Some(text) = field {
            self.bytes(&(text.len() as u64).to_le_bytes());
            self.bytes(text.as_bytes());
        } else {
            self.bytes(&u64::MAX.to_le_bytes());
        }
    }

    /// The hash.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }

    /// The hash in 32 bits, folded as FNV's authors advise.
    #[must_use]
    pub const fn folded(self) -> u64 {
        (self.0 >> 32) ^ (self.0 & 0xffff_ffff)
    }
}

impl Default for Digest {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_gets_the_suffix() {
        assert_eq!(leader_service("orders"), "orders-leader");
        let longest = "a".repeat(56);
        assert_eq!(leader_service(&longest), format!("{longest}-leader"));
    }

    #[test]
    fn b15_a_long_name_is_cut_predictably() {
        for length in 57..=63 {
            let name = leader_service(&"a".repeat(length));
            assert_eq!(name.len(), SERVICE_NAME_MAX, "{name}");
            assert!(is_rfc1035_label(&name), "{name}");
        }
        // Fixed for ever: a new version must find the objects of the old one.
        assert_eq!(
            leader_service(&"a".repeat(63)),
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-7b2f701d-leader"
        );
    }

    #[test]
    fn b15_long_names_that_begin_alike_stay_apart() {
        let (one, two) = (format!("{}-one", "a".repeat(58)), format!("{}-two", "a".repeat(58)));
        assert_ne!(leader_service(&one), leader_service(&two));
    }

    #[test]
    fn b15_no_hyphen_is_doubled_where_the_name_is_cut() {
        let name = leader_service(&format!("{}-{}", "a".repeat(46), "b".repeat(16)));
        assert!(is_rfc1035_label(&name) && !name.contains("--"), "{name}");
    }

    #[test]
    fn b09_each_family_has_a_slice_of_its_own() {
        assert_eq!(leader_slice("x-leader", Family::V6, Family::V6), "x-leader");
        assert_eq!(leader_slice("x-leader", Family::V4, Family::V6), "x-leader-ipv4");
        assert_eq!(leader_slice("x-leader", Family::V6, Family::V4), "x-leader-ipv6");
    }

    #[test]
    fn labels_are_told_from_other_names() {
        assert!(is_rfc1035_label("a") && is_rfc1035_label("a-1"));
        for bad in ["", "-a", "a-", "1a", "A", "a.b", "ä", &"a".repeat(64)] {
            assert!(!is_rfc1035_label(bad), "{bad}");
        }
        assert!(is_label_value("eu-1a") && is_label_value("Zone_1.b") && is_label_value("7"));
        for bad in ["", "-a", "a.", "a b", "ä", &"a".repeat(64)] {
            assert!(!is_label_value(bad), "{bad}");
        }
        assert!(is_rfc1123_subdomain("orders-0.x") && is_rfc1123_subdomain("0"));
        for bad in ["", "a..b", "a/b", "a_b", ".a", &"a".repeat(254)] {
            assert!(!is_rfc1123_subdomain(bad), "{bad}");
        }
    }

    /// The published test vectors of FNV-1a 64.
    #[test]
    fn the_digest_is_fnv_1a() {
        for (text, hash) in
            [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8)]
        {
            let mut digest = Digest::new();
            digest.bytes(text.as_bytes());
            assert_eq!(digest.value(), hash, "{text}");
        }
    }

    #[test]
    fn fields_do_not_run_into_each_other() {
        let of = |fields: &[Option<&str>]| {
            let mut digest = Digest::new();
            for field in fields {
                digest.field(*field);
            }
            digest.value()
        };
        assert_ne!(of(&[Some("ab"), Some("c")]), of(&[Some("a"), Some("bc")]));
        assert_ne!(of(&[Some("")]), of(&[None]));
    }
}
