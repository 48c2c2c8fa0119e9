//! What can be wrong with a readout or a map that was read from a file.

use std::error::Error;
use std::fmt::{self, Display, Formatter};

use crate::calibration::{Isotonic, Readout};

/// Why a [`Readout`] or an [`Isotonic`] cannot be used.
#[derive(Clone, Debug, PartialEq)]
pub enum CalibrationError {
    /// A readout for no level at all.
    NoLevels,
    /// A list has not as many entries as another.
    Length {
        /// Its name.
        what: &'static str,
        /// How many entries it has.
        found: usize,
        /// How many it should have.
        expected: usize,
    },
    /// A number is infinite or not a number.
    NotFinite {
        /// Its name.
        what: &'static str,
        /// The number.
        found: f64,
    },
    /// A number is 0 or negative.
    NotPositive {
        /// Its name.
        what: &'static str,
        /// The number.
        found: f64,
    },
    /// A list does not ascend.
    NotAscending {
        /// Its name.
        what: &'static str,
        /// The first entry that is too small for its place.
        index: usize,
    },
}

impl Display for CalibrationError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLevels => write!(f, "no levels, expected at least 1"),
            Self::Length { what, found, expected } => {
                write!(f, "{what}: {found} entries, expected {expected}")
            }
            Self::NotFinite { what, found } => write!(f, "{what}: {found}, expected a finite number"),
            Self::NotPositive { what, found } => write!(f, "{what}: {found}, expected more than 0"),
            Self::NotAscending { what, index } => {
                write!(f, "{what}: entry {index} is too small, expected an ascending list")
            }
        }
    }
}

impl Error for CalibrationError {}

impl Readout {
    /// Whether the formula of the readout can be computed, which a file may have spoilt.
    ///
    /// # Errors
    /// There is no level, lists differ in length, a number is not finite, thresholds do not ascend, or a
    /// slope or deviation is not positive.
    pub fn check(&self) -> Result<(), CalibrationError> {
        if self.n_levels() == 0 {
            return Err(CalibrationError::NoLevels);
        }
        match self {
            Self::Softmax { scale, bias } => {
                if bias.len() != scale.len() {
                    let (found, expected) = (bias.len(), scale.len());
                    return Err(CalibrationError::Length { what: "bias", found, expected });
                }
                check_finite("scale", scale)?;
                check_finite("bias", bias)
            }
            Self::Cumulative { slope, thresholds } => {
                check_positive("slope", *slope)?;
                check_finite("thresholds", thresholds)?;
                let descent = thresholds.windows(2).position(|pair| pair[1] <= pair[0]);
                descent.map_or(Ok(()), |before| {
                    Err(CalibrationError::NotAscending { what: "thresholds", index: before + 1 })
                })
            }
            Self::Gaussian { deviation, .. } => check_positive("deviation", *deviation),
        }
    }
}

impl Isotonic {
    /// Whether the knots are those of a non-decreasing map.
    ///
    /// # Errors
    /// A knot is not finite, x does not ascend, or y descends.
    pub fn check(&self) -> Result<(), CalibrationError> {
        if let Some(&found) = self.knots.iter().flatten().find(|number| !number.is_finite()) {
            return Err(CalibrationError::NotFinite { what: "knots", found });
        }
        let descent =
            self.knots.windows(2).position(|pair| pair[1][0] <= pair[0][0] || pair[1][1] < pair[0][1]);
        descent
            .map_or(Ok(()), |before| Err(CalibrationError::NotAscending { what: "knots", index: before + 1 }))
    }
}

fn check_finite(what: &'static str, numbers: &[f64]) -> Result<(), CalibrationError> {
    let not_finite = numbers.iter().find(|number| !number.is_finite());
    not_finite.map_or(Ok(()), |&found| Err(CalibrationError::NotFinite { what, found }))
}

fn check_positive(what: &'static str, number: f64) -> Result<(), CalibrationError> {
    check_finite(what, &[number])?;
    if number > 0.0 { Ok(()) } else { Err(CalibrationError::NotPositive { what, found: number }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_computed_is_refused() {
        use CalibrationError::{Length, NoLevels, NotAscending, NotFinite, NotPositive};
        let cumulative =
            |slope, thresholds: &[f64]| Readout::Cumulative { slope, thresholds: thresholds.to_vec() };
        let gaussian = |deviation, n_levels| Readout::Gaussian { deviation, n_levels };
        for good in
            [Readout::softmax(1), cumulative(0.1, &[]), cumulative(1.0, &[0.0, 1.0]), gaussian(1.0, 2)]
        {
            assert_eq!(good.check(), Ok(()));
        }
        let short = Readout::Softmax { scale: vec![1.0; 3], bias: vec![0.0; 2] };
        let infinite = Readout::Softmax { scale: vec![1.0], bias: vec![f64::INFINITY] };
        let refusals = [
            (Readout::softmax(0), NoLevels),
            (gaussian(1.0, 0), NoLevels),
            (short, Length { what: "bias", found: 2, expected: 3 }),
            (infinite, NotFinite { what: "bias", found: f64::INFINITY }),
            (cumulative(0.0, &[0.0]), NotPositive { what: "slope", found: 0.0 }),
            (cumulative(1.0, &[0.0, 0.0]), NotAscending { what: "thresholds", index: 1 }),
            (gaussian(-1.0, 2), NotPositive { what: "deviation", found: -1.0 }),
        ];
        for (readout, error) in refusals {
            assert_eq!(readout.check(), Err(error));
        }
        assert!(cumulative(1.0, &[f64::NAN]).check().is_err());
        assert_eq!(gaussian(-1.0, 2).check().unwrap_err().to_string(), "deviation: -1, expected more than 0");
    }

    #[test]
    fn knots_of_no_such_map_are_refused() {
        let check = |knots: &[[f64; 2]]| Isotonic { knots: knots.to_vec() }.check();
        assert_eq!(check(&[[0.0, 0.0], [1.0, 0.0]]), Ok(()));
        let descends = |index| Err(CalibrationError::NotAscending { what: "knots", index });
        assert_eq!(check(&[[0.0, 0.0], [0.0, 1.0]]), descends(1));
        assert_eq!(check(&[[0.0, 0.0], [1.0, 1.0], [2.0, 0.5]]), descends(2));
        let infinite = check(&[[0.0, f64::INFINITY]]);
        assert_eq!(infinite, Err(CalibrationError::NotFinite { what: "knots", found: f64::INFINITY }));
    }
}
