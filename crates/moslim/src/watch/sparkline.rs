//! Series and shares drawn with blocks.

/// Eight heights of a cell.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Seven widths of a cell that is not full.
const WIDTHS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// The series in at most `width` cells, each the mean of its part, from the lowest cell to the highest; gaps are blank.
///
/// A series that stays the same is drawn at half height.
pub(super) fn sparkline(values: &[Option<f64>], width: usize) -> String {
    let cells = cells(values, width);
    let found = || cells.iter().flatten().copied();
    let (min, max) = (found().fold(f64::INFINITY, f64::min), found().fold(f64::NEG_INFINITY, f64::max));
    let height = |value: f64| match max > min {
        // Halves, as the whole range may be larger than any number.
        true => {
            let share = (value / 2.0 - min / 2.0) / (max / 2.0 - min / 2.0);
            HEIGHTS[((7.0 * share).round() as usize).min(7)]
        }
        false => HEIGHTS[3],
    };
    cells.iter().map(|cell| cell.map_or(' ', height)).collect()
}

/// The means of `n` parts of about the same length, or the values themselves if there are no more than that.
fn cells(values: &[Option<f64>], n: usize) -> Vec<Option<f64>> {
    if values.len() <= n {
        return values.to_vec();
    }
    (0..n).map(|cell| mean(&values[cell * values.len() / n..(cell + 1) * values.len() / n])).collect()
}

fn mean(values: &[Option<f64>]) -> Option<f64> {
    let n = values.iter().flatten().count() as f64;
    values.iter().flatten().map(|value| value / n).reduce(|sum, value| sum + value)
}

/// A share of the width, to an eighth of a cell.
pub(super) fn bar(share: f64, width: usize) -> String {
    let eighths = (8.0 * width as f64 * share.clamp(0.0, 1.0)).round() as usize;
    let full = std::iter::repeat_n('█', (eighths / 8).min(width));
    full.chain((eighths % 8).checked_sub(1).map(|eighth| WIDTHS[eighth])).collect()
}
