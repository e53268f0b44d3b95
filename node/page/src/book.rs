//! The book, for readers without a network: the same chapters as in docs/.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    http::{StatusCode, request::Parts},
    response::Response,
};
use conclave_api::problem::{Code, Problem};
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

use crate::{Site, form::Fields, visit::Visit};

include!(concat!(env!("OUT_DIR"), "/book.rs"));

/// Longest text to search for, and most places that are shown.
const SEARCH_BYTES_MAX: usize = 100;
const FOUND_MAX: usize = 30;
/// Longest text that is shown of a place.
const EXCERPT_BYTES_MAX: usize = 300;
/// The chapter with what each code means.
const CODES: &str = "codes";

#[derive(Template)]
#[template(path = "book.html")]
struct BookPage<'a> {
    v: &'a Visit,
    title: &'a str,
    html: String,
    search: &'a str,
    found: Vec<Found>,
}

/// A place in the book.
struct Found {
    path: String,
    heading: String,
    text: String,
}

/// Shows the contents, or what was searched for.
pub(crate) async fn contents(State(site): State<Arc<Site>>, parts: Parts) -> Response {
    let visit = Visit::of_stranger(&parts, &site);
    let query = Fields::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let search = query.get("search").trim();
    let html = rendered("SUMMARY", chapter_text("SUMMARY").unwrap_or_default());
    let found = match search.is_empty() || search.len() > SEARCH_BYTES_MAX {
        true => Vec::new(),
        false => find(search),
    };
    visit.page(StatusCode::OK, &BookPage { v: &visit, title: "Book", html, search, found })
}

/// Shows a chapter.
pub(crate) async fn chapter(
    State(site): State<Arc<Site>>,
    Path(name): Path<String>,
    parts: Parts,
) -> Response {
    let visit = Visit::of_stranger(&parts, &site);
    match chapter_text(&name) {
        Some(text) => {
            let title = text.lines().next().unwrap_or_default().trim_start_matches("# ");
            let html = rendered(&name, text);
            let page = BookPage { v: &visit, title, html, search: "", found: Vec::new() };
            visit.page(StatusCode::OK, &page)
        }
        None => visit.not_possible(Problem::new(Code::NotFound, "the book has no such chapter")),
    }
}

fn chapter_text(name: &str) -> Option<&'static str> {
    CHAPTERS.iter().find(|(one, _)| *one == name).map(|(_, text)| *text)
}

/// Renders a chapter. Its links to other chapters lead to their pages here.
fn rendered(name: &str, text: &str) -> String {
    let options = Options::ENABLE_TABLES | Options::ENABLE_HEADING_ATTRIBUTES;
    let mut heading: Option<String> = None;
    let mut events = Vec::new();
    for event in Parser::new_ext(text, options) {
        match event {
            Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
                let dest_url = CowStr::from(link(&dest_url));
                events.push(Event::Start(Tag::Link { link_type, dest_url, title, id }));
            }
            Event::Start(Tag::Heading { .. }) => {
                heading = Some(String::new());
                events.push(event);
            }
            Event::End(TagEnd::Heading(_)) => {
                let id = anchor(&heading.take().unwrap_or_default());
                let started = events.iter_mut().rev().find_map(|event| match event {
                    Event::Start(Tag::Heading { id, .. }) => Some(id),
                    _ => None,
                });
                if let Some(place) = started {
                    place.get_or_insert(CowStr::from(id));
                }
                events.push(event);
            }
            // Problems lead to the row of their code.
            Event::Text(ref code)
                if name == CODES && matches!(events.last(), Some(Event::Start(Tag::TableCell))) =>
            {
                if Code::parse(code).is_some() {
                    events.push(Event::InlineHtml(format!("<span id=\"{code}\"></span>").into()));
                }
                events.push(event);
            }
            // The book is ours; all the same nothing of it runs.
            Event::Html(_) | Event::InlineHtml(_) => {}
            event => {
                if let (Some(heading), Event::Text(text) | Event::Code(text)) =
                    (&mut heading, &event)
                {
                    heading.push_str(text);
                }
                events.push(event);
            }
        }
    }
    let mut out = String::new();
    html::push_html(&mut out, events.into_iter());
    out
}

/// Turns a link between files into a link between pages.
fn link(url: &str) -> String {
    let (file, anchor) = url.split_once('#').unwrap_or((url, ""));
    let name = file.rsplit('/').next().unwrap_or_default().trim_end_matches(".md");
    let anchor = if anchor.is_empty() { String::new() } else { format!("#{anchor}") };
    match file.ends_with(".md") && chapter_text(name).is_some() {
        true => format!("/ui/docs/{name}{anchor}"),
        false => url.to_owned(),
    }
}

/// Returns the anchor of a heading, as forges make it.
fn anchor(heading: &str) -> String {
    let letters = heading.trim().to_lowercase();
    let kept = letters.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

/// Finds paragraphs and rows of tables that have every word, by chapter.
fn find(search: &str) -> Vec<Found> {
    let words: Vec<String> = search.to_lowercase().split_whitespace().map(str::to_owned).collect();
    let mut found = Vec::new();
    for (name, text) in CHAPTERS {
        let mut heading = "";
        let rows = |part: &'static str| match part.starts_with('|') {
            true => part.lines().collect::<Vec<_>>(),
            false => vec![part],
        };
        for part in text.split("\n\n").flat_map(rows) {
            if let Some(line) = part.lines().find(|line| line.starts_with('#')) {
                heading = line.trim_start_matches(['#', ' ']);
            }
            let lower = part.to_lowercase();
            if words.iter().all(|word| lower.contains(word)) {
                let path = format!("/ui/docs/{name}#{}", anchor(heading));
                found.push(Found { path, heading: heading.to_owned(), text: excerpt(part) });
            }
            if found.len() >= FOUND_MAX {
                return found;
            }
        }
    }
    found
}

/// Returns the beginning of a part as it is read, without marks.
fn excerpt(part: &str) -> String {
    let mut text = String::new();
    for event in Parser::new(part) {
        match event {
            Event::Text(more) | Event::Code(more) => text.push_str(&more.replace('|', " ")),
            Event::SoftBreak | Event::End(_) => text.push(' '),
            _ => {}
        }
    }
    let mut out = String::new();
    for word in text.split_whitespace() {
        if out.len() + word.len() > EXCERPT_BYTES_MAX {
            out.push('…');
            break;
        }
        out.push_str(word);
        out.push(' ');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chapters_are_rendered_with_links_between_them() {
        let html =
            rendered("x", "# One `two`\n\n[x](upgrade.md#a-b) <script>no</script> [y](https://z/)");
        assert!(html.contains("<h1 id=\"one-two\">"), "{html}");
        assert!(html.contains("href=\"/ui/docs/upgrade#a-b\""), "{html}");
        assert!(html.contains("href=\"https://z/\"") && !html.contains("<script>"), "{html}");
        assert!(chapter_text("SUMMARY").is_some() && chapter_text("codes").is_some());
        assert!(find("rolling upgrade").iter().any(|found| found.path.contains("upgrade")));
        assert!(find("nosuchwordanywhere").is_empty());
        // A code leads to its row, and is found there without marks.
        let codes = rendered(CODES, chapter_text(CODES).unwrap());
        assert_eq!(codes.matches("id=\"C006\"").count(), 1);
        let row = find("C006").into_iter().find(|found| found.path.contains("/codes#")).unwrap();
        assert!(row.text.starts_with("C006 ") && !row.text.contains('|'), "{}", row.text);
        let names: std::collections::BTreeSet<&str> =
            CHAPTERS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), CHAPTERS.len(), "two chapters have one name");
    }
}
