//! A copy of the audit trail in a file of this node: one line for each entry. After a restart the
//! file goes on with the entry after its last one.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use conclave_store::state::State;

use super::{Copied, Had, LINE_BEGIN, Lacking, batch, lacking};
use crate::life::limits::{AUDIT_FILES_KEPT, AUDIT_LINE_BYTES_MAX};

/// The file, and the size at which it is put aside.
#[derive(Clone)]
pub(super) struct FileCopy {
    pub(super) path: PathBuf,
    pub(super) bytes_max: u64,
}

impl FileCopy {
    /// Writes the entries that the file does not have yet, up to a bound.
    pub(super) fn copy(&self, state: &State) -> io::Result<Copied> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        let mut file = options.open(&self.path)?;
        let own = last_entries(&mut file)?;
        let had = match own.is_empty() {
            false => own.clone(),
            // A file that was just put aside: the next entry follows the last one there.
            true => match File::open(aside(&self.path, 1)) {
                Ok(mut earlier) => last_entries(&mut earlier)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
                Err(error) => return Err(error),
            },
        };
        let (number, left_out) = match lacking(state, &had) {
            Lacking::Nothing => return Ok(Copied { is_all: true, left_out: 0 }),
            Lacking::From { number, gone } => (number, gone),
            Lacking::All if !own.is_empty() => {
                // Each file is about one trail, so that it can be verified.
                put_aside(&self.path)?;
                tracing::warn!(event = "audit.copy_other_trail", to = %self.path.display());
                return Ok(Copied::default());
            }
            Lacking::All => (state.audit_cut().first, 0),
        };
        let entries = batch(state, number);
        let lines = entries.iter().map(|(_, _, line)| format!("{line}\n"));
        file.write_all(lines.collect::<String>().as_bytes())?;
        file.sync_data()?;
        if file.metadata()?.len() >= self.bytes_max {
            put_aside(&self.path)?;
        }
        let end = state.audit_last().map(|(end, _)| end);
        Ok(Copied { is_all: entries.last().map(|(number, ..)| *number) == end, left_out })
    }
}

/// Reads the last whole lines. Cuts off the beginning of an entry that a crash left unfinished.
/// Fails if the file is none of a trail, and leaves it as it is.
fn last_entries(file: &mut File) -> io::Result<Vec<Had>> {
    let length = file.metadata()?.len();
    let start = length.saturating_sub(AUDIT_LINE_BYTES_MAX * 2);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.take(AUDIT_LINE_BYTES_MAX * 2).read_to_end(&mut tail)?;
    let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let (lines, rest) = tail.split_at(whole);
    let text = String::from_utf8_lossy(lines);
    let entries: Vec<Had> = text.lines().filter_map(Had::parse).collect();
    let begin = LINE_BEGIN.as_bytes();
    // A power failure may leave zeros where something was to be written.
    let zeros = rest.iter().rev().take_while(|byte| **byte == 0).count();
    let (written, zeros) = rest.split_at(rest.len() - zeros);
    let is_begun = written.starts_with(begin) || begin.starts_with(written);
    let is_begun = is_begun && (zeros.is_empty() || whole > 0);
    if !is_begun || text.lines().last().is_some_and(|last| Had::parse(last).is_none()) {
        return Err(io::Error::other("its last line is no entry of an audit trail"));
    }
    if !rest.is_empty() {
        file.set_len(start + u64::try_from(whole).unwrap_or_default())?;
    }
    Ok(entries)
}

fn aside(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// Puts the file aside as the youngest of those that are kept.
fn put_aside(path: &Path) -> io::Result<()> {
    for number in (1..AUDIT_FILES_KEPT).rev() {
        match std::fs::rename(aside(path, number), aside(path, number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    std::fs::rename(path, aside(path, 1))
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{changed, trail},
        *,
    };

    fn copy(path: &Path, bytes_max: u64, state: &State) -> io::Result<bool> {
        let file = FileCopy { path: path.to_owned(), bytes_max };
        file.copy(state).map(|copied| !copied.is_all)
    }

    fn numbers(path: &Path) -> Vec<u64> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let number = |line: &str| line[12..].split(',').next().unwrap().parse().unwrap();
        text.lines().map(number).collect()
    }

    #[test]
    fn a_file_has_each_entry_once_whatever_interrupts_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        assert!(!copy(&path, u64::MAX, &State::default()).unwrap(), "no trail yet");
        let mut state = trail(2, 60);
        for number in 4..10 {
            state = changed(&state, number);
            copy(&path, u64::MAX, &state).unwrap();
            copy(&path, u64::MAX, &state).unwrap();
        }
        assert_eq!(numbers(&path), (1..=8).collect::<Vec<_>>());
        // A crash in the middle of a line.
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 20]).unwrap();
        copy(&path, u64::MAX, &state).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        // Small files: each entry is in one of them.
        for number in 10..40 {
            state = changed(&state, number);
            copy(&path, 1_000, &state).unwrap();
        }
        let mut all: Vec<u64> =
            (1..=AUDIT_FILES_KEPT).rev().flat_map(|one| numbers(&aside(&path, one))).collect();
        all.extend(numbers(&path));
        let first = all[0];
        assert_eq!(all, (first..=38).collect::<Vec<_>>());
        assert!(!aside(&path, AUDIT_FILES_KEPT + 1).exists());
        // A crash at the beginning of a line, also of the first one.
        for begun in ["{", "{\"sequence\":9"] {
            std::fs::write(&path, begun).unwrap();
            copy(&path, u64::MAX, &state).unwrap();
            assert_eq!(numbers(&path).last(), Some(&38));
        }
        let (line, long) = (text.lines().next().unwrap(), "x".repeat(300_000));
        std::fs::write(&path, format!("{line}\n{{\"seq\0\0\0")).unwrap();
        copy(&path, u64::MAX, &state).unwrap();
        assert_eq!(numbers(&path).last(), Some(&38));
        for other in
            ["\0\0\0", "something else\n", "something else", "{\"a\":1}\n{\"sequence\"", &long]
        {
            std::fs::write(&path, other).unwrap();
            assert!(copy(&path, 1_000, &state).is_err(), "not its file");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), other);
        }
    }

    /// As after a restore: none of its entries may be taken for one that is known.
    #[test]
    fn another_trail_has_another_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        copy(&path, u64::MAX, &trail(20, 60)).unwrap();
        let other = trail(5, 61);
        while copy(&path, u64::MAX, &other).unwrap() {}
        assert_eq!(numbers(&path), (1..=5).collect::<Vec<_>>());
        assert_eq!(numbers(&aside(&path, 1)), (1..=20).collect::<Vec<_>>());
        copy(&path, u64::MAX, &trail(6, 61)).unwrap();
        assert_eq!(numbers(&path), (1..=6).collect::<Vec<_>>());
    }
}
