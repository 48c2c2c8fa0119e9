//! A matrix as coloured cells with their numbers.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::canvas::{
    INK, LABEL_SIZE, MARGIN, MUTED, TICK_SIZE, TITLE_SIZE, draw_svg, drawn, text, text_width, upward_text,
};

const CELL_HEIGHT: i32 = 44;
const LEAST_CELL_WIDTH: i32 = 64;
const TITLE_BAND: i32 = 48;
const COLUMN_LABELS_HEIGHT: i32 = 56;
const MISSING: RGBColor = RGBColor(0xEE, 0xEE, 0xEE);

/// What [`heat_map`] draws.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeatMap {
    /// The heading.
    pub title: String,
    /// What the rows are.
    pub row_axis: String,
    /// What the columns are.
    pub column_axis: String,
    /// One name per row, from the top.
    pub row_names: Vec<String>,
    /// One name per column, from the left.
    pub column_names: Vec<String>,
    /// The numbers, row by row; a missing or non-finite one is a grey cell.
    pub values: Vec<Vec<Option<f64>>>,
    /// The number of decimals in the cells.
    pub decimals: usize,
}

/// Draws a matrix, the number in every cell.
///
/// Numbers of one sign go from white to blue; with negative ones among them, from orange through white at 0 to blue.
///
/// ```
/// use moslim_eval::chart::{HeatMap, heat_map};
///
/// let svg = heat_map(&HeatMap {
///     row_names: vec!["asked 1".into()],
///     column_names: vec!["1".into(), "2".into()],
///     values: vec![vec![Some(7.0), None]],
///     ..HeatMap::default()
/// });
/// assert!(svg.contains("asked 1"));
/// ```
pub fn heat_map(map: &HeatMap) -> String {
    let widest = |names: &[String]| names.iter().map(|name| text_width(name, TICK_SIZE)).max().unwrap_or(0);
    let cell_width = LEAST_CELL_WIDTH.max(widest(&map.column_names) + 12).max(widest(&cell_texts(map)) + 12);
    let left = MARGIN + 28 + widest(&map.row_names) + 10;
    let (n_rows, n_columns) = (map.row_names.len() as i32, map.column_names.len() as i32);
    let (cells_width, cells_height) = (n_columns * cell_width, n_rows * CELL_HEIGHT);
    let width = (left + cells_width + MARGIN)
        .max(2 * MARGIN + text_width(&map.title, TITLE_SIZE))
        .max(left + text_width(&map.column_axis, LABEL_SIZE) + MARGIN);
    let body_height = cells_height.max(text_width(&map.row_axis, LABEL_SIZE));
    let height = TITLE_BAND + body_height + COLUMN_LABELS_HEIGHT + MARGIN / 2;
    let scale = ColorScale::of(map);

    draw_svg((width, height), &map.title, |area| {
        for (row, row_name) in map.row_names.iter().enumerate() {
            let top = row as i32 * CELL_HEIGHT;
            let middle = top + CELL_HEIGHT / 2;
            text(area, row_name, (left - 10, middle), TICK_SIZE, INK, HPos::Right);
            for column in 0..map.column_names.len() {
                let x = left + column as i32 * cell_width;
                let value = value_at(map, row, column);
                let fill = value.map_or(MISSING, |value| scale.color(value));
                let corners = [(x, top), (x + cell_width - 2, top + CELL_HEIGHT - 2)];
                drawn(area.draw(&Rectangle::new(corners, fill.filled())));
                let ink = if value.is_none() { MUTED } else { readable_on(fill) };
                let words = cell_text(value, map.decimals);
                text(area, &words, (x + cell_width / 2 - 1, middle - 1), TICK_SIZE, ink, HPos::Center);
            }
        }
        for (column, name) in map.column_names.iter().enumerate() {
            let x = left + column as i32 * cell_width + cell_width / 2 - 1;
            text(area, name, (x, cells_height + 14), TICK_SIZE, INK, HPos::Center);
        }
        let centre = left + cells_width / 2;
        let centre = centre.max(left + text_width(&map.column_axis, LABEL_SIZE) / 2);
        text(area, &map.column_axis, (centre, cells_height + 40), LABEL_SIZE, INK, HPos::Center);
        upward_text(area, &map.row_axis, (MARGIN + 8, body_height / 2), LABEL_SIZE);
    })
}

fn value_at(map: &HeatMap, row: usize, column: usize) -> Option<f64> {
    let value = *map.values.get(row)?.get(column)?;
    value.filter(|value| value.is_finite())
}

fn cell_text(value: Option<f64>, decimals: usize) -> String {
    match value {
        None => "–".into(),
        Some(value) if value.abs() >= 1e7 => format!("{value:.1e}"),
        // Adding zero turns -0 into 0.
        Some(value) => {
            let unit = 10f64.powi(decimals.min(9) as i32);
            format!("{:.*}", decimals.min(9), (value * unit).round() / unit + 0.0)
        }
    }
}

fn cell_texts(map: &HeatMap) -> Vec<String> {
    map.values.iter().flatten().map(|value| cell_text(*value, map.decimals)).collect()
}

struct ColorScale {
    low: f64,
    high: f64,
}

impl ColorScale {
    fn of(map: &HeatMap) -> Self {
        let values = map.values.iter().flatten().flatten().copied().filter(|value| value.is_finite());
        let (low, high) =
            values.fold((0.0_f64, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        Self { low, high }
    }

    fn color(&self, value: f64) -> RGBColor {
        const BLUE: RGBColor = RGBColor(0x08, 0x51, 0x9C);
        const ORANGE: RGBColor = RGBColor(0xC2, 0x52, 0x00);
        const PALE: RGBColor = RGBColor(0xF7, 0xF7, 0xF7);
        // Both halves on one scale, so that equal distances from 0 look equally strong.
        let strongest = self.high.max(-self.low);
        let strength = if strongest > 0.0 { value.abs() / strongest } else { 0.0 };
        let end = if value < 0.0 { ORANGE } else { BLUE };
        let blend =
            |from: u8, to: u8| (f64::from(from) + strength * (f64::from(to) - f64::from(from))).round() as u8;
        RGBColor(blend(PALE.0, end.0), blend(PALE.1, end.1), blend(PALE.2, end.2))
    }
}

/// White on dark cells, ink on light ones, by the weights of ITU-R BT.601.
fn readable_on(fill: RGBColor) -> RGBColor {
    let brightness = 0.299 * f64::from(fill.0) + 0.587 * f64::from(fill.1) + 0.114 * f64::from(fill.2);
    if brightness < 140.0 { WHITE } else { INK }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(values: Vec<Vec<Option<f64>>>) -> HeatMap {
        HeatMap {
            row_names: vec!["a".into(), "b".into()],
            column_names: vec!["c".into(), "d".into()],
            values,
            decimals: 2,
            ..HeatMap::default()
        }
    }

    #[test]
    fn every_cell_shows_its_number_or_that_there_is_none() {
        let svg = heat_map(&map(vec![vec![Some(1.0), Some(-0.001)], vec![Some(f64::NAN)]]));
        assert!(svg.contains("\n1.00\n") && svg.contains("\n0.00\n") && !svg.contains("-0.00"));
        assert_eq!(svg.matches("\n–\n").count(), 2, "one undefined, one absent");
    }

    #[test]
    fn colours_tell_the_sign_and_are_equally_strong_at_equal_distance() {
        let scale = ColorScale { low: -1.0, high: 2.0 };
        assert_eq!(scale.color(2.0), RGBColor(0x08, 0x51, 0x9C));
        let (negative, positive) = (scale.color(-1.0), scale.color(1.0));
        assert!(negative.0 > negative.2 && positive.2 > positive.0);
        assert_eq!(readable_on(scale.color(2.0)), WHITE);
        assert_eq!(readable_on(scale.color(0.0)), INK);
    }

    #[test]
    fn nothing_and_huge_numbers_are_drawn() {
        assert!(heat_map(&HeatMap::default()).trim_end().ends_with("</svg>"));
        assert!(heat_map(&map(vec![vec![Some(f64::MAX), Some(f64::MIN)]])).trim_end().ends_with("</svg>"));
        assert!(heat_map(&map(vec![vec![Some(0.0); 2]; 2])).trim_end().ends_with("</svg>"));
    }
}
