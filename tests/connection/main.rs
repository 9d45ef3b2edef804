//! The way to the API server when the network, the servers, the credentials or the store fail: noticed, survived,
//! and the leader that was lost meanwhile replaced.

mod credentials;
mod idle;
mod packets;
mod servers;
#[path = "../support/mod.rs"]
mod support;

use std::time::Instant;

use lab::within;

/// Whatever the cause, a dead server is noticed and left within five seconds.
fn kept_the_promise(since: Instant, what: &str) {
    let took = since.elapsed();
    println!("{what}: {took:.2?}");
    assert!(took < within(5), "{what} took {took:?}");
}
