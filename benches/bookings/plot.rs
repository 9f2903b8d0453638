//! stub
use crate::report::Line;
use std::path::Path;
pub fn write(_folder: &Path, _lines: &[Line]) {}
