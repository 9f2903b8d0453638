//! Reads the histories of a run's parts as one.

use super::{Entry, Footer, Header, VERSION};
use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

/// Why a history cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file cannot be read.
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    /// A line is not as docs/history.md says.
    #[error("{0}, line {1}: {2}")]
    Line(PathBuf, u64, String),
    /// The files do not belong together.
    #[error("{0}")]
    Mixed(String),
}

/// One part, as it was read.
#[derive(Debug)]
pub struct Part {
    /// Its file.
    pub path: PathBuf,
    /// Its first line.
    pub header: Header,
    /// Its last line; none if the run died, and then the last entry may be missing too.
    pub footer: Option<Footer>,
}

/// Reads one part, giving each entry with its line number to `take`. A last line that was cut off in the middle is
/// left out, as is all after it.
///
/// # Errors
/// The file cannot be read, or a line other than the last is garbled.
pub fn read(path: &Path, mut take: impl FnMut(u64, Entry)) -> Result<Part, HistoryError> {
    let file = |error| HistoryError::File(path.into(), error);
    let fault = |line, why: String| HistoryError::Line(path.into(), line, why);
    let (header, mut lines) = begin(path)?;
    let mut text = String::new();
    let mut footer = None;
    for line in 2.. {
        text.clear();
        if lines.read_line(&mut text).map_err(file)? == 0 {
            break;
        }
        if footer.is_some() {
            return Err(fault(line, "something follows the end".into()));
        }
        if text.starts_with('{') {
            footer = Some(serde_json::from_str(&text).map_err(|error| fault(line, error.to_string()))?);
            continue;
        }
        match serde_json::from_str(&text) {
            Ok(entry) => take(line, entry),
            // The run died while it wrote this.
            Err(_) if !text.ends_with('\n') => break,
            Err(error) => return Err(fault(line, error.to_string())),
        }
    }
    Ok(Part { path: path.into(), header, footer })
}

/// Reads a part's first line alone, for who must know all parts before he reads them.
///
/// # Errors
/// As [`read`].
pub fn header(path: &Path) -> Result<Header, HistoryError> {
    Ok(begin(path)?.0)
}

fn begin(path: &Path) -> Result<(Header, BufReader<File>), HistoryError> {
    let file = |error| HistoryError::File(path.into(), error);
    let fault = |why: String| HistoryError::Line(path.into(), 1, why);
    let mut lines = BufReader::with_capacity(1 << 20, File::open(path).map_err(file)?);
    let mut text = String::new();
    lines.read_line(&mut text).map_err(file)?;
    let header: Header = serde_json::from_str(&text).map_err(|error| fault(error.to_string()))?;
    if header.history != VERSION {
        return Err(fault(format!("format {}, this version reads {VERSION}", header.history)));
    }
    Ok((header, lines))
}

/// Whether these parts are all of one run, each once, with clocks that can be compared.
///
/// # Errors
/// They are not; in words.
pub fn belong_together(parts: &[Part]) -> Result<(), HistoryError> {
    let Some(first) = parts.first() else { return Ok(()) };
    let mixed = |part: &Part, why: &str| {
        Err(HistoryError::Mixed(format!("{} and {}: {why}", first.path.display(), part.path.display())))
    };
    for (i, part) in parts.iter().enumerate() {
        if part.header.run != first.header.run {
            return mixed(part, "different runs");
        }
        if part.header.machine != first.header.machine {
            return mixed(part, "different machines, whose clocks cannot be compared");
        }
        if parts[..i].iter().any(|other| other.header.part.0 == part.header.part.0) {
            return mixed(part, "the same part twice");
        }
    }
    Ok(())
}
