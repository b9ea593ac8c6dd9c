//! The hooks of `BaseServer`, which `MixIn` has to repeat.

use std::collections::BTreeMap;

use syn::visit::{self, Visit};
use syn::{Block, Ident, ImplItem, Item, TraitItem};

/// The methods of `BaseServer` that only bottom layers define: a mix-in forwards them, and `MixIn`
/// has no method of the same name.
const OF_BOTTOM_LAYERS: &[&str] = &["handle", "layer_handle", "socket"];

/// The methods of a trait or an implementation: the line of each, and the body where there is one.
type Methods = BTreeMap<String, (usize, Option<Block>)>;

/// The hooks of `BaseServer` that a mix-in lacks, or does not forward to the next layer; and the
/// methods of `MixIn` that are no hooks.
pub fn missing_hooks(base_server: &str, mix_in: &str) -> Vec<String> {
    let hooks = methods_of_trait(base_server, "BaseServer");
    let of_mix_in = methods_of_trait(mix_in, "MixIn");
    let forwarded = methods_of_implementation(mix_in, "BaseServer");
    let is_of_bottom = |name: &String| OF_BOTTOM_LAYERS.contains(&name.as_str());
    let mut violations = Vec::new();
    for (hook, (line, _)) in &hooks {
        let mut look_for = |methods: &Methods, place: &str| match methods.get(hook) {
            None => violations.push(format!(
                "src/base_server.rs:{line}: {hook} is not in {place}"
            )),
            Some((line, body)) if !body.as_ref().is_some_and(|body| calls(body, hook)) => {
                violations.push(format!(
                    "src/mix_in.rs:{line}: {place} does not forward {hook}"
                ));
            }
            Some(_) => {}
        };
        look_for(&forwarded, "the implementation for every MixIn");
        if !is_of_bottom(hook) {
            look_for(&of_mix_in, "MixIn");
        }
    }
    for (name, (line, _)) in &of_mix_in {
        if name != "next" && (is_of_bottom(name) || !hooks.contains_key(name)) {
            violations.push(format!(
                "src/mix_in.rs:{line}: {name} is no hook of BaseServer"
            ));
        }
    }
    if hooks.is_empty() {
        violations.push("src/base_server.rs:1: there is no trait BaseServer with hooks".to_owned());
    }
    violations
}

/// The hooks of `MixIn` that the layer `source` does not define, does not forward under their name,
/// or shows under another name.
pub fn hooks_not_shown(mix_in: &str, file: &str, source: &str) -> Vec<String> {
    let shown = methods_of_implementation(source, "MixIn");
    let hooks = methods_of_trait(mix_in, "MixIn").into_keys();
    let complaint = |hook: String| match shown.get(&hook) {
        Some((_, Some(body))) if calls(body, &hook) && names(body, &hook) => None,
        _ => Some(format!("{file}: {hook} is not shown")),
    };
    hooks
        .filter(|hook| hook != "next")
        .filter_map(complaint)
        .collect()
}

/// The body has the text `name`.
fn names(body: &Block, name: &str) -> bool {
    let mut texts = Texts { name, found: false };
    texts.visit_block(body);
    texts.found
}

struct Texts<'a> {
    name: &'a str,
    found: bool,
}

impl<'ast> Visit<'ast> for Texts<'_> {
    fn visit_lit_str(&mut self, text: &'ast syn::LitStr) {
        self.found |= text.value() == self.name;
    }
}

fn methods_of_trait(source: &str, name: &str) -> Methods {
    let items = items(source).into_iter().filter_map(|item| match item {
        Item::Trait(it) if it.ident == name => Some(it.items),
        _ => None,
    });
    let methods = items.flatten().filter_map(|item| match item {
        TraitItem::Fn(it) => Some(entry(&it.sig.ident, it.default)),
        _ => None,
    });
    methods.collect()
}

fn methods_of_implementation(source: &str, of: &str) -> Methods {
    let items = items(source).into_iter().filter_map(|item| match item {
        Item::Impl(it) => {
            let (_, path, _) = it.trait_?;
            (path.segments.last()?.ident == of).then_some(it.items)
        }
        _ => None,
    });
    let methods = items.flatten().filter_map(|item| match item {
        ImplItem::Fn(it) => Some(entry(&it.sig.ident, Some(it.block))),
        _ => None,
    });
    methods.collect()
}

fn items(source: &str) -> Vec<Item> {
    let file = syn::parse_file(source).expect("a source file is valid Rust");
    file.items
}

fn entry(name: &Ident, body: Option<Block>) -> (String, (usize, Option<Block>)) {
    (name.to_string(), (name.span().start().line, body))
}

/// The body mentions a function, or calls a method, of this name.
fn calls(body: &Block, name: &str) -> bool {
    let mut calls = Calls { name, found: false };
    calls.visit_block(body);
    calls.found
}

struct Calls<'a> {
    name: &'a str,
    found: bool,
}

impl<'ast> Visit<'ast> for Calls<'_> {
    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.found |= call.method == self.name;
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        let last = path.path.segments.last();
        self.found |= last.is_some_and(|last| last.ident == self.name);
    }
}

#[test]
fn a_hook_that_is_missing_or_not_forwarded_is_found() {
    let base_server = "pub trait BaseServer {
        fn layer_handle(&self) -> &LayerHandle;
        fn good(&self);
        fn forgotten(&self) {}
        fn swapped(&self) {}
        fn swallowed(&self) {}
    }";
    let mix_in = "pub trait MixIn {
        fn next(&self) -> &Self::Next;
        fn good(&self) { self.next().good(); }
        fn swapped(&self) { self.next().swapped(); }
        fn swallowed(&self) {}
        fn surplus(&self) {}
    }
    impl<M: MixIn> BaseServer for M {
        fn layer_handle(&self) -> &LayerHandle { self.next().layer_handle() }
        fn good(&self) { MixIn::good(self); }
        fn swapped(&self) { MixIn::good(self); }
        fn swallowed(&self) { MixIn::swallowed(self); }
    }";
    assert_eq!(
        missing_hooks(base_server, mix_in),
        [
            "src/base_server.rs:4: forgotten is not in the implementation for every MixIn",
            "src/base_server.rs:4: forgotten is not in MixIn",
            "src/mix_in.rs:5: MixIn does not forward swallowed",
            "src/mix_in.rs:11: the implementation for every MixIn does not forward swapped",
            "src/mix_in.rs:6: surplus is no hook of BaseServer",
        ]
    );
    assert_eq!(missing_hooks("", "pub trait MixIn {}").len(), 1);
}

#[test]
fn a_hook_that_a_trace_lacks_or_swallows_or_shows_as_another_is_found() {
    let mix_in = "pub trait MixIn {
        fn next(&self) -> &Self::Next;
        fn good(&self) {}
        fn missing(&self) {}
        fn renamed(&self) {}
        fn swallowed(&self) {}
    }";
    let trace = "impl<S: BaseServer> MixIn for TraceMixIn<S> {
        fn good(&self) { let _call = self.begin(\"good\"); self.next.good(); }
        fn renamed(&self) { let _call = self.begin(\"good\"); self.next.renamed(); }
        fn swallowed(&self) { let _call = self.begin(\"swallowed\"); }
    }";
    assert_eq!(
        hooks_not_shown(mix_in, "a.rs", trace),
        [
            "a.rs: missing is not shown",
            "a.rs: renamed is not shown",
            "a.rs: swallowed is not shown",
        ]
    );
}
