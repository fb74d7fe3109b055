//! The decisions of the patches for Linux: the functions are cut out of the stock and the patched
//! source, compiled for user space and run over their whole input. It shows what they answer, and
//! nothing about what a GPU does with it.

mod cli_common;
mod kernel_common;
mod source_common;

use std::collections::BTreeMap;

use kernel_common::Source;
use kernel_common::decide::{MTYPE, NC, UC, answers, value};

const COHERENT: i64 = 1;
/// Of an SVM range.
const SVM_COHERENT: i64 = 2;
const SVM_EXT_COHERENT: i64 = 0x80;
const VRAM: i64 = 2;
const GC10: i64 = 10;

/// The answers of the stock and the patched functions of a version to each input.
fn both(version: &'static str) -> Option<Vec<(String, u64, u64)>> {
    let source = Source::get(version)?;
    let stock = answers(&source, source.copy().path(), true);
    let patched = answers(&source, source.patched().path(), false);
    assert!(stock.keys().eq(patched.keys()), "the same inputs");
    let pair = |((input, stock), patched)| (input, stock, patched);
    Some(stock.into_iter().zip(patched.into_values()).map(pair).collect())
}

/// The page table entry that a buffer must have, from what it has without the patch.
fn buffer(version: &str, input: &str, stock: u64) -> u64 {
    let is = |word, wanted| value(input, word) == wanted;
    let ours = is("parameter", 1)
        && is("grain", COHERENT)
        && is("kfd", 1)
        && is("here", 1)
        && is("valid", 1)
        && is("place", VRAM);
    if !ours {
        return stock;
    }
    // 6.1 cannot tell the UC that a render node's client names from the UC that KFD asks for.
    let mtype = match value(input, "from") {
        3 => 1 << 48,
        4 => 2 << 48,
        5 if version != "6.1" => UC,
        _ => NC,
    };
    stock & !MTYPE | mtype
}

fn range(input: &str, stock: u64) -> u64 {
    let (flags, gc) = (value(input, "flags"), value(input, "gc"));
    let ours = value(input, "parameter") == 1
        && gc >> 16 == GC10
        && value(input, "vram") == 1
        && value(input, "here") == 1
        && flags & (SVM_COHERENT | SVM_EXT_COHERENT) == SVM_COHERENT;
    if ours { stock & !MTYPE | NC } else { stock }
}

fn default(input: &str, stock: u64) -> u64 {
    let gpus = input.rsplit(' ').next().expect("the GPUs");
    let mut gpus = gpus.split('-').filter(|gc| *gc != "0").peekable();
    let ours = value(input, "parameter") == 1 && gpus.peek().is_some();
    let all = gpus.all(|gc| i64::from_str_radix(gc, 16).expect("a version") >> 16 == GC10);
    if ours && all { stock & !SVM_COHERENT.cast_unsigned() } else { stock }
}

fn noretry(input: &str, stock: u64) -> u64 {
    let gc = value(input, "gc");
    if gc >> 8 == 0x0a01 && value(input, "parameter") == -1 { 1 } else { stock }
}

fn check(version: &'static str) {
    let Some(both) = both(version) else { return };
    let mut changed = BTreeMap::<&str, usize>::new();
    for (input, stock, patched) in &both {
        let kind = input.split(' ').next().expect("a word");
        let expected = match kind {
            "buffer" => buffer(version, input, *stock),
            "range" => range(input, *stock),
            "default" => default(input, *stock),
            _ => noretry(input, *stock),
        };
        assert_eq!(*patched, expected, "Linux {version}: {input}; stock {stock:x}");
        *changed.entry(kind).or_default() += usize::from(stock != patched);
        // What is UC without the patches, so that the rules above are not about nothing.
        if kind == "buffer" && value(input, "from") == 0 && version != "6.1" {
            let uncached = value(input, "grain") != 0;
            assert_eq!(stock & MTYPE == UC, uncached, "Linux {version}: {input}");
        }
    }
    println!("Linux {version}: {} inputs, different answers: {changed:?}", both.len());
    for kind in ["buffer", "range", "default"] {
        assert!(changed[kind] > 0, "Linux {version}: nothing differs for {kind}");
    }
    // 7.2 has it already.
    assert_eq!(changed["noretry"] > 0, version != "7.2", "Linux {version}");
}

#[test]
fn only_coherent_local_vram_and_new_ranges_get_another_answer_from_6_1() {
    check("6.1");
}

#[test]
fn only_coherent_local_vram_and_new_ranges_get_another_answer_from_6_12() {
    check("6.12");
}

#[test]
fn only_coherent_local_vram_and_new_ranges_get_another_answer_from_7_2() {
    check("7.2");
}
