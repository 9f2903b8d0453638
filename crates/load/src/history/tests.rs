use super::*;
use std::{fs, path::PathBuf};
use tokio::time::Instant;

fn header(run: &str, part: u32) -> Header {
    Header {
        history: VERSION,
        run: run.into(),
        part: (part, 2),
        scenario: "steady".into(),
        sale: "demo".into(),
        seats: 10,
        visitors: 3,
        started_at: "2026-11-22T10:00:00Z".parse().unwrap(),
        started_us: 5,
        machine: "m".into(),
        ranks_of_every: 2,
        settings: None,
    }
}

fn write(path: &std::path::Path, header: &Header) {
    let recorder = Recorder::start(fs::File::create(path).unwrap(), Clock::new(), header).unwrap();
    let now = Instant::now();
    recorder.record(now, 0, 0, Event::Arrive { intended: 7 });
    recorder.record(now, 0, 1, Event::Join { again: false });
    recorder.record(now, 0, 1, Event::Rank(4));
    recorder.record(now, 1, 1, Event::Rank(5));
    recorder.record(now, 0, 1, Event::Cut(Some(4410)));
    recorder.finish(now, 9).unwrap();
}

fn entries(path: &std::path::Path) -> Result<(Part, Vec<(u64, Event)>), HistoryError> {
    let mut entries = Vec::new();
    let part = read(path, |line, entry| entries.push((line, entry.3)))?;
    Ok((part, entries))
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.jsonl");
    (folder, path)
}

#[test]
fn what_is_written_is_read_and_ranks_are_a_sample() {
    let (_folder, path) = folder();
    write(&path, &header("r", 1));
    let (part, entries) = entries(&path).unwrap();
    assert_eq!(part.header, header("r", 1));
    assert_eq!((part.footer.as_ref().unwrap().entries, part.footer.unwrap().lag_us), (4, 9));
    let lines: Vec<_> = entries.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [2, 3, 4, 5]);
    assert_eq!(entries[2].1, Event::Rank(4));
}

#[test]
fn a_run_that_died_can_be_read_up_to_there_and_garbage_cannot() {
    let (_folder, path) = folder();
    write(&path, &header("r", 1));
    let whole = fs::read_to_string(&path).unwrap();
    let cut = whole.find("\"cut\"").unwrap();
    fs::write(&path, &whole[..cut]).unwrap();
    let (part, read) = entries(&path).unwrap();
    assert_eq!((part.footer, read.len()), (None, 3));
    fs::write(&path, whole.replacen("\"rank\"", "\"rnak\"", 1)).unwrap();
    assert!(matches!(entries(&path), Err(HistoryError::Line(_, 4, _))));
    fs::write(&path, whole.replacen("\"history\":1", "\"history\":2", 1)).unwrap();
    assert!(matches!(entries(&path), Err(HistoryError::Line(_, 1, _))));
    fs::write(&path, "").unwrap();
    assert!(matches!(entries(&path), Err(HistoryError::Line(_, 1, _))));
}

#[test]
fn parts_of_other_runs_and_the_same_part_twice_are_refused() {
    let (folder, path) = folder();
    write(&path, &header("r", 1));
    let part = |name: &str, header: &Header| {
        let path = folder.path().join(name);
        write(&path, header);
        entries(&path).unwrap().0
    };
    let first = || entries(&path).unwrap().0;
    assert!(belong_together(&[first(), part("2", &header("r", 2))]).is_ok());
    assert!(belong_together(&[first(), part("other", &header("s", 2))]).is_err());
    assert!(belong_together(&[first(), part("twice", &header("r", 1))]).is_err());
    let elsewhere = Header { machine: "n".into(), ..header("r", 2) };
    assert!(belong_together(&[first(), part("elsewhere", &elsewhere)]).is_err());
}

/// A disk with room for so many bytes.
pub struct Disk {
    pub file: fs::File,
    pub room: usize,
}

impl std::io::Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let fits = bytes.len().min(self.room);
        if fits == 0 {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        self.room -= fits;
        self.file.write(&bytes[..fits])
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_told_and_what_was_written_can_be_read() {
    let (_folder, path) = folder();
    let disk = Disk { file: fs::File::create(&path).unwrap(), room: 300_000 };
    let recorder = Recorder::start(disk, Clock::new(), &header("r", 1)).unwrap();
    let now = Instant::now();
    (0..50_000).for_each(|n| recorder.record(now, n, 1, Event::Leave));
    assert_eq!(recorder.finish(now, 0).unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    let (part, entries) = entries(&path).unwrap();
    assert!(part.footer.is_none() && entries.len() > 5_000, "{}", entries.len());
}

#[test]
fn a_history_ends_once_and_takes_nothing_after() {
    let (_folder, path) = folder();
    let recorder = Recorder::start(fs::File::create(&path).unwrap(), Clock::new(), &header("r", 1)).unwrap();
    let now = Instant::now();
    recorder.record(now, 0, 1, Event::Leave);
    recorder.finish(now, 0).unwrap();
    recorder.record(now, 0, 1, Event::Leave);
    assert!(recorder.finish(now, 0).is_err());
    let (part, entries) = entries(&path).unwrap();
    assert_eq!((part.footer.unwrap().entries, entries.len()), (1, 1));
}
