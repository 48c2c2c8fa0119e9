//! Where the request stands beside the prompt.

use super::CodecError;
use super::error::split_at_placeholder;

/// A template taken apart: `before`, the first placeholder, `between`, the second placeholder, `after`.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    before: String,
    pub(super) between: String,
    after: String,
    pub(super) request_first: bool,
}

impl Frame {
    pub(super) fn new(template: &str) -> Result<Self, CodecError> {
        const FIELD: &str = "template";
        let (before, after) = split_at_placeholder(FIELD, template, "{request}")?;
        let (before_prompt, _) = split_at_placeholder(FIELD, template, "{prompt}")?;
        let request_first = before.len() < before_prompt.len();
        let (before, between, after) = if request_first {
            let (between, after) = split_at_placeholder(FIELD, after, "{prompt}")?;
            (before, between, after)
        } else {
            let (before, between) = split_at_placeholder(FIELD, before, "{prompt}")?;
            (before, between, after)
        };
        Ok(Self { before: before.into(), between: between.into(), after: after.into(), request_first })
    }

    /// The template with both placeholders filled, or with the request alone where there is no prompt.
    pub(super) fn join(&self, prompt: &str, request: &str) -> String {
        if prompt.is_empty() {
            return [&self.before, request, &self.after].concat();
        }
        let [first, second] = if self.request_first { [request, prompt] } else { [prompt, request] };
        [&self.before, first, &self.between, second, &self.after].concat()
    }

    /// What stands between `before` and `after`.
    pub(super) fn body<'t>(&self, text: &'t str) -> Option<&'t str> {
        text.strip_prefix(&self.before)?.strip_suffix(&self.after)
    }

    /// Every way to split `body` at `between`, overlapping places included, the earliest first.
    pub(super) fn splits<'t>(&self, body: &'t str) -> impl Iterator<Item = (&'t str, &'t str)> {
        let boundaries = body.char_indices().map(|(at, _)| at).chain([body.len()]);
        boundaries.filter_map(|at| {
            let (first, rest) = body.split_at(at);
            Some((first, rest.strip_prefix(&self.between)?))
        })
    }
}
