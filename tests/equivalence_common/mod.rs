//! Stock, interposed and patched runs of one program on one machine, and what each asked of the
//! kernel.

pub mod asked;
pub mod machine;
pub mod table;
