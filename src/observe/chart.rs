//! Charts as inline SVG, without scripts: for reports.

use std::fmt::Write as _;

/// Width and height of a chart, in user units.
const SIZE: (f64, f64) = (640.0, 160.0);
/// Space for labels on the left and at the bottom.
const MARGIN: (f64, f64) = (70.0, 22.0);

/// A line over time.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// What it shows, for screen readers.
    pub title: &'a str,
    /// Labels of the first and last value.
    pub ends: (&'a str, &'a str),
    /// The values, at equal distances; `None` leaves a gap.
    pub values: &'a [Option<f64>],
    /// The value at the top; by default the largest value.
    pub top: Option<f64>,
}

impl Line<'_> {
    /// The chart. `label` writes the values of the axis.
    pub fn svg(&self, label: impl Fn(f64) -> String) -> String {
        let largest = self.values.iter().flatten().copied().fold(0.0, f64::max);
        let top = self.top.unwrap_or(if largest > 0.0 { largest } else { 1.0 });
        let (width, height) = SIZE;
        let (left, bottom) = (MARGIN.0, height - MARGIN.1);
        let step = (width - left - 8.0) / self.values.len().saturating_sub(1).max(1) as f64;
        let point = |index: usize, value: f64| {
            let (x, y) =
                (left + step * index as f64, bottom - (bottom - 10.0) * (value / top).clamp(0.0, 1.0));
            (x, y)
        };
        let mut svg = String::new();
        // Writing to a string cannot fail.
        let _ = write!(
            svg,
            "<svg viewBox=\"0 0 {width} {height}\" role=\"img\"><title>{}</title>",
            escape(self.title)
        );
        for share in [0.0, 0.5, 1.0] {
            let y = bottom - (bottom - 10.0) * share;
            let _ = write!(
                svg,
                "<path class=\"grid\" d=\"M{left} {y:.1}H{width}\"/><text x=\"{:.1}\" y=\"{:.1}\" \
                 text-anchor=\"end\">{}</text>",
                left - 6.0,
                y + 4.0,
                escape(&label(top * share))
            );
        }
        let mut path = String::new();
        let mut is_drawing = false;
        for (index, value) in self.values.iter().enumerate() {
            let Some(value) = value else {
                is_drawing = false;
                continue;
            };
            let (x, y) = point(index, *value);
            let _ = write!(path, "{}{x:.1} {y:.1}", if is_drawing { "L" } else { "M" });
            let _ = write!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2\"/>");
            is_drawing = true;
        }
        let _ = write!(
            svg,
            "<path class=\"line\" d=\"{path}\"/><text x=\"{left}\" y=\"{}\">{}</text><text x=\"{width}\" y=\"{}\" \
             text-anchor=\"end\">{}</text></svg>",
            height - 4.0,
            escape(self.ends.0),
            height - 4.0,
            escape(self.ends.1)
        );
        svg
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_points_and_gaps_interrupt_the_line() {
        let values = [Some(0.0), Some(50.0), None, Some(100.0)];
        let line = Line { title: "a<b", ends: ("x", "y&z"), values: &values, top: Some(100.0) };
        let svg = line.svg(|value| format!("{value}%"));
        assert!(
            svg.contains("<title>a&lt;b</title>") && svg.contains("y&amp;z") && svg.contains("50%"),
            "{svg}"
        );
        assert!(svg.contains("d=\"M70.0 138.0L257.3 74.0M632.0 10.0\""), "{svg}");
        let empty = Line { values: &[], top: None, ..line };
        assert!(!empty.svg(|_| String::new()).contains("NaN"));
    }
}
