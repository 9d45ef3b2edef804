//! What receives traces, against the exporter that the controller uses.

mod collector;
mod phoenix;
mod sender;
