//! Standard output that may be closed early: `waitroom sale list | head -1` is no error.

use std::io::{self, ErrorKind, Write};

use super::{Exit, ExitError};

/// Prints the text and a newline.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    written(writeln!(out, "{text}").and_then(|()| out.flush())).map(drop)
}

/// Whether there is still a reader.
pub(super) fn written(outcome: io::Result<()>) -> anyhow::Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => {
            Err(ExitError::new(Exit::File, format!("cannot write to standard output: {error}")).into())
        }
    }
}

/// Rows under their titles, columns aligned.
pub(super) fn table(titles: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([titles[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..titles.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let titles: Vec<_> = titles.iter().map(ToString::to_string).collect();
    std::iter::once(line(&titles)).chain(rows.iter().map(|row| line(row))).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["längst".to_owned(), "2".to_owned()]];
        assert_eq!(table(&["ID", "N"], &rows), "ID      N\na       1\nlängst  2");
    }
}
