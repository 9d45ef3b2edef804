//! What users of the Go zen-lead rely on, on a real control plane: a test or more for each row of the list, named
//! after it. (p21, the metrics, is not among them.)

mod support;

#[path = "parity/choice.rs"]
mod choice;
#[path = "parity/legacy.rs"]
mod legacy;
#[path = "parity/life.rs"]
mod life;
#[path = "parity/notices.rs"]
mod notices;
#[path = "parity/objects.rs"]
mod objects;
#[path = "parity/ports.rs"]
mod ports;
#[path = "parity/swap.rs"]
mod swap;
