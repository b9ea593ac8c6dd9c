//! The names that Rust sources declare.

use std::collections::{HashMap, HashSet};

use syn::visit::{self, Visit};
use syn::{Attribute, Ident, ImplItem, Item, Path, TraitItem, Type, TypeParamBound};

/// What some files declare: every name, and which of them belong to which type or trait.
#[derive(Debug, Default)]
pub struct Names {
    all: HashSet<String>,
    callable: HashSet<String>,
    modules: HashSet<String>,
    /// Methods, variants and associated items, by their type or trait.
    members: HashMap<String, HashSet<String>>,
    /// The traits of each type, and those that a trait brings along by a blanket implementation.
    traits: HashMap<String, HashSet<String>>,
    /// What a type alias stands for.
    aliases: HashMap<String, String>,
}

impl Names {
    /// Takes in what a source file declares, but for its unit tests.
    pub fn read(&mut self, source: &str) {
        self.visit_file(&syn::parse_file(source).expect("a source file is valid Rust"));
    }

    /// Takes in the name of a crate, an example, a test program.
    pub fn add_target(&mut self, name: &str) {
        self.all.insert(name.to_owned());
        self.modules.insert(name.to_owned());
    }

    pub fn declares(&self, name: &str) -> bool {
        self.all.contains(name)
    }

    /// A function, a method, a macro, or a variant with fields has this name.
    pub fn declares_callable(&self, name: &str) -> bool {
        self.callable.contains(name)
    }

    pub fn declares_module(&self, name: &str) -> bool {
        self.modules.contains(name)
    }

    /// `owner` is a type or trait with such a method, variant or associated item: one of its own,
    /// or one of a trait of these sources that it implements.
    pub fn declares_member(&self, owner: &str, member: &str) -> bool {
        let owner = self.aliases.get(owner).map_or(owner, String::as_str);
        let has = |owner: &str| {
            let members = self.members.get(owner);
            members.is_some_and(|members| members.contains(member))
        };
        let traits_of = |owner: &str| self.traits.get(owner).into_iter().flatten();
        has(owner)
            || traits_of(owner).any(|its| has(its) || traits_of(its).any(|further| has(further)))
    }

    fn add(&mut self, name: &Ident) {
        self.all.insert(name.to_string());
    }

    fn add_callable(&mut self, name: &Ident) {
        self.add(name);
        self.callable.insert(name.to_string());
    }

    fn add_member(&mut self, owner: &str, member: &Ident) {
        self.add(member);
        let members = self.members.entry(owner.to_owned()).or_default();
        members.insert(member.to_string());
    }

    fn add_trait(&mut self, owner: &str, its: &Path) {
        let traits = self.traits.entry(owner.to_owned()).or_default();
        traits.extend(last_name(its));
    }

    /// `#[derive(Default)]` declares a function that people name.
    fn add_derived(&mut self, owner: &Ident, attributes: &[Attribute]) {
        for attribute in attributes.iter().filter(|it| it.path().is_ident("derive")) {
            let _ = attribute.parse_nested_meta(|derived| {
                if derived.path.is_ident("Default") {
                    let members = self.members.entry(owner.to_string()).or_default();
                    members.insert("default".to_owned());
                }
                Ok(())
            });
        }
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Mod(module) if is_for_tests(&module.attrs) => return,
            Item::Mod(module) => {
                self.add(&module.ident);
                self.modules.insert(module.ident.to_string());
            }
            Item::Struct(it) => {
                self.add(&it.ident);
                self.add_derived(&it.ident, &it.attrs);
            }
            Item::Enum(it) => {
                self.add(&it.ident);
                self.add_derived(&it.ident, &it.attrs);
                for variant in &it.variants {
                    self.add_member(&it.ident.to_string(), &variant.ident);
                    if let syn::Fields::Unnamed(_) = variant.fields {
                        self.add_callable(&variant.ident);
                    }
                }
            }
            Item::Trait(it) => {
                self.add(&it.ident);
                let owner = it.ident.to_string();
                for item in &it.items {
                    match item {
                        TraitItem::Fn(it) => {
                            self.add_callable(&it.sig.ident);
                            self.add_member(&owner, &it.sig.ident);
                        }
                        TraitItem::Type(it) => self.add_member(&owner, &it.ident),
                        TraitItem::Const(it) => self.add_member(&owner, &it.ident),
                        _ => {}
                    }
                }
            }
            Item::Impl(it) => {
                let Some(owner) = type_name(&it.self_ty) else {
                    return visit::visit_item(self, item);
                };
                let parameter = it.generics.type_params().find(|it| it.ident == owner);
                match (parameter, &it.trait_) {
                    (Some(parameter), Some((_, its, _))) => {
                        for bound in &parameter.bounds {
                            if let TypeParamBound::Trait(bound) = bound {
                                last_name(&bound.path).inspect(|owner| self.add_trait(owner, its));
                            }
                        }
                    }
                    (None, Some((_, its, _))) => self.add_trait(&owner, its),
                    (_, None) => {}
                }
                for item in &it.items {
                    match item {
                        ImplItem::Fn(it) => {
                            self.add_callable(&it.sig.ident);
                            self.add_member(&owner, &it.sig.ident);
                        }
                        ImplItem::Const(it) => self.add_member(&owner, &it.ident),
                        _ => {}
                    }
                }
            }
            Item::Type(it) => {
                self.add(&it.ident);
                let target = type_name(&it.ty);
                target.map(|target| self.aliases.insert(it.ident.to_string(), target));
            }
            Item::Fn(it) => self.add_callable(&it.sig.ident),
            Item::Const(it) => self.add(&it.ident),
            Item::Static(it) => self.add(&it.ident),
            Item::Macro(it) => {
                it.ident.iter().for_each(|name| self.add_callable(name));
            }
            _ => {}
        }
        visit::visit_item(self, item);
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        field.ident.iter().for_each(|name| self.add(name));
    }

    /// Parameters: the pages speak of `top` and `request`.
    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        for input in &signature.inputs {
            if let syn::FnArg::Typed(parameter) = input
                && let syn::Pat::Ident(name) = &*parameter.pat
            {
                self.add(&name.ident);
            }
        }
    }

    /// What is declared in a function is nobody else's business.
    fn visit_block(&mut self, _: &'ast syn::Block) {}
}

pub fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<Path>()
                .is_ok_and(|it| it.is_ident("test"))
    })
}

fn last_name(path: &Path) -> Option<String> {
    path.segments.last().map(|last| last.ident.to_string())
}

pub fn type_name(it: &Type) -> Option<String> {
    match it {
        Type::Path(path) => last_name(&path.path),
        _ => None,
    }
}

#[test]
fn a_member_is_found_with_its_own_type_its_traits_and_its_alias_only() {
    let mut names = Names::default();
    names.read(
        "trait Base { type Item; fn hook(&self); }
         trait Layer { fn next(&self); }
         impl<M: Layer> Base for M { fn hook(&self) {} }
         #[derive(Debug, Default)] struct Server { timeout: u8 }
         impl Server { const SIZE: u8 = 1; fn serve(&self, top: u8) { fn inner() {} } }
         impl Layer for Server { fn next(&self) {} }
         type Threading = Server;
         enum Outcome { Finished, Told(u8) }
         mod part { fn within() {} }
         #[cfg(test)] mod tests { fn a_test() {} }",
    );
    let members = ["serve", "SIZE", "next", "hook", "Item", "default"];
    assert!(members.iter().all(|it| names.declares_member("Server", it)));
    assert!(names.declares_member("Threading", "serve"));
    assert!(names.declares_member("Outcome", "Finished"));
    assert!(!names.declares_member("Layer", "serve"));
    assert!(!names.declares_member("Base", "next"));
    assert!(!names.declares_member("Outcome", "default"));
    assert!(!names.declares_member("Server", "timeout"));
    let declared = ["timeout", "top", "part", "within", "Told", "Threading"];
    assert!(declared.iter().all(|it| names.declares(it)));
    assert!(
        ["a_test", "inner", "tests", "u8"]
            .iter()
            .all(|it| !names.declares(it))
    );
    assert!(names.declares_callable("Told") && !names.declares_callable("Finished"));
    assert!(names.declares_callable("serve") && !names.declares_callable("timeout"));
    assert!(names.declares_module("part") && !names.declares_module("within"));
}
