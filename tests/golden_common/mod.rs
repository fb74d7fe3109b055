//! The golden tables: measuring, and the text that is kept under tests/golden.

pub mod measure;
pub mod row;
pub mod text;
