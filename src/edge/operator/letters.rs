//! Which letters one sees: in a name that must be read, and before what a spreadsheet would run.

/// Whether one sees it: no white space, filler or joiner, and no mark of direction.
pub(super) fn is_seen(letter: char) -> bool {
    let is_invisible = matches!(
        letter,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{feff}'
    );
    !is_invisible && !letter.is_whitespace()
}
