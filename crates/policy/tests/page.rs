//! docs/policy.md is what the crate decides, over the whole domain. `RDNAFIX_GOLDEN=write` (or
//! scripts/golden.sh) writes it anew. Nothing about a decision stands in this file: the rows are
//! found by asking, and the rules of the first table are checked while asking.

mod domain_common;
mod page_common;

use std::fmt::Write;
use std::path::Path;

use domain_common::{CALLERS, TARGETS, requests};
use page_common::rows::{Point, Variable, rows};
use page_common::sections::{SECTIONS, Section, action_text};
use policy::{Action, Caller, Decision, GfxTarget, Level, Reason, Request, decide};

const RDNA2: Option<GfxTarget> = Some(GfxTarget { major: 10, minor: 3, stepping: 0 });
const BEFORE: &str = include_str!("page_common/before.txt");
const AFTER: &str = include_str!("page_common/after.txt");

/// The answers at standard, mapped and full, for the tables.
fn answers(request: Request, caller: Caller) -> Vec<String> {
    [Level::Standard, Level::Mapped, Level::Full]
        .map(|level| {
            let Decision { action, reason } = decide(request, RDNA2, caller, level);
            match action_text(request, action) {
                None => reason.code().into(),
                Some(text) => format!("**{text}**: {}", reason.code()),
            }
        })
        .into()
}

/// What the page says of all calls at once, and what the tables take for granted.
fn check_the_rules_for_all() {
    let forward = |reason| Decision { action: Action::Forward, reason };
    for request in requests() {
        for caller in CALLERS {
            for level in Level::ALL {
                let here = decide(request, RDNA2, caller, level);
                for version in TARGETS {
                    let gpu = GfxTarget::from_kfd(version).expect("a target");
                    let expected = match (level, gpu.is_rdna12()) {
                        (Level::Off, _) => forward(Reason::LevelOff),
                        (_, false) => forward(Reason::NotRdna12),
                        (_, true) => here,
                    };
                    assert_eq!(decide(request, Some(gpu), caller, level), expected);
                }
                let unknown = decide(request, None, caller, level);
                assert_eq!(unknown.action, Action::Forward);
                assert_eq!(here.action.rewrites(), unknown.reason == Reason::UnknownGpu);
                if caller == Caller::Denied && level != Level::Off {
                    let as_program = decide(request, RDNA2, Caller::Program, level);
                    let denied = forward(Reason::DeniedCaller);
                    assert_eq!(here, if level < Level::Full { denied } else { as_program });
                }
            }
        }
        let same = answers(request, Caller::HipRuntime) == answers(request, Caller::Program);
        assert!(same || matches!(request, Request::PoolAllocate { .. }), "{request:?}");
    }
}

fn table(section: &Section) -> String {
    let mut points = Vec::new();
    for request in requests() {
        for caller in [Caller::Program, Caller::HipRuntime] {
            if let Some(values) = (section.values)(request, caller) {
                points.push(Point { values, answer: answers(request, caller) });
            }
        }
    }
    assert!(!points.is_empty(), "{} is in the domain", section.title);
    let mut text = format!("## {}\n\n{}\n\n", section.title, section.about);
    text.push_str("| asked | standard | mapped | full |\n| --- | --- | --- | --- |\n");
    let variables: Vec<Variable> = (section.variables)();
    for row in rows(&variables, &points) {
        writeln!(text, "| {} | {} |", row.condition, row.answer.join(" | ")).expect("a string");
    }
    writeln!(text, "\nRequests asked: {}.\n", points.len()).expect("a string");
    text
}

fn page() -> String {
    let mut text = BEFORE.to_owned();
    text.push('\n');
    for section in &SECTIONS {
        text.push_str(&table(section));
    }
    text.push_str("## The reasons\n\n| code | in words |\n| --- | --- |\n");
    for reason in Reason::ALL {
        writeln!(text, "| `{}` | {} |", reason.code(), reason.text()).expect("a string");
    }
    text.push('\n');
    text.push_str(AFTER);
    text
}

#[test]
fn the_page_is_what_the_crate_decides() {
    check_the_rules_for_all();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/policy.md");
    let now = page();
    if std::env::var_os("RDNAFIX_GOLDEN").is_some_and(|value| value == "write") {
        std::fs::write(&path, now).expect("the page is writable");
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    for (kept, now) in kept.lines().zip(now.lines()) {
        assert_eq!(kept, now, "docs/policy.md is another: scripts/golden.sh writes it anew");
    }
    assert_eq!(kept, now, "docs/policy.md is longer or shorter: scripts/golden.sh writes it anew");
}
