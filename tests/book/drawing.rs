//! What all pictures are made of.

use std::fmt::Write;

/// About how wide a text is, in pixels, and rather more.
pub fn width(text: &str) -> i32 {
    let width = |c: char| match c {
        '\u{2e80}'.. => 13,
        'A'..='Z' | 'm' | 'w' => 10,
        _ => 7,
    };
    text.chars().map(width).sum()
}

/// A picture of this size. It has a white ground of its own, and is readable on a light and on a
/// dark page.
pub fn begin(wide: i32, high: i32) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {wide} {high}\" width=\"{wide}\" \
         height=\"{high}\" style=\"max-width: 100%; height: auto\" font-family=\"system-ui, \
         sans-serif\" font-size=\"13\" fill=\"#222\">\n\
         <rect x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"6\" fill=\"#fff\" \
         stroke=\"#bbb\"/>\n",
        wide - 1,
        high - 1
    )
}

/// A line of text, with a white edge, so that lines behind it do not cross it. `anchor` is start,
/// middle or end.
pub fn label(svg: &mut String, x: i32, y: i32, anchor: &str, line: &str) {
    svg.push_str("<g stroke=\"#fff\" stroke-width=\"4\" paint-order=\"stroke\">");
    text(svg, x, y, anchor, line);
    svg.truncate(svg.trim_end().len());
    svg.push_str("</g>\n");
}

/// A line of text; `anchor` is start, middle or end.
pub fn text(svg: &mut String, x: i32, y: i32, anchor: &str, text: &str) {
    let text = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    // Writing to a String succeeds.
    let _ = writeln!(
        svg,
        "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{text}</text>"
    );
}
