//! The text of the golden tables: one file for each release, each distinct table once. Knows
//! nothing of how it was measured.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use kfd_abi::flags::{alloc, names};

use super::measure::{LEVELS, Measured, Setting};
use super::row::{Asked, Row, flag_word};
use crate::common::boards::BOARDS;

/// Columns: call, code, HSA calls, what the kernel is asked, MTYPE. 120 characters.
const CALL: usize = 44;
const CODE: usize = 4;
const HSA: usize = 32;
const KFD: usize = 34;
/// A line of plain text.
const LINE: usize = 116;

/// A row: what is asked without the library, then the levels at which it is something else.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Block {
    call: String,
    stock: Vec<String>,
    levels: Vec<String>,
}

/// The rows of a table at each level.
type Levels = Vec<Vec<Row>>;

/// Written for PUBLIC in a word of VRAM, which a large BAR adds.
const PUBLIC: &str = "(PUBLIC)";

/// The whole file of a release.
pub fn file(release: &str, matrix: &[Measured]) -> String {
    let mut tables: Vec<(Levels, Vec<&Setting>)> = Vec::new();
    let mut own: Vec<(BTreeSet<Asked>, Vec<&Setting>)> = Vec::new();
    for pair in matrix.chunks(2) {
        let [small, large] = pair else { unreachable!("settings are pairs") };
        merge(&mut tables, rows(small), rows(large), pair, |levels| {
            let mut levels = levels.clone();
            let all = levels.iter_mut().flatten().flat_map(|row| &mut row.kfd);
            all.for_each(|asked| *asked = without_public(asked));
            levels
        });
        merge(&mut own, own_memory(small), own_memory(large), pair, |asked| {
            asked.iter().map(without_public).collect()
        });
    }
    let tables: Vec<(Vec<Block>, Vec<&Setting>)> =
        tables.into_iter().map(|(levels, settings)| (table(&levels), settings)).collect();
    let mut text = header(release, tables.len());
    for (number, (table, settings)) in tables.iter().enumerate() {
        let _ = write!(text, "\n== Table {}\n\n{}", number + 1, machines(settings));
        let changes = table.iter().any(|block| !block.levels.is_empty());
        let whose = if changes { "" } else { " without librdnafix.so" };
        if !changes {
            text += "   Nothing changes at any level.\n";
        }
        let nearest = tables[..number]
            .iter()
            .map(|(earlier, _)| differences(earlier, table, changes))
            .enumerate()
            .min_by_key(|(_, rows)| rows.len());
        let rows = match nearest {
            Some((base, rows)) if rows.len() * 2 < table.len() => {
                let but = if rows.is_empty() { "." } else { " except for:\n" };
                let _ = writeln!(text, "   As table {}{whose}{but}", base + 1);
                rows
            }
            _ => {
                text.push('\n');
                table.iter().map(|block| [&block.stock[..], &block.levels].concat()).collect()
            }
        };
        for line in rows.iter().flatten() {
            let _ = writeln!(text, "{line}");
        }
    }
    text += "\n== Memory of the runtimes themselves, the same at every level\n";
    for (asked, settings) in &own {
        let _ = write!(text, "\n{}\n", machines(settings));
        let kinds: Vec<String> = asked
            .iter()
            .map(|asked| format!("{} {}", asked.what, asked.mtype).trim().into())
            .collect();
        for line in wrap(&kinds.join(", "), LINE) {
            let _ = writeln!(text, "{line}");
        }
    }
    text + &legend(matrix)
}

/// Adds what was seen with a small and with a large BAR: as one where they differ in PUBLIC only.
fn merge<'a, T: PartialEq>(
    groups: &mut Vec<(T, Vec<&'a Setting>)>,
    small: T,
    large: T,
    pair: &'a [Measured],
    without_public: impl Fn(&T) -> T,
) {
    if small == without_public(&large) {
        group(groups, large, [&pair[0].setting, &pair[1].setting]);
    } else {
        group(groups, small, [&pair[0].setting]);
        group(groups, large, [&pair[1].setting]);
    }
}

fn group<'a, T: PartialEq>(
    groups: &mut Vec<(T, Vec<&'a Setting>)>,
    of: T,
    settings: impl IntoIterator<Item = &'a Setting>,
) {
    match groups.iter_mut().find(|(known, _)| *known == of) {
        Some((_, known)) => known.extend(settings),
        None => groups.push((of, settings.into_iter().collect())),
    }
}

fn header(release: &str, tables: usize) -> String {
    format!(
        "# ROCm {release}: what each allocation call of HIP and HSA asks of the kernel, without\n\
         # librdnafix.so and with it, on simulated GPUs. {tables} tables for all boards and settings.\n\
         # Made by scripts/golden.sh and compared by every test run; never edited by hand.\n\
         # How to read it: docs/golden.md.\n\
         #\n{}\n\
         #     levels at which the call asks for something else: what it asks for then\n",
        line("# call", "rc", "HSA calls that reach ROCr", "asked of the kernel", "MT").trim_end(),
    )
}

/// The words of flags in the file, in full.
fn legend(matrix: &[Measured]) -> String {
    let all = matrix.iter().flat_map(|measured| &measured.levels);
    let words: BTreeSet<u32> = all
        .flat_map(|seen| {
            let rows = seen.rows.iter().flat_map(|row| &row.kfd);
            rows.chain(seen.own.iter().map(|(asked, _)| asked))
        })
        .filter_map(Asked::word)
        .collect();
    words.iter().fold("\n== Flags of ALLOC_MEMORY_OF_GPU\n\n".to_owned(), |text, word| {
        text + &format!("{word:08x} {}\n", names(*word, alloc::NAMES).join("|"))
    })
}

/// The machines of a table: the boards, and below each group of them the settings.
fn machines(settings: &[&Setting]) -> String {
    let mut of_board: BTreeMap<usize, BTreeMap<String, BTreeSet<&str>>> = BTreeMap::new();
    for setting in settings {
        let board = BOARDS.iter().position(|board| *board == setting.board).expect("known");
        let svm = if setting.svm { "SVM" } else { "no SVM" };
        let variable = setting.variable.as_ref().map_or(String::new(), |text| format!(", {text}"));
        let bar = if setting.large_bar { "large BAR" } else { "small BAR" };
        of_board
            .entry(board)
            .or_default()
            .entry(format!("{svm}{variable}"))
            .or_default()
            .insert(bar);
    }
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for (board, kinds) in of_board {
        let kinds: Vec<String> = kinds
            .into_iter()
            .map(|(kind, bars)| {
                let bars: Vec<&str> = bars.into_iter().collect();
                format!("{kind}, {}", if let [one] = bars[..] { one } else { "any BAR" })
            })
            .collect();
        let kinds = kinds.join("\n       ");
        match groups.iter_mut().find(|(known, _)| *known == kinds) {
            Some((_, boards)) => boards.push(BOARDS[board]),
            None => groups.push((kinds, vec![BOARDS[board]])),
        }
    }
    groups.iter().fold(String::new(), |text, (kinds, boards)| {
        text + &format!("   {}\n       {kinds}\n", boards.join(" "))
    })
}

/// The rows of `table` that `base` has otherwise or not at all, and those that only `base` has;
/// without the library if `table` has nothing of it.
fn differences(base: &[Block], table: &[Block], with_levels: bool) -> Vec<Vec<String>> {
    let same = |a: &Block, b: &Block| {
        a.call == b.call && a.stock == b.stock && (!with_levels || a.levels == b.levels)
    };
    let changed = table
        .iter()
        .filter(|block| !base.iter().any(|other| same(other, block)))
        .map(|block| [&block.stock[..], &block.levels].concat());
    let missing = base
        .iter()
        .filter(|block| !table.iter().any(|other| other.call == block.call))
        .map(|block| vec![line(&block.call, "-", "no such row here", "", "")]);
    changed.chain(missing).collect()
}

fn table(levels: &Levels) -> Vec<Block> {
    let mut table: Vec<Block> = Vec::new();
    for index in 0..levels[0].len() {
        let rows: Vec<&Row> = levels.iter().map(|rows| &rows[index]).collect();
        let call = &rows[0].call;
        assert!(table.iter().all(|known| known.call != *call), "two rows {call}");
        table.push(block(&rows));
    }
    table
}

/// The rows of each level, as they are written.
fn rows(measured: &Measured) -> Levels {
    let mut levels: Levels = measured.levels.iter().map(|seen| seen.rows.clone()).collect();
    let calls = |rows: &[Row]| rows.iter().map(|row| row.call.clone()).collect::<Vec<_>>();
    for (name, rows) in LEVELS.iter().zip(&levels) {
        assert_eq!(calls(rows), calls(&levels[0]), "the calls at {name}, {}", measured.name());
    }
    let all = levels.iter_mut().flatten().flat_map(|row| &mut row.kfd);
    all.for_each(|asked| *asked = written(asked));
    levels
}

/// What the runtimes allocate for themselves, each kind once: how much of it and how often
/// depends on the GPU.
fn own_memory(measured: &Measured) -> BTreeSet<Asked> {
    measured.levels[0].own.iter().map(|(asked, _)| written(asked)).collect()
}

/// A request; PUBLIC of VRAM is written so that it can be left out.
fn written(asked: &Asked) -> Asked {
    let mut asked = asked.clone();
    let public = alloc::VRAM | alloc::PUBLIC;
    if let Some(word) = asked.word().filter(|word| word & public == public) {
        asked.what = flag_word(word & !alloc::PUBLIC).replacen("VRAM", &format!("VRAM{PUBLIC}"), 1);
    }
    asked
}

fn without_public(asked: &Asked) -> Asked {
    Asked { what: asked.what.replace(PUBLIC, ""), mtype: asked.mtype.clone() }
}

fn block(rows: &[&Row]) -> Block {
    let stock = rows[0];
    let mut levels = Vec::new();
    let mut level = 1;
    while level < rows.len() {
        let same = rows[level..].iter().take_while(|row| **row == rows[level]).count();
        if rows[level] != stock {
            let code = if rows[level].code == stock.code { "" } else { &rows[level].code };
            let name = format!("    {}", LEVELS[level..level + same].join(", "));
            levels.extend(cells(&name, code, rows[level]));
        }
        level += same;
    }
    Block { call: stock.call.clone(), stock: cells(&stock.call, &stock.code, stock), levels }
}

fn cells(first: &str, code: &str, row: &Row) -> Vec<String> {
    let hsa: Vec<String> = row.hsa.iter().flat_map(|call| wrap(call, HSA)).collect();
    let kfd: Vec<(String, &str)> = row
        .kfd
        .iter()
        .flat_map(|asked| {
            let parts = wrap(&asked.what, KFD).into_iter().enumerate();
            parts.map(|(part, text)| (text, if part == 0 { &asked.mtype[..] } else { "" }))
        })
        .collect();
    (0..hsa.len().max(kfd.len()).max(1))
        .map(|at| {
            let (first, code) = if at == 0 { (first, code) } else { ("", "") };
            let (asked, mtype) = kfd.get(at).map_or(("", ""), |(text, mtype)| (text, mtype));
            line(first, code, hsa.get(at).map_or("", |text| text), asked, mtype)
        })
        .collect()
}

fn line(call: &str, code: &str, hsa: &str, kfd: &str, mtype: &str) -> String {
    format!("{call:<CALL$} {code:>CODE$} {hsa:<HSA$} {kfd:<KFD$} {mtype}").trim_end().to_owned()
}

/// Breaks a text after a space or a `|`; what follows is indented.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for part in text.split_inclusive([' ', '|']) {
        let line = lines.last_mut().expect("one at least");
        if !line.is_empty() && line.len() + part.trim_end().len() > width {
            lines.push(format!("  {part}"));
        } else {
            line.push_str(part);
        }
    }
    lines.into_iter().map(|line| line.trim_end().to_owned()).collect()
}
