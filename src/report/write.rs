//! Writing the report: its JSON, and what no layer saw.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::sync::atomic::{AtomicU64, Ordering};

use policy::{GfxTarget, Reason};

use super::{Counted, HANDED_OUT, NOT_COUNTED, THROUGH_SYMBOLS, THROUGH_TABLE, rows};
use crate::hook::{Hook, Library};
use crate::{caller, cancel, config, fork, gpus, objects, resolve};

/// What was asked, in words.
pub(crate) fn request_text(hook: Hook, detail: u32) -> String {
    match hook {
        Hook::HsaMemoryPoolAllocate | Hook::HsaMemoryLockToPool | Hook::HsaVmemHandleCreate => {
            let owner = if detail >> 16 & 1 == 1 { "GPU" } else { "CPU" };
            let flags = detail >> 8 & 0xff;
            let kinds = ["kernarg", "fine", "coarse", "extended"];
            let names: Vec<&str> = kinds
                .iter()
                .enumerate()
                .filter(|(bit, _)| flags >> bit & 1 == 1)
                .map(|(_, name)| *name)
                .collect();
            format!("{owner} {} pool, flags={:#x}", names.join("+"), detail & 0xff)
        }
        Hook::HsaSvmAttributesSet => {
            let words = ["other attributes", "access", "grain", "access and grain"];
            words[detail as usize & 3].into()
        }
        _ => format!("flags={detail:#x}"),
    }
}

pub(super) extern "C" fn at_exit() {
    cancel::held_off(write);
}

fn write() {
    let (rows, unseen) = (rows(), unseen());
    if rows.is_empty() && unseen.is_empty() {
        return; // A process that asked nothing of a GPU.
    }
    let line = render(&rows, &unseen);
    let config = config::get();
    let mut options = std::fs::OpenOptions::new();
    options.append(true);
    if let Some(path) = &config.report {
        let written = options.clone().create(true).open(path);
        if let Err(error) = written.and_then(|mut file| file.write_all(line.as_bytes())) {
            tracing::error!("RDNAFIX_REPORT: cannot write {}: {error}", path.display());
        }
    }
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    for path in &config.summary_files {
        // Gone where `rdnafix run` has ended before this process: nobody waits for it then, and
        // what another user put in its place is left alone.
        let Ok(mut file) = options.open(path) else { continue };
        // SAFETY: geteuid takes nothing and cannot fail.
        let own = unsafe { libc::geteuid() };
        if file.metadata().is_ok_and(|about| about.is_file() && about.uid() == own) {
            let _ = file.write_all(line.as_bytes());
        }
    }
}

fn render(rows: &[Counted], unseen: &[String]) -> String {
    let mut out = String::new();
    let program =
        std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default();
    let _ = write!(
        out,
        "{{\"rdnafix\":\"{}\",\"pid\":{},\"program\":{},\"level\":\"{}\",\"gpus\":[",
        env!("CARGO_PKG_VERSION"),
        std::process::id(),
        quoted(&program),
        config::get().level.name(),
    );
    for (index, gpu) in gpus::all().iter().enumerate() {
        let target = gpus::target(gpu);
        let _ = write!(
            out,
            "{}{{\"node\":{},\"pci\":\"{:04x}:{:02x}:{:02x}.{}\",\"gfx\":{},\"rdna12\":{}}}",
            if index == 0 { "" } else { "," },
            gpu.node,
            gpu.pci.domain,
            gpu.pci.bdf >> 8,
            gpu.pci.bdf >> 3 & 0x1f,
            gpu.pci.bdf & 7,
            target.map_or("null".into(), |target| quoted(&target.to_string())),
            target.is_some_and(GfxTarget::is_rdna12),
        );
    }
    out.push_str("],\"calls\":[");
    for (index, row) in rows.iter().enumerate() {
        out.push_str(if index == 0 { "" } else { "," });
        render_row(&mut out, row);
    }
    let number = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
    let _ = writeln!(
        out,
        "],\"layers\":{{\"symbols\":{},\"table\":{},\"handed_out\":{}}},\"unseen\":[{}],\"not_counted\":{}}}",
        number(&THROUGH_SYMBOLS),
        number(&THROUGH_TABLE),
        number(&HANDED_OUT),
        unseen.iter().map(|path| quoted(path)).collect::<Vec<_>>().join(","),
        number(&NOT_COUNTED),
    );
    out
}

fn render_row(out: &mut String, row: &Counted) {
    let bits = |from: u32, width: u32| (row.key >> from & ((1 << width) - 1)) as usize;
    let hook = Hook::ALL[bits(56, 7)];
    let reason = Reason::ALL[bits(48, 7)];
    let gpu = match bits(32, 16) {
        0 => "null".into(),
        target => format!("\"gfx{}{:x}{:x}\"", target >> 8, target >> 4 & 15, target & 15),
    };
    let _ = write!(
        out,
        "{{\"api\":\"{}\",\"gpu\":{gpu},\"request\":{},\"action\":\"{}\",\"reason\":\"{}\",\"why\":{},\
         \"calls\":{},\"bytes\":{},\"fell_back\":{}}}",
        hook.name(),
        quoted(&request_text(hook, row.key as u32)),
        match (bits(55, 1), config::get().dry_run) {
            (0, _) => "forwarded",
            (_, false) => "rewritten",
            (_, true) => "would rewrite",
        },
        reason.code(),
        quoted(reason.text()),
        row.calls,
        row.bytes,
        row.fell_back,
    );
}

/// Copies of libamdhip64 in this process whose calls no layer saw: nothing was forwarded to
/// them, and nothing came from them. None where nobody opened a GPU, or the parent did.
fn unseen() -> Vec<String> {
    if !fork::is_first_process() || !uses_a_gpu() {
        return Vec::new();
    }
    objects::named(Library::Hip.file_prefix())
        .into_iter()
        .filter(|copy| !resolve::forwards_to(copy.scope) && !caller::seen_in(copy.scope))
        .map(|copy| copy.path.to_string_lossy().into_owned())
        .collect()
}

/// Whether something of a GPU is mapped, real or simulated.
fn uses_a_gpu() -> bool {
    let maps = std::fs::read("/proc/self/maps").unwrap_or_default();
    ["/dev/kfd", "/dev/dri/render", "/memfd:kfdsim"]
        .iter()
        .any(|path| maps.windows(path.len()).any(|window| window == path.as_bytes()))
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", control as u32);
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::super::{Call, pack};
    use super::*;

    fn call(hook: Hook, reason: Reason, detail: u32, gpu: &str) -> Call {
        let gpu = GfxTarget::from_name(gpu);
        Call { hook, gpu, rewritten: true, reason, detail, bytes: 4096, fell_back: false }
    }

    #[test]
    fn a_row_says_what_was_counted() {
        for (hook, reason, detail, gpu, request) in [
            (Hook::HipHostMalloc, Reason::NobodyAsked, 0xe000_0007, "gfx1030", "flags=0xe0000007"),
            (
                Hook::HsaMemoryPoolAllocate,
                Reason::NoCoarsePool,
                0x1_0201,
                "gfx1012",
                "GPU fine pool, flags=0x1",
            ),
            (Hook::HipFree, Reason::LevelOff, 0, "gfx90a", "flags=0x0"),
            (Hook::HsaSvmAttributesSet, Reason::GrainChosen, 3, "", "access and grain"),
        ] {
            let mut text = String::new();
            let key = pack(&call(hook, reason, detail, gpu));
            render_row(&mut text, &Counted { key, calls: 2, bytes: 8192, fell_back: 0 });
            let row: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(row["api"], hook.name());
            assert_eq!(row["gpu"].as_str().unwrap_or(""), gpu);
            assert_eq!(row["request"], request);
            assert_eq!(row["action"], "rewritten");
            assert_eq!(row["reason"], reason.code());
            assert_eq!((row["calls"].as_u64(), row["bytes"].as_u64()), (Some(2), Some(8192)));
        }
    }

    #[test]
    fn every_reason_and_hook_fits_its_field() {
        assert!(Reason::ALL.len() <= 1 << 7 && Hook::ALL.len() <= 1 << 7);
    }

    #[test]
    fn the_report_is_one_line_of_json() {
        let line = render(&[], &["/a\"b".into()]);
        assert_eq!(line.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&value["level"], &value["unseen"][0]), (&"standard".into(), &"/a\"b".into()));
        assert_eq!(quoted("a\"\\\n"), "\"a\\\"\\\\\\u000a\"");
    }
}
