//! What was measured, put together and written for a reader.

/// The middle of some numbers, of which there is at least one.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        1 => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

/// A time.
pub fn seconds(value: f64) -> String {
    if value < 1.0 { format!("{:.1} ms", value * 1e3) } else { format!("{value:.2} s") }
}

/// An amount of memory.
pub fn bytes(value: f64) -> String {
    let decimals = if value < 9.5e6 { 1 } else { 0 };
    format!("{:.decimals$} MB", value / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!((median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0, 2.0, 3.0])), (2.0, 2.5));
    }

    #[test]
    fn amounts_have_the_digits_that_matter() {
        assert_eq!([0.0123, 1.234].map(seconds), ["12.3 ms", "1.23 s"]);
        assert_eq!([2.1e6, 41.4e6].map(bytes), ["2.1 MB", "41 MB"]);
    }
}
