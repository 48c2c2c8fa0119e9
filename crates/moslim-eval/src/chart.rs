//! Charts as self-contained SVG texts.
//!
//! Every chart has a light background of its own and colours that people with colour-blindness can tell apart ([Okabe and Ito 2008]).
//! Empty, constant and non-finite data give a chart, never a panic; what is not finite is left out.
//!
//! [Okabe and Ito 2008]: https://jfly.uni-koeln.de/color/

mod bar_chart;
mod canvas;
mod heat_map;
mod line_chart;
mod scatter_chart;

pub use bar_chart::{Bar, BarChart, BarSeries, Reference, bar_chart};
pub use heat_map::{HeatMap, heat_map};
pub use line_chart::{LineChart, Series, SeriesStyle, VerticalMark, line_chart};
pub use scatter_chart::{Emphasis, ScatterChart, ScatterPoint, ScatterSeries, scatter_chart};
