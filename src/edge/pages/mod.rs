//! The pages, in the binary. They set no cookie. What they load has the name of its release in its path and is kept by
//! browsers for good; the pages themselves are asked for again, so that a new release reaches everyone at once.

mod link;

use super::{caller::Call, error::HttpError, headers::page_policy, packed::Packed};
use axum::{
    extract::Path,
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use link::{Script, link};
use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, sync::LazyLock};
use wire::domain::ids::SaleId;

#[derive(RustEmbed)]
#[folder = "static/"]
struct Assets;

/// What else a page says of itself: no other page learns of it, or reaches it.
const HEADERS: [(HeaderName, &str); 2] =
    [(header::REFERRER_POLICY, "same-origin"), (OPENER_POLICY, "same-origin")];
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
/// A page, or a file of another release: to be asked for each time.
const REVALIDATED: &str = "public, max-age=0, must-revalidate";
/// A file of this release.
const FOR_GOOD: &str = "public, max-age=31536000, immutable";
/// How the pages name what they load: from where they are themselves, for a proxy may put a path before all of it.
const FILES: &str = "static/";
/// What looks after the files that do not come.
const AGAIN: &str = "again.js";
/// What the pages call the program that made them; the version is put to it.
const NAME: &str = "\"waitroom\"";
/// One sheet of style for all pages.
const STYLES: [&str; 2] = ["style.css", "turn.css"];

static SITE: LazyLock<Site> = LazyLock::new(Site::new);

/// All that is served, linked and pressed once.
struct Site {
    index: Page,
    room: Page,
    /// A name for all files of this build.
    release: String,
    files: BTreeMap<&'static str, Packed>,
}

struct Page {
    html: Packed,
    /// Its own scripts, as its policy names them.
    own_scripts: String,
}

impl Page {
    fn new(html: String) -> Self {
        let own = html.split("<script>").skip(1).filter_map(|rest| rest.split("</script>").next());
        let own_scripts = own
            .map(|script| format!(" 'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(script))))
            .collect();
        Self { html: Packed::new("text/html; charset=utf-8", html.into()), own_scripts }
    }
}

impl Site {
    fn new() -> Self {
        let [first, room, turn, sales] = scripts();
        let style = STYLES.map(|name| text(name).unwrap_or_default()).concat();
        let javascript = "text/javascript; charset=utf-8";
        let files = BTreeMap::from([
            ("style.css", Packed::new("text/css; charset=utf-8", style.into())),
            ("first.mjs", Packed::new(javascript, first.text.into())),
            ("room.mjs", Packed::new(javascript, room.text.into())),
            ("turn.mjs", Packed::new(javascript, turn.text.into())),
            ("sales.mjs", Packed::new(javascript, sales.text.into())),
            ("work.js", Packed::new(javascript, text("work.js").unwrap_or_default().into())),
        ]);
        // One name for all: scripts import each other, so none is new alone.
        let all = files.values().fold(Sha256::new(), |hash, file| hash.chain_update(file.tag()));
        let release = BASE64_URL_SAFE_NO_PAD.encode(&all.finalize()[..9]);
        let page = |name| {
            let html = whole(name).replace(FILES, &format!("{FILES}{release}/"));
            Page::new(html.replace(NAME, &format!("\"waitroom {}\"", env!("CARGO_PKG_VERSION"))))
        };
        Self { index: page("index.html"), room: page("room.html"), files, release }
    }
}

/// The scripts: what joins, what shows the line, what a turn needs; and the list of sales.
fn scripts() -> [Script; 4] {
    let first = link("first.mjs", &[], &text);
    let room = link("room.mjs", &[&first], &text);
    let turn = link("turn.mjs", &[&first, &room], &text);
    let sales = link("sales.mjs", &[], &text);
    [first, room, turn, sales]
}

fn text(name: &str) -> Option<String> {
    Assets::get(name).and_then(|file| String::from_utf8(file.data.into_owned()).ok())
}

/// A page with the script that must come with it.
fn whole(name: &str) -> String {
    let again = text(AGAIN).unwrap_or_default();
    ["", "../"].iter().fold(text(name).unwrap_or_default(), |html, from| {
        let linked = format!("<script src=\"{from}{FILES}{AGAIN}\"></script>");
        html.replace(&linked, &format!("<script>\n{again}</script>"))
    })
}

/// The list of sales.
pub async fn index(call: Call) -> Response {
    page(&SITE.index, &call)
}

/// The room's address with a slash too many: from there the page would look for everything in the wrong place. Where it
/// is right is said from where it is wrong, as the browser alone knows what a proxy has put before it.
pub async fn room_slash(Path(sale): Path<String>) -> Result<Redirect, HttpError> {
    let sale = SaleId::parse(&sale).ok_or_else(HttpError::unknown_sale)?;
    Ok(Redirect::temporary(&format!("../{sale}")))
}

/// The waiting-room page.
pub async fn room(call: Call) -> Response {
    page(&SITE.room, &call)
}

fn page(page: &Page, Call { caller, headers }: &Call) -> Response {
    let policy = [(header::CONTENT_SECURITY_POLICY, page_policy(*caller, headers, &page.own_scripts))];
    (HEADERS, policy, page.html.answer(headers, REVALIDATED)).into_response()
}

/// Any other file of the pages. While instances of two releases run, one may be asked for the other's: it gives its own,
/// but not to keep.
pub async fn file(Path((release, name)): Path<(String, String)>, headers: HeaderMap) -> Response {
    let Some(file) = SITE.files.get(name.as_str()) else { return StatusCode::NOT_FOUND.into_response() };
    let control = if release == SITE.release { FOR_GOOD } else { REVALIDATED };
    file.answer(&headers, control)
}

/// Links and presses before the first visitor comes. To most of a debug build's servers, which are tests', none does.
pub fn prepare() {
    if cfg!(not(debug_assertions)) {
        LazyLock::force(&SITE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_is_served_once_for_a_room() {
        let [first, room, turn, sales] = scripts();
        for script in [&first, &room, &turn, &sales] {
            assert_eq!(script.faults, Vec::<String>::new());
        }
        let mut served = [first.modules, room.modules, turn.modules, vec!["sales.mjs".to_owned()]].concat();
        served.sort();
        let modules: Vec<String> =
            Assets::iter().filter(|name| name.ends_with(".mjs")).map(Into::into).collect();
        assert_eq!(served, modules);
    }

    #[test]
    fn pages_name_files_that_are_there() {
        for (name, from) in [("index.html", "\"static/"), ("room.html", "\"../static/")] {
            let html = whole(name);
            assert!(!html.contains(AGAIN), "it is part of the page");
            assert_eq!(html.matches(FILES).count(), html.matches(from).count(), "{name}");
            let named = html.split(from).skip(1).filter_map(|rest| rest.split('"').next());
            let named: Vec<&str> = named.collect();
            assert!(named.len() >= 2);
            assert!(named.iter().all(|file| SITE.files.contains_key(file)), "{named:?}");
        }
    }
}
