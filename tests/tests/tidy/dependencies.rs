//! Which crate may know which, and who may choose a Burn back end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use cargo_metadata::{Dependency, DependencyKind, Package};

use crate::report;
use crate::repository::{crates, packages, root};

/// The one version of every crate of the Burn family.
const BURN_VERSION: &str = "=0.22.1";

/// The features by which Burn gets a back end.
const BACK_ENDS: [&str; 11] =
    ["cpu", "cuda", "flex", "metal", "ndarray", "remote", "rocm", "tch", "vulkan", "webgpu", "wgpu"];

type Arrows = BTreeMap<String, BTreeSet<String>>;

/// Reads the block of `a -> b, c` lines fenced as `arrows`.
fn drawn_arrows(markdown: &str) -> Arrows {
    let lines = markdown.lines().skip_while(|line| *line != "```arrows").skip(1);
    let arrow = |line: &str| {
        let (from, to) = line.split_once("->").unwrap_or_else(|| panic!("not an arrow: {line}"));
        let to = to.split(',').map(str::trim).filter(|name| !name.is_empty());
        (from.trim().to_owned(), to.map(str::to_owned).collect())
    };
    lines.take_while(|line| *line != "```").map(arrow).collect()
}

/// What each package of the workspace needs, outside its tests, from the workspace.
fn real_arrows() -> Arrows {
    let packages = packages();
    let names: BTreeSet<_> = packages.iter().map(|package| package.name.to_string()).collect();
    let needed = |package: &Package| {
        let in_use = package.dependencies.iter().filter(|dependency| is_in_use(dependency));
        in_use.map(|dependency| dependency.name.clone()).filter(|name| names.contains(name)).collect()
    };
    packages.iter().map(|package| (package.name.to_string(), needed(package))).collect()
}

fn is_in_use(dependency: &Dependency) -> bool {
    dependency.kind != DependencyKind::Development
}

fn edges(arrows: &Arrows) -> BTreeSet<(&str, &str)> {
    arrows.iter().flat_map(|(from, to)| to.iter().map(move |to| (from.as_str(), to.as_str()))).collect()
}

#[test]
fn the_drawn_arrows_are_the_dependencies() {
    let architecture = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let (drawn, real) = (drawn_arrows(&architecture), real_arrows());
    let not_drawn = real.keys().filter(|name| !drawn.contains_key(*name));
    let gone = drawn.keys().filter(|name| !real.contains_key(*name));
    let (drawn_edges, real_edges) = (edges(&drawn), edges(&real));
    let mut breaches: Vec<_> = not_drawn.map(|name| format!("{name} has no line in the drawing")).collect();
    breaches.extend(gone.map(|name| format!("{name} is drawn, but is no package")));
    breaches
        .extend(real_edges.difference(&drawn_edges).map(|(from, to)| format!("{from} -> {to} is not drawn")));
    breaches.extend(
        drawn_edges.difference(&real_edges).map(|(from, to)| format!("{from} -> {to} is drawn only")),
    );
    report(real_edges.len(), &breaches);
}

#[test]
fn the_arrows_of_a_document_are_read() {
    let document = "text\n```arrows\na -> b, c\nb ->\n```\nd -> e\n";
    assert_eq!(format!("{:?}", drawn_arrows(document)), r#"{"a": {"b", "c"}, "b": {}}"#);
}

#[test]
fn burn_is_pinned() {
    let packages = packages();
    let of_burn = packages.iter().flat_map(|package| {
        let dependencies = package.dependencies.iter();
        dependencies.filter(|dependency| is_of_burn(dependency)).map(move |dependency| (package, dependency))
    });
    let of_burn: Vec<_> = of_burn.collect();
    let loose = of_burn.iter().filter(|(_, dependency)| dependency.req.to_string() != BURN_VERSION);
    let breaches = loose.map(|(package, dependency)| {
        format!("{}: {} {}, expected {BURN_VERSION}", package.name, dependency.name, dependency.req)
    });
    report(of_burn.len(), &breaches.collect::<Vec<_>>());
}

fn is_of_burn(dependency: &Dependency) -> bool {
    dependency.name == "burn" || dependency.name.starts_with("burn-")
}

#[test]
fn no_library_names_a_back_end() {
    let libraries: Vec<_> =
        crates().into_iter().filter(|package| package.name.as_str() != "moslim").collect();
    let breaches: Vec<_> = libraries.iter().flat_map(back_ends_named).collect();
    report(libraries.len(), &breaches);
}

/// The dependencies and features of a package that turn on a back end.
fn back_ends_named(package: &Package) -> Vec<String> {
    let in_use = package.dependencies.iter().filter(|dependency| is_in_use(dependency));
    let relevant =
        in_use.filter(|dependency| is_of_burn(dependency) || dependency.name.starts_with("moslim"));
    let mut breaches = Vec::new();
    for dependency in relevant {
        if is_of_burn(dependency) && dependency.uses_default_features {
            breaches.push(format!("{}: {} with its default features", package.name, dependency.name));
        }
        for feature in dependency.features.iter().filter(|feature| is_back_end(feature)) {
            breaches.push(format!("{}: {} with {feature}", package.name, dependency.name));
        }
    }
    for (feature, turned_on) in &package.features {
        // The fused kernels are written for one back end; callers turn them on by this one feature.
        let is_allowed = package.name.as_str() == "moslim-kernels" && feature == "flex";
        for other in turned_on.iter().filter(|other| !is_allowed && is_back_end(other)) {
            breaches.push(format!("{}: the feature {feature} turns on {other}", package.name));
        }
    }
    breaches
}

fn is_back_end(feature: &str) -> bool {
    BACK_ENDS.contains(&feature.rsplit('/').next().unwrap_or(feature))
}
