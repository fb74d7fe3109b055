//! The patches and the releases that can be built are part of the command: it is built anew
//! when one of them changes.

fn main() {
    println!("cargo::rerun-if-changed=../../patches");
    println!("cargo::rerun-if-changed=releases");
}
