//! Which public items name their counterpart in Python: in their documentation, or on the page of
//! names.

use std::collections::BTreeSet;

use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ImplItem, Item, Lit, Meta, TraitItem, UseTree, Visibility};

use crate::names::{is_for_tests, type_name};

/// A public type, trait or function, or a method of one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicItem {
    pub owner: String,
    /// The method; `None` for the type, trait or function itself.
    pub member: Option<String>,
    /// The documentation mentions Python.
    documented: bool,
}

impl PublicItem {
    pub fn path(&self) -> String {
        match &self.member {
            Some(member) => format!("{}::{member}", self.owner),
            None => self.owner.clone(),
        }
    }
}

/// The names that the front page and its public modules export.
pub fn exported_names(sources: &[String]) -> BTreeSet<String> {
    let mut exports = Exports::default();
    for source in sources {
        exports.visit_file(&syn::parse_file(source).expect("a source file is valid Rust"));
    }
    exports.0
}

#[derive(Default)]
struct Exports(BTreeSet<String>);

impl<'ast> Visit<'ast> for Exports {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        // A name alone is another crate, whose items are not ours.
        let is_crate = matches!(item.tree, UseTree::Name(_));
        if matches!(item.vis, Visibility::Public(_)) && !is_crate {
            self.add(&item.tree);
        }
    }
}

impl Exports {
    fn add(&mut self, tree: &UseTree) {
        match tree {
            UseTree::Path(path) => self.add(&path.tree),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add(tree)),
            UseTree::Name(name) => self.0.extend([name.ident.to_string()]),
            UseTree::Rename(name) => self.0.extend([name.rename.to_string()]),
            UseTree::Glob(_) => panic!("the front page exports names one by one"),
        }
    }
}

/// The exported items that these sources declare, with their public methods.
pub fn public_items(sources: &[String], exported: &BTreeSet<String>) -> BTreeSet<PublicItem> {
    let mut items = Items {
        exported,
        found: BTreeSet::new(),
    };
    for source in sources {
        items.visit_file(&syn::parse_file(source).expect("a source file is valid Rust"));
    }
    items.found
}

struct Items<'a> {
    exported: &'a BTreeSet<String>,
    found: BTreeSet<PublicItem>,
}

impl Items<'_> {
    fn add(&mut self, owner: &str, member: Option<&syn::Ident>, attributes: &[Attribute]) {
        if self.exported.contains(owner) && !is_hidden(attributes) {
            self.found.insert(PublicItem {
                owner: owner.to_owned(),
                member: member.map(ToString::to_string),
                documented: mentions_python(attributes),
            });
        }
    }
}

impl<'ast> Visit<'ast> for Items<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Mod(module) if is_for_tests(&module.attrs) => return,
            Item::Struct(it) => self.add(&it.ident.to_string(), None, &it.attrs),
            Item::Enum(it) => self.add(&it.ident.to_string(), None, &it.attrs),
            Item::Type(it) => self.add(&it.ident.to_string(), None, &it.attrs),
            Item::Fn(it) if matches!(it.vis, Visibility::Public(_)) => {
                self.add(&it.sig.ident.to_string(), None, &it.attrs);
            }
            Item::Trait(it) => {
                let owner = it.ident.to_string();
                self.add(&owner, None, &it.attrs);
                for item in &it.items {
                    if let TraitItem::Fn(it) = item {
                        self.add(&owner, Some(&it.sig.ident), &it.attrs);
                    }
                }
            }
            Item::Impl(it) if it.trait_.is_none() => {
                for item in &it.items {
                    if let (Some(owner), ImplItem::Fn(method)) = (type_name(&it.self_ty), item)
                        && matches!(method.vis, Visibility::Public(_))
                    {
                        self.add(&owner, Some(&method.sig.ident), &method.attrs);
                    }
                }
            }
            _ => {}
        }
        visit::visit_item(self, item);
    }

    fn visit_block(&mut self, _: &'ast syn::Block) {}
}

fn mentions_python(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        matches!(&attribute.meta, Meta::NameValue(it) if it.path.is_ident("doc")
            && matches!(&it.value, Expr::Lit(text)
                if matches!(&text.lit, Lit::Str(text) if text.value().contains("Python"))))
    })
}

fn is_hidden(attributes: &[Attribute]) -> bool {
    let is_doc = |it: &&Attribute| it.path().is_ident("doc");
    attributes.iter().filter(is_doc).any(|attribute| {
        let argument = attribute.parse_args::<syn::Path>();
        argument.is_ok_and(|argument| argument.is_ident("hidden"))
    })
}

/// The names on the page, in code spans such as `Server::serve_forever` and
/// `request.next_line(n)`.
#[derive(Debug, Default)]
pub struct NamesOnPage {
    named: BTreeSet<String>,
    /// Types that Python has not, with all their methods.
    whole: BTreeSet<String>,
}

/// The heading of the types that Python has not.
const OURS_ALONE: &str = "## Types that Python does not have";

impl NamesOnPage {
    /// Takes in the code spans of the page. `text` has the headings, and the tables of types.
    pub fn new(text: &str, code_spans: &[(usize, String)]) -> Self {
        let mut page = Self::default();
        for (_, span) in code_spans {
            let mut parts = span.split(|c: char| !c.is_alphanumeric() && !"_:.".contains(c));
            let path = parts.next().unwrap_or_default();
            if let Some(member) = path.strip_prefix("request.") {
                for request in ["StreamRequest", "DatagramRequest"] {
                    page.named.insert(format!("{request}::{member}"));
                }
                continue;
            }
            if path.starts_with(char::is_lowercase) {
                for hooks in ["BaseServer", "MixIn", "RequestHandler"] {
                    page.named.insert(format!("{hooks}::{path}"));
                }
            }
            page.named.insert(path.to_owned());
        }
        let (_, section) = text
            .split_once(OURS_ALONE)
            .expect("the page has the section");
        let rows = section.lines().take_while(|line| !line.starts_with("## "));
        let first_cells = rows.filter_map(|row| row.split('|').nth(1));
        let spans = first_cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
        page.whole.extend(spans.map(ToOwned::to_owned));
        page
    }

    fn covers(&self, item: &PublicItem) -> bool {
        self.whole.contains(&item.owner) || self.named.contains(&item.path())
    }
}

/// The public items for which neither their documentation nor the page has a counterpart in Python,
/// or states that there is none.
pub fn without_counterpart(items: &BTreeSet<PublicItem>, page: &NamesOnPage) -> Vec<String> {
    let missing = items.iter().filter(|it| !it.documented && !page.covers(it));
    missing.map(PublicItem::path).collect()
}

/// The types on the page that have been renamed or removed.
pub fn not_exported(page: &NamesOnPage, exported: &BTreeSet<String>) -> Vec<String> {
    page.whole.difference(exported).cloned().collect()
}

#[test]
fn a_public_item_without_a_counterpart_is_found() {
    let front = "pub use a::{Server, Limits, bare}; use a::Private;".to_owned();
    let source = "/// Python's server.
        pub struct Server;
        pub struct Limits;
        struct Private;
        impl Server {
            /// Python's `shutdown`.
            pub fn shutdown(&self) {}
            pub fn named(&self) {}
            pub fn forgotten(&self) {}
            fn inner(&self) {}
        }
        impl Limits { pub fn none() {} }
        impl Private { pub fn hidden(&self) {} }
        pub fn bare() {}
        #[cfg(test)] mod tests { impl Server { pub fn in_a_test(&self) {} } }"
        .to_owned();
    let exported = exported_names(&[front]);
    let items = public_items(&[source], &exported);
    let text = format!("# Names\n\n{OURS_ALONE}\n\n| `Limits` | `Server` |\n\n## End\n");
    let spans = [(3, "Server::named(x)".to_owned())];
    let page = NamesOnPage::new(&text, &spans);
    assert_eq!(
        without_counterpart(&items, &page),
        ["Server::forgotten", "bare"]
    );
    assert_eq!(not_exported(&page, &exported), [""; 0]);
    assert_eq!(not_exported(&page, &BTreeSet::new()), ["Limits"]);
}
