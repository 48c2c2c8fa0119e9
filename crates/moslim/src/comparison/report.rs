//! What a comparison of methods says: as JSON, as a page, as a table of points, and in plain words.
//!
//! Everything is computed from the [`Outcome`]s alone, so that the report of a comparison that is under way is one of what is there.

mod conclusion;
mod control;
mod cost;
mod methods;
mod page;
mod points;
mod results;
#[cfg(test)]
mod sample;
mod summary;

use moslim_data::ObjectiveSchema;

use super::measured::{Outcome, SharedGround};
use crate::{Error, Recipe};

/// What the report of a comparison is made from.
#[derive(Clone, Copy)]
pub(crate) struct Compared<'a> {
    /// The recipe; it has a comparison.
    pub recipe: &'a Recipe,
    /// The objectives.
    pub schema: &'a ObjectiveSchema,
    /// What judged the answers, in words.
    pub judge: &'static str,
    /// One per seed.
    pub grounds: &'a [SharedGround],
    /// What there is by now, in any order.
    pub outcomes: &'a [Outcome],
}

/// The report of a comparison.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// Every number, for `report/results.json`.
    pub results: serde_json::Value,
    /// `report/index.html`.
    pub page: String,
    /// `report/points.csv`.
    pub points: String,
    /// The conclusion in plain words, one paragraph per budget.
    pub conclusion: String,
}

impl Compared<'_> {
    /// Measures everything and writes it down.
    ///
    /// # Errors
    /// If points of a method differ in their number of prompts or objectives, or a variant changes the recipe to none.
    pub(crate) fn report(&self) -> Result<Report, Error> {
        let summary = summary::Summary::of(self)?;
        Ok(Report {
            results: results::to_json(&summary),
            page: page::page(&summary),
            points: points::to_csv(self),
            conclusion: conclusion::of_all(&summary),
        })
    }
}
