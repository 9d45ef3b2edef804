use std::num::NonZeroU8;

use machine::{Failback, MaxSwitches, Micros, Strategy};

use super::*;

/// Each changes what it is about, and nothing else.
#[test]
fn each_setting_is_its_own() {
    let base = || Policy { prefer_new_revision: false, ..Policy::default() };
    let five = Micros::from_secs(5);
    for (text, expected) in [
        ("failback=immediate", Policy { failback: Failback::After(Micros::ZERO), ..base() }),
        ("sticky=false", Policy { failback: Failback::After(Micros::ZERO), ..base() }),
        ("min-ready-duration=5s", Policy { min_ready_duration: five, ..base() }),
        ("failover-min-delay=5s", Policy { failover_min_delay: five, ..base() }),
        ("strategy=newest", Policy { strategy: Strategy::Newest, ..base() }),
        ("prefer-new-revision=true", Policy::default()),
        ("leave-cordoned=true", Policy { leave_cordoned: true, ..base() }),
        (
            "max-switches=3/5s",
            Policy {
                max_switches: Some(MaxSwitches { count: NonZeroU8::new(3).unwrap(), window: five }),
                ..base()
            },
        ),
    ] {
        let setting: Override = text.parse().unwrap();
        let mut policy = base();
        setting.apply(&mut policy);
        assert_eq!((policy, setting.to_string().as_str()), (expected, text));
    }
}
