//! `waitroom load --merge` and `--html`: the report of a run from the histories of its parts.

use super::{Exit, ExitError, output};
use clap::Args;
use load::{
    LoadError, Report,
    history::HistoryError,
    summary::{self, Summary, Verdicts},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// What becomes of the histories.
#[derive(Debug, Clone, Args)]
pub struct ReportArgs {
    /// Make no run: sum up the histories of a run's parts.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub merge: Vec<PathBuf>,
    /// Write the report there as one HTML file with plots.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

impl ReportArgs {
    /// Whether what was asked for can be had; `history` is the file that a run would write.
    pub fn check(&self, history: Option<&Path>) -> Result<(), LoadError> {
        if self.html.is_some() && self.merge.is_empty() && history.is_none() {
            return Err(LoadError::Usage("--html needs a history: give --history or --merge".into()));
        }
        Ok(())
    }

    /// Sums up `--merge`'s histories, to stdout and to the files that were asked for.
    pub fn merge(&self, json: Option<&Path>) -> anyhow::Result<Exit> {
        let summary = summarise(&self.merge)?;
        match json {
            Some(path) if path.as_os_str() == "-" => output::print(&serde_json::to_string_pretty(&summary)?)?,
            Some(path) => {
                output::print(summary.to_string().trim_end())?;
                write(path, &serde_json::to_vec_pretty(&summary)?)?;
            }
            None => output::print(summary.to_string().trim_end())?,
        }
        self.write_html(&summary)?;
        Ok(Exit::Done)
    }

    /// After a run: the page of the history that it wrote, with what the run was held to.
    pub fn after_run(&self, history: Option<&Path>, report: &Report) -> anyhow::Result<()> {
        let Some(history) = history.filter(|_| self.html.is_some()) else { return Ok(()) };
        let mut summary = summarise(&[history.to_owned()])?;
        summary.verdicts = Some(Verdicts::from(report));
        self.write_html(&summary)
    }

    fn write_html(&self, summary: &Summary) -> anyhow::Result<()> {
        self.html.as_ref().map_or(Ok(()), |path| write(path, summary::html(summary).as_bytes()))
    }
}

fn summarise(paths: &[PathBuf]) -> Result<Summary, ExitError> {
    summary::summarise(paths).map_err(|error| match error {
        HistoryError::Mixed(why) => ExitError::new(Exit::Usage, why),
        file => ExitError::new(Exit::File, file.to_string()),
    })
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let file = |error| ExitError::new(Exit::File, format!("{}: {error}", path.display()));
    Ok(fs::write(path, bytes).map_err(file)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(merge: &[&Path], html: Option<PathBuf>) -> ReportArgs {
        ReportArgs { merge: merge.iter().map(|path| path.to_path_buf()).collect(), html }
    }

    #[test]
    fn a_page_needs_a_history() {
        let page = || Some("page.html".into());
        assert!(args(&[], page()).check(None).is_err());
        assert!(args(&[], page()).check(Some(Path::new("run.jsonl"))).is_ok());
        assert!(args(&[Path::new("run.jsonl")], page()).check(None).is_ok());
        assert!(args(&[], None).check(None).is_ok());
    }

    #[test]
    fn a_history_becomes_a_page_and_json_and_faults_have_their_status() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let header = r#"{"history":1,"run":"r","part":[1,1],"scenario":"steady","sale":"demo","seats":1,"visitors":1,
            "started_at":"2026-11-22T10:00:00Z","started_us":0,"machine":"m","ranks_of_every":1,"settings":null}"#;
        let text = format!("{}\n[5,0,0,{{\"arrive\":{{\"intended\":4}}}}]\n", header.replace('\n', ""));
        fs::write(path("run"), text).unwrap();
        let run = args(&[&path("run")], Some(path("page")));
        assert_eq!(run.merge(Some(&path("json"))).unwrap(), Exit::Done);
        assert!(fs::read_to_string(path("page")).unwrap().starts_with("<!DOCTYPE html>"));
        let json: serde_json::Value = serde_json::from_slice(&fs::read(path("json")).unwrap()).unwrap();
        assert_eq!(json["arrived"], 1);

        let status = |args: ReportArgs| args.merge(None).unwrap_err().downcast::<ExitError>().unwrap().exit;
        assert_eq!(status(args(&[&path("missing")], None)), Exit::File);
        assert_eq!(status(args(&[&path("run"), &path("run")], None)), Exit::Usage);
        assert_eq!(status(args(&[&path("run")], Some(path("no/such/folder")))), Exit::File);
        fs::write(path("garbled"), "hello\n").unwrap();
        assert_eq!(status(args(&[&path("garbled")], None)), Exit::File);
    }
}
