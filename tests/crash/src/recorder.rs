//! Makes durable what clients asked and what they were told, in a process that does not die.
//!
//! One line in, one empty line back once it is on disk; many that wait share one flush. Over a
//! Unix socket, so that several clients can write to one file.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use crate::history::{Entry, Told};

/// Lines that wait for the disk.
const QUEUE: usize = 4_096;

type Line = (String, oneshot::Sender<()>);

/// Takes lines at `socket` and writes them to `file`, until the process ends.
///
/// # Errors
/// When the socket or the file cannot be made, or the disk fails.
pub async fn serve(socket: &Path, file: &Path) -> Result<()> {
    let listener = UnixListener::bind(socket)
        .with_context(|| format!("cannot listen at {}", socket.display()))?;
    let file = File::create(file).with_context(|| format!("cannot write to {}", file.display()))?;
    let (lines, queue) = mpsc::channel(QUEUE);
    let mut writer = tokio::task::spawn_blocking(move || write(file, queue));
    loop {
        tokio::select! {
            ended = &mut writer => return Ok(ended??),
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                tokio::spawn(take(stream, lines.clone()));
            }
        }
    }
}

/// Writes what waits, flushes it, and tells everybody whose line it was.
fn write(mut file: File, mut queue: mpsc::Receiver<Line>) -> io::Result<()> {
    let mut waiting: Vec<Line> = Vec::new();
    while let Some(first) = queue.blocking_recv() {
        waiting.push(first);
        while let Ok(next) = queue.try_recv() {
            waiting.push(next);
        }
        let text: String = waiting.iter().map(|(line, _)| line.as_str()).collect();
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        for (_, written) in waiting.drain(..) {
            // A client that is gone needs no word.
            written.send(()).ok();
        }
    }
    Ok(())
}

async fn take(stream: UnixStream, lines: mpsc::Sender<Line>) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = String::new();
        if !matches!(reader.read_line(&mut line).await, Ok(read) if read > 0) {
            return;
        }
        let (written, is_written) = oneshot::channel();
        if lines.send((line, written)).await.is_err() || is_written.await.is_err() {
            return;
        }
        if writer.write_all(b"\n").await.is_err() {
            return;
        }
    }
}

/// A client of the recorder.
#[derive(Debug)]
pub struct Recorder {
    stream: BufReader<UnixStream>,
}

impl Recorder {
    /// Connects to the recorder at `socket`.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket)
            .await
            .with_context(|| format!("no recorder at {}", socket.display()))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Returns when the entry is on disk.
    ///
    /// # Errors
    /// When the recorder is gone.
    pub async fn note(&mut self, told: Told, id: &str) -> Result<()> {
        let line = format!("{}\n", Entry { told, id: id.to_owned() });
        self.stream.write_all(line.as_bytes()).await?;
        let mut answer = String::new();
        let read = self.stream.read_line(&mut answer).await?;
        anyhow::ensure!(read > 0, "the recorder is gone");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::History;

    #[tokio::test]
    async fn what_is_noted_is_in_the_file_when_it_is_confirmed() {
        let directory = tempfile::tempdir().unwrap();
        let (socket, file) = (directory.path().join("socket"), directory.path().join("history"));
        let (at, to) = (socket.clone(), file.clone());
        let serving = tokio::spawn(async move { serve(&at, &to).await });
        while !file.exists() {
            tokio::task::yield_now().await;
        }
        let mut clients = Vec::new();
        for number in 0..20 {
            let mut recorder = Recorder::connect(&socket).await.unwrap();
            clients.push(tokio::spawn(async move {
                let id = format!("call-{number}");
                recorder.note(Told::Nothing, &id).await.unwrap();
                recorder.note(Told::Ok, &id).await.unwrap();
            }));
        }
        for client in clients {
            client.await.unwrap();
        }
        let history = History::parse(&std::fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(history.count(Told::Ok), 20);
        serving.abort();
    }
}
