//! A C++ source file as a syntax tree: where a function is defined, and where one of its
//! statements begins. Formatting and comments make no difference; what cannot be found for
//! certain is an error that names the line.

use std::ops::Range;

use anyhow::{Context, Result, bail};
use tree_sitter::{Node, Parser, Tree};

/// A parsed file.
pub(crate) struct Source {
    text: Vec<u8>,
    tree: Tree,
}

/// A definition of a function in a [`Source`].
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    /// All of it.
    pub(crate) range: Range<usize>,
    /// Counted from 1.
    pub(crate) line: usize,
    /// Parameter types, as tokens with one space between.
    pub(crate) types: Vec<String>,
    /// Parameter names; empty where one has none.
    pub(crate) names: Vec<String>,
}

/// A function as `Class::name(type name, ...)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signature {
    /// With its class, where it has one.
    pub(crate) name: String,
    pub(crate) types: Vec<String>,
    pub(crate) names: Vec<String>,
}

impl Source {
    /// Parses a file.
    ///
    /// # Errors
    /// Where the parser gives up.
    pub(crate) fn parse(text: Vec<u8>) -> Result<Self> {
        let mut parser = Parser::new();
        parser.set_language(&tree_sitter_cpp::LANGUAGE.into()).context("the C++ grammar")?;
        let tree = parser.parse(&text, None).context("the parser gave up")?;
        Ok(Self { text, tree })
    }

    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// All definitions of a function, whatever its parameters.
    pub(crate) fn definitions(&self, name: &str) -> Vec<Definition> {
        let mut found = Vec::new();
        each(self.tree.root_node(), &mut |node| {
            if node.kind() == "function_definition"
                && let Some(declarator) = function_declarator(node)
                && let Some(declared) = declarator.child_by_field_name("declarator")
                && self.is_called(declared, name)
                && let Some(parameters) = declarator.child_by_field_name("parameters")
            {
                let (types, names) = self.parameters(parameters);
                found.push(Definition {
                    range: node.byte_range(),
                    line: node.start_position().row + 1,
                    types,
                    names,
                });
            }
        });
        found
    }

    /// The statement of a function that begins with these tokens.
    ///
    /// # Errors
    /// Where there is none, or more than one: the lines.
    pub(crate) fn statement(&self, of: &Definition, anchors: &[String]) -> Result<Range<usize>> {
        let wanted: Vec<Vec<String>> =
            anchors.iter().map(|anchor| tokens_of(anchor)).collect::<Result<_>>()?;
        let mut found: Vec<(usize, Range<usize>)> = Vec::new();
        each(self.tree.root_node(), &mut |node| {
            let is_statement = node.kind().ends_with("_statement") || node.kind() == "declaration";
            let inside = of.range.start <= node.start_byte() && node.end_byte() <= of.range.end;
            // What is put beside the body of an `if` without braces would not be in it.
            let in_block =
                node.parent().is_some_and(|parent| parent.kind() == "compound_statement");
            if is_statement && inside && in_block {
                let longest = wanted.iter().map(Vec::len).max().unwrap_or(0);
                let begins = self.tokens(node, longest);
                if wanted.iter().any(|wanted| begins.starts_with(wanted)) {
                    found.push((node.start_position().row + 1, node.byte_range()));
                }
            }
        });
        // A statement and the first one inside it may begin alike: the outer one is meant.
        found.dedup_by(|inner, outer| inner.1.start == outer.1.start);
        match &found[..] {
            [(_, range)] => Ok(range.clone()),
            [] => bail!(
                "line {}: the function has no statement that begins with `{}`",
                of.line,
                anchors.join("` or `")
            ),
            several => {
                let lines: Vec<String> = several.iter().map(|(line, _)| line.to_string()).collect();
                bail!(
                    "lines {}: more than one statement begins with `{}`",
                    lines.join(", "),
                    anchors.join("` or `")
                )
            }
        }
    }

    /// The end of the last `#include` at the top level before this byte.
    pub(crate) fn after_includes(&self, before: usize) -> Option<usize> {
        let mut end = None;
        each(self.tree.root_node(), &mut |node| {
            let top = node.parent().is_some_and(|parent| parent.parent().is_none());
            if node.kind() == "preproc_include" && top && node.end_byte() <= before {
                end = Some(node.end_byte());
            }
        });
        end
    }

    fn is_called(&self, declared: Node<'_>, name: &str) -> bool {
        // In a namespace block the name may stand with fewer qualifiers, never with others.
        self.tokens(declared, usize::MAX).concat() == name
    }

    /// The first tokens of a node, without comments.
    fn tokens(&self, node: Node<'_>, limit: usize) -> Vec<String> {
        let mut tokens = Vec::new();
        self.collect(node, limit, &mut tokens);
        tokens
    }

    fn collect(&self, node: Node<'_>, limit: usize, tokens: &mut Vec<String>) {
        if tokens.len() >= limit || node.kind() == "comment" {
            return;
        }
        if node.child_count() == 0 {
            let text = String::from_utf8_lossy(&self.text[node.byte_range()]).into_owned();
            if !text.trim().is_empty() {
                tokens.push(text);
            }
            return;
        }
        let mut cursor = node.walk();
        for child in node.children(&mut cursor) {
            self.collect(child, limit, tokens);
        }
    }

    fn parameters(&self, list: Node<'_>) -> (Vec<String>, Vec<String>) {
        let mut cursor = list.walk();
        list.named_children(&mut cursor)
            .filter(|node| node.kind().ends_with("parameter_declaration"))
            .map(|node| {
                let name = node.child_by_field_name("declarator").and_then(innermost);
                let default = node.child_by_field_name("default_value");
                let end = default.map_or(node.end_byte(), |value| value.start_byte());
                let mut all = Vec::new();
                let mut cursor = node.walk();
                for child in node.children(&mut cursor).filter(|child| child.start_byte() < end) {
                    self.collect(child, usize::MAX, &mut all);
                }
                if default.is_some() {
                    all.retain(|token| token != "=");
                }
                let name = name.map(|name| {
                    String::from_utf8_lossy(&self.text[name.byte_range()]).into_owned()
                });
                if let Some(at) = all.iter().rposition(|token| Some(token) == name.as_ref()) {
                    all.remove(at);
                }
                (all.join(" "), name.unwrap_or_default())
            })
            .unzip()
    }
}

/// Does something with a node and all below it.
fn each(node: Node<'_>, act: &mut impl FnMut(Node<'_>)) {
    act(node);
    let mut cursor = node.walk();
    for child in node.children(&mut cursor) {
        each(child, act);
    }
}

/// The declarator that has the parameters, behind pointers and references.
fn function_declarator(definition: Node<'_>) -> Option<Node<'_>> {
    let mut node = definition.child_by_field_name("declarator")?;
    while node.kind() != "function_declarator" {
        let mut cursor = node.walk();
        let next = node.child_by_field_name("declarator").or_else(|| {
            node.named_children(&mut cursor).find(|child| child.kind().ends_with("declarator"))
        })?;
        node = next;
    }
    Some(node)
}

/// The identifier that a declarator declares.
fn innermost(declarator: Node<'_>) -> Option<Node<'_>> {
    if declarator.kind() == "identifier" {
        return Some(declarator);
    }
    let mut cursor = declarator.walk();
    declarator.named_children(&mut cursor).find_map(innermost)
}

fn tokens_of(text: &str) -> Result<Vec<String>> {
    let source = Source::parse(text.as_bytes().to_vec())?;
    Ok(source.tokens(source.tree.root_node(), usize::MAX))
}

impl Signature {
    /// From its text.
    ///
    /// # Errors
    /// Where it is none.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (name, _) =
            text.split_once('(').with_context(|| format!("'{text}' has no parameters"))?;
        let source = Source::parse(format!("void {text} {{}}").into_bytes())?;
        let definitions = source.definitions(name);
        let [definition] = &definitions[..] else { bail!("'{text}' is no function") };
        Ok(Self {
            name: name.to_owned(),
            types: definition.types.clone(),
            names: definition.names.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "#include <a.h>\n#include \"b.h\"\nnamespace hip {\n\
        hipError_t ihipHostMalloc(void **ptr, size_t size /* bytes */, unsigned int flags = 0)\n{\n\
        \tif (!ptr) { return 1; }\n  unsigned   int ihipFlags = 1; // fine\n  return ihipFlags;\n}\n\
        bool Device::Set(const void* p, std::vector<int>& v) const { TRY; v.clear(); CATCH; }\n}\n";

    fn source() -> Source {
        Source::parse(TEXT.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_function_is_found_with_its_parameters_however_it_is_written() {
        let source = source();
        let [found] = &source.definitions("ihipHostMalloc")[..] else { panic!("one") };
        assert_eq!(found.line, 4);
        assert_eq!(found.types, ["void * *", "size_t", "unsigned int"]);
        assert_eq!(found.names, ["ptr", "size", "flags"]);
        let [method] = &source.definitions("Device::Set")[..] else { panic!("one") };
        assert_eq!(method.types, ["const void *", "std :: vector < int > &"]);
        assert!(source.definitions("hipHostMalloc").is_empty());
        let wanted =
            Signature::parse("ihipHostMalloc(void** p, size_t n, unsigned int f)").unwrap();
        assert_eq!(wanted.types, found.types);
        assert_eq!(wanted.names, ["p", "n", "f"]);
    }

    #[test]
    fn a_statement_is_found_by_how_it_begins() {
        let source = source();
        let function = &source.definitions("ihipHostMalloc")[0];
        let range = source.statement(function, &["unsigned int ihipFlags =".to_owned()]).unwrap();
        assert!(TEXT[range].starts_with("unsigned   int ihipFlags = 1;"));
        let error = |anchor: &str| {
            source.statement(function, &[anchor.to_owned()]).unwrap_err().to_string()
        };
        assert!(error("int other").starts_with("line 4: "), "{}", error("int other"));
        assert!(error("return").starts_with("lines 6, 8: "), "{}", error("return"));
    }

    #[test]
    fn includes_end_before_the_function() {
        let source = source();
        let end = source.after_includes(source.definitions("Device::Set")[0].range.start).unwrap();
        assert!(TEXT[..end].trim_end().ends_with("\"b.h\""));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_harm(text in "[\\x00-\\x7f]{0,300}") {
            let source = Source::parse(text.into_bytes()).unwrap();
            for found in source.definitions("f") {
                let _ = source.statement(&found, &["return".to_owned()]);
            }
        }
    }
}
