//! Class diagrams as pictures: a part of Mermaid's language, drawn as SVG.
//!
//! A class is below what it derives from.

use std::fmt::Write;

use crate::drawing::{begin, label, text, width};

/// The height of a line in a box, the distance between two rows of boxes, and between two boxes.
const LINE: i32 = 18;
const BETWEEN_ROWS: i32 = 44;
const BETWEEN_BOXES: i32 = 16;
const MARGIN: i32 = 16;

#[derive(Debug, Default)]
struct Class {
    name: String,
    /// The lines below the name.
    members: Vec<String>,
    /// The label on the line to the class above, which the box is as wide as.
    label: String,
}

impl Class {
    fn wide(&self) -> i32 {
        let members = self.members.iter().map(|it| width(it));
        let texts = members.chain([width(&self.name), width(&self.label)]);
        texts.max().unwrap_or(0) + 20
    }

    fn high(&self) -> i32 {
        let members = i32::try_from(self.members.len()).unwrap_or(i32::MAX);
        let rule = if self.members.is_empty() { 0 } else { 4 };
        LINE * (members + 1) + 10 + rule
    }
}

#[derive(Debug)]
struct Edge {
    from: usize,
    to: usize,
    is_dashed: bool,
}

#[derive(Debug, Default)]
struct Diagram {
    classes: Vec<Class>,
    edges: Vec<Edge>,
}

impl Diagram {
    fn class(&mut self, name: &str) -> usize {
        let found = self.classes.iter().position(|class| class.name == name);
        found.unwrap_or_else(|| {
            let name = name.to_owned();
            self.classes.push(Class {
                name,
                ..Class::default()
            });
            self.classes.len() - 1
        })
    }

    fn derives(&self, class: usize) -> bool {
        self.edges.iter().any(|edge| edge.from == class)
    }

    /// The row of each class: below every class that it derives from. A class that derives from
    /// none is just above the first that derives from it.
    fn rows(&self) -> Vec<Vec<usize>> {
        let mut rank = vec![0; self.classes.len()];
        for _ in &self.classes {
            for edge in &self.edges {
                rank[edge.from] = rank[edge.from].max(rank[edge.to] + 1);
            }
        }
        for class in 0..rank.len() {
            let below = self.edges.iter().filter(|edge| edge.to == class);
            let first = below.map(|edge| rank[edge.from]).min();
            if let (false, Some(first)) = (self.derives(class), first) {
                rank[class] = first - 1;
            }
        }
        let rows = rank.iter().max().map_or(0, |last| last + 1);
        let row = |row| {
            (0..rank.len())
                .filter(|class| rank[*class] == row)
                .collect()
        };
        (0..rows).map(row).collect()
    }
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
    if lines.next() != Some("classDiagram") {
        return Err("the first line is not classDiagram".to_owned());
    }
    let mut inside = None;
    for line in lines {
        let unknown = || format!("not understood: {line}");
        match (inside, line) {
            (_, "direction BT") => {}
            (Some(_), "}") => inside = None,
            (Some(class), member) => {
                let class: &mut Class = &mut diagram.classes[class];
                class.members.push(member.to_owned());
            }
            (None, line) => match line.strip_prefix("class ") {
                Some(class) => {
                    let name = class.strip_suffix(" {").ok_or_else(unknown)?;
                    inside = Some(diagram.class(name));
                }
                None => {
                    let (relation, label) = line.split_once(" : ").unwrap_or((line, ""));
                    let is_dashed = relation.contains(" ..|> ");
                    let arrow = if is_dashed { " ..|> " } else { " --|> " };
                    let (from, to) = relation.split_once(arrow).ok_or_else(unknown)?;
                    let (from, to) = (diagram.class(from), diagram.class(to));
                    diagram.classes[from].label = label.to_owned();
                    diagram.edges.push(Edge {
                        from,
                        to,
                        is_dashed,
                    });
                }
            },
        }
    }
    Ok(diagram)
}

/// The left edge and the top of each class, and the size of the picture. In a row, a class is near
/// the middle of what it derives from.
fn places(diagram: &Diagram) -> (Vec<(i32, i32)>, i32, i32) {
    let classes = &diagram.classes;
    let mut places = vec![(0, 0); classes.len()];
    let row_width = |row: &[usize]| {
        let boxes: i32 = row
            .iter()
            .map(|class| classes[*class].wide() + BETWEEN_BOXES)
            .sum();
        boxes - BETWEEN_BOXES
    };
    let rows = diagram.rows();
    let wide = rows.iter().map(|row| row_width(row)).max().unwrap_or(0) + 2 * MARGIN;
    let mut y = MARGIN;
    for mut row in rows {
        let middle = |class: &usize| {
            let above = diagram.edges.iter().filter(|edge| edge.from == *class);
            let above =
                Vec::from_iter(above.map(|edge| places[edge.to].0 + classes[edge.to].wide() / 2));
            let count = i32::try_from(above.len()).unwrap_or(1).max(1);
            above.iter().sum::<i32>() / count
        };
        row.sort_by_key(middle);
        let mut x = (wide - row_width(&row)) / 2;
        for class in &row {
            places[*class] = (x, y);
            x += classes[*class].wide() + BETWEEN_BOXES;
        }
        y += row
            .iter()
            .map(|class| classes[*class].high())
            .max()
            .unwrap_or(0)
            + BETWEEN_ROWS;
    }
    (places, wide, y - BETWEEN_ROWS + MARGIN)
}

fn draw(diagram: &Diagram) -> String {
    let (places, wide, high) = places(diagram);
    let mut svg = begin(wide, high);
    for edge in &diagram.edges {
        let (from, to) = (&diagram.classes[edge.from], &diagram.classes[edge.to]);
        let ((x, y), (above_x, above_y)) = (places[edge.from], places[edge.to]);
        let (x, above_x) = (x + from.wide() / 2, above_x + to.wide() / 2);
        let above_y = above_y + to.high();
        let dashed = if edge.is_dashed {
            " stroke-dasharray=\"5 4\""
        } else {
            ""
        };
        // Writing to a String succeeds.
        let _ = writeln!(
            svg,
            "<line x1=\"{x}\" y1=\"{y}\" x2=\"{above_x}\" y2=\"{}\" stroke=\"#4a6a9b\"{dashed}/>\n\
             <path d=\"M{above_x} {above_y} L{} {} L{} {} Z\" fill=\"#fff\" stroke=\"#4a6a9b\"/>",
            above_y + 9,
            above_x - 6,
            above_y + 9,
            above_x + 6,
            above_y + 9
        );
        if !from.label.is_empty() {
            label(&mut svg, x, y - 6, "middle", &from.label);
        }
    }
    for (class, (x, y)) in diagram.classes.iter().zip(&places) {
        let (wide, high) = (class.wide(), class.high());
        let middle = x + wide / 2;
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"{high}\" rx=\"4\" \
             fill=\"#e8eef7\" stroke=\"#4a6a9b\"/>"
        );
        text(&mut svg, middle, y + 18, "middle", &class.name);
        for (member, row) in class.members.iter().zip(1..) {
            text(&mut svg, x + 10, y + 22 + LINE * row, "start", member);
        }
    }
    svg + "</svg>\n"
}

#[test]
fn a_line_that_is_not_understood_is_an_error() {
    let error = |source: &str| svg(source).unwrap_err();
    assert!(error("flowchart LR\n").contains("classDiagram"));
    for line in ["A -> B", "class A", "note for A"] {
        assert_eq!(
            error(&format!("classDiagram\n{line}")),
            format!("not understood: {line}")
        );
    }
}

#[test]
fn a_class_is_below_what_it_derives_from_and_no_two_boxes_overlap() {
    let source = "classDiagram\nC --|> B\nB --|> A\nD --|> A\nclass B {\nmethod()\n}\n";
    let diagram = parse(source).unwrap();
    let (places, wide, high) = places(&diagram);
    let name = |class: usize| diagram.classes[class].name.as_str();
    assert_eq!((0..4).map(name).collect::<String>(), "CBAD");
    let [c, b, a, d] = [0, 1, 2, 3].map(|class| places[class]);
    assert!(a.1 < b.1 && b.1 < c.1 && b.1 == d.1, "{places:?}");
    assert!((b.0 - d.0).abs() >= diagram.classes[1].wide().min(diagram.classes[3].wide()));
    for (class, (x, y)) in diagram.classes.iter().zip(&places) {
        assert!(*x >= MARGIN && x + class.wide() <= wide - MARGIN);
        assert!(*y >= MARGIN && y + class.high() <= high - MARGIN);
    }
}
