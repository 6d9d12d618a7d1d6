//! How long the functions and files of the product are, tests left out.
//!
//! A function is measured from its `fn` to its closing brace, so that documentation costs
//! nothing. Code under `#[cfg(test)]` counts neither as a function nor as lines of its file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use attributes::{is_test_function, is_test_only};
use proc_macro2::Span;
use syn::visit::{self, Visit};

use super::File;
use crate::failure::{Context, Outcome};

/// Longer ones are split, unless the ratchet still holds them.
pub(super) const FUNCTION_LINES: usize = 70;
/// Longer ones are split, unless the ratchet still holds them.
pub(super) const FILE_LINES: usize = 500;

/// What is longer than the limits.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Measures {
    /// Lines by path.
    pub(super) files: BTreeMap<String, usize>,
    /// Lines by `path#Type::function`.
    pub(super) functions: BTreeMap<String, usize>,
}

/// Measures the product's source files among `files`.
///
/// # Errors
/// If one of them is not Rust.
pub(super) fn tree(files: &[File]) -> Outcome<Measures> {
    let mut sources = Vec::new();
    let mut test_modules = BTreeSet::new();
    for file in files.iter().filter(|file| is_product_source(file)) {
        let source = Source::read(file)?;
        test_modules.extend(source.test_modules.iter().cloned());
        sources.push((file, source));
    }
    let mut measures = Measures::default();
    for (file, source) in sources {
        if is_within(&file.path, &test_modules) {
            continue;
        }
        let lines = file.text.lines().count().saturating_sub(source.test_lines);
        if lines > FILE_LINES {
            measures.files.insert(file.path.clone(), lines);
        }
        for (name, lines) in source.functions {
            if lines > FUNCTION_LINES {
                // Of two functions with one name the longer one counts.
                let held = measures.functions.entry(format!("{}#{name}", file.path)).or_default();
                *held = lines.max(*held);
            }
        }
    }
    Ok(measures)
}

fn is_product_source(file: &File) -> bool {
    let path = &file.path;
    let in_product = path.starts_with("services/") || path.starts_with("deploy/");
    in_product
        && file.has_extension("rs")
        && !path.contains("/tests/")
        && !path.contains("/benches/")
        && !path.ends_with("/tests.rs")
}

/// Whether a path is one of the modules, or in the folder of one.
fn is_within(path: &str, modules: &BTreeSet<String>) -> bool {
    modules.iter().any(|module| {
        path.strip_prefix(module.as_str())
            .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    })
}

/// What one file holds.
#[derive(Default)]
struct Source {
    functions: Vec<(String, usize)>,
    test_lines: usize,
    /// Modules in other files that this one declares for tests only: paths without `.rs`.
    test_modules: Vec<String>,
    /// Where the file's modules are.
    folder: String,
    /// The types and modules around what is being visited.
    around: Vec<String>,
}

impl Source {
    fn read(file: &File) -> Outcome<Self> {
        let parsed = syn::parse_file(&file.text).cannot(|| format!("parse {}", file.path))?;
        let mut source = Self { folder: module_folder(&file.path), ..Self::default() };
        source.visit_file(&parsed);
        Ok(source)
    }

    fn function(&mut self, signature: &syn::Signature, closing: Span) {
        let lines = lines(signature.fn_token.span, closing);
        let mut name = self.around.clone();
        name.push(signature.ident.to_string());
        self.functions.push((name.join("::"), lines));
    }
}

impl<'ast> Visit<'ast> for Source {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if is_test_only(&module.attrs) {
            match &module.content {
                Some((brace, _)) => {
                    let first = first(&module.attrs, module.mod_token.span);
                    self.test_lines += lines(first, brace.span.close());
                }
                None => self.test_modules.push(format!("{}/{}", self.folder, module.ident)),
            }
            return;
        }
        self.around.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.around.pop();
    }

    fn visit_item_impl(&mut self, block: &'ast syn::ItemImpl) {
        if is_test_only(&block.attrs) {
            let first = first(&block.attrs, block.impl_token.span);
            self.test_lines += lines(first, block.brace_token.span.close());
            return;
        }
        let of_type = type_name(&block.self_ty);
        let name = match block.trait_.as_ref().and_then(|(_, path, _)| path.segments.last()) {
            Some(of_trait) => format!("<{of_type} as {}>", of_trait.ident),
            None => of_type,
        };
        self.around.push(name);
        visit::visit_item_impl(self, block);
        self.around.pop();
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.around.push(item.ident.to_string());
        visit::visit_item_trait(self, item);
        self.around.pop();
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        if is_test_only(&function.attrs) || is_test_function(&function.attrs) {
            let first = first(&function.attrs, function.sig.fn_token.span);
            self.test_lines += lines(first, function.block.brace_token.span.close());
            return;
        }
        self.function(&function.sig, function.block.brace_token.span.close());
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !is_test_only(&function.attrs) {
            self.function(&function.sig, function.block.brace_token.span.close());
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.function(&function.sig, block.brace_token.span.close());
        }
        visit::visit_trait_item_fn(self, function);
    }
}

/// Where an item begins: at its first attribute, or else at its keyword.
fn first(attributes: &[syn::Attribute], keyword: Span) -> Span {
    attributes.first().map_or(keyword, |attribute| attribute.pound_token.span)
}

fn lines(first: Span, last: Span) -> usize {
    (last.end().line + 1).saturating_sub(first.start().line)
}

fn type_name(of: &syn::Type) -> String {
    match of {
        syn::Type::Path(path) => path
            .path
            .segments
            .last()
            .map_or_else(|| "_".into(), |segment| segment.ident.to_string()),
        syn::Type::Reference(reference) => type_name(&reference.elem),
        _ => "_".into(),
    }
}

/// Where the files of a file's modules are: `a/lib.rs` has them in `a`, `a/b.rs` in `a/b`.
fn module_folder(path: &str) -> String {
    let path = Path::new(path);
    let parent = path.parent().unwrap_or(Path::new(""));
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    match stem.as_ref() {
        "lib" | "main" | "mod" => parent.to_string_lossy().into_owned(),
        _ => parent.join(stem.as_ref()).to_string_lossy().into_owned(),
    }
}

/// What attributes say about tests, read without expanding anything.
mod attributes {
    use proc_macro2::{TokenStream, TokenTree};
    use syn::{Attribute, Meta};

    /// `#[cfg(test)]`, `#[cfg(all(test, …))]`, but not `#[cfg(not(test))]`.
    pub(super) fn is_test_only(attributes: &[Attribute]) -> bool {
        attributes.iter().any(|attribute| match &attribute.meta {
            Meta::List(list) => list.path.is_ident("cfg") && demands_test(list.tokens.clone()),
            _ => false,
        })
    }

    /// `#[test]`, `#[tokio::test]` and the like.
    pub(super) fn is_test_function(attributes: &[Attribute]) -> bool {
        attributes.iter().any(|attribute| {
            attribute.path().segments.last().is_some_and(|segment| segment.ident == "test")
        })
    }

    fn demands_test(tokens: TokenStream) -> bool {
        let mut demanding = true;
        tokens.into_iter().any(|token| match token {
            TokenTree::Ident(word) => {
                // `any` is met without a test, and `not` is met by none.
                demanding = word != "not" && word != "any";
                word == "test"
            }
            TokenTree::Group(group) => demanding && demands_test(group.stream()),
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{File, Measures, tree};

    fn file(path: &str, text: String) -> File {
        File { path: path.into(), text }
    }

    fn statements(count: usize) -> String {
        "    step();\n".repeat(count)
    }

    fn measured(files: &[File]) -> Measures {
        tree(files).expect("is Rust")
    }

    #[test]
    fn a_function_that_is_too_long_is_measured_without_its_documentation() {
        let short = format!("fn short() {{\n{}}}\n", statements(68));
        let docs = "/// Why.\n".repeat(20);
        let long =
            format!("impl Display for Call<'_> {{\n{docs}fn fmt() {{\n{}}}\n}}\n", statements(69));
        let found = measured(&[file("services/edge/src/call.rs", format!("{short}{long}"))]);
        assert!(found.files.is_empty());
        let functions: Vec<_> = found.functions.into_iter().collect();
        assert_eq!(functions, [("services/edge/src/call.rs#<Call as Display>::fmt".into(), 71)]);
    }

    #[test]
    fn a_file_that_is_too_long_is_measured_without_its_tests() {
        let code = "const ONE: u8 = 1;\n".repeat(499);
        let tests = format!("#[cfg(test)]\nmod tests {{\nfn long() {{\n{}}}\n}}\n", statements(90));
        let path = "services/edge/src/call.rs";
        assert_eq!(measured(&[file(path, format!("{code}{tests}"))]), Measures::default());

        let grown = format!("{code}const A: u8 = 1;\nconst B: u8 = 1;\n{tests}");
        assert_eq!(measured(&[file(path, grown)]).files[path], 501);
    }

    #[test]
    fn tests_in_files_of_their_own_are_left_out() {
        let long = format!("fn long() {{\n{}}}\n", statements(90));
        let found = measured(&[
            file("services/edge/src/lib.rs", "#[cfg(test)] mod scenario;\nmod call;\n".into()),
            file("services/edge/src/scenario.rs", long.clone()),
            file("services/edge/src/scenario/more.rs", long.clone()),
            file("services/edge/tests/all.rs", long.clone()),
            file("tests/system/src/lib.rs", long.clone()),
            file("services/edge/src/call.rs", long),
        ]);
        let functions: Vec<_> = found.functions.into_keys().collect();
        assert_eq!(functions, ["services/edge/src/call.rs#long"]);
    }

    #[test]
    fn code_that_is_not_only_for_tests_counts() {
        let body = statements(90);
        for attribute in ["#[cfg(not(test))]", "#[cfg(any(test, unix))]", "#[cfg(unix)]"] {
            let text = format!("{attribute}\nfn long() {{\n{body}}}\n");
            let found = measured(&[file("services/edge/src/lib.rs", text)]);
            assert_eq!(found.functions.len(), 1, "{attribute}");
        }
        let text = format!("#[cfg(all(test, unix))]\nfn long() {{\n{body}}}\n");
        assert_eq!(measured(&[file("services/edge/src/lib.rs", text)]), Measures::default());
    }
}
