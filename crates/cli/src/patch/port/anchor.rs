//! Finding the statement that an edit is about: by how it begins, as tokens. What cannot be found
//! for certain is an error that names the line.

use std::ops::Range;

use anyhow::{Result, bail};
use tree_sitter::Node;

use super::find::line_of;
use super::syntax::{Definition, Source, Token};

/// A statement that an anchor describes.
pub(crate) struct Statement<'a> {
    pub(crate) node: Node<'a>,
    /// What each `@NAME@` of the anchor stands for.
    pub(crate) captures: Vec<(String, String)>,
}

/// A token of an anchor.
enum Wanted {
    Word(String),
    /// Any expression.
    Any(String),
}

/// The one statement of a function that begins as the anchor; `None` where there is none.
/// `parameters` are the names that `@NAME@` has in the tree, where it is a parameter.
///
/// # Errors
/// Where there is more than one: the lines.
pub(crate) fn find<'a>(
    source: &'a Source,
    of: &Definition,
    anchor: &str,
    parameters: &[(String, String)],
) -> Result<Option<Statement<'a>>> {
    let wanted = parse(anchor, parameters)?;
    let mut found: Vec<Statement<'a>> = Vec::new();
    for node in source.statements(of) {
        let tokens = source.tokens(node, usize::MAX);
        let mut captures = Vec::new();
        // A statement and the first one inside it may begin alike: the outer one is meant.
        let same = found.last().is_some_and(|last| last.node.start_byte() == node.start_byte());
        if !same && matches(&wanted, &tokens, source.text(), &mut captures).is_some() {
            found.push(Statement { node, captures });
        }
    }
    if found.len() > 1 {
        let line = |found: &Statement<'_>| (found.node.start_position().row + 1).to_string();
        let lines: Vec<String> = found.iter().map(line).collect();
        bail!("lines {}: more than one statement begins with `{anchor}`", lines.join(", "));
    }
    Ok(found.pop())
}

/// The one place in a node that has these tokens.
///
/// # Errors
/// Where there is none, or more than one: the lines.
pub(crate) fn part(
    source: &Source,
    node: Node<'_>,
    part: &str,
    names: &[(String, String)],
) -> Result<Range<usize>> {
    let wanted = parse(part, names)?;
    let tokens = source.tokens(node, usize::MAX);
    let places = (0..tokens.len()).filter_map(|first| {
        let rest = matches(&wanted, &tokens[first..], source.text(), &mut Vec::new())?;
        let last = tokens.len() - rest - 1;
        Some(tokens[first].range.start..tokens[last].range.end)
    });
    let found: Vec<Range<usize>> = places.collect();
    let line = |found: &Range<usize>| line_of(source.text(), found.start).to_string();
    match &found[..] {
        [one] => Ok(one.clone()),
        [] => bail!("line {}: no `{part}` there", node.start_position().row + 1),
        _ => bail!(
            "lines {}: more than one `{part}` there",
            found.iter().map(line).collect::<Vec<_>>().join(", ")
        ),
    }
}

/// How many tokens are left behind those that were wanted, where they begin so.
fn matches(
    wanted: &[Wanted],
    tokens: &[Token],
    text: &[u8],
    captures: &mut Vec<(String, String)>,
) -> Option<usize> {
    let Some((first, rest)) = wanted.split_first() else { return Some(tokens.len()) };
    match first {
        Wanted::Word(word) => {
            tokens.first().filter(|token| token.text == *word)?;
            matches(rest, &tokens[1..], text, captures)
        }
        Wanted::Any(name) => (1..=expression(tokens)).find_map(|end| {
            let range = tokens[0].range.start..tokens[end - 1].range.end;
            let expression = on_one_line(text, range);
            // One name is one expression.
            if captures.iter().any(|(known, earlier)| known == name && *earlier != expression) {
                return None;
            }
            captures.push((name.clone(), expression));
            let found = matches(rest, &tokens[end..], text, captures);
            if found.is_none() {
                captures.pop();
            }
            found
        }),
    }
}

/// How many tokens at most are one expression: up to a comma, a semicolon, or a closing bracket
/// that was not opened.
fn expression(tokens: &[Token]) -> usize {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate() {
        match &token.text[..] {
            "," | ";" | ")" | "]" | "}" if depth == 0 => return index,
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
    }
    tokens.len()
}

fn on_one_line(text: &[u8], range: Range<usize>) -> String {
    let text = String::from_utf8_lossy(&text[range]).into_owned();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The tokens of an anchor. A placeholder is an identifier to the parser.
fn parse(anchor: &str, parameters: &[(String, String)]) -> Result<Vec<Wanted>> {
    const MARK: &str = "any_expression_";
    let text: String = anchor
        .split('@')
        .enumerate()
        .map(|(index, part)| match parameters.iter().find(|(name, _)| name == part) {
            _ if index % 2 == 0 => part.to_owned(),
            Some((_, in_tree)) => in_tree.clone(),
            None => format!("{MARK}{part}"),
        })
        .collect();
    let source = Source::parse(text.into_bytes())?;
    let wanted = |token: Token| match token.text.strip_prefix(MARK) {
        Some(name) => Wanted::Any(name.to_owned()),
        None => Wanted::Word(token.text),
    };
    Ok(source.tokens(source.root(), usize::MAX).into_iter().map(wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "int f(int flags) {\n  int a = 0;\n  if (flags) {\n    a = call(b(1, 2),\n      \
        {3}, flags); // fine\n  }\n#if X\n  unsigned   int ihipFlags = 1;\n#endif\n  if (a) return 1;\n  return a;\n}\n";

    type Line = (usize, Vec<(String, String)>);

    fn found(anchor: &str) -> Result<Option<Line>> {
        let source = Source::parse(TEXT.as_bytes().to_vec())?;
        let function = source.definitions("f").next().unwrap();
        let parameters = [("flags_in_hook".to_owned(), "flags".to_owned())];
        let found = find(&source, function, anchor, &parameters)?;
        Ok(found.map(|found| (found.node.start_position().row + 1, found.captures)))
    }

    #[test]
    fn a_statement_is_found_by_how_it_begins() {
        assert_eq!(found("unsigned int ihipFlags = ").unwrap().unwrap().0, 8);
        assert_eq!(found("if (@flags_in_hook@)").unwrap().unwrap().0, 3);
        assert!(found("int other").unwrap().is_none());
        // `return 1` is not in a block.
        assert_eq!(found("return").unwrap().unwrap().0, 11);
        let error = found("if (").unwrap_err().to_string();
        assert!(error.starts_with("lines 3, 10: "), "{error}");
    }

    #[test]
    fn a_placeholder_stands_for_one_expression() {
        let (line, captures) = found("a = @f@(@one@, @two@, flags);").unwrap().unwrap();
        assert_eq!(line, 4);
        let all: Vec<&str> = captures.iter().map(|(_, text)| &text[..]).collect();
        assert_eq!(all, ["call", "b(1, 2)", "{3}"]);
        assert!(found("a = call(@one@, flags)").unwrap().is_none());
        assert!(found("a = @f@(@one@, @one@, flags);").unwrap().is_none(), "two expressions");
    }
}
