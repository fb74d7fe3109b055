//! One insertion into the text of a file: indented and ended as the lines around it.

use std::ops::Range;

use anyhow::{Context, Result, bail};

use super::find::Place as Found;
use super::hooks::{Edit, Place};

/// The text of the file with the insertion.
///
/// # Errors
/// Where the anchor is not there, is there more than once, or shares its line with other code.
pub(crate) fn inserted(found: &Found, edit: &Edit) -> Result<Vec<u8>> {
    let at = |line: usize| format!("{}:{line}", found.file.display());
    let text = found.source.text();
    let function = &found.function;
    let (offset, indentation, blank_line) = match edit.place {
        Place::Includes => {
            let end = found.source.after_includes(function.range.start);
            let end = end.with_context(|| {
                format!("{}: no #include before the function", at(function.line))
            })?;
            (after_line(text, end), String::new(), false)
        }
        Place::Outside => (start_of_line(text, function.range.start), String::new(), true),
        Place::Before | Place::After => {
            let statement = found
                .source
                .statement(function, &edit.anchor)
                .with_context(|| format!("{}: {}", found.file.display(), found.signature.name))?;
            let indentation = indentation(text, &statement).with_context(|| {
                format!(
                    "{}: other code on the line of `{}`",
                    at(line_of(text, statement.start)),
                    edit.anchor[0]
                )
            })?;
            let offset = if edit.place == Place::Before {
                start_of_line(text, statement.start)
            } else {
                after_line(text, statement.end)
            };
            (offset, indentation, false)
        }
    };
    let mut insert = named(found, &edit.insert)?;
    if blank_line {
        insert.push('\n');
    }
    let insert = in_the_style_of(text, &insert, &indentation);
    let mut changed = text[..offset].to_vec();
    changed.extend_from_slice(insert.as_bytes());
    changed.extend_from_slice(&text[offset..]);
    Ok(changed)
}

/// With the tree's own names of the parameters in place of `@NAME@`.
fn named(found: &Found, insert: &str) -> Result<String> {
    let mut named = insert.to_owned();
    for (hook, tree) in found.signature.names.iter().zip(&found.function.names) {
        let placeholder = format!("@{hook}@");
        if named.contains(&placeholder) && tree.is_empty() {
            bail!("{}:{}: a parameter has no name", found.file.display(), found.function.line);
        }
        named = named.replace(&placeholder, tree);
    }
    Ok(named)
}

/// Indented by tabs where the anchor is, and with CRLF where the file has it.
fn in_the_style_of(text: &[u8], insert: &str, indentation: &str) -> String {
    let crlf = text
        .iter()
        .position(|byte| *byte == b'\n')
        .is_some_and(|end| end > 0 && text[end - 1] == b'\r');
    let end = if crlf { "\r\n" } else { "\n" };
    let tabs = indentation.starts_with('\t');
    let mut styled = String::new();
    for line in
        insert.trim_end_matches('\n').split('\n').chain(insert.ends_with("\n\n").then_some(""))
    {
        let code = line.trim_start_matches(' ');
        // A preprocessor line has no indentation.
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

fn start_of_line(text: &[u8], offset: usize) -> usize {
    text[..offset].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1)
}

fn after_line(text: &[u8], offset: usize) -> usize {
    if offset > 0 && text[offset - 1] == b'\n' {
        return offset; // an #include ends with its line
    }
    text[offset..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |end| offset + end + 1)
}

fn line_of(text: &[u8], offset: usize) -> usize {
    text[..offset].split(|byte| *byte == b'\n').count()
}

/// What stands before a statement on its line; `None` where that or what follows it is code.
fn indentation(text: &[u8], statement: &Range<usize>) -> Option<String> {
    let before = &text[start_of_line(text, statement.start)..statement.start];
    let after =
        String::from_utf8_lossy(&text[statement.end..after_line(text, statement.end)]).into_owned();
    let after = after.trim();
    let alone = after.is_empty() || after.starts_with("//") || after.starts_with("/*");
    let before = String::from_utf8_lossy(before).into_owned();
    (before.trim().is_empty() && alone).then_some(before)
}
