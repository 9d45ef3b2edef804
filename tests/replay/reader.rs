//! What is wrong with a log is said with its line.

use std::io::{BufReader, Read};

use zen_lead::record::{Entry, Fault, ReadError, Reader};

use crate::stories;

fn lines() -> Vec<String> {
    let log = String::from_utf8(stories::leader_not_ready().log()).unwrap();
    log.lines().map(|line| format!("{line}\n")).collect()
}

/// How many entries there are before the end, or before what is wrong.
fn read(text: &str) -> (usize, bool, Result<(), ReadError>) {
    let mut reader = Reader::new("a.jsonl", text.as_bytes());
    let mut entries = 0;
    loop {
        match reader.read() {
            Ok(Some(_)) => entries += 1,
            Ok(None) => return (entries, reader.is_cut(), Ok(())),
            Err(error) => return (entries, false, Err(error)),
        }
    }
}

fn error(text: &str) -> String {
    read(text).2.unwrap_err().to_string()
}

#[test]
fn a_sound_log_is_read_to_its_end() {
    let lines = lines();
    assert!(matches!(read(&lines.concat()), (entries, false, Ok(())) if entries == lines.len()));
    // Without the last newline, too, and with empty lines.
    assert!(matches!(read(lines.concat().trim_end()), (entries, false, Ok(())) if entries == lines.len()));
    assert!(matches!(read(&lines.join("\n")), (entries, false, Ok(())) if entries == lines.len()));
}

#[test]
fn at_the_end_the_last_line_is_the_one_that_was_read() {
    let lines = lines();
    let log = lines.concat();
    let mut reader = Reader::new("a.jsonl", log.as_bytes());
    while reader.read().unwrap().is_some() {}
    assert_eq!(reader.line(), lines.len() as u64);
}

/// Wherever the last line is cut, all before it is read.
#[test]
fn a_last_line_that_is_cut_short_is_left_out() {
    let lines = lines();
    let (last, before) = lines.split_last().unwrap();
    for cut in 1..last.len() - 1 {
        let (entries, is_cut, outcome) = read(&format!("{}{}", before.concat(), &last[..cut]));
        assert!(outcome.is_ok() && is_cut && entries == before.len(), "cut after {cut}: {outcome:?}");
    }
}

#[test]
fn a_corrupt_line_is_named() {
    let mut lines = lines();
    lines[2] = "{\"seq\":2,\"at\":17,\"event\":{\"pod_reddy\":{}}}\n".into();
    let words = error(&lines.concat());
    assert!(words.starts_with("a.jsonl:3: ") && words.contains("unknown variant `pod_reddy`"), "{words}");
    lines[2] = "\u{0}\u{0}\u{0}\n".into();
    assert!(error(&lines.concat()).starts_with("a.jsonl:3: this is no line of an event log"));
}

#[test]
fn a_field_that_is_missing_or_mistyped_is_named() {
    let header = lines().remove(0);
    for (line, expected) in [
        ("{\"at\":17,\"event\":\"resumed\"}", "needs `seq`"),
        ("{\"seq\":1,\"event\":\"resumed\"}", "needs `at`"),
        ("{\"seq\":1,\"at\":17}", "needs `event`"),
        ("{\"seq\":1,\"at\":17,\"event\":\"resumed\",\"efects\":[]}", "unknown field `efects`"),
        ("{\"seq\":1,\"at\":17,\"event\":\"resumed\",\"from\":\"elected\"}", "`from`, `to` and `cause`"),
        ("{\"log\":1,\"service\":\"a/b\",\"machine\":\"0\"}", "either a `policy` or an `election`"),
        ("{\"seq\":1,\"at\":17,\"event\":\"resumed\",\"from_pod\":\"a/1\"}", "`from`, `to` and `cause`"),
        ("{\"seq\":1,\"at\":17,\"event\":\"resumed\",\"to_pod\":\"a/1\"}", "`from`, `to` and `cause`"),
        ("{\"log\":1,\"machine\":\"0\",\"policy\":{}}", "needs `service`"),
        ("{\"log\":1,\"service\":\"a/b\",\"machine\":\"0\",\"polcy\":{}}", "unknown field `polcy`"),
    ] {
        let words = error(&format!("{header}{line}\n"));
        assert!(words.starts_with("a.jsonl:2: ") && words.contains(expected), "{line}: {words}");
    }
}

#[test]
fn a_line_that_is_no_utf_8_is_named() {
    let mut log = lines().concat().into_bytes();
    let second = log.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    log[second + 4] = 0xff;
    let mut reader = Reader::new("a.jsonl", &*log);
    reader.read().unwrap();
    let words = reader.read().unwrap_err().to_string();
    assert!(words.starts_with("a.jsonl:2: ") && words.contains("no UTF-8 (column 5)"), "{words}");
}

#[test]
fn a_newer_version_is_refused_with_the_program_to_use() {
    // Whether this one could make sense of it, or not.
    for more in ["\"shards\":[1]", "\"policy\":{}"] {
        let words = error(&format!("{{\"log\":2,\"service\":\"a/b\",\"machine\":\"7.1.0\",{more}}}\n"));
        assert!(
            words.starts_with("a.jsonl:1: ") && words.contains("version 2") && words.contains("7.1.0"),
            "{words}"
        );
    }
}

#[test]
fn records_out_of_order_are_refused() {
    let mut lines = lines();
    lines.remove(3);
    let words = error(&lines.concat());
    assert!(words.contains("a.jsonl:4: shop/orders: record 4 where 3 should follow"), "{words}");
    lines.swap(1, 2);
    assert!(error(&lines.concat()).contains("record 2 where 1 should follow"));
}

#[test]
fn records_without_a_header_are_refused() {
    let lines = lines();
    assert!(error(&lines[1..].concat()).contains("a record before any header of its Service"));
    let strange = lines[1].replacen("{\"seq\"", "{\"service\":\"shop/cart\",\"seq\"", 1);
    assert!(error(&format!("{}{strange}", lines[0])).contains("before any header of shop/cart"));
}

/// Two Services in one file, each record with its Service's name or after its header.
#[test]
fn services_share_a_file() {
    let orders = lines();
    let cart: Vec<_> = orders.iter().map(|line| line.replace("shop/orders", "shop/cart")).collect();
    let named = |line: &String| line.replacen("{\"seq\"", "{\"service\":\"shop/orders\",\"seq\"", 1);
    let mut text = format!("{}{}", orders[0], cart[0]);
    for (cart, orders) in cart[1..].iter().zip(&orders[1..]) {
        text.extend([cart.clone(), named(orders)]);
    }
    let mut reader = Reader::new("a.jsonl", text.as_bytes());
    let mut services = Vec::new();
    while let Some(entry) = reader.read().unwrap() {
        if let Entry::Step(service, record) = entry {
            services.push((service.to_string(), record.seq));
        }
    }
    assert_eq!(services.len(), 2 * (orders.len() - 1));
    assert_eq!(&services[..3], [("shop/cart".into(), 1), ("shop/orders".into(), 1), ("shop/cart".into(), 2)]);
}

/// A file of any size is read through a window: here one that never ends.
#[test]
fn a_line_without_an_end_is_refused() {
    let mut reader = Reader::new("/dev/zero", BufReader::new(std::io::repeat(b'x').take(1 << 30)));
    let error = reader.read().unwrap_err();
    assert!(matches!(error.fault, Fault::TooLong), "{error}");
}
