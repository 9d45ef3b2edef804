//! stub
use crate::record::{Header, Record};
use machine::*;
use std::sync::Arc;
pub(super) struct Page;
impl Page {
    pub(super) fn new(_b: Micros) -> Self {
        Self
    }
    pub(super) fn start(&mut self, _h: &Header, _e: &Election) {}
    pub(super) fn step(&mut self, _s: &Arc<str>, _r: &Record, _e: &Election) {}
    pub(super) fn html(&self) -> String {
        String::new()
    }
}
