//! When what nobody uses any more goes.

use super::*;

#[test]
fn texts_labels_and_ports_are_counted() {
    let mut interner = Interner::default();
    assert!(interner.is_empty());
    let text = interner.text("a");
    let labels = interner.labels(std::slice::from_ref(&text));
    let port = NamedPort { name: "http".into(), protocol: "TCP".into(), port: 80 };
    let ports = interner.ports(&[port]);
    assert_eq!((interner.len(), interner.is_empty()), (3, false));
    drop((text, labels, ports));
    interner.purge();
    assert!(interner.is_empty());
}

/// A purge looks at everything: it comes only when the table has doubled.
#[test]
fn what_nobody_uses_stays_until_the_table_has_doubled() {
    let mut interner = Interner::default();
    for unused in 0..10 {
        interner.text(&format!("unused {unused}"));
    }
    assert_eq!(interner.len(), 10);
    let used: Vec<_> = (0..2_100).map(|used| interner.text(&format!("used {used}"))).collect();
    assert_eq!(interner.len(), used.len(), "purged twice, at 1,024 and at 2,048");
    for unused in 0..1_900 {
        interner.text(&format!("unused {unused}"));
    }
    assert_eq!(interner.len(), 4_000, "full at 4,096");
}

#[test]
fn a_purge_leaves_room_for_as_many_again() {
    let mut known: HashSet<Arc<str>> = (0..10_000).map(|text| text.to_string().into()).collect();
    let used: Vec<Arc<str>> = known.iter().take(100).cloned().collect();
    keep_used(&mut known);
    assert_eq!(known.len(), used.len());
    assert!((200..1_000).contains(&known.capacity()), "{}", known.capacity());
}
