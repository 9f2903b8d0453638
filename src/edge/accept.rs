//! What a client says that it takes: lists of names with weights (RFC 9110, 12.4.2).

use axum::http::{HeaderMap, HeaderName};

/// The weight that the client gives to that name, 1 if it names it without one; nothing if it does not name it.
pub fn weight(headers: &HeaderMap, list: HeaderName, wanted: &str) -> Option<f32> {
    let lists = headers.get_all(list).into_iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).find_map(|item| {
        let mut parts = item.split(';').map(str::trim);
        let is_it = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(wanted));
        let q = parts.find_map(|part| part.strip_prefix(['q', 'Q'])?.strip_prefix('='));
        is_it.then_some(q.and_then(|q| q.parse().ok()).unwrap_or(1.0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderValue, header::ACCEPT};

    #[test]
    fn the_weight_of_a_name_in_any_line_and_case() {
        let lines = ["text/html;level=1;q=0.5, b", "C; Q=0.2, d;q=0, e;q=x"];
        let headers = HeaderMap::from_iter(lines.map(|line| (ACCEPT, HeaderValue::from_static(line))));
        let weights = ["text/html", "B", "c", "d", "e", "html"].map(|name| weight(&headers, ACCEPT, name));
        assert_eq!(weights, [Some(0.5), Some(1.0), Some(0.2), Some(0.0), Some(1.0), None]);
    }
}
