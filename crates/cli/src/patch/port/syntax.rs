//! A C++ source file as a syntax tree: which functions it defines, and the statements in them.
//! Formatting and comments make no difference. C of the kernel is read as C++: a function that is
//! none there is not found, which is an error. Changes nothing.

use std::ops::Range;

use anyhow::{Context, Result, bail};
use tree_sitter::{Node, Parser, Tree};

/// A parsed file.
pub(crate) struct Source {
    text: Vec<u8>,
    tree: Tree,
    functions: Vec<Definition>,
}

/// A definition of a function in a [`Source`].
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    /// With its class and all namespaces.
    pub(crate) name: String,
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
    /// With its class and namespaces, as far as they are given; `::name` is in none.
    pub(crate) name: String,
    pub(crate) types: Vec<String>,
    pub(crate) names: Vec<String>,
}

/// A token and where it is.
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) range: Range<usize>,
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
        let mut source = Self { text, tree, functions: Vec::new() };
        let mut functions = Vec::new();
        each(source.root(), &mut |node| functions.extend(source.definition(node)));
        source.functions = functions;
        Ok(source)
    }

    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    pub(crate) fn root(&self) -> Node<'_> {
        self.tree.root_node()
    }

    /// The definitions of a function, whatever its parameters.
    pub(crate) fn definitions(&self, name: &str) -> impl Iterator<Item = &Definition> {
        let (global, name) = match name.strip_prefix("::") {
            Some(name) => (true, name),
            None => (false, name),
        };
        self.functions.iter().filter(move |function| {
            function
                .name
                .strip_suffix(name)
                .is_some_and(|rest| rest.is_empty() || !global && rest.ends_with("::"))
        })
    }

    fn definition(&self, node: Node<'_>) -> Option<Definition> {
        if node.kind() != "function_definition" {
            return None;
        }
        let declarator = function_declarator(node)?;
        let declared = declarator.child_by_field_name("declarator")?;
        let (types, names) = self.parameters(declarator.child_by_field_name("parameters")?);
        let mut name = self.words(declared);
        let mut outer = node.parent();
        while let Some(scope) = outer {
            if matches!(
                scope.kind(),
                "namespace_definition" | "class_specifier" | "struct_specifier"
            ) {
                let scope = scope.child_by_field_name("name").map(|name| self.words(name));
                name = format!("{}::{name}", scope.unwrap_or_default());
            }
            outer = scope.parent();
        }
        Some(Definition {
            name,
            range: node.byte_range(),
            line: node.start_position().row + 1,
            types,
            names,
        })
    }

    /// The statements of a function that stand in a block, outer ones first.
    pub(crate) fn statements(&self, of: &Definition) -> Vec<Node<'_>> {
        let mut found = Vec::new();
        each(self.root(), &mut |node| {
            let is_statement = node.kind().ends_with("_statement") || node.kind() == "declaration";
            let inside = of.range.start <= node.start_byte() && node.end_byte() <= of.range.end;
            // What is put beside the body of an `if` without braces would not be in it.
            if is_statement && inside && in_block(node) {
                found.push(node);
            }
        });
        found
    }

    /// The body of a function: its block with the braces.
    pub(crate) fn body(&self, of: &Definition) -> Option<Node<'_>> {
        let body = self.node(of)?.child_by_field_name("body")?;
        (body.kind() == "compound_statement").then_some(body)
    }

    /// A function, with its parameters and its body.
    pub(crate) fn node(&self, of: &Definition) -> Option<Node<'_>> {
        self.root().descendant_for_byte_range(of.range.start, of.range.end)
    }

    /// The end of the last `#include` before a function, of one with such a path (`string_literal`
    /// or `system_lib_string`) where there is one, under no `#if` that the function is not under.
    pub(crate) fn after_includes(&self, of: &Definition, kind: &str) -> Option<usize> {
        let function = self.node(of)?;
        let conditions = self.conditions(function);
        let (mut alike, mut any) = (None, None);
        each(self.root(), &mut |node| {
            if node.kind() != "preproc_include"
                || node.end_byte() > of.range.start
                || self.conditions(node).iter().any(|one| !conditions.contains(one))
            {
                return;
            }
            any = Some(node.end_byte());
            let path = node.child_by_field_name("path");
            if path.is_some_and(|path| path.kind() == kind) {
                alike = any;
            }
        });
        alike.or(any)
    }

    /// What a node is under, as `#ifndef X`.
    pub(crate) fn conditions(&self, node: Node<'_>) -> Vec<String> {
        let mut all = Vec::new();
        let mut outer = node.parent();
        while let Some(parent) = outer {
            if parent.kind().starts_with("preproc_") {
                let text = String::from_utf8_lossy(&self.text[parent.byte_range()]).into_owned();
                all.push(text.lines().next().unwrap_or_default().trim().to_owned());
            }
            outer = parent.parent();
        }
        all
    }

    /// The first tokens of a node, without comments.
    pub(crate) fn tokens(&self, node: Node<'_>, limit: usize) -> Vec<Token> {
        let mut tokens = Vec::new();
        self.collect(node, limit, &mut tokens);
        tokens
    }

    fn words(&self, node: Node<'_>) -> String {
        self.tokens(node, usize::MAX).into_iter().map(|token| token.text).collect()
    }

    fn collect(&self, node: Node<'_>, limit: usize, tokens: &mut Vec<Token>) {
        if tokens.len() >= limit || node.kind() == "comment" {
            return;
        }
        if node.child_count() == 0 {
            let range = node.byte_range();
            let text = String::from_utf8_lossy(&self.text[range.clone()]).into_owned();
            if !text.trim().is_empty() {
                tokens.push(Token { text, range });
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
                let mut all = self.tokens(node, usize::MAX);
                all.retain(|token| token.range.end <= end);
                if default.is_some() {
                    all.retain(|token| token.text != "=");
                }
                if let Some(name) = name {
                    all.retain(|token| token.range != name.byte_range());
                }
                let types: Vec<String> = all.into_iter().map(|token| token.text).collect();
                (types.join(" "), name.map_or_else(String::new, |name| self.words(name)))
            })
            .unzip()
    }
}

/// The first statement of a block, or behind a `case` label; comments are none.
pub(crate) fn first_in(block: Node<'_>) -> Option<Node<'_>> {
    let mut cursor = block.walk();
    let begins = if block.kind() == "case_statement" { ":" } else { "{" };
    let inside = block.children(&mut cursor).skip_while(|node| node.kind() != begins);
    inside.filter(Node::is_named).find(|node| node.kind() != "comment")
}

/// Does something with a node and all below it.
fn each<'a>(node: Node<'a>, act: &mut impl FnMut(Node<'a>)) {
    act(node);
    let mut cursor = node.walk();
    for child in node.children(&mut cursor) {
        each(child, act);
    }
}

/// In braces; `#if` in between makes no difference.
fn in_block(node: Node<'_>) -> bool {
    let mut outer = node.parent();
    while let Some(parent) = outer {
        if !parent.kind().starts_with("preproc_") {
            return parent.kind() == "compound_statement";
        }
        outer = parent.parent();
    }
    false
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

impl Signature {
    /// From its text.
    ///
    /// # Errors
    /// Where it is none.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (name, _) =
            text.split_once('(').with_context(|| format!("'{text}' has no parameters"))?;
        let source = Source::parse(format!("void {} {{}}", text.trim_start_matches(':')).into())?;
        let [definition] = &source.functions[..] else { bail!("'{text}' is no function") };
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

    const TEXT: &str = "#include \"b.h\"\n#include <a.h>\nnamespace amd { namespace hip {\n\
        hipError_t ihipHostMalloc(void **ptr, size_t size /* bytes */, unsigned int flags = 0)\n{\n\
        \tif (!ptr) { return 1; }\n  unsigned   int ihipFlags = 1; // fine\n  return ihipFlags;\n}\n\
        bool Device::Set(const void* p, std::vector<int>& v) const { TRY; v.clear(); CATCH; }\n}}\n\
        extern \"C\" int HSA_API ihipHostMalloc(int hip) { return 0; }\n\
        #ifndef X // why\n#include \"d.h\"\n#if Y\n#include \"e.h\"\n#endif\n#endif\n\
        #ifndef X // why\nint under() { return 0; }\n#endif\n";

    fn source() -> Source {
        Source::parse(TEXT.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_function_is_found_with_its_parameters_however_it_is_written() {
        let source = source();
        let found = |name: &str| -> Vec<&Definition> { source.definitions(name).collect() };
        let [one] = found("hip::ihipHostMalloc")[..] else { panic!("one") };
        assert_eq!((one.line, &one.name[..]), (4, "amd::hip::ihipHostMalloc"));
        assert_eq!(one.types, ["void * *", "size_t", "unsigned int"]);
        assert_eq!(one.names, ["ptr", "size", "flags"]);
        let [method] = found("Device::Set")[..] else { panic!("one") };
        assert_eq!(method.types, ["const void *", "std :: vector < int > &"]);
        assert!(found("hipHostMalloc").is_empty());
        assert_eq!(found("ihipHostMalloc").len(), 2);
        let [global] = found("::ihipHostMalloc")[..] else { panic!("one") };
        assert_eq!((global.line, &global.types[..]), (12, &["int".to_owned()][..]));
        let wanted =
            Signature::parse("hip::ihipHostMalloc(void** p, size_t n, unsigned int f)").unwrap();
        assert_eq!(wanted.types, one.types);
        assert_eq!(wanted.names, ["p", "n", "f"]);
        assert_eq!(Signature::parse("::f(int)").unwrap().name, "::f");
    }

    #[test]
    fn includes_end_before_the_function() {
        let source = source();
        let ends = |name: &str| {
            let function = source.definitions(name).next().unwrap();
            let end = |kind| source.after_includes(function, kind).unwrap();
            TEXT[..end("string_literal")].trim_end().to_owned()
        };
        assert!(ends("Device::Set").ends_with("\"b.h\""));
        let function = source.definitions("Device::Set").next().unwrap();
        let end = source.after_includes(function, "system_lib_string").unwrap();
        assert!(TEXT[..end].trim_end().ends_with("<a.h>"));
        // What is included on a condition of its own is nothing to go by.
        assert!(ends("under").ends_with("\"d.h\""));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_harm(text in "[\\x00-\\x7f]{0,300}") {
            let source = Source::parse(text.into_bytes()).unwrap();
            for found in source.definitions("f") {
                let _ = source.statements(found);
                let _ = source.body(found);
            }
        }
    }
}
