//! The figures of a bench as an SVG: horizontal bars, one pair for each kind of memory.

use std::fmt::Write as _;

use super::model::{Kind, Outcome, Report, Side, cells};
use super::render::SYNTHETIC;

const WIDTH: f64 = 720.0;
/// Columns before the bars, and after them for the figures.
const LEFT: f64 = 130.0;
const RIGHT: f64 = 90.0;
const BAR: f64 = 12.0;
const STOCK: &str = "#777777";
const INTERPOSED: &str = "#1f6fb4";

/// The drawing. A cell without a result gets no bar, but its reason in a word.
pub(crate) fn svg(report: &Report) -> String {
    let mut body = String::new();
    let mut y = 24.0;
    let say = |body: &mut String, x: f64, y: f64, text: &str| {
        let _ = writeln!(body, "<text x=\"{x:.0}\" y=\"{y:.0}\">{}</text>", escape(text));
    };
    let gpu = report.machine.gpu.as_ref().and_then(|gpu| gpu.target.clone());
    let title = format!("{}: GB/s of reads by the GPU", gpu.as_deref().unwrap_or("GPU"));
    say(&mut body, 10.0, y, &title);
    if report.synthetic {
        y += 20.0;
        say(&mut body, 10.0, y, SYNTHETIC);
    }
    if let Some(why) = &report.not_measured {
        y += 20.0;
        say(&mut body, 10.0, y, &format!("not measured: {why}"));
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
                    Some(Ok(value)) if most > 0.0 => {
                        (value / most * (WIDTH - LEFT - RIGHT), format!("{value:.1}"))
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

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
