//! How a request is written into a prompt, and read back out of it.

mod config;
mod error;
mod frame;
mod wording;

pub use config::{PromptCodecConfig, Turn};
pub use error::CodecError;

use crate::{Level, ObjectiveSchema, Request, between_levels};
use frame::Frame;
use wording::Wording;

/// Writes requests into prompts and reads them back.
///
/// The *request text* is one item per objective asked for, in the schema's order, with the separator between them;
/// the template puts it beside the prompt.
/// With nothing asked for, the text is the prompt alone.
///
/// **Law:** wherever [`render`](Self::render) succeeds, `parse(render(prompt, request)) == (prompt, request)`.
/// A prompt that would be read back differently, such as one that already ends in an item, is refused.
///
/// ```
/// use moslim_data::{Objective, ObjectiveSchema, PromptCodec, PromptCodecConfig, Request};
///
/// let schema = ObjectiveSchema::new(vec![
///     Objective::with_scale("helpfulness", 1, 5),
///     Objective::with_scale("honesty", 1, 5),
/// ]).unwrap();
/// let codec = PromptCodec::new(PromptCodecConfig::cpo_tokens(), &schema)?;
/// let request = Request::parse("helpfulness=5,honesty=3.5", &schema).unwrap();
///
/// let text = codec.render("Why is the sky blue?", &request)?;
/// assert_eq!(text, "< helpfulness: 5 > < honesty: 3.5 > Why is the sky blue?");
/// assert_eq!(codec.parse(&text)?, ("Why is the sky blue?".to_owned(), request));
///
/// assert!(codec.render("< honesty: 1 > Why?", &Request::free(&schema)).is_err());
/// # Ok::<(), moslim_data::CodecError>(())
/// ```
#[derive(Clone, Debug)]
pub struct PromptCodec {
    schema: ObjectiveSchema,
    wordings: Vec<Wording>,
    separator: String,
    frame: Frame,
    turn: Turn,
}

impl PromptCodec {
    /// Checks a config against the schema.
    ///
    /// # Errors
    /// A placeholder that is missing or stands too often, sentences that do not fit the schema,
    /// an empty item, or an item that can be read in more than one way.
    pub fn new(config: PromptCodecConfig, schema: &ObjectiveSchema) -> Result<Self, CodecError> {
        let PromptCodecConfig { item, mut sentences, separator, template, turn } = config;
        let wordings = schema
            .objectives()
            .iter()
            .map(|objective| Wording::new(objective, sentences.remove(&objective.name), &item))
            .collect::<Result<_, _>>()?;
        if let Some(found) = sentences.into_keys().next() {
            return Err(CodecError::UnknownObjective { found, expected: schema.expected_names() });
        }
        let codec = Self { schema: schema.clone(), wordings, separator, frame: Frame::new(&template)?, turn };
        codec.check_items()?;
        Ok(codec)
    }

    /// The text of one item, such as `< helpfulness: 5 >`.
    ///
    /// # Panics
    /// If the schema has no such objective or level.
    pub fn item(&self, objective: usize, level: Level) -> String {
        self.item_at(objective, level as f64).unwrap_or_else(|| {
            panic!("{}: no level at position {level}", self.schema.objectives()[objective].name)
        })
    }

    /// The items of all whole levels, by objective and level, for instance to make each of them one token.
    pub fn items(&self) -> Vec<String> {
        let levels = |(objective, n_levels)| (0..n_levels).map(move |level| (objective, level));
        let every_level = self.schema.n_levels().into_iter().enumerate().flat_map(levels);
        every_level.map(|(objective, level)| self.item(objective, level)).collect()
    }

    /// The items of the positions [between levels](between_levels) that have a text.
    pub fn items_between(&self) -> Vec<String> {
        let positions = |(objective, n_levels): (usize, usize)| {
            between_levels(0, n_levels.saturating_sub(1))
                .into_iter()
                .map(move |position| (objective, position))
        };
        let every_position = self.schema.n_levels().into_iter().enumerate().flat_map(positions);
        every_position.filter_map(|(objective, position)| self.item_at(objective, position)).collect()
    }

    /// The prompt with the request written into it.
    ///
    /// # Errors
    /// [`CodecError::Level`] for a level that has no text, such as a fraction between two sentences;
    /// [`CodecError::ReadsDifferently`] and [`CodecError::Ambiguous`] where [`parse`](Self::parse) would not give the prompt and the request back.
    ///
    /// # Panics
    /// If the request has not as many entries as the schema has objectives.
    pub fn render(&self, prompt: &str, request: &Request) -> Result<String, CodecError> {
        assert_eq!(request.levels.len(), self.schema.len(), "a request has one entry per objective");
        let items: Vec<String> = request
            .levels
            .iter()
            .enumerate()
            .filter_map(|(objective, level)| Some((objective, (*level)?)))
            .map(|(objective, position)| {
                self.item_at(objective, position).ok_or_else(|| CodecError::Level {
                    objective: self.schema.objectives()[objective].name.clone(),
                    position,
                })
            })
            .collect::<Result<_, _>>()?;
        let text = if items.is_empty() {
            prompt.to_owned()
        } else {
            self.frame.join(prompt, &items.join(&self.separator))
        };

        let (read_prompt, read_request) = self.parse(&text)?;
        if read_prompt != prompt || read_request != *request {
            let asked = request.describe(&self.schema);
            return Err(CodecError::ReadsDifferently { asked, found: read_request.describe(&self.schema) });
        }
        Ok(text)
    }

    /// The text of a turn, with the request written into it if this is the turn that carries requests.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    ///
    /// # Panics
    /// As [`render`](Self::render).
    pub fn render_turn(&self, turn: Turn, text: &str, request: &Request) -> Result<String, CodecError> {
        match turn == self.turn {
            true => self.render(text, request),
            false => Ok(text.into()),
        }
    }

    /// The prompt and the request of a text; a text without a request is a prompt with nothing asked for.
    ///
    /// As many items as stand together are read, in whatever order, each objective at most once.
    ///
    /// # Errors
    /// [`CodecError::Ambiguous`] where the items can be read in more than one way.
    pub fn parse(&self, text: &str) -> Result<(String, Request), CodecError> {
        let candidates = self.candidates(text);
        let shortest = candidates.iter().map(|(prompt, _)| prompt.len()).min();
        let mut readings = candidates.into_iter().filter(|(prompt, _)| Some(prompt.len()) == shortest);
        match (readings.next(), readings.next()) {
            (None, _) => Ok((text.to_owned(), Request::free(&self.schema))),
            (Some((prompt, request)), None) => Ok((prompt.to_owned(), request)),
            (Some((_, first)), Some((_, second))) => Err(self.ambiguous(text, &first, &second)),
        }
    }

    /// Ways to take `text` apart into a prompt and a request, among them all those with the shortest prompt.
    fn candidates<'t>(&self, text: &'t str) -> Vec<(&'t str, Request)> {
        let Some(body) = self.frame.body(text) else {
            return Vec::new();
        };
        let whole = |text| self.readings(text).into_iter().filter(|(_, rest)| rest.is_empty());
        let without_prompt: Vec<_> = whole(body).map(|(request, _)| ("", request)).collect();
        if !without_prompt.is_empty() {
            return without_prompt;
        }
        if self.frame.request_first {
            let readings = self.readings(body).into_iter();
            return readings
                .filter_map(|(request, rest)| Some((rest.strip_prefix(&self.frame.between)?, request)))
                .collect();
        }
        let mut by_prompt = self.frame.splits(body).map(|(prompt, request_text)| {
            whole(request_text).map(|(request, _)| (prompt, request)).collect::<Vec<_>>()
        });
        by_prompt.find(|candidates| !candidates.is_empty()).unwrap_or_default()
    }

    fn item_at(&self, objective: usize, position: f64) -> Option<String> {
        self.wordings[objective].text(&self.schema.objectives()[objective], position)
    }

    /// Every way to read items at the beginning of `text`, with what follows them.
    fn readings<'t>(&self, text: &'t str) -> Vec<(Request, &'t str)> {
        let mut readings = Vec::new();
        self.collect_readings(text, &Request::free(&self.schema), &mut readings);
        readings
    }

    /// Adds the readings of one item of `text` and of any items after it; `read` is what has been read before.
    fn collect_readings<'t>(&self, text: &'t str, read: &Request, readings: &mut Vec<(Request, &'t str)>) {
        let objectives = self.schema.objectives().iter();
        for (index, (objective, wording)) in objectives.zip(&self.wordings).enumerate() {
            if read.levels[index].is_some() {
                continue;
            }
            for (position, rest) in wording.readings(objective, text) {
                let mut read = read.clone();
                read.levels[index] = Some(position);
                if let Some(rest) = rest.strip_prefix(&self.separator) {
                    self.collect_readings(rest, &read, readings);
                }
                readings.push((read, rest));
            }
        }
    }

    /// Refuses items that can be read as something else as well.
    fn check_items(&self) -> Result<(), CodecError> {
        for (index, objective) in self.schema.objectives().iter().enumerate() {
            for level in 0..objective.n_levels() {
                let item = self.item(index, level);
                let mut readings = self.readings(&item);
                readings.retain(|(_, rest)| rest.is_empty());
                if let [(first, _), (second, _), ..] = readings.as_slice() {
                    return Err(self.ambiguous(&item, first, second));
                }
            }
        }
        Ok(())
    }

    fn ambiguous(&self, text: &str, first: &Request, second: &Request) -> CodecError {
        let [first, second] = [first, second].map(|request| request.describe(&self.schema));
        CodecError::Ambiguous { text: text.into(), first, second }
    }
}
