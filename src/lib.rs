//! zen-lead.

pub mod annotations;
pub mod kinds;
pub mod names;
pub mod notice;
pub mod rows;
pub mod service;
pub mod slice;
