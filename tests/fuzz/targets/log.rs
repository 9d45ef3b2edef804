//! See `zen_lead_fuzz::log`.
//!
//! Bytes that are changed at random are most often no JSON any more: half of the time it is lines and values that change.

#![no_main]

use serde_json::{Value, json};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| zen_lead_fuzz::log::run(bytes));

libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut dice = Dice(seed.into());
    let changed = (dice.below(2) == 0).then(|| changed(&data[..size], &mut dice)).flatten();
    match changed.filter(|text| text.len() <= max_size) {
        Some(text) => {
            data[..text.len()].copy_from_slice(&text);
            text.len()
        }
        None => libfuzzer_sys::fuzzer_mutate(data, size, max_size),
    }
});

/// Splitmix64: any numbers will do, the same ones for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed >> 33) as usize) % most.max(1)
    }
}

fn changed(text: &[u8], dice: &mut Dice) -> Option<Vec<u8>> {
    let lines = text.split(|byte| *byte == b'\n');
    let mut lines: Vec<Value> = lines.filter_map(|line| serde_json::from_slice(line).ok()).collect();
    for _ in 0..=dice.below(3) {
        let (at, other) = (dice.below(lines.len()), dice.below(lines.len()));
        match dice.below(8) {
            _ if lines.is_empty() => return None,
            0 => drop(lines.remove(at)),
            1 => lines.insert(other, lines[at].clone()),
            2 => lines.swap(at, other),
            _ => {
                let donor = lines[other].clone();
                change(&mut lines[at], &donor, dice);
            }
        }
    }
    if dice.below(4) > 0 {
        renumber(&mut lines);
    }
    let lines: Vec<_> = lines.iter().map(Value::to_string).collect();
    Some((lines.join("\n") + "\n").into_bytes())
}

/// Changes one value somewhere in `line`, to one of its kind from `donor` at times.
fn change(line: &mut Value, donor: &Value, dice: &mut Dice) {
    let mut place = dice.below(count(line));
    let Some(value) = nth(line, &mut place) else { return };
    let donated = descend(donor, dice);
    match value {
        _ if dice.below(3) == 0 && std::mem::discriminant(value) == std::mem::discriminant(donated) => {
            value.clone_from(donated);
        }
        Value::Number(number) => {
            let now = number.as_u64().unwrap_or_default();
            let edges =
                [0, 1, u64::MAX, u64::MAX - 1, i64::MAX as u64, now.wrapping_add(1), now.wrapping_sub(1)];
            let factor = [1, 1_000, 1_000_000, 60_000_000][dice.below(4)];
            let nearby = now.saturating_add(dice.below(100) as u64 * factor);
            *value = json!(edges.get(dice.below(10)).copied().unwrap_or(nearby));
        }
        Value::Bool(is_so) => *is_so = !*is_so,
        Value::Array(all) if !all.is_empty() => {
            let at = dice.below(all.len());
            let one = all.remove(at);
            if dice.below(2) == 0 {
                all.extend([one.clone(), one]);
            }
        }
        Value::Object(all) => {
            if let Some(key) = all.keys().nth(dice.below(all.len())).cloned() {
                all.remove(&key);
            }
        }
        Value::Null | Value::String(_) | Value::Array(_) => value.clone_from(donated),
    }
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(all) => all.iter().collect(),
        Value::Object(all) => all.values().collect(),
        _ => Vec::new(),
    }
}

fn count(value: &Value) -> usize {
    1 + children(value).into_iter().map(count).sum::<usize>()
}

fn nth<'a>(value: &'a mut Value, place: &mut usize) -> Option<&'a mut Value> {
    if *place == 0 {
        return Some(value);
    }
    *place -= 1;
    match value {
        Value::Array(all) => all.iter_mut().find_map(|child| nth(child, place)),
        Value::Object(all) => all.values_mut().find_map(|child| nth(child, place)),
        _ => None,
    }
}

/// Some value in this one, of any depth.
fn descend<'a>(value: &'a Value, dice: &mut Dice) -> &'a Value {
    let children = children(value);
    if children.is_empty() || dice.below(4) == 0 {
        value
    } else {
        descend(children[dice.below(children.len())], dice)
    }
}

/// Numbers the records as they follow.
fn renumber(lines: &mut [Value]) {
    let mut next = 1;
    for line in lines.iter_mut().filter_map(Value::as_object_mut) {
        if line.contains_key("log") {
            next = line.get("seq").and_then(Value::as_u64).unwrap_or(1);
        } else {
            line.insert("seq".to_owned(), json!(next));
            next = next.saturating_add(1);
        }
    }
}
