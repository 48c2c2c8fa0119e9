//! The repository's own rules, checked: what depends on what, how manifests, sources and texts are written.
//!
//! A rule that only a document states is soon broken; each module here checks one kind of rule and names every breach.

mod dependencies;
mod manifests;
mod repository;
mod sources;
mod texts;

/// Fails with every breach of a rule, and when nothing was looked at: then the check would prove nothing.
fn report(n_cases: usize, breaches: &[String]) {
    assert!(n_cases > 0, "the rule was checked on nothing");
    assert!(breaches.is_empty(), "{} of {n_cases} cases:\n{}", breaches.len(), breaches.join("\n"));
}
