//! A patch as `git format-patch` writes it, with a DEP-3 header and without a diffstat. The same
//! tree and the same hooks always give the same bytes.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use diffy::{DiffOptions, PatchFormatter};

use super::super::blob::blob;
use super::hooks::Idea;

/// When the patches were first written. A patch that differed by its date alone would differ for
/// nothing.
const DATE: &str = "Sun, 22 Nov 2026 22:00:00 +0000";
/// What git fills a line of a message to.
const WIDTH: usize = 76;
/// Of the name of a patch, with its number and without `.patch`, as git cuts it off.
const NAME: usize = 57;

/// `0004-hip-pinned-memory-of-RDNA1-2.patch`: as git makes it of the subject.
pub(crate) fn file_name(number: usize, subject: &str) -> String {
    let mut name = format!("{number:04}-");
    for word in subject.split(|c: char| !c.is_ascii_alphanumeric() && !"._".contains(c)) {
        if !word.is_empty() {
            if !name.ends_with('-') {
                name.push('-');
            }
            name.push_str(word);
        }
    }
    name.truncate(NAME);
    format!("{}.patch", name.trim_end_matches(['.', '-']))
}

/// Everything before the first file. In kernel style the description is the message, and the
/// fields stand where trailers do.
pub(crate) fn head(idea: &Idea, applies_to: &str, kernel_style: bool) -> String {
    let mut head = format!(
        "From {:040} Mon Sep 17 00:00:00 2001\nFrom: rdnafix project\nDate: {DATE}\n\
         Subject: [PATCH] {}\n\n",
        0, idea.subject
    );
    if kernel_style {
        let _ = writeln!(head, "{}\n", idea.description.trim());
    } else {
        describe(&mut head, &idea.description);
    }
    let _ = writeln!(head, "Origin: other, rdnafix\nForwarded: {}", idea.forwarded);
    if let Some(release) = &idea.applied_upstream {
        let _ = writeln!(head, "Applied-Upstream: {release}");
    }
    let _ = writeln!(head, "Applies-To: {applies_to}");
    if let Some(bug) = &idea.bug {
        let _ = writeln!(head, "Bug: {bug}");
    }
    head.push_str("---\n\n");
    head
}

/// The field `Description`, filled as git fills a message.
fn describe(head: &mut String, description: &str) {
    head.push_str("Description:");
    let mut width = "Description:".len();
    for word in description.split_whitespace() {
        if width + 1 + word.len() > WIDTH {
            head.push('\n');
            width = 0;
        }
        let _ = write!(head, " {word}");
        width += 1 + word.len();
    }
    head.push('\n');
}

/// One file that was changed or, where there is no old text, added.
pub(crate) fn diff(
    file: &Path,
    old: Option<&[u8]>,
    new: &[u8],
    executable: bool,
) -> Result<Vec<u8>> {
    // git quotes such names, and patch reads them in other ways.
    let name = file
        .to_str()
        .filter(|name| !name.contains(|c: char| c.is_whitespace() || "\"\\".contains(c)))
        .with_context(|| format!("'{}': a patch cannot name this file", file.display()))?;
    let mode = if executable { "100755" } else { "100644" };
    let mut options = DiffOptions::new();
    options.set_modified_filename(format!("b/{name}"));
    let mut text = format!("diff --git a/{name} b/{name}\n");
    if let Some(old) = old {
        options.set_original_filename(format!("a/{name}"));
        let _ = writeln!(text, "index {}..{} {mode}", short(old), short(new));
    } else {
        options.set_original_filename("/dev/null");
        let _ = write!(text, "new file mode {mode}\nindex {:012}..{}\n", 0, short(new));
    }
    let old = old.unwrap_or_default();
    let mut hunks = Vec::new();
    let patch = options.create_patch_bytes(old, new);
    PatchFormatter::new().suppress_blank_empty(false).write_patch_into(&patch, &mut hunks)?;
    let mut text = text.into_bytes();
    let old: Vec<&[u8]> = old.split(|byte| *byte == b'\n').collect();
    let mut starts = patch.hunks().iter().map(|hunk| hunk.old_range().start());
    for line in hunks.split_inclusive(|byte| *byte == b'\n') {
        // Lines of code begin with a blank, a plus or a minus.
        if line.starts_with(b"@@ ") {
            text.extend_from_slice(line.trim_ascii_end());
            let heading = starts.next().and_then(|start| heading(&old[..start.max(1) - 1]));
            if let Some(heading) = heading {
                text.push(b' ');
                text.extend_from_slice(heading);
            }
            text.push(b'\n');
        } else {
            text.extend_from_slice(line);
        }
    }
    Ok(text)
}

/// What git writes after `@@`: the last line above that is not indented.
fn heading<'a>(above: &[&'a [u8]]) -> Option<&'a [u8]> {
    let begins = |line: &&&[u8]| {
        line.first().is_some_and(|byte| byte.is_ascii_alphabetic() || b"_$".contains(byte))
    };
    let line = above.iter().rev().find(begins)?;
    Some(line[..line.len().min(80)].trim_ascii_end())
}

/// What git calls this content, as short as the patches write it.
fn short(content: &[u8]) -> String {
    blob(content)[..12].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_git() {
        assert_eq!(
            file_name(4, "hip: pinned memory of RDNA1/2 is non-coherent by default"),
            "0004-hip-pinned-memory-of-RDNA1-2-is-non-coherent-by-defa.patch"
        );
    }

    #[test]
    fn a_changed_file_has_its_mode_and_the_function_above_the_hunk() {
        let old = b"int f() {\n  a;\n  b;\n  c;\n  d;\n  e;\n}\n";
        let new = b"int f() {\n  a;\n  b;\n  c;\n  d;\n  x;\n  e;\n}\n";
        let text = diff(Path::new("a.c"), Some(old), new, true).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "diff --git a/a.c b/a.c\nindex e713924f1872..9c2d01893742 100755\n--- a/a.c\n+++ b/a.c\n\
             @@ -3,5 +3,6 @@ int f() {\n   b;\n   c;\n   d;\n+  x;\n   e;\n }\n"
        );
        assert!(diff(Path::new("a b"), None, b"one\n", false).is_err());
        let text = diff(Path::new("b/c"), None, b"one\n", false).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "diff --git a/b/c b/b/c\nnew file mode 100644\nindex 000000000000..5626abf0f72e\n\
             --- /dev/null\n+++ b/b/c\n@@ -0,0 +1 @@\n+one\n"
        );
    }
}
