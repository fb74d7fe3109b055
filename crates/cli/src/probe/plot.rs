//! The figures of a bench as an SVG: horizontal bars, one pair for each kind of memory.

use std::fmt::Write as _;

use super::model::{Kind, Outcome, Report, Side, cells};
use super::render::{SYNTHETIC, figure};
use crate::stdout::printable_line;

const WIDTH: f64 = 720.0;
/// Columns before the bars, and after them for the figures.
const LEFT: f64 = 130.0;
const RIGHT: f64 = 90.0;
const BAR: f64 = 12.0;
const LINE: f64 = 20.0;
/// Letters of a line of text, at about 7 units each.
const COLUMNS: usize = 96;
const STOCK: &str = "#777777";
const INTERPOSED: &str = "#1f6fb4";

/// The drawing. A cell without a result gets no bar, but its reason in a word.
pub(crate) fn svg(report: &Report) -> String {
    let mut body = String::new();
    let mut y = 24.0;
    let say = |body: &mut String, x: f64, y: f64, text: &str| {
        let _ = writeln!(body, "<text x=\"{x:.0}\" y=\"{y:.0}\">{}</text>", escape(text));
    };
    let paragraph = |body: &mut String, y: &mut f64, text: &str| {
        for (number, line) in textwrap::wrap(text, COLUMNS).iter().enumerate() {
            *y += if number == 0 { 0.0 } else { LINE };
            say(body, 10.0, *y, line);
        }
    };
    let gpu = report.machine.gpu.as_ref().and_then(|gpu| gpu.target.clone());
    let title = format!("{}: GB/s of reads by the GPU", gpu.as_deref().unwrap_or("GPU"));
    paragraph(&mut body, &mut y, &title);
    if report.synthetic {
        y += LINE;
        say(&mut body, 10.0, y, SYNTHETIC);
    }
    if let Some(why) = &report.not_measured {
        y += LINE;
        paragraph(&mut body, &mut y, &format!("not measured: {why}"));
    }
    if !report.rows.is_empty() {
        for (x, colour, name) in [(10.0, STOCK, "stock"), (90.0, INTERPOSED, "with librdnafix.so")]
        {
            bar(&mut body, x, y + 10.0, BAR, colour);
            say(&mut body, x + 18.0, y + 20.0, name);
        }
        y += 30.0;
    }
    for pattern in cells(Kind::Bench) {
        if report.rows.is_empty() {
            break;
        }
        y += 26.0;
        say(&mut body, 10.0, y, pattern);
        let of = |side: &Side| {
            let cell = side.cells.iter().find(|cell| cell.name == pattern)?;
            Some(match &cell.outcome {
                Outcome::Bandwidth { gb_per_s, .. } => Ok(*gb_per_s),
                _ => Err("no result"),
            })
        };
        let sides = report.rows.iter().flat_map(|row| [&row.stock, &row.interposed]);
        let most = sides.filter_map(|side| of(side)?.ok()).fold(0.0, f64::max);
        for row in &report.rows {
            y += 8.0;
            say(&mut body, 20.0, y + BAR + 3.0, row.memory.name());
            for (side, colour) in [(&row.stock, STOCK), (&row.interposed, INTERPOSED)] {
                let (length, text) = match of(side) {
                    // Where all are 0 no bar is longer than another one.
                    Some(Ok(value)) => {
                        let part = if most > 0.0 { value / most } else { 0.0 };
                        (part * (WIDTH - LEFT - RIGHT), figure(value))
                    }
                    _ => (0.0, "no result".to_owned()),
                };
                bar(&mut body, LEFT, y, length, colour);
                say(&mut body, LEFT + length + 6.0, y + BAR - 2.0, &text);
                y += BAR + 1.0;
            }
        }
    }
    let height = y + 20.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
    )
}

fn bar(body: &mut String, x: f64, y: f64, length: f64, colour: &str) {
    let _ = writeln!(
        body,
        "<rect x=\"{x:.0}\" y=\"{y:.0}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>"
    );
}

/// A text of XML 1.0, which has no control characters, written in any way.
fn escape(text: &str) -> String {
    let text = printable_line(text).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}");
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_ends_it_or_is_no_xml() {
        assert_eq!(
            escape("a<b>&\"\u{1b}[0m\0\u{ffff}"),
            "a&lt;b&gt;&amp;&quot;\u{fffd}[0m\u{fffd}\u{fffd}"
        );
        assert_eq!(escape("é 日本"), "é 日本");
    }
}
