//! One self-contained HTML page: no scripts, no other files, light and dark, on screen and on paper.

use std::fmt::Write;

const STYLE: &str = include_str!("report/page.css");

/// Builds an HTML page from the top to the bottom.
///
/// Every text is escaped; only [`figure`](Page::figure) takes markup.
///
/// ```
/// use moslim_eval::report::Page;
///
/// let html = Page::new("Run 7")
///     .section("Control")
///     .paragraph("How well answers follow the levels asked for.")
///     .table(&["objective", "exact"], &[vec!["helpfulness".into(), "0.61".into()]], None)
///     .finish();
/// assert!(html.starts_with("<!DOCTYPE html>") && html.contains("helpfulness"));
/// ```
#[derive(Clone, Debug)]
pub struct Page {
    title: String,
    sections: Vec<String>,
    body: String,
}

impl Page {
    /// An empty page.
    pub fn new(title: &str) -> Self {
        Self { title: title.into(), sections: Vec::new(), body: String::new() }
    }

    /// Starts a section, which the table of contents will list.
    pub fn section(mut self, heading: &str) -> Self {
        self.sections.push(heading.into());
        let number = self.sections.len();
        self.push(format_args!("<h2 id=\"section-{number}\">{}</h2>\n", escape(heading)))
    }

    /// Starts a part of a section.
    pub fn subsection(self, heading: &str) -> Self {
        self.push(format_args!("<h3>{}</h3>\n", escape(heading)))
    }

    /// A paragraph.
    pub fn paragraph(self, text: &str) -> Self {
        self.push(format_args!("<p>{}</p>\n", escape(text)))
    }

    /// A plain conclusion that the reader must not miss.
    pub fn note(self, text: &str) -> Self {
        self.push(format_args!("<p class=\"note\">{}</p>\n", escape(text)))
    }

    /// Something that the reader must not rely on, or that went wrong.
    pub fn warning(self, text: &str) -> Self {
        self.push(format_args!("<p class=\"note warning\" role=\"note\">{}</p>\n", escape(text)))
    }

    /// A table; a column that holds numbers only is aligned to the right.
    pub fn table(self, headers: &[&str], rows: &[Vec<String>], caption: Option<&str>) -> Self {
        self.push(format_args!("{}", table(headers, rows, caption)))
    }

    /// A table behind a summary that opens it, for many rows that few will read.
    pub fn folded_table(self, summary: &str, headers: &[&str], rows: &[Vec<String>]) -> Self {
        self.push(format_args!(
            "<details><summary>{}</summary>\n{}</details>\n",
            escape(summary),
            table(headers, rows, None)
        ))
    }

    /// A picture: SVG markup, inserted as it is, as the functions of [`chart`](crate::chart) return it.
    pub fn figure(self, svg: &str, caption: &str) -> Self {
        let caption = escape(caption);
        self.push(format_args!(
            "<figure><div class=\"card\" role=\"img\" aria-label=\"{caption}\">{svg}</div><figcaption>{caption}</figcaption></figure>\n"
        ))
    }

    /// Preformatted text behind a summary that opens it, such as a recipe or sample answers.
    pub fn details(self, summary: &str, text: &str) -> Self {
        self.push(format_args!(
            "<details><summary>{}</summary><pre>{}</pre></details>\n",
            escape(summary),
            escape(text)
        ))
    }

    /// The whole page; a table of contents leads it when there is more than one section.
    pub fn finish(self) -> String {
        let title = escape(&self.title);
        let mut contents = String::new();
        if self.sections.len() > 1 {
            let items = (self.sections.iter().enumerate()).map(|(index, heading)| {
                format!("<li><a href=\"#section-{}\">{}</a></li>\n", index + 1, escape(heading))
            });
            contents =
                format!("<nav aria-label=\"Contents\"><ol>\n{}</ol></nav>\n", items.collect::<String>());
        }
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
             <h1>{title}</h1>\n{contents}{}</main>\n</body>\n</html>\n",
            self.body
        )
    }

    fn push(mut self, markup: std::fmt::Arguments) -> Self {
        self.body.write_fmt(markup).expect("a string can always be written");
        self
    }
}

fn table(headers: &[&str], rows: &[Vec<String>], caption: Option<&str>) -> String {
    let is_numeric = |column: usize| {
        let mut cells = rows.iter().filter_map(|row| row.get(column)).peekable();
        cells.peek().is_some() && cells.all(|cell| is_number_or_missing(cell))
    };
    let classes: Vec<&str> = (0..headers.len().max(rows.iter().map(Vec::len).max().unwrap_or(0)))
        .map(|column| if is_numeric(column) { " class=\"number\"" } else { "" })
        .collect();
    let row = |tag: &str, cells: &mut dyn Iterator<Item = &str>| -> String {
        let cells =
            (cells.zip(&classes)).map(|(cell, class)| format!("<{tag}{class}>{}</{tag}>", escape(cell)));
        format!("<tr>{}</tr>", cells.collect::<String>())
    };
    let caption = caption.map_or(String::new(), |words| format!("<caption>{}</caption>\n", escape(words)));
    let header = row("th", &mut headers.iter().copied());
    let rows = rows.iter().map(|cells| row("td", &mut cells.iter().map(String::as_str)) + "\n");
    format!(
        "<div class=\"wide\"><table>\n{caption}<thead>{header}</thead>\n<tbody>\n{}</tbody></table></div>\n",
        rows.collect::<String>()
    )
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// `0.61`, `-3`, `12 %`, `0.61 [0.5, 0.7]`, `0.3 ± 0.1`, or a dash or nothing where there is no number.
fn is_number_or_missing(cell: &str) -> bool {
    cell.chars().all(|character| character.is_ascii_digit() || " .,+-−–—%±[]()e×".contains(character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup() {
        let evil = "<script>alert('&\"')</script>";
        let html = Page::new(evil)
            .section(evil)
            .section(evil)
            .paragraph(evil)
            .note(evil)
            .warning(evil)
            .subsection(evil)
            .table(&[evil], &[vec![evil.into()]], Some(evil))
            .folded_table(evil, &[evil], &[vec![evil.into()]])
            .figure("<svg></svg>", evil)
            .details(evil, evil)
            .finish();
        assert!(!html.contains("<script"));
        assert!(html.contains("&lt;script&gt;alert(&#39;&amp;&quot;&#39;)&lt;/script&gt;"));
        assert!(html.contains("<svg></svg>"), "a picture is markup");
    }

    #[test]
    fn contents_lead_to_the_sections() {
        let html = Page::new("t").section("one").section("two").finish();
        assert!(
            html.contains("<a href=\"#section-2\">two</a>") && html.contains("<h2 id=\"section-2\">two</h2>")
        );
        assert!(!Page::new("t").section("one").finish().contains("<nav"), "one section needs no contents");
    }

    #[test]
    fn only_columns_of_numbers_are_aligned_to_the_right() {
        let rows = [
            vec!["helpfulness".into(), "0.61 [0.5, 0.7]".into(), "5".into()],
            vec!["honesty".into(), "–".into(), "five".into()],
        ];
        let html = Page::new("t").table(&["objective", "exact", "level"], &rows, None).finish();
        assert!(html.contains("<th>objective</th><th class=\"number\">exact</th><th>level</th>"));
        assert!(html.contains("<td>honesty</td><td class=\"number\">–</td><td>five</td>"));
    }

    #[test]
    fn a_folded_table_is_the_table_behind_a_summary() {
        let (headers, rows) = (["weight"], [vec!["0.5".to_string()]]);
        let page = Page::new("t").section("one").subsection("part");
        let open = page.clone().table(&headers, &rows, None).finish();
        let folded = page.folded_table("all points", &headers, &rows).finish();
        assert!(folded.contains("<h3>part</h3>"));
        let table = &open[open.find("<div class=\"wide\">").unwrap()..open.find("</main>").unwrap()];
        assert!(folded.contains(&format!("<details><summary>all points</summary>\n{table}</details>")));
    }

    #[test]
    fn a_page_needs_nothing_else() {
        let html = Page::new("t").paragraph("p").finish();
        for outside in ["http://", "https://", "src=", "<link", "@import", "url("] {
            assert!(!html.contains(outside), "{outside}");
        }
        assert!(html.contains("prefers-color-scheme: dark") && html.contains("@media print"));
    }
}
