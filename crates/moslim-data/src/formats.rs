//! The files of well-known data sets, told from the fields of their rows.

use serde::Deserialize;

use crate::rows::RowValue;
use crate::value_path::Entry;
use crate::{Mapping, ValuePath};

/// The name of a format and what its rows mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Format {
    /// Its name, such as `helpsteer`.
    pub name: String,
    /// What its rows mean.
    pub mapping: Mapping,
}

/// A format as its file says it: how its rows are known, and the mapping.
#[derive(Deserialize)]
struct Known {
    /// What stands in every row.
    has: Vec<ValuePath>,
    /// What stands in no row.
    #[serde(default)]
    lacks: Vec<ValuePath>,
    /// How a text in every row begins or ends.
    #[serde(default)]
    ends: Option<TextEnds>,
    #[serde(flatten)]
    mapping: Mapping,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TextEnds {
    at: ValuePath,
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    suffix: String,
}

/// The formats; where the rows of one have the fields of another too, it comes first.
const FORMATS: [(&str, &str); 27] = [
    ("helpsteer", include_str!("formats/helpsteer.toml")),
    ("helpsteer2-preference", include_str!("formats/helpsteer2-preference.toml")),
    ("ultrafeedback", include_str!("formats/ultrafeedback.toml")),
    ("ultrasafety", include_str!("formats/ultrasafety.toml")),
    ("beavertails", include_str!("formats/beavertails.toml")),
    ("pku-saferlhf", include_str!("formats/pku-saferlhf.toml")),
    ("truthfulqa-truth", include_str!("formats/truthfulqa-truth.toml")),
    ("truthfulqa-info", include_str!("formats/truthfulqa-info.toml")),
    ("xstest", include_str!("formats/xstest.toml")),
    ("xstest-prompts", include_str!("formats/xstest-prompts.toml")),
    ("halueval-human", include_str!("formats/halueval-human.toml")),
    ("halueval-model", include_str!("formats/halueval-model.toml")),
    ("hhh-alignment", include_str!("formats/hhh-alignment.toml")),
    ("cpo-honesty", include_str!("formats/cpo-honesty.toml")),
    ("cpo-harmlessness", include_str!("formats/cpo-harmlessness.toml")),
    ("halueval-queries", include_str!("formats/halueval-queries.toml")),
    ("hackaprompt-levels", include_str!("formats/hackaprompt-levels.toml")),
    ("nemo-rl", include_str!("formats/nemo-rl.toml")),
    ("moslim-pairs", include_str!("formats/moslim-pairs.toml")),
    ("preference", include_str!("formats/preference.toml")),
    ("hh-rlhf", include_str!("formats/hh-rlhf.toml")),
    ("implicit-preference", include_str!("formats/implicit-preference.toml")),
    ("unpaired-preference", include_str!("formats/unpaired-preference.toml")),
    ("prompt-completion", include_str!("formats/prompt-completion.toml")),
    ("prompt-only", include_str!("formats/prompt-only.toml")),
    ("hackaprompt-attempts", include_str!("formats/hackaprompt-attempts.toml")),
    ("hackaprompt-submissions", include_str!("formats/hackaprompt-submissions.toml")),
];

impl Format {
    /// The names of all formats.
    pub fn names() -> impl Iterator<Item = &'static str> {
        FORMATS.into_iter().map(|(name, _)| name)
    }

    /// The format that a row belongs to, if it is a known one.
    ///
    /// ```
    /// use moslim_data::Format;
    ///
    /// let row = serde_json::json!({"prompt": "Why?", "chosen": "Because.", "rejected": "No."});
    /// assert_eq!(Format::of(&(&row).into()).unwrap().name, "preference");
    /// let row = serde_json::json!({"text": "Why?"});
    /// assert_eq!(Format::of(&(&row).into()), None);
    /// ```
    pub fn of(row: &RowValue<'_>) -> Option<Self> {
        FORMATS.into_iter().find_map(|(name, text)| {
            let known: Known = toml::from_str(text).expect("the formats that come with the crate are tested");
            known.matches(row).then(|| Self { name: name.into(), mapping: known.mapping })
        })
    }

    /// What MOSLIM's own format is called.
    pub const OWN: &str = "moslim";
}

impl Known {
    fn matches(&self, row: &RowValue<'_>) -> bool {
        let entry = Entry { row, part: row };
        self.has.iter().all(|path| path.find(entry).is_some())
            && self.lacks.iter().all(|path| path.find(entry).is_none())
            && self.ends.as_ref().is_none_or(|ends| {
                let text = ends.at.find(entry).and_then(|value| value.as_str());
                text.is_some_and(|text| text.starts_with(&ends.prefix) && text.ends_with(&ends.suffix))
            })
    }
}
