//! What a child writes to stderr: always read, so that it never blocks; the last lines are kept,
//! masked; a flood is noticed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::flood::Flood;
use crate::mask::Masker;

/// The longest line that is kept, in bytes; the rest of it is dropped.
const MAX_LINE_BYTES: usize = 4 * 1024;
/// The most lines that are kept.
const MAX_LINES: usize = 200;
/// The most bytes that are kept.
const MAX_BYTES: usize = 256 * 1024;

/// The last lines of a server's stderr, over all its processes.
#[derive(Debug, Default)]
pub(crate) struct StderrRing {
    kept: Mutex<Kept>,
    flood: Mutex<Flood>,
    flooded: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<String>,
    bytes: usize,
}

impl StderrRing {
    /// Keeps a line that is masked already, and drops the oldest beyond the limits.
    pub(crate) fn push(&self, line: String) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += line.len();
        kept.lines.push_back(line);
        while kept.lines.len() > MAX_LINES || kept.bytes > MAX_BYTES {
            let Some(oldest) = kept.lines.pop_front() else {
                break;
            };
            kept.bytes -= oldest.len();
        }
    }

    /// The last lines, at most `max_lines` of them, the oldest first.
    pub(crate) fn last(&self, max_lines: usize) -> Vec<String> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let skipped = kept.lines.len().saturating_sub(max_lines);
        kept.lines.iter().skip(skipped).cloned().collect()
    }

    /// Waits until a flood begins; at once when one did since this was last asked.
    pub(crate) async fn flooded(&self) {
        self.flooded.notified().await;
    }

    /// Whether there was a flood less than `quiet` ago.
    pub(crate) fn is_flooded(&self, now: Instant, quiet: Duration) -> bool {
        self.flood.lock().unwrap_or_else(PoisonError::into_inner).is_on(now, quiet)
    }

    fn count(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let mut flood = self.flood.lock().unwrap_or_else(PoisonError::into_inner);
        if flood.add(bytes, Instant::now()) {
            self.flooded.notify_one();
        }
    }
}

/// Reads a child's stderr to its end.
pub(crate) async fn drain(
    stderr: impl AsyncRead + Unpin,
    masker: Arc<Masker>,
    ring: Arc<StderrRing>,
) {
    // As much more of a line is looked at as a secret that begins within it may be long.
    let limit = MAX_LINE_BYTES + masker.longest();
    let mut stderr = BufReader::with_capacity(8 * 1024, stderr);
    let mut line = Vec::new();
    while let Ok(true) = read_line(&mut stderr, &mut line, limit, |read| ring.count(read)).await {
        let text = String::from_utf8_lossy(&line);
        let mut masked = masker.mask_text(text.trim_end_matches(['\n', '\r'])).into_owned();
        masked.truncate(masked.floor_char_boundary(MAX_LINE_BYTES));
        ring.push(masked);
        line.clear();
    }
}

/// Reads one line, of which at most `limit` bytes are kept; whether there was one. How much was
/// read is told bit by bit, for a line may have no end.
async fn read_line(
    from: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
    limit: usize,
    told: impl Fn(usize),
) -> std::io::Result<bool> {
    let mut any = false;
    loop {
        let chunk = from.fill_buf().await?;
        if chunk.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(chunk.len(), |end| end + 1);
        let room = limit.saturating_sub(line.len());
        line.extend_from_slice(&chunk[..used.min(room)]);
        from.consume(used);
        told(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn drained(text: &[u8], secrets: &[&str]) -> Vec<String> {
        let ring = Arc::new(StderrRing::default());
        let masker = Arc::new(Masker::new(secrets.iter().copied()).unwrap());
        drain(text, masker, Arc::clone(&ring)).await;
        ring.last(usize::MAX)
    }

    #[tokio::test]
    async fn lines_are_kept_without_their_ends_and_secrets() {
        let lines = drained(b"one\r\ntoken=canary-value\n\nlast", &["canary-value"]).await;
        assert_eq!(lines, ["one", "token=***", "", "last"]);
    }

    #[tokio::test]
    async fn a_secret_across_the_cut_of_a_long_line_is_masked() {
        let text = format!("{}canary-value and more\nnext\n", "x".repeat(MAX_LINE_BYTES - 5));
        let lines = drained(text.as_bytes(), &["canary-value"]).await;
        assert_eq!(lines.len(), 2);
        assert!(lines[0].len() <= MAX_LINE_BYTES && !lines[0].contains("cana"), "{}", lines[0]);
        assert_eq!(lines[1], "next");
    }

    #[tokio::test]
    async fn only_the_last_lines_are_kept() {
        let text: String = (0..MAX_LINES + 50).map(|line| format!("line {line}\n")).collect();
        let lines = drained(text.as_bytes(), &[]).await;
        assert_eq!(lines.len(), MAX_LINES);
        assert_eq!(lines.last().unwrap(), &format!("line {}", MAX_LINES + 49));

        let flood = vec![b'x'; 3 * MAX_BYTES];
        assert_eq!(drained(&flood, &[]).await, ["x".repeat(MAX_LINE_BYTES)]);
    }

    #[tokio::test]
    async fn a_flood_is_noticed_even_in_a_line_without_an_end() {
        let limit = usize::try_from(super::super::FLOOD_BYTES).unwrap();
        let quiet = Duration::from_secs(60);
        for (bytes, is_flood) in [(limit, false), (limit + 1, true)] {
            let ring = Arc::new(StderrRing::default());
            drain(&*vec![b'x'; bytes], Arc::default(), Arc::clone(&ring)).await;
            assert_eq!(ring.is_flooded(Instant::now(), quiet), is_flood, "{bytes}");
            if is_flood {
                ring.flooded().await;
            }
        }
    }
}
