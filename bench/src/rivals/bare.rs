//! The bare work: the same bytes written into a file of zeros and synced.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bench_core::{BoxFuture, Client, Event, Guard, Rival, ready};

/// The size of the file. After its end the writes start again at the beginning.
const FILE_BYTES: u64 = 64 << 20;
/// The size of a frame and of each of its events in the log: see `docs/format.md`.
const FRAME_BYTES: usize = 64;
const EVENT_BYTES: usize = 340;

pub struct Bare(Arc<Mutex<Writer>>);

struct Writer {
    file: File,
    at: u64,
    piece: Vec<u8>,
}

impl Bare {
    pub fn open(folder: &Path) -> Self {
        let path = folder.join("bare");
        let file = OpenOptions::new().create_new(true).write(true).open(path).expect("a file");
        let zeros = vec![0; 1 << 20];
        for at in (0..FILE_BYTES).step_by(zeros.len()) {
            file.write_all_at(&zeros, at).expect("zeros");
        }
        file.sync_all().expect("a sync");
        Self(Arc::new(Mutex::new(Writer { file, at: 0, piece: Vec::new() })))
    }
}

impl Rival for Bare {
    fn takes(&self, _guard: Guard) -> bool {
        true
    }

    fn client(&self, _number: u64) -> Box<dyn Client> {
        Box::new(BareClient(Arc::clone(&self.0)))
    }
}

struct BareClient(Arc<Mutex<Writer>>);

impl Client for BareClient {
    fn append<'a>(&'a mut self, events: &'a [Event], _guard: Guard) -> BoxFuture<'a, ()> {
        self.0.lock().expect("no panic").append(events.len());
        ready(())
    }

    fn read_all(&mut self) -> BoxFuture<'_, u64> {
        unreachable!("the bare work has no reads: figures measure them themselves")
    }

    fn read_stream(&mut self, _stream: u64) -> BoxFuture<'_, u64> {
        self.read_all()
    }
}

impl Writer {
    fn append(&mut self, events: usize) {
        self.piece.resize(FRAME_BYTES + events * EVENT_BYTES, 7);
        let length = self.piece.len() as u64;
        if self.at + length > FILE_BYTES {
            self.at = 0;
        }
        self.file.write_all_at(&self.piece, self.at).expect("a write");
        self.file.sync_data().expect("a sync");
        self.at += length;
    }
}
