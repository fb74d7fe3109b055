//! The pages of the repository (every *.md) as data: code blocks and links. It runs nothing.

use std::path::{Path, PathBuf};

/// A fenced block of code.
pub struct Block {
    /// The page, from the root of the repository.
    pub page: PathBuf,
    /// The line of the opening fence, from 1.
    pub line: usize,
    /// What stands behind the opening fence.
    pub info: String,
    /// The comment in the line above the fence, without its marks.
    pub comment: Option<String>,
    /// The lines between the fences.
    pub text: Vec<String>,
}

impl Block {
    /// `page:line`
    pub fn place(&self) -> String {
        format!("{}:{}", self.page.display(), self.line)
    }

    /// The value of a comment `<!-- KEY: VALUE -->` above the block.
    pub fn directive(&self, key: &str) -> Option<&str> {
        self.comment.as_deref()?.strip_prefix(key)?.strip_prefix(':').map(str::trim)
    }
}

/// A page: its blocks, and what is outside of them.
pub struct Page {
    /// From the root of the repository.
    pub path: PathBuf,
    /// Its fenced blocks.
    pub blocks: Vec<Block>,
    /// Number, from 1, and text of each line outside of the blocks.
    pub prose: Vec<(usize, String)>,
}

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every page, in the order of its path.
pub fn pages() -> Vec<Page> {
    let mut found = Vec::new();
    collect(root(), &mut found);
    found.sort();
    found.iter().map(|path| read(path)).collect()
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in directory.read_dir().expect("a directory of the repository") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !path.is_symlink() {
            if name != "target" && name != ".git" {
                collect(&path, found);
            }
        } else if path.extension().is_some_and(|kind| kind == "md") {
            found.push(path);
        }
    }
}

fn read(path: &Path) -> Page {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    parse(path.strip_prefix(root()).expect("a page of the repository"), &text)
}

/// Splits a text into blocks and prose. A fence that is never closed takes the rest.
pub fn parse(path: &Path, text: &str) -> Page {
    let mut page = Page { path: path.into(), blocks: Vec::new(), prose: Vec::new() };
    let mut open: Option<Block> = None;
    for (line, text) in (1..).zip(text.lines()) {
        match (open.take(), text.strip_prefix("```")) {
            (Some(block), Some("")) => page.blocks.push(block),
            (Some(mut block), _) => {
                block.text.push(text.into());
                open = Some(block);
            }
            (None, Some(info)) => {
                let comment = page.prose.last().and_then(|(_, above)| {
                    Some(above.strip_prefix("<!--")?.strip_suffix("-->")?.trim().into())
                });
                open = Some(Block {
                    page: path.into(),
                    line,
                    info: info.trim().into(),
                    comment,
                    text: Vec::new(),
                });
            }
            (None, None) => page.prose.push((line, text.into())),
        }
    }
    page.blocks.extend(open);
    page
}

/// The targets of the links `[text](target)` in a line, outside of `code`.
pub fn links(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some((_, after)) = rest.split_once("](") {
        let Some((target, after)) = after.split_once(')') else { break };
        found.push(target);
        rest = after;
    }
    // The picture of a page may be HTML, to have one for light and one for dark.
    for attribute in ["src=\"", "srcset=\""] {
        found.extend(line.split(attribute).skip(1).filter_map(|after| after.split('"').next()));
    }
    found
}

/// The `code` in a line.
pub fn code(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// What GitHub makes of a heading: lower case, without punctuation, spaces as hyphens.
pub fn anchor(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() })
        .collect()
}
