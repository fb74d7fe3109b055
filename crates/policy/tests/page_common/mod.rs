//! What docs/policy.md is made with: how answers become rows, and what the calls are asked with.

pub mod rows;
pub mod sections;
