//! What can be wrong with points, reference points and weights.

use std::fmt;

use thiserror::Error;

/// Numbers that no measure of a front can be computed from.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum PointsError {
    /// A vector has no entry.
    #[error("{place} has no objective")]
    NoObjective {
        /// Which vector it is.
        place: Place,
    },
    /// A vector has another number of objectives than those before it.
    #[error("{place} has {found} objectives, expected {expected}")]
    Objectives {
        /// Which vector it is.
        place: Place,
        /// Its number of objectives.
        found: usize,
        /// That of the others.
        expected: usize,
    },
    /// A number is NaN or infinite.
    #[error("{place} is {value} in objective {objective}, expected a finite number")]
    NotFinite {
        /// Which vector it stands in.
        place: Place,
        /// The objective, counted from 0.
        objective: usize,
        /// The number.
        value: f64,
    },
    /// A weight is below 0, so that it would reward a lower score.
    #[error("{place} is {value} in objective {objective}, expected a weight of at least 0")]
    NegativeWeight {
        /// Which weight vector it stands in.
        place: Place,
        /// The objective, counted from 0.
        objective: usize,
        /// The weight.
        value: f64,
    },
    /// A point was scored on another number of prompts than the first.
    #[error("point {point} has scores of {found} prompts, expected {expected}")]
    Prompts {
        /// The point, counted from 0.
        point: usize,
        /// Its number of prompts.
        found: usize,
        /// That of the first point.
        expected: usize,
    },
}

/// Which of the vectors given is meant; all count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A point of the set that is measured.
    Point(usize),
    /// The reference point of the hypervolume.
    ReferencePoint,
    /// A point of the reference front.
    ReferenceFront(usize),
    /// A weight vector.
    Weights(usize),
    /// The scores of one point on one prompt.
    Scores {
        /// The point.
        point: usize,
        /// The prompt.
        prompt: usize,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Point(index) => write!(f, "point {index}"),
            Self::ReferencePoint => f.write_str("the reference point"),
            Self::ReferenceFront(index) => write!(f, "point {index} of the reference front"),
            Self::Weights(index) => write!(f, "weight vector {index}"),
            Self::Scores { point, prompt } => write!(f, "point {point} on prompt {prompt}"),
        }
    }
}

/// The number of objectives that all vectors share; 0 when there is none.
pub(super) fn check_all<P: AsRef<[f64]>>(
    vectors: &[P],
    place: impl Fn(usize) -> Place,
) -> Result<usize, PointsError> {
    let n_objectives = vectors.first().map_or(0, |first| first.as_ref().len());
    check_each(vectors, n_objectives, place)?;
    Ok(n_objectives)
}

/// That every vector has this many objectives, all finite.
pub(super) fn check_each<P: AsRef<[f64]>>(
    vectors: &[P],
    n_objectives: usize,
    place: impl Fn(usize) -> Place,
) -> Result<(), PointsError> {
    (vectors.iter().enumerate())
        .try_for_each(|(index, vector)| check(vector.as_ref(), n_objectives, place(index)))
}

/// That a vector has this many objectives, all finite, and at least one.
pub(super) fn check(vector: &[f64], n_objectives: usize, place: Place) -> Result<(), PointsError> {
    if vector.is_empty() {
        return Err(PointsError::NoObjective { place });
    }
    if vector.len() != n_objectives {
        return Err(PointsError::Objectives { place, found: vector.len(), expected: n_objectives });
    }
    match vector.iter().position(|value| !value.is_finite()) {
        Some(objective) => Err(PointsError::NotFinite { place, objective, value: vector[objective] }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_where_what_and_what_was_expected() {
        let message = |vectors: &[Vec<f64>]| check_all(vectors, Place::Point).unwrap_err().to_string();
        assert_eq!(message(&[vec![]]), "point 0 has no objective");
        assert_eq!(message(&[vec![1.0, 2.0], vec![1.0]]), "point 1 has 1 objectives, expected 2");
        assert_eq!(
            message(&[vec![1.0, f64::NAN]]),
            "point 0 is NaN in objective 1, expected a finite number"
        );
        assert_eq!(
            message(&[vec![1.0], vec![f64::NEG_INFINITY]]),
            "point 1 is -inf in objective 0, expected a finite number"
        );
    }

    #[test]
    fn places_read_as_a_person_would_say_them() {
        assert_eq!(Place::ReferencePoint.to_string(), "the reference point");
        assert_eq!(Place::ReferenceFront(2).to_string(), "point 2 of the reference front");
        assert_eq!(Place::Weights(3).to_string(), "weight vector 3");
        assert_eq!(Place::Scores { point: 1, prompt: 4 }.to_string(), "point 1 on prompt 4");
    }

    #[test]
    fn no_vector_is_no_error() {
        assert_eq!(check_all::<Vec<f64>>(&[], Place::Point), Ok(0));
        assert_eq!(check_all(&[[1.0, 2.0, 3.0]], Place::Point), Ok(3));
    }
}
