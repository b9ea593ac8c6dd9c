//! A page, as far as its console blocks are concerned.
//!
//! The comment above a block is one of
//!
//! * `<!-- not run: REASON -->`
//! * `<!-- run -->`, with words behind semicolons:
//!   * `server`: the last command goes on until the end of the section.
//!   * `anew`: the programs of the blocks above in the section are ended before.
//!   * `varies: time, port`: what differs from run to run. See [`Varying`].
//!   * `needs: ss`: a program that may not be installed. The section is skipped without it.

use crate::varying::Varying;

#[derive(Debug, Default)]
pub struct Page {
    pub sections: Vec<Section>,
}

/// The blocks below one heading that are run.
#[derive(Debug, Default)]
pub struct Section {
    pub blocks: Vec<Block>,
}

#[derive(Debug)]
pub struct Block {
    /// Of the fence.
    pub line: usize,
    pub is_server: bool,
    pub begins_anew: bool,
    pub varying: Varying,
    pub needs: Vec<String>,
    pub text: String,
}

impl Page {
    /// The error begins with the number of a line.
    pub fn parse(markdown: &str) -> Result<Self, String> {
        let mut page = Self::default();
        let mut section = Section::default();
        let mut above = "";
        let mut lines = (1..).zip(markdown.lines());
        while let Some((number, line)) = lines.next() {
            if line.starts_with('#') {
                page.sections.push(std::mem::take(&mut section));
            }
            if let Some(info) = line.strip_prefix("```") {
                let inside = lines.by_ref().map(|(_, line)| line);
                let inside = inside.take_while(|line| !line.starts_with("```"));
                let text: String = inside.flat_map(|line| [line, "\n"]).collect();
                if info == "console" {
                    let block = Block::parse(number, above, text);
                    section
                        .blocks
                        .extend(block.map_err(|error| format!("{number}: {error}"))?);
                }
            }
            above = line;
        }
        page.sections.push(section);
        Ok(page)
    }
}

impl Block {
    /// `None` if the block is not run.
    fn parse(line: usize, above: &str, text: String) -> Result<Option<Self>, String> {
        let comment = above
            .strip_prefix("<!-- ")
            .and_then(|it| it.strip_suffix(" -->"));
        let comment = comment.ok_or("no comment <!-- run --> or <!-- not run: … --> above")?;
        if let Some(reason) = comment.strip_prefix("not run: ") {
            return if reason.is_empty() {
                Err("no reason".to_owned())
            } else {
                Ok(None)
            };
        }
        let mut words = comment.split("; ");
        if words.next() != Some("run") {
            return Err(format!("not understood: {comment}"));
        }
        let mut block = Self {
            line,
            is_server: false,
            begins_anew: false,
            varying: Varying::default(),
            needs: Vec::new(),
            text,
        };
        for word in words {
            match word.split_once(": ").unwrap_or((word, "")) {
                ("server", "") => block.is_server = true,
                ("anew", "") => block.begins_anew = true,
                ("varies", kinds) => block.varying = Varying::parse(kinds)?,
                ("needs", programs) => {
                    block.needs = programs.split(", ").map(str::to_owned).collect();
                }
                _ => return Err(format!("not understood: {word}")),
            }
        }
        if !block.text.starts_with("$ ") {
            return Err("it has no command".to_owned());
        }
        Ok(Some(block))
    }
}

#[test]
fn a_block_is_run_with_its_words() {
    let page = "# A\n<!-- run; server; varies: time, port; needs: ss, nc -->\n```console\n$ a\nb\n\
                ```\n\n## B\n```sh\n# not a heading\n```\n<!-- not run: it is dear -->\n\
                ```console\n$ c\n```\n";
    let page = Page::parse(page).unwrap();
    let counts = Vec::from_iter(page.sections.iter().map(|it| it.blocks.len()));
    assert_eq!(counts, [0, 1, 0]);
    let block = &page.sections[1].blocks[0];
    assert_eq!((block.line, block.is_server), (3, true));
    assert_eq!(block.needs, ["ss", "nc"]);
    assert_eq!(block.text, "$ a\nb\n");
}

#[test]
fn a_block_without_a_comment_is_found() {
    for (above, error) in [
        ("", "2: no comment"),
        ("<!-- run; fast -->", "2: not understood: fast"),
        ("<!-- run; varies: mood -->", "2: not understood: mood"),
        ("<!-- not run:  -->", "2: no reason"),
    ] {
        let page = format!("{above}\n```console\n$ a\n```\n");
        let message = Page::parse(&page).unwrap_err();
        assert!(message.starts_with(error), "{message}");
    }
}
