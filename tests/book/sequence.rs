//! Sequence diagrams as pictures: a part of Mermaid's language, drawn as SVG.
//!
//! The pages show the SVG, so that a site and an editor need no JavaScript.

use std::fmt::Write;

use crate::drawing::{begin, label, text, width};

/// The height of a step, and of the row of names.
const STEP: i32 = 30;
const HEAD: i32 = 34;
/// The least distance between two lanes, and the room beside the first and the last.
const LANE: i32 = 110;
const MARGIN: i32 = 16;
/// How far a call to oneself goes out.
const LOOP: i32 = 26;

/// A diagram: its title, the names of its lanes, and its steps.
#[derive(Debug, Default)]
struct Diagram {
    title: String,
    lanes: Vec<Lane>,
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Lane {
    id: String,
    name: String,
}

#[derive(Debug)]
enum Step {
    Arrow {
        from: usize,
        to: usize,
        is_return: bool,
        text: String,
    },
    Note {
        first: usize,
        last: usize,
        text: String,
    },
}

/// The SVG of a diagram.
///
/// # Errors
///
/// The first line that is not understood.
pub fn svg(source: &str) -> Result<String, String> {
    let diagram = parse(source)?;
    Ok(draw(&diagram))
}

fn parse(source: &str) -> Result<Diagram, String> {
    let mut diagram = Diagram::default();
    let mut lines = source
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    if lines.next() != Some("sequenceDiagram") {
        return Err("the first line is not sequenceDiagram".to_owned());
    }
    for line in lines {
        let unknown = || format!("not understood: {line}");
        if let Some(title) = line.strip_prefix("title ") {
            diagram.title = title.to_owned();
        } else if let Some(lane) = line.strip_prefix("participant ") {
            let (id, name) = lane.split_once(" as ").ok_or_else(unknown)?;
            let (id, name) = (id.to_owned(), name.to_owned());
            diagram.lanes.push(Lane { id, name });
        } else {
            let (who, text) = line.split_once(": ").ok_or_else(unknown)?;
            let text = text.to_owned();
            let lane = |id: &str| diagram.lanes.iter().position(|lane| lane.id == id);
            let step = if let Some(lanes) = who.strip_prefix("Note over ") {
                let (first, last) = lanes.split_once(',').unwrap_or((lanes, lanes));
                let (first, last) = (lane(first), lane(last));
                let (first, last) = first.zip(last).ok_or_else(unknown)?;
                Step::Note { first, last, text }
            } else {
                let is_return = who.contains("-->>");
                let arrow = if is_return { "-->>" } else { "->>" };
                let (from, to) = who.split_once(arrow).ok_or_else(unknown)?;
                let (from, to) = lane(from).zip(lane(to)).ok_or_else(unknown)?;
                Step::Arrow {
                    from,
                    to,
                    is_return,
                    text,
                }
            };
            diagram.steps.push(step);
        }
    }
    Ok(diagram)
}

/// The distance from each lane to the next, and from the last to the edge: wide enough for every
/// text between.
fn gaps(diagram: &Diagram) -> Vec<i32> {
    let lanes = &diagram.lanes;
    let half = |lane: usize| width(&lanes[lane].name) / 2 + 12;
    let mut gaps = vec![LANE; lanes.len()];
    for lane in 1..lanes.len() {
        gaps[lane - 1] = gaps[lane - 1].max(half(lane - 1) + half(lane) + 10);
    }
    let last = lanes.len() - 1;
    gaps[last] = half(last) + MARGIN;
    for step in &diagram.steps {
        let (first, last, needed) = match step {
            Step::Arrow { from, to, text, .. } if from == to => {
                (*from, *from + 1, width(text) + LOOP + 24)
            }
            Step::Arrow { from, to, text, .. } => (*from.min(to), *from.max(to), width(text) + 24),
            // Centred over its lanes: it needs room on both sides.
            Step::Note { first, text, .. } => (*first, *first + 1, width(text) / 2 + 28),
        };
        let there: i32 = gaps[first..last.min(gaps.len())].iter().sum();
        if there < needed {
            gaps[last - 1] += needed - there;
        }
    }
    gaps
}

fn draw(diagram: &Diagram) -> String {
    let gaps = gaps(diagram);
    let notes = diagram.steps.iter().filter_map(|step| match step {
        Step::Note { first: 0, text, .. } => Some(width(text) / 2 + 24),
        _ => None,
    });
    let first = width(&diagram.lanes[0].name) / 2 + 12;
    let mut x = vec![MARGIN + notes.chain([first]).max().unwrap_or(0)];
    for gap in &gaps {
        x.push(x[x.len() - 1] + gap);
    }
    let title = if diagram.title.is_empty() { 0 } else { 28 };
    let top = MARGIN + title;
    let steps = i32::try_from(diagram.steps.len()).unwrap_or(i32::MAX);
    let bottom = top + HEAD + STEP * (steps + 1) - STEP / 2;
    let wide = x[x.len() - 1].max(width(&diagram.title) + 2 * MARGIN);
    let high = bottom + MARGIN;
    let mut svg = begin(wide, high);
    if title > 0 {
        text(&mut svg, wide / 2, MARGIN + 12, "middle", &diagram.title);
    }
    for (lane, x) in diagram.lanes.iter().zip(&x) {
        // Writing to a String succeeds.
        let half = width(&lane.name) / 2 + 10;
        let _ = writeln!(
            svg,
            "<line x1=\"{x}\" y1=\"{}\" x2=\"{x}\" y2=\"{bottom}\" stroke=\"#999\"/>\n\
             <rect x=\"{}\" y=\"{top}\" width=\"{}\" height=\"{HEAD}\" rx=\"4\" fill=\"#e8eef7\" \
             stroke=\"#4a6a9b\"/>",
            top + HEAD,
            x - half,
            2 * half
        );
        text(&mut svg, *x, top + 22, "middle", &lane.name);
    }
    for (step, row) in diagram.steps.iter().zip(1..) {
        let y = top + HEAD + STEP * row;
        match step {
            Step::Note {
                first,
                last,
                text: note,
            } => {
                let middle = (x[*first] + x[*last]) / 2;
                let half = (width(note) / 2 + 10).max((x[*last] - x[*first]) / 2 + 10);
                let _ = writeln!(
                    svg,
                    "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"22\" fill=\"#fff6d5\" \
                     stroke=\"#c9a400\"/>",
                    middle - half,
                    y - 17,
                    2 * half
                );
                text(&mut svg, middle, y - 2, "middle", note);
            }
            Step::Arrow {
                from,
                to,
                is_return,
                text: name,
            } => {
                let dashed = if *is_return {
                    " stroke-dasharray=\"5 4\""
                } else {
                    ""
                };
                let (from, to) = (x[*from], x[*to]);
                if from == to {
                    let out = from + LOOP;
                    let _ = writeln!(
                        svg,
                        "<path d=\"M{from} {} H{out} V{} H{}\" fill=\"none\" \
                         stroke=\"#4a6a9b\"{dashed}/>",
                        y - 12,
                        y - 2,
                        from + 7
                    );
                    head(&mut svg, from, y - 2, -1);
                    label(&mut svg, out + 6, y - 3, "start", name);
                } else {
                    let forward = if to > from { 1 } else { -1 };
                    let _ = writeln!(
                        svg,
                        "<line x1=\"{from}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\" \
                         stroke=\"#4a6a9b\"{dashed}/>",
                        to - 7 * forward
                    );
                    head(&mut svg, to, y, forward);
                    label(&mut svg, (from + to) / 2, y - 5, "middle", name);
                }
            }
        }
    }
    svg + "</svg>\n"
}

/// The head of an arrow at `x`.
fn head(svg: &mut String, x: i32, y: i32, forward: i32) {
    let back = x - 8 * forward;
    let (above, below) = (y - 4, y + 4);
    let _ = writeln!(
        svg,
        "<path d=\"M{x} {y} L{back} {above} L{back} {below} Z\" fill=\"#4a6a9b\"/>"
    );
}

#[test]
fn a_line_that_is_not_understood_is_an_error() {
    let error = |source: &str| svg(source).unwrap_err();
    assert!(error("flowchart LR\n").contains("sequenceDiagram"));
    let begin = "sequenceDiagram\nparticipant A as one\n";
    for line in ["A->B: hi", "A->>C: hi", "A->>A", "loop every"] {
        assert_eq!(
            error(&format!("{begin}{line}")),
            format!("not understood: {line}")
        );
    }
}

#[test]
fn the_texts_are_in_the_picture_and_inside_of_it() {
    let long = "x".repeat(90);
    let source = format!(
        "sequenceDiagram\ntitle T\nparticipant A as a < b\nparticipant B as two\nA->>B: {long}\n\
         B->>B: {long}\nNote over A: {long}\nB-->>A: back\n"
    );
    let svg = svg(&source).unwrap();
    assert_eq!(svg.matches(&long).count(), 3);
    assert!(svg.contains("a &lt; b") && svg.contains("stroke-dasharray"));
    assert!(
        !svg.contains("\n\n"),
        "a blank line would end the picture on a page of rustdoc"
    );
    let number = |text: &str| text.split('"').next().unwrap().parse::<i32>().unwrap();
    let wide = number(svg.split_once("width=\"").unwrap().1);
    assert!(wide > 2 * 90 * 7, "{wide}");
    assert!(svg.split("<rect x=\"").skip(2).map(number).all(|x| x > 0));
}
