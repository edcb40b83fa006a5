//! A client on a real terminal: a pty made here, with a program on it, a script of what is typed and what must appear.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pty_process::Size;
use pty_process::blocking::Pty;

use crate::harness::{PATIENCE, wait};

/// A program on a terminal.
pub struct Terminal {
    pty: Arc<Pty>,
    child: Child,
    seen: Arc<Mutex<Vec<u8>>>,
    reader: Option<std::thread::JoinHandle<()>>,
    /// Up to where `expect` has looked.
    read: usize,
}

impl Terminal {
    /// Starts a program on a terminal of this size.
    pub fn start(command: &Command, cols: u16, rows: u16) -> Self {
        let (pty, pts) = pty_process::blocking::open().unwrap();
        pty.resize(Size::new(rows, cols)).unwrap();
        let mut on_pty = pty_process::blocking::Command::new(command.get_program());
        on_pty = on_pty.args(command.get_args()).env("TERM", "xterm-256color");
        let child = on_pty.spawn(pts).unwrap();
        let pty = Arc::new(pty);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (from, into) = (Arc::clone(&pty), Arc::clone(&seen));
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 1 << 14];
            // the kernel reports the terminal's end as EIO
            while let Ok(count @ 1..) = (&*from).read(&mut buffer) {
                into.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Self { pty, child, seen, reader: Some(reader), read: 0 }
    }

    /// Types.
    pub fn send(&mut self, text: impl AsRef<[u8]>) {
        (&*self.pty).write_all(text.as_ref()).unwrap();
    }

    /// Changes the size, as a dragged window does.
    pub fn resize(&mut self, cols: u16, rows: u16) {
        self.pty.resize(Size::new(rows, cols)).unwrap();
    }

    /// Waits until this appears after what was found before; gives what came up to its end.
    #[track_caller]
    pub fn expect(&mut self, needle: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let seen = self.seen.lock().unwrap().clone();
            let fresh = &seen[self.read..];
            if let Some(at) = fresh.windows(needle.len()).position(|window| window == needle.as_bytes()) {
                let upto = at + needle.len();
                self.read += upto;
                return String::from_utf8_lossy(&fresh[..upto]).into_owned();
            }
            assert!(Instant::now() < end, "never saw {needle:?}, but {:?}", String::from_utf8_lossy(fresh));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Everything seen so far.
    pub fn all(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    /// Waits for the program's end.
    #[track_caller]
    pub fn end(&mut self) -> ExitStatus {
        let status =
            wait(&mut self.child, PATIENCE).unwrap_or_else(|| panic!("it does not end; seen: {:?}", self.all()));
        // the terminal's own queue outlives the program
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        status
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
