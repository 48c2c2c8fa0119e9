//! Numbers for people.

/// A number in three significant digits, with a letter or an exponent where it would be long: `32.6`, `1.5k`, `3e-6`.
pub(crate) fn compact(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".into() } else { value.to_string() };
    }
    // Rounded first, so that 999.9 is one thousand.
    let rounded = format!("{value:.2e}");
    let (mantissa, exponent) = rounded.split_once('e').unwrap_or((&rounded, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let value: f64 = rounded.parse().unwrap_or(value);
    let decimals = usize::try_from(2 - exponent.rem_euclid(3)).unwrap_or(0);
    let thousands = |power: i32, letter| format!("{}{letter}", trimmed(value / 10f64.powi(power), decimals));
    match exponent {
        -3..0 => trimmed(value, usize::try_from(2 - exponent).unwrap_or(0)),
        0..3 => trimmed(value, decimals),
        3..6 => thousands(3, 'k'),
        6..9 => thousands(6, 'M'),
        9..12 => thousands(9, 'G'),
        12..15 => thousands(12, 'T'),
        _ => format!("{}e{exponent}", without_zeros(mantissa)),
    }
}

fn trimmed(value: f64, decimals: usize) -> String {
    without_zeros(&format!("{value:.decimals$}")).into()
}

fn without_zeros(text: &str) -> &str {
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_significant_digits() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (-0.418_216, "-0.418"),
            (0.05, "0.05"),
            (0.001_234, "0.00123"),
            (0.000_999_9, "0.001"),
            (9.5367e-7, "9.54e-7"),
            (3e-6, "3e-6"),
            (32.609_375, "32.6"),
            (70.0, "70"),
            (100.0, "100"),
            (999.4, "999"),
            (999.9, "1k"),
            (-1_500.0, "-1.5k"),
            (12_345.0, "12.3k"),
            (123_456.0, "123k"),
            (999_999.0, "1M"),
            (13_200_000_000.0, "13.2G"),
            (4e12, "4T"),
            (1e15, "1e15"),
            (f64::MAX, "1.8e308"),
            (f64::MIN_POSITIVE, "2.23e-308"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(compact(value), expected, "{value:e}");
        }
    }
}
