//! zen-lead.
