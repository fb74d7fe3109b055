//! Insertions into the text of a file: indented and ended as the lines around them.

use std::ops::Range;

use anyhow::{Context, Result, bail};
use tree_sitter::Node;

use super::anchor;
use super::find::{Place as Found, Sought, line_of};
use super::hooks::{Edit, Line, Place};
use super::syntax::first_in;

/// New text in place of a part of a file.
struct Splice {
    range: Range<usize>,
    text: String,
}

/// The text of the file with the edit, and with what it has to include.
///
/// # Errors
/// Where the anchor is there more than once, or shares its line with other code.
pub(crate) fn edited(found: &Found, edit: &Edit, as_it_stands: bool) -> Result<Sought<Vec<u8>>> {
    let text = found.source.text();
    let splice = match splice(found, edit, as_it_stands)? {
        Sought::Found(splice) => splice,
        Sought::Missing(what) => return Ok(Sought::Missing(what)),
    };
    let mut changed = text[..splice.range.start].to_vec();
    changed.extend_from_slice(splice.text.as_bytes());
    changed.extend_from_slice(&text[splice.range.end..]);
    if let Some(header) = &edit.include {
        let (line, kind) = if header.starts_with('<') {
            (format!("#include {header}"), "system_lib_string")
        } else {
            (format!("#include \"{header}\""), "string_literal")
        };
        if memchr::memmem::find(text, line.as_bytes()).is_none() {
            let end = found.source.after_includes(&found.function, kind);
            let end = end.with_context(|| format!("{}: no #include before it", at(found)))?;
            let offset = after_line(text, end);
            let line = in_the_style_of(text, &line, "", true);
            changed.splice(offset..offset, line.into_bytes());
        }
    }
    Ok(Sought::Found(changed))
}

/// Whether a function has this code, blanks and comments apart.
fn has(found: &Found, code: &str) -> bool {
    found.source.node(&found.function).is_some_and(|function| has_in(found, function, code))
}

fn has_in(found: &Found, node: Node<'_>, code: &str) -> bool {
    let packed =
        |text: &str| -> String { text.chars().filter(|letter| !letter.is_whitespace()).collect() };
    let tokens = found.source.tokens(node, usize::MAX);
    let text: String = tokens.iter().map(|token| packed(&token.text)).collect();
    text.contains(&packed(code))
}

/// Whether the tree has already what an edit is for: in its statement, where there is one.
///
/// # Errors
/// Where the anchor is there more than once.
pub(crate) fn is_there(found: &Found, edit: &Edit) -> Result<bool> {
    let Some(code) = &edit.already else { return Ok(false) };
    if let Some(anchor) = &edit.anchor
        && let Some(statement) =
            anchor::find(&found.source, &found.function, anchor, &names(found))?
    {
        return Ok(has_in(found, statement.node, code));
    }
    Ok(has(found, code))
}

/// The tree's names of the parameters, by those of the hooks.
fn names(found: &Found) -> Vec<(String, String)> {
    let (hook, tree) = (&found.signature.names, &found.function.names);
    hook.iter().cloned().zip(tree.iter().cloned()).collect()
}

/// What a node is under that may not be compiled, the function apart: `#if 0`, and in the kernel,
/// whose hooks are under no condition, any.
fn condition(found: &Found, node: Node<'_>, in_kernel: bool) -> Option<String> {
    let conditions = found.source.conditions(node);
    conditions.into_iter().find(|condition| in_kernel || condition.starts_with("#if 0"))
}

/// The text of a file with a line more or another.
///
/// # Errors
/// Where the line that it goes by is not there once.
pub(crate) fn with_line(text: &[u8], line: &Line) -> Result<Vec<u8>> {
    let lossy = String::from_utf8_lossy(text);
    let lines: Vec<(usize, &str)> =
        lossy.lines().enumerate().filter(|(_, there)| there.trim() == line.anchor).collect();
    let &[(index, _)] = &lines[..] else {
        let all: Vec<String> = lines.iter().map(|(index, _)| (index + 1).to_string()).collect();
        let lines = if all.is_empty() { "none".to_owned() } else { all.join(", ") };
        bail!("looked for one line `{}`; there: {lines}", line.anchor);
    };
    let mut ends = memchr::memchr_iter(b'\n', text);
    let start = index.checked_sub(1).and_then(|index| ends.nth(index)).map_or(0, |end| end + 1);
    let end = after_line(text, start + 1);
    if !text[..end].ends_with(b"\n") {
        bail!("line {}: `{}` has no line end", index + 1, line.anchor);
    }
    let (start, end) = match line.place {
        Place::After => (end, end),
        Place::Replace => (start, end),
        _ => (start, start),
    };
    let insert = in_the_style_of(text, &line.insert, "", true);
    Ok([&text[..start], insert.as_bytes(), &text[end..]].concat())
}

/// That a line is not there more than once in a file that no patch has changed yet; where it is
/// not there, a patch before this one may bring it.
///
/// # Errors
/// Where it is: the lines.
pub(crate) fn expect_one_line(text: &[u8], line: &Line) -> Result<()> {
    let there = String::from_utf8_lossy(text).lines().any(|there| there.trim() == line.anchor);
    if there { with_line(text, line).map(drop) } else { Ok(()) }
}

fn at(found: &Found) -> String {
    format!("{}:{}", found.file.display(), found.function.line)
}

fn splice(found: &Found, edit: &Edit, as_it_stands: bool) -> Result<Sought<Splice>> {
    let text = found.source.text();
    let function = &found.function;
    let mut names = names(found);
    let mut anchored = None;
    if let Some(anchor) = &edit.anchor {
        let statement = anchor::find(&found.source, function, anchor, &names)
            .with_context(|| format!("{}: {}", found.file.display(), found.signature.name))?;
        let Some(statement) = statement else {
            return Ok(Sought::Missing(format!(
                "{}: {} has no statement that begins with `{anchor}`",
                at(found),
                found.signature.name
            )));
        };
        names.extend(statement.captures);
        anchored = Some(statement.node);
    }
    let name = &found.signature.name;
    let whole = anchored.or_else(|| found.source.node(function));
    if let Some(condition) = whole.and_then(|node| condition(found, node, as_it_stands)) {
        bail!("{}: {name}: the place of the hook is under `{condition}`", at(found));
    }
    if let Some(code) = edit.uses.iter().find(|code| !has(found, code)) {
        let what = format!("{}: {name} has no `{code}`, which the hook uses", at(found));
        return Ok(Sought::Missing(what));
    }
    if let Some(code) = edit.lacks.iter().find(|code| has(found, code)) {
        let what = format!("{}: {name} has `{code}`, which the hook is not for", at(found));
        return Ok(Sought::Missing(what));
    }
    if let Some(part) = &edit.part {
        let whole = whole.with_context(|| format!("{}: no function", at(found)))?;
        if whole.child_by_field_name("alternative").is_some() {
            let line = whole.start_position().row + 1;
            bail!("{}:{line}: {name}: the `if` has an `else`", found.file.display());
        }
        let range = anchor::part(&found.source, whole, part, &names)
            .with_context(|| format!("{}: {name}", found.file.display()))?;
        let line = &text[start_of_line(text, whole.start_byte())..whole.start_byte()];
        let indentation = String::from_utf8_lossy(line).into_owned();
        let insert = filled(found, &edit.insert, &names)?;
        let insert = in_the_style_of(text, &insert, &indentation, as_it_stands);
        let text = insert.trim().to_owned();
        return Ok(Sought::Found(Splice { range, text }));
    }
    if edit.place == Place::Outside {
        let offset = above_comments(text, start_of_line(text, function.range.start));
        let insert = filled(found, &edit.insert, &names)? + "\n";
        let text = in_the_style_of(text, &insert, "", as_it_stands);
        return Ok(Sought::Found(Splice { range: offset..offset, text }));
    }
    let what = || edit.anchor.clone().unwrap_or_else(|| found.signature.name.clone());
    let node = match edit.place {
        Place::First => {
            let block = match anchored {
                Some(node) if node.kind() == "case_statement" => Some(node),
                Some(node) => node.child_by_field_name("consequence"),
                None => found.source.body(function),
            };
            block
                .filter(|block| ["compound_statement", "case_statement"].contains(&block.kind()))
                .and_then(first_in)
                .with_context(|| format!("{}: no statement in `{}`", at(found), what()))?
        }
        _ => anchored.with_context(|| format!("{}: no anchor", found.signature.name))?,
    };
    let statement = node.byte_range();
    let insert = filled(found, &edit.insert, &names)?;
    let Some(indentation) = indentation(text, &statement, edit.place == Place::First) else {
        let before = &text[start_of_line(text, statement.start)..statement.start];
        if edit.place == Place::First && before.trim_ascii_end().ends_with(b"{") {
            return Ok(Sought::Found(on_own_lines(text, &statement, &insert)));
        }
        let line = line_of(text, statement.start);
        bail!("{}:{line}: other code on the line of `{}`", found.file.display(), what());
    };
    let range = match edit.place {
        Place::After => after_line(text, statement.end)..after_line(text, statement.end),
        Place::Replace => start_of_line(text, statement.start)..after_line(text, statement.end),
        _ => start_of_line(text, statement.start)..start_of_line(text, statement.start),
    };
    let text = in_the_style_of(text, &insert, &indentation, as_it_stands);
    Ok(Sought::Found(Splice { range, text }))
}

/// Before a statement that stands on the line of the opening brace.
fn on_own_lines(text: &[u8], statement: &Range<usize>, insert: &str) -> Splice {
    let start = start_of_line(text, statement.start);
    let line = String::from_utf8_lossy(&text[start..statement.start]).into_owned();
    let outer = &line[..line.len() - line.trim_start().len()];
    let indentation = format!("{outer}{}", if outer.starts_with('\t') { "\t" } else { "  " });
    let end = if has_crlf(text) { "\r\n" } else { "\n" };
    let insert = in_the_style_of(text, insert, &indentation, false);
    Splice {
        range: start + line.trim_end().len()..statement.start,
        text: format!("{end}{insert}{indentation}"),
    }
}

/// With the tree's own names and expressions in place of `@NAME@`.
fn filled(found: &Found, insert: &str, names: &[(String, String)]) -> Result<String> {
    let mut text = insert.to_owned();
    for (hook, tree) in names {
        let placeholder = format!("@{hook}@");
        if text.contains(&placeholder) && tree.is_empty() {
            bail!("{}: the parameter '{hook}' has no name", at(found));
        }
        text = text.replace(&placeholder, tree);
    }
    if let Some((_, rest)) = text.split_once('@') {
        bail!("{}: nothing is known as '@{rest}'", found.signature.name);
    }
    Ok(text)
}

/// Indented by tabs where the anchor is, unless it is `as_it_stands`, but for directives, and
/// with CRLF where the file has it.
fn in_the_style_of(text: &[u8], insert: &str, indentation: &str, as_it_stands: bool) -> String {
    let end = if has_crlf(text) { "\r\n" } else { "\n" };
    let tabs = indentation.starts_with('\t') && !as_it_stands;
    let mut styled = String::new();
    for line in insert.strip_suffix('\n').unwrap_or(insert).split('\n') {
        let code = line.trim_start_matches(' ');
        if !code.is_empty() && !code.starts_with('#') {
            let own = line.len() - code.len();
            styled.push_str(indentation);
            if tabs {
                styled.push_str(&"\t".repeat(own / 2));
                styled.push_str(&" ".repeat(own % 2));
            } else {
                styled.push_str(&" ".repeat(own));
            }
        }
        styled.push_str(code);
        styled.push_str(end);
    }
    styled
}

fn has_crlf(text: &[u8]) -> bool {
    memchr::memchr(b'\n', text).is_some_and(|end| end > 0 && text[end - 1] == b'\r')
}

/// The start of the comments that end on the line before this one, or of this line.
fn above_comments(text: &[u8], line: usize) -> usize {
    let (mut start, mut seen, mut inside) = (line, line, false);
    while seen > 0 {
        let above = start_of_line(text, seen - 1);
        let code = text[above..seen].trim_ascii();
        let line_comment = code.starts_with(b"//");
        let opens = memchr::memmem::find(code, b"/*");
        inside |= !line_comment && code.ends_with(b"*/");
        // One that begins after code is that code's.
        let block_comment = inside && matches!(opens, None | Some(0));
        if !line_comment && !block_comment {
            break;
        }
        inside &= opens.is_none();
        seen = above;
        if !inside {
            start = seen;
        }
    }
    start
}

fn start_of_line(text: &[u8], offset: usize) -> usize {
    memchr::memrchr(b'\n', &text[..offset]).map_or(0, |end| end + 1)
}

fn after_line(text: &[u8], offset: usize) -> usize {
    if offset > 0 && text[offset - 1] == b'\n' {
        return offset; // an #include ends with its line
    }
    memchr::memchr(b'\n', &text[offset..]).map_or(text.len(), |end| offset + end + 1)
}

/// What stands before a statement on its line; `None` where that is code, or what follows it
/// and matters.
fn indentation(text: &[u8], statement: &Range<usize>, only_before: bool) -> Option<String> {
    let before = &text[start_of_line(text, statement.start)..statement.start];
    let after = text[statement.end..after_line(text, statement.end)].trim_ascii();
    let alone = after.is_empty() || after.starts_with(b"//") || after.starts_with(b"/*");
    let before = String::from_utf8_lossy(before).into_owned();
    (before.trim().is_empty() && (alone || only_before)).then_some(before)
}
