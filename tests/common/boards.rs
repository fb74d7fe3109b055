//! The boards of the simulated GPU.

/// All of crates/kfdsim/boards; the first one stands for the others where one is enough.
pub const BOARDS: [&str; 14] = [
    "gfx1030", "gfx1031", "gfx1032", "gfx1033", "gfx1034", "gfx1035", "gfx1036", "gfx1010",
    "gfx1011", "gfx1012", "gfx1013", "gfx906", "gfx1100", "gfx1201",
];

/// Those that are neither RDNA1 nor RDNA2: nothing may change on them.
pub const CONTROLS: [&str; 3] = ["gfx906", "gfx1100", "gfx1201"];

/// The others.
pub fn rdna12() -> Vec<&'static str> {
    let mut boards: Vec<&str> =
        BOARDS.into_iter().filter(|board| !CONTROLS.contains(board)).collect();
    boards.sort_unstable();
    boards
}
