//! One chart: drawn twice, for a wide page and for a phone, because what is merely scaled cannot be read.

use super::axis::Axis;
use std::fmt::Write;

/// What is drawn.
pub(crate) struct Chart {
    /// Its name.
    pub title: &'static str,
    /// What one should see.
    pub see: String,
    /// Over the vertical axis.
    pub unit: &'static str,
    /// Under the horizontal axis.
    pub along: &'static str,
    /// The axes; given how many ticks there is room for on them.
    pub axes: Box<dyn Fn(f64, f64) -> (Axis, Axis)>,
    /// The lines, the first one lowest.
    pub lines: Vec<Line>,
    /// From, to and in words: what is told where the mouse points.
    pub tips: Vec<(f64, f64, String)>,
}

/// A line of a chart.
pub(crate) struct Line {
    /// Its name in the legend; empty: not in it.
    pub name: String,
    /// What is told where the mouse points; the name if empty.
    pub tip: String,
    /// Its look: a class of the style sheet.
    pub look: &'static str,
    /// Filled down to zero.
    pub is_area: bool,
    /// Where it goes; none: it is broken off.
    pub points: Vec<(f64, Option<f64>)>,
}

/// A drawing's size and margins.
struct Frame {
    class: &'static str,
    width: f64,
    height: f64,
    ticks: (f64, f64),
}

const FRAMES: [Frame; 2] = [
    Frame { class: "wide", width: 560.0, height: 300.0, ticks: (7.0, 6.0) },
    Frame { class: "narrow", width: 350.0, height: 250.0, ticks: (4.0, 5.0) },
];
const LEFT: f64 = 62.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 42.0;

/// Text that stands for itself in HTML and SVG.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

impl Chart {
    /// The figure, with its legend.
    pub fn html(&self) -> String {
        let mut out = format!("<figure>\n<h2>{}</h2>\n<p>{}</p>\n", escape(self.title), escape(&self.see));
        let named: Vec<_> = self.lines.iter().filter(|line| !line.name.is_empty()).collect();
        if !named.is_empty() {
            out.push_str("<ul class=\"legend\">");
            for line in named {
                let _ = write!(
                    out,
                    "<li><svg width=\"26\" height=\"10\" aria-hidden=\"true\"><path class=\"{}\" d=\"M1 5H25\"/></svg>{}</li>",
                    line.look,
                    escape(&line.name)
                );
            }
            out.push_str("</ul>\n");
        }
        FRAMES.iter().for_each(|frame| out.push_str(&self.svg(frame)));
        out.push_str("</figure>\n");
        out
    }

    fn svg(&self, frame: &Frame) -> String {
        let (x, y) = (self.axes)(frame.ticks.0, frame.ticks.1);
        let drawing = Drawing { frame, x, y };
        let Frame { class, width, height, .. } = frame;
        let title = escape(self.title);
        let mut out = format!(
            "<svg class=\"chart {class}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{title}\">\n"
        );
        drawing.grid(&mut out);
        let _ = write!(
            out,
            "<text class=\"unit\" x=\"4\" y=\"13\">{}</text>\n<text class=\"along\" x=\"{}\" y=\"{}\">{}</text>\n",
            escape(self.unit),
            width - RIGHT,
            height - 5.0,
            escape(self.along)
        );
        self.lines.iter().for_each(|line| drawing.line(line, &mut out));
        // On a phone there is no mouse.
        if frame.class == "wide" {
            self.tips.iter().for_each(|(from, to, tip)| drawing.tip(*from, *to, tip, &mut out));
        }
        out.push_str("</svg>\n");
        out
    }
}

struct Drawing<'a> {
    frame: &'a Frame,
    x: Axis,
    y: Axis,
}

impl Drawing<'_> {
    fn left(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (self.frame.width - LEFT - RIGHT)
    }

    fn top(&self, value: f64) -> f64 {
        self.floor() - self.y.place(value) * (self.floor() - TOP)
    }

    fn floor(&self) -> f64 {
        self.frame.height - BOTTOM
    }

    fn grid(&self, out: &mut String) {
        let (floor, right) = (self.floor(), self.frame.width - RIGHT);
        for (value, label) in &self.y.ticks {
            let y = self.top(*value);
            let _ = writeln!(
                out,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/><text class=\"y\" x=\"{}\" y=\"{:.1}\">{}</text>",
                LEFT - 6.0,
                y + 4.0,
                escape(label)
            );
        }
        for (value, label) in &self.x.ticks {
            let x = self.left(*value);
            let _ = writeln!(
                out,
                "<path class=\"axis\" d=\"M{x:.1} {floor}v5\"/><text class=\"x\" x=\"{x:.1}\" y=\"{}\">{}</text>",
                floor + 18.0,
                escape(label)
            );
        }
        let _ = writeln!(out, "<path class=\"axis\" d=\"M{LEFT} {floor}H{right}\"/>");
    }

    fn line(&self, line: &Line, out: &mut String) {
        let tip = escape(if line.tip.is_empty() { &line.name } else { &line.tip });
        let pieces = line.points.split(|(_, y)| y.is_none());
        let mut path = String::new();
        let mut area = String::new();
        let floor = self.floor();
        for piece in pieces {
            let points: Vec<_> =
                piece.iter().filter_map(|(x, y)| Some((self.left(*x), self.top((*y)?)))).collect();
            let (Some(first), Some(last)) = (points.first(), points.last()) else { continue };
            let mut way = String::new();
            points.iter().enumerate().for_each(|(i, (x, y))| {
                let _ = write!(way, "{}{x:.1} {y:.1}", if i == 0 { "M" } else { "L" });
            });
            if points.len() == 1 {
                // A dot, by a line's round end.
                way.push_str("h0");
            }
            let _ = write!(area, "{way}L{:.1} {floor}L{:.1} {floor}Z", last.0, first.0);
            path.push_str(&way);
        }
        if path.is_empty() {
            return;
        }
        if line.is_area {
            let _ = writeln!(out, "<path class=\"{} area\" d=\"{area}\"/>", line.look);
        }
        let _ = writeln!(out, "<path class=\"{}\" d=\"{path}\"><title>{tip}</title></path>", line.look);
    }

    fn tip(&self, from: f64, to: f64, tip: &str, out: &mut String) {
        let (left, right) = (self.left(from), self.left(to));
        let _ = writeln!(
            out,
            "<rect class=\"tip\" x=\"{left:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{}\"><title>{}</title></rect>",
            (right - left).max(0.5),
            self.floor() - TOP,
            escape(tip)
        );
    }
}
