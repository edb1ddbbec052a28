//! Puts per second with 1, 16 and 64 writers. Run it with the folder to write to:
//! `cargo run --release -p gesta-state --example puts -- FOLDER`

#![expect(clippy::print_stdout, reason = "an example prints its figures")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gesta_core::{KeyName, KeyValueStore};
use gesta_state::{FILE_NAME, StateStore};
use pollster::block_on;

const TIME: Duration = Duration::from_secs(3);
const VALUE_BYTES: usize = 2_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("give a folder")?;
    std::fs::create_dir_all(&folder)?;
    for writers in [1, 16, 64] {
        let store = StateStore::open(&std::path::Path::new(&folder).join(FILE_NAME))?;
        let puts = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for writer in 0..writers {
                let (store, puts) = (&store, &puts);
                scope.spawn(move || put(store, &format!("groups/g{writer}"), puts));
            }
        });
        let rate = puts.into_inner() as f64 / TIME.as_secs_f64();
        println!("{writers:2} writers: {rate:.0} puts/s of {VALUE_BYTES} bytes, each synced");
    }
    Ok(())
}

fn put(store: &StateStore, name: &str, puts: &AtomicU64) {
    let key = KeyName::new(name).expect("a key");
    let value = vec![b'x'; VALUE_BYTES];
    let mut expect = block_on(store.get(key.clone())).expect("an answer").map(|entry| entry.revision);
    let begin = Instant::now();
    while begin.elapsed() < TIME {
        let put = block_on(store.put(key.clone(), value.clone().into(), expect));
        expect = Some(put.expect("a revision"));
        puts.fetch_add(1, Ordering::Relaxed);
    }
}
