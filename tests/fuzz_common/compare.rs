//! Compares a run with the library to one without, call by call.

use kfd_abi::log::{Domain, Ioctl};
use serde_json::{Value, json};

use super::calls::{self, Call};
use super::grain::{Coherence, Grain};
use super::memory::{self, Log, Page, Section, handle};
use super::oracle::{Expected, Oracle, Setting};
use crate::common::Ran;
use crate::common::sequence::{arguments, in_words};

/// What the kernel calls coherent.
const COHERENT: [&str; 3] = ["COHERENT", "EXT_COHERENT", "UNCACHED"];

/// Where two runs differ that should not.
pub struct Difference {
    /// The sequence, if it is in one.
    pub sequence: Option<u64>,
    pub text: String,
}

/// The first difference that the policy does not explain. `strict`: there must not be any.
pub fn difference(
    setting: Setting,
    strict: bool,
    stock: &Ran,
    interposed: &Ran,
) -> Option<Difference> {
    if let Some((line, other)) = different_line(stock.stdout(), interposed.stdout()) {
        let sequence = line.split_once('.').and_then(|(sequence, _)| sequence.parse().ok());
        let text = format!("the program sees\n  {other:?} where stock it sees\n  {line:?}");
        return Some(Difference { sequence, text });
    }
    let printed = calls::read(stock.stdout());
    let logs = [memory::read(&stock.records), memory::read(&interposed.records)];
    let mut oracle = Oracle::new(&printed, setting);
    let how = How { refusing: setting.refusing, strict, blocks: printed.has_blocks() && !strict };
    let own = Expected::default();
    if let Err(text) = asked_the_same(how, &own, &logs, |log| log.after.get("")) {
        return Some(Difference { sequence: None, text: format!("before the first call: {text}") });
    }
    for call in &printed.calls {
        let expected = oracle.next(call);
        let id = call.id.as_str();
        let wrong = asked_the_same(how, &expected, &logs, |log| log.calls.get(id))
            .and_then(|()| memory_as_expected(setting, call, &expected, &logs))
            .and_then(|()| asked_the_same(how, &own, &logs, |log| log.after.get(id)));
        if let Err(text) = wrong {
            let decision = if expected.rewritten { "rewritten" } else { "left alone" };
            let text = format!("{}\nby the policy it is {decision}, but {text}", call.line);
            return Some(Difference { sequence: Some(call.sequence), text });
        }
    }
    None
}

/// The first difference between two runs that are to be the same, whatever the policy says: what
/// the program sees, every ioctl, and the memory that each call is about.
pub fn any_difference(setting: Setting, one: &Ran, other: &Ran) -> Option<Difference> {
    if let Some((line, other)) = different_line(one.stdout(), other.stdout()) {
        let text =
            format!("the program sees\n  {other:?} where in the other run it sees\n  {line:?}");
        return Some(Difference { sequence: None, text });
    }
    let logs = [memory::read(&one.records), memory::read(&other.records)];
    let how = How { refusing: false, strict: true, blocks: false };
    let own = Expected::default();
    for call in &calls::read(one.stdout()).calls {
        let id = call.id.as_str();
        let about = |log: &Log<'_>| log.calls.get(id).map(|section| section.about.clone());
        let wrong = asked_the_same(how, &own, &logs, |log| log.calls.get(id))
            .and_then(|()| asked_the_same(how, &own, &logs, |log| log.after.get(id)))
            .and_then(|()| match (about(&logs[0]), about(&logs[1])) {
                // What an address was used for before depends on where the memory came to lie.
                _ if call.result != 0 || call.name == "hipMemAdvise" && !setting.svm => Ok(()),
                (one, other) if one == other => Ok(()),
                (one, other) => Err(format!("the memory is {other:?} and not {one:?}")),
            });
        if let Err(text) = wrong {
            let text = format!("{}\n{text}", call.line);
            return Some(Difference { sequence: Some(call.sequence), text });
        }
    }
    None
}

fn different_line<'a>(stock: &'a str, interposed: &'a str) -> Option<(&'a str, &'a str)> {
    let end = std::iter::once("(end)");
    let lines = stock.lines().chain(end.clone()).zip(interposed.lines().chain(end));
    lines.into_iter().find(|(line, other)| line != other)
}

/// How two runs are compared.
#[derive(Clone, Copy)]
struct How {
    /// The kernel refuses what the library makes of some calls.
    refusing: bool,
    /// Nothing at all may differ.
    strict: bool,
    /// Small requests to a GPU's pools that are rewritten come out of blocks that the runtime
    /// has already, or has not; their memory is looked at where it is used.
    blocks: bool,
}

/// Compares what was asked of the kernel in one section of both logs.
fn asked_the_same<'a>(
    how: How,
    expected: &Expected,
    logs: &'a [Log<'a>; 2],
    section: impl Fn(&'a Log<'a>) -> Option<&'a Section<'a>>,
) -> Result<(), String> {
    let words = |text: fn(&Ioctl) -> String| {
        logs.each_ref().map(|log| {
            let ioctls = section(log).map_or(&[][..], |section| &section.ioctls[..]);
            let comparable = |ioctl: &&&Ioctl| {
                !(how.blocks && handle(ioctl).is_some_and(|handle| log.vram.contains(handle)))
            };
            ioctls.iter().filter(comparable).map(|ioctl| text(ioctl)).collect::<Vec<_>>()
        })
    };
    let plain = if how.strict { in_words } else { without_range };
    let [stock, interposed] = words(plain);
    if stock == interposed && (how.strict || !expected.rewritten || stock.is_empty()) {
        return Ok(());
    }
    if expected.rewritten {
        let [alike, also_alike] = words(without_grain);
        // Refused, it is repeated as it came.
        let twice = [&alike[..], &alike].concat();
        let repeated = interposed.ends_with(&stock);
        if after_trial(&also_alike) == alike || repeated && (also_alike == twice || how.refusing) {
            return Ok(());
        }
    }
    let alike = stock.iter().zip(&interposed).take_while(|(one, other)| one == other).count();
    let lines = |words: &[String]| words[alike..].join("\n    ");
    Err(format!(
        "after {alike} ioctls alike, stock it asks the kernel for\n    {}\n  with the library for\n    {}",
        lines(&stock),
        lines(&interposed)
    ))
}

/// What follows the page that is allocated and freed to find out whether this release takes the
/// flags of a call.
fn after_trial(ioctls: &[String]) -> &[String] {
    let Some((first, rest)) = ioctls.split_first() else { return ioctls };
    let a_page = first.starts_with("ALLOC_MEMORY_OF_GPU") && first.contains(" size=4096");
    let freed = rest.iter().position(|ioctl| ioctl.starts_with("FREE_MEMORY_OF_GPU"));
    let mapping = |ioctl: &String| ioctl.contains("MAP_MEMORY");
    match freed {
        Some(freed) if a_page && rest[..freed].iter().all(mapping) => &rest[freed + 1..],
        _ => ioctls,
    }
}

/// An ioctl in words; what an SVM range was before depends on earlier calls.
fn without_range(ioctl: &Ioctl) -> String {
    if ioctl.name == "SVM" { arguments(ioctl) } else { in_words(ioctl) }
}

/// An ioctl in words, without what it says about the grain.
fn without_grain(ioctl: &Ioctl) -> String {
    let mut ioctl = ioctl.clone();
    let sets_flags = |attribute: &Value| {
        ["SET_FLAGS", "CLR_FLAGS"].iter().any(|kind| attribute["type"] == *kind)
    };
    let names_grain = |flag: &Value| flag.as_str().is_some_and(|flag| COHERENT.contains(&flag));
    if let Some(Value::Array(flags)) = ioctl.args.get_mut("flags") {
        flags.retain(|flag| !names_grain(flag));
    }
    if let Some(Value::Array(attributes)) = ioctl.args.get_mut("attrs") {
        for attribute in attributes.iter_mut() {
            if sets_flags(attribute)
                && let Value::Array(flags) = &mut attribute["value"]
            {
                flags.retain(|flag| !names_grain(flag));
            }
        }
        attributes.retain(|attribute| !(sets_flags(attribute) && attribute["value"] == json!([])));
        ioctl.args.remove("nattr");
    }
    arguments(&ioctl)
}

/// Checks the memory that a call gave or was about, once it had returned.
fn memory_as_expected(
    setting: Setting,
    call: &Call,
    expected: &Expected,
    logs: &[Log<'_>; 2],
) -> Result<(), String> {
    if call.result != 0 {
        return Ok(());
    }
    let sections = logs.each_ref().map(|log| log.calls.get(call.id.as_str()));
    // An mmap has no marks.
    let [Some(stock), Some(interposed)] = sections else { return Ok(()) };
    if stock.about.is_empty() && interposed.about.is_empty() {
        return Ok(());
    }
    if let Some(range) = &expected.range {
        range_as_expected(stock, range, |grain| grain.stock)
            .map_err(|text| format!("stock, {text}"))?;
        return range_as_expected(interposed, range, |grain| grain.interposed);
    }
    if call.name == "hipMemAdvise" {
        // Without SVM, or refused by the kernel, it is about nothing.
        return Ok(());
    }
    let was = one_kind(stock)?;
    let should = Page { coherent: was.coherent && !expected.rewritten, ..was };
    let is = one_kind(interposed)?;
    let fell_back = setting.refusing && (is == was || was.domain == Domain::Svm && !is.coherent);
    if is == should || fell_back {
        Ok(())
    } else {
        Err(format!("the memory is {is:?}; stock it is {was:?}"))
    }
}

fn range_as_expected(
    section: &Section<'_>,
    range: &[Grain],
    side: fn(&Grain) -> Coherence,
) -> Result<(), String> {
    if section.about.len() != range.len() {
        return Err(format!("{} pages, not {}", section.about.len(), range.len()));
    }
    for (number, (is, grain)) in section.about.iter().zip(range).enumerate() {
        let should = Page { domain: Domain::Svm, coherent: side(grain).is_coherent() };
        if *is != Some(should) {
            return Err(format!("page {number} of the range is {is:?}; it should be {should:?}"));
        }
    }
    Ok(())
}

/// What all pages of an allocation are.
fn one_kind(section: &Section<'_>) -> Result<Page, String> {
    let first = section.about.first().copied().flatten();
    first
        .filter(|first| section.about.iter().all(|page| *page == Some(*first)))
        .ok_or_else(|| format!("the memory is of several kinds, or unknown: {:?}", section.about))
}
