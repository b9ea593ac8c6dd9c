//! The paths in the code of a file that lead to other files of the same crate.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};

use crate::Sources;

/// Where the modules of a crate begin.
const ROOTS: &[&str] = &["src/", "handlers/src/bin/socketserver/", "handlers/src/"];

/// One path in a file's code that leads to another file.
#[derive(Debug, PartialEq, Eq)]
pub struct Import {
    pub line: usize,
    pub module: String,
    /// A `pub use` out of a module below the file's own: what makes it public, and no dependency.
    pub is_re_export: bool,
}

/// The imports of every file, by its path.
pub fn all_imports(sources: &Sources) -> BTreeMap<&str, Vec<Import>> {
    let modules = sources.keys().map(|file| module_of(file)).collect();
    let mut all = BTreeMap::new();
    for (file, source) in sources {
        let imports = Imports::of(source, module_of(file), &modules);
        all.insert(file.as_str(), imports);
    }
    all
}

/// The module that a file is, as a path without `crate`: `running/server_handle`. Empty if the
/// root.
pub fn module_of(file: &str) -> &str {
    let mut roots = ROOTS.iter().filter_map(|root| file.strip_prefix(root));
    let file = roots.next().unwrap_or(file);
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    match stem {
        "lib" | "main" => "",
        _ => stem.strip_suffix("/mod").unwrap_or(stem),
    }
}

/// Collects the imports of one file.
struct Imports<'a> {
    module: &'a str,
    /// Every module that is a file.
    modules: &'a BTreeSet<&'a str>,
    found: Vec<Import>,
}

impl<'a> Imports<'a> {
    fn of(source: &str, module: &'a str, modules: &'a BTreeSet<&'a str>) -> Vec<Import> {
        let mut imports = Self {
            module,
            modules,
            found: Vec::new(),
        };
        let names = module.split('/').filter(|name| !name.is_empty());
        let here = Vec::from_iter(names.map(str::to_owned));
        let tokens = source.parse().expect("a source file has Rust's tokens");
        imports.walk(tokens, &here);
        imports.found
    }

    /// Looks at all tokens, those in macros included. Comments are no tokens, and documentation is
    /// a string. `here` is the module that the tokens are in, which may be an inline one.
    fn walk(&mut self, tokens: TokenStream, here: &[String]) {
        let tokens = Vec::from_iter(tokens);
        let mut at = 0;
        while at < tokens.len() {
            let rest = &tokens[at..];
            at += match rest {
                [
                    TokenTree::Ident(keyword),
                    TokenTree::Ident(name),
                    TokenTree::Group(body),
                    ..,
                ] if keyword == "mod" => {
                    self.walk(body.stream(), &[here, &[name.to_string()]].concat());
                    3
                }
                // `pub(in path)` names how far an item is visible, and imports nothing.
                [TokenTree::Ident(keyword), TokenTree::Group(group), ..]
                    if keyword == "pub" && group.delimiter() == Delimiter::Parenthesis =>
                {
                    2
                }
                [TokenTree::Ident(keyword), ..] if keyword == "use" => {
                    let end = rest.iter().position(|token| is_punct(token, ';'));
                    let end = end.unwrap_or(rest.len());
                    for path in paths_of_use(&rest[1..end], &[]) {
                        self.note(&path, here, ends_public(&tokens[..at]));
                    }
                    end
                }
                [TokenTree::Ident(_), ..] => {
                    let path = leading_path(rest);
                    self.note(&path, here, false);
                    // Each `::` is two tokens.
                    path.len() * 3 - 2
                }
                [TokenTree::Group(group), ..] => {
                    self.walk(group.stream(), here);
                    1
                }
                _ => 1,
            };
        }
    }

    fn note(&mut self, path: &[Ident], here: &[String], is_public: bool) {
        let names = Vec::from_iter(path.iter().map(Ident::to_string));
        let [first, _, ..] = &*names else { return };
        let (start, relative) = match first.as_str() {
            "crate" => (&[][..], &names[1..]),
            "self" => (here, &names[1..]),
            "super" => {
                let up = names.iter().take_while(|name| *name == "super").count();
                (&here[..here.len().saturating_sub(up)], &names[up..])
            }
            // Another name in scope. Only a child module leads to a file.
            _ if self.is_file(&[here, &names[..1]].concat()) => (here, &names[..]),
            _ => return,
        };
        let full = [start, relative].concat();
        let mut prefixes = (0..=full.len()).rev().map(|length| &full[..length]);
        let module = prefixes.find(|path| self.is_file(path));
        let module = module.unwrap_or_default().join("/");
        let below = match self.module {
            "" => String::new(),
            own => format!("{own}/"),
        };
        let import = Import {
            line: path[0].span().start().line,
            is_re_export: is_public && module.starts_with(&below),
            module,
        };
        // One `use` may bring in many names of one file.
        if import.module != self.module && !self.found.contains(&import) {
            self.found.push(import);
        }
    }

    fn is_file(&self, module: &[String]) -> bool {
        self.modules.contains(&*module.join("/"))
    }
}

fn is_punct(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == character)
}

/// The last of these tokens are `pub` or `pub(…)`.
fn ends_public(tokens: &[TokenTree]) -> bool {
    match tokens {
        [.., TokenTree::Ident(keyword), TokenTree::Group(_)] | [.., TokenTree::Ident(keyword)] => {
            keyword == "pub"
        }
        _ => false,
    }
}

/// The names, from the first token on, that `::` joins.
fn leading_path(mut tokens: &[TokenTree]) -> Vec<Ident> {
    let mut path = Vec::new();
    while let [TokenTree::Ident(name), rest @ ..] = tokens {
        path.push(name.clone());
        match rest {
            [first, second, after @ ..] if is_punct(first, ':') && is_punct(second, ':') => {
                tokens = after;
            }
            _ => break,
        }
    }
    path
}

/// The whole path of each name that a `use` brings in; of `a::*` it is `a` and the star's place.
fn paths_of_use(tree: &[TokenTree], prefix: &[Ident]) -> Vec<Vec<Ident>> {
    let mut paths = Vec::new();
    for branch in tree.split(|token| is_punct(token, ',')) {
        let mut path = prefix.to_vec();
        path.extend(leading_path(branch));
        match branch.last() {
            Some(TokenTree::Group(group)) => {
                let inner = Vec::from_iter(group.stream());
                paths.extend(paths_of_use(&inner, &path));
            }
            Some(TokenTree::Punct(star)) => {
                path.push(Ident::new("_", star.span()));
                paths.push(path);
            }
            Some(_) => paths.push(path),
            None => {}
        }
    }
    paths
}

#[test]
fn a_file_is_a_module_of_its_crate() {
    let modules = [
        ("src/lib.rs", ""),
        ("src/running/mod.rs", "running"),
        ("handlers/src/shell/reply.rs", "shell/reply"),
        ("handlers/src/bin/socketserver/main.rs", ""),
        ("handlers/src/bin/socketserver/url.rs", "url"),
    ];
    for (file, module) in modules {
        assert_eq!(module_of(file), module, "{file}");
    }
}

#[test]
fn an_import_is_found_in_every_form_with_its_line() {
    let source = "mod child;
        //! use crate::comment;
        /// [`crate::comment`]
        use std::fs;
        pub(in crate::running) use child::A;
        pub use self::child::{B as C, D};
        use crate::{values::{error::Error, limits::*}, support};
        fn code() { crate::values::error::f::<crate::values::limits::L>(super::x()); }
        macro_rules! m { () => { $crate::support::log!(child::D, \"crate::comment\") } }
        mod tests { use super::*; use super::super::base_server; use super::E; }";
    let modules = [
        "",
        "base_server",
        "comment",
        "running",
        "running/child",
        "support",
        "values",
        "values/error",
        "values/limits",
    ];
    let found = Imports::of(source, "running", &BTreeSet::from(modules));
    let found = found
        .iter()
        .map(|it| (it.line, &*it.module, it.is_re_export));
    assert_eq!(
        Vec::from_iter(found),
        [
            (5, "running/child", true),
            (6, "running/child", true),
            (7, "values/error", false),
            (7, "values/limits", false),
            (7, "support", false),
            (8, "values/error", false),
            (8, "values/limits", false),
            (8, "", false),
            (9, "support", false),
            (9, "running/child", false),
            (10, "base_server", false),
        ]
    );
}
