//! Fuzzing of run files: whole files, single blocks, and files with changed bytes and corrected checksums.

use std::sync::{Arc, OnceLock};

use gesta_core::{EventId, Item, Query};

use super::blocks::{BlockCache, Pointer, checksum};
use super::build::{Builder, Covered};
use super::codec::{CHUNK, Chunk, Reader};
use super::footer::{Extent, MAGIC, RunFooter, TRAILER_BYTES};
use super::keys::Keys;
use super::list::{DIRECTORY_ENTRIES, Positions, RunList};
use super::merge::{Entries, Merge, MergeError, all_leaves};
use super::{FIRST_OF_FRAME, OFFSETS_PER_BLOCK, Run, filter, find_leaf, find_list, read_fence_entry};
use crate::format::{FrameName, crc32c, put};
use crate::fuzzing::{MemoryFile, SALT, patch};
use crate::index::key::{KEY_BYTES_MAX, Key, Kind, hash_of};
use crate::index::lookup_error::{LookupError, ReadMode};
use crate::index::part::PartRef;
use crate::segment::{LogPoint, SegmentFile};

/// The number of the run, its store's secret, and the cache of all look-ups.
const RUN: u64 = 7;
const SECRET: u64 = 11;
const CACHE_BYTES: u64 = 64 << 10;
/// Keys of a run that are looked up.
const KEYS_MAX: usize = 40;

/// Opens bytes as a run file, and looks up everything that it claims to hold.
pub fn file(bytes: &[u8]) {
    if let Ok(Some(run)) = open(bytes.to_vec()) {
        // An error is a valid answer; a panic is not.
        let _ = look_at(&Arc::new(run));
    }
}

fn open(bytes: Vec<u8>) -> Result<Option<Run>, LookupError> {
    let cache = Arc::new(BlockCache::new(CACHE_BYTES));
    Run::open(Arc::new(MemoryFile::new(bytes)), RUN, SECRET, cache, |id| Some(segment(id)))
}

fn segment(id: u64) -> Arc<SegmentFile> {
    Arc::new(SegmentFile { id, salt: SALT, file: Arc::new(MemoryFile::default()) })
}

/// Reads the bytes of a block as each kind of block. The first byte chooses the kind.
pub fn blocks(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 6 {
        0 => footer(bytes),
        1 => fence(bytes),
        2 => branch(bytes),
        3 => leaf(bytes),
        4 => chunk(bytes),
        _ => {
            filter::may_hold(bytes, hash_of(SECRET, bytes));
        }
    }
}

fn footer(bytes: &[u8]) {
    let mut trailer = [0; TRAILER_BYTES];
    put(&mut trailer, 4, crc32c(bytes).to_le_bytes());
    let Some(footer) = RunFooter::decode(bytes, &trailer) else { return };
    let again = footer.encode();
    let (again, trailer) = again.split_last_chunk().expect("facts end with a trailer");
    assert_eq!(RunFooter::len_of(trailer), Some(again.len()), "the trailer says how long the facts are");
    assert_eq!(RunFooter::decode(again, trailer).as_ref(), Some(&footer), "facts come back");
}

fn fence(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        let Some(entry) = read_fence_entry(&mut reader) else { return };
        assert!(entry.key.len() <= bytes.len());
    }
}

fn branch(bytes: &[u8]) {
    let key = &bytes[..bytes.len().min(20)];
    // The offsets of whole keys may be forged, so a search may find a block that is not a leaf. Its checksum shows
    // that.
    let _ = (find_leaf(bytes, key), all_leaves(bytes));
}

fn leaf(bytes: &[u8]) {
    let Some(all) = all_lists(bytes) else { return };
    for (key, list) in &all {
        let mut again = Vec::new();
        list.put(&mut again);
        let mut reader = Reader::new(&again);
        assert_eq!(RunList::read(&mut reader).as_ref(), Some(list), "a list comes back");
        let _ = find_list(bytes, key);
    }
}

fn chunk(bytes: &[u8]) {
    let Some(mut chunk) = Chunk::new(bytes.to_vec().into()) else { return };
    let mut all = Vec::new();
    if chunk.unpack_all(&mut all).is_none() {
        return;
    }
    assert_eq!(all.len(), chunk.len(), "a chunk has as many positions as it says");
    let grows = all.is_sorted_by(|before, after| before < after);
    for (index, position) in all.iter().enumerate().step_by(37) {
        assert_eq!(chunk.at(index), Some(*position));
        let found = chunk.lower_bound(*position);
        assert!(!grows || found == Some(index), "a position that is there is found");
    }
}

/// Changes some bytes of a valid run and corrects its checksums. The first byte chooses the run, and whether it is
/// merged.
pub fn patched(bytes: &[u8]) {
    let Some((manner, patches)) = bytes.split_first() else { return };
    let sample = &samples()[usize::from(*manner & 1)];
    let mut bytes = sample.bytes.clone();
    patch(&mut bytes, patches);
    for at in &sample.blocks {
        let from = usize::try_from(at.offset).expect("a sample is small");
        let sum = checksum(&SALT, at.offset, &bytes[from..from + at.len]);
        put(&mut bytes, from + at.len, sum.to_le_bytes());
    }
    let trailer_at = bytes.len() - TRAILER_BYTES;
    let sum = crc32c(&bytes[sample.facts_at..trailer_at]);
    put(&mut bytes, trailer_at + 4, sum.to_le_bytes());
    let Ok(Some(run)) = open(bytes) else { return };
    let run = Arc::new(run);
    let _ = if manner & 2 == 0 { look_at(&run) } else { merge(&run).or(Ok(())) };
}

/// A run file, and where its blocks lie.
struct Sample {
    bytes: Vec<u8>,
    blocks: Vec<Pointer>,
    facts_at: usize,
}

/// One run with every kind of list that fits a few kilobytes, and one with a list so long that its directory needs a
/// directory.
fn samples() -> &'static [Sample] {
    static SAMPLES: OnceLock<[Sample; 2]> = OnceLock::new();
    SAMPLES.get_or_init(|| [sample(1, SPREAD, 12), sample(1, DENSE, 1)])
}

/// Positions of the run with every other kind of list.
const SPREAD: u32 = 1_500;
/// Positions of a list with more chunks than one block of a directory holds.
const DENSE: u32 = 257 * 1_024;
const _: () = assert!(DENSE as usize > DIRECTORY_ENTRIES * CHUNK, "its directory has a directory");

/// The file of a run, as a seed for a corpus.
pub(crate) fn sample_file() -> Vec<u8> {
    samples()[0].bytes.clone()
}

fn sample(first: u32, positions: u32, streams: u32) -> Sample {
    let file = Arc::new(MemoryFile::default());
    let cache = Arc::new(BlockCache::new(CACHE_BYTES));
    let run =
        write(Arc::clone(&file), first, positions, streams, cache).expect("memory takes what is written");
    let blocks = blocks_of(&run).expect("a run that was just written is sound");
    let bytes = file.content();
    let facts_at = usize::try_from(run.footer.fence.end()).expect("a sample is small");
    Sample { bytes, blocks, facts_at }
}

fn write(
    file: Arc<MemoryFile>,
    first: u32,
    positions: u32,
    streams: u32,
    cache: Arc<BlockCache>,
) -> std::io::Result<Run> {
    let mut builder = Builder::new(file, SALT, SECRET, cache);
    // Offsets take four bytes a position, so the long run keeps to one block of them.
    for position in 0..positions.min(SPREAD) {
        let first = if position % 3 == 0 { FIRST_OF_FRAME } else { 0 };
        builder.offset((4_096 + 100 * position) | first)?;
    }
    let mut key = |kind: Kind, name: &[u8], of: &mut dyn Iterator<Item = u32>| {
        builder.begin_key(&[&[kind as u8], name].concat(), 0)?;
        builder.positions(of)?;
        builder.end_key()
    };
    key(Kind::Stream, b"a", &mut (0..positions))?;
    for stream in 1..streams {
        // From a handful to more than one chunk.
        let step = usize::try_from(stream).expect("small");
        key(Kind::Stream, format!("account-{stream:03}").as_bytes(), &mut (0..positions).step_by(step))?;
    }
    key(Kind::Type, b"opened", &mut (0..positions).step_by(7))?;
    key(Kind::Tag, b"a:1", &mut (0..positions).step_by(500))?;
    for id in 0..20_u32 {
        key(Kind::Id, EventId::from_u128(id.into()).as_bytes(), &mut std::iter::once(id))?;
    }
    key(Kind::Command, b"key", &mut std::iter::once(0))?;
    let extents = vec![Extent { first: first.into(), segment: 1, end: 1 << 20 }];
    builder.finish(Covered {
        id: RUN,
        tier: 0,
        store: [1; 16],
        first: first.into(),
        last: u64::from(first) + u64::from(positions) - 1,
        first_frame: FrameName { number: 1, checksum: 1 },
        end: LogPoint { segment: 1, offset: 1 << 20, ..LogPoint::START },
        extents,
        segments: vec![segment(1)],
    })
}

/// Every block of a run.
fn blocks_of(run: &Run) -> Result<Vec<Pointer>, LookupError> {
    let written = run.len().min(SPREAD as usize);
    let mut blocks: Vec<_> =
        (0..written.div_ceil(OFFSETS_PER_BLOCK)).map(|number| run.offsets_pointer(number)).collect();
    for block in &mut blocks {
        let end = MAGIC.len() + 4 * written + 4 * written.div_ceil(OFFSETS_PER_BLOCK);
        block.len = block.len.min(end - usize::try_from(block.offset).expect("small") - 4);
    }
    for fence in &run.fence {
        blocks.extend([fence.branch, fence.filter]);
        let branch = run.blocks.read(fence.branch)?;
        for leaf in all_leaves(&branch).expect("the branch was just written") {
            blocks.push(leaf);
            for (_, list) in all_lists(&run.blocks.read(leaf)?).expect("the leaf was just written") {
                blocks.extend(run.cursor(list, ReadMode::Disk).pointers()?);
            }
        }
    }
    blocks.push(run.footer.fence);
    Ok(blocks)
}

fn all_lists(leaf: &[u8]) -> Option<Vec<(Vec<u8>, RunList)>> {
    let mut keys = Keys::new(leaf)?;
    let mut lists = Vec::new();
    while !keys.is_done() {
        keys.next()?;
        lists.push((keys.key.clone(), RunList::read(&mut keys.reader)?));
    }
    Some(lists)
}

/// Looks up everything in a run, in every way.
fn look_at(run: &Arc<Run>) -> Result<(), LookupError> {
    let part = PartRef::Run(run, ReadMode::Disk);
    let mut entries = Entries::new(Arc::clone(run));
    let mut keys = Vec::new();
    while keys.len() < KEYS_MAX
        && let Ok(true) = entries.next()
    {
        let _ = look_at_list(run, entries.list().clone());
        keys.push(entries.key().to_vec());
    }
    for key in keys.iter().filter(|key| key.len() <= KEY_BYTES_MAX) {
        let kind = key.first().and_then(|kind| Kind::ALL.into_iter().find(|own| *own as u8 == *kind));
        if let Some(kind) = kind {
            let _ = run.find(&Key::new(kind, &key[1..]), ReadMode::Disk);
        }
        let _ = look_at_key(&part, key);
    }
    for position in [part.first(), part.first().midpoint(part.last()), part.last()] {
        let _ = part.batch_start(position);
        let _ = part.batch_end(position);
        let _ = part.locator().location(part.relative(position));
    }
    let none = [Query::All, Item { ids: vec![EventId::from_u128(u128::MAX)], ..Item::default() }.into()];
    none.iter().try_for_each(|query| part.plan(query)?.next(0).map(drop))
}

/// Merges a run with one that follows the sample, if it still does.
fn merge(run: &Arc<Run>) -> Result<(), MergeError> {
    static NEXT: OnceLock<Sample> = OnceLock::new();
    let next = NEXT.get_or_init(|| sample(SPREAD + 1, 10, 2));
    let next = Arc::new(open(next.bytes.clone())?.expect("the sample is sound"));
    if run.footer.last + 1 != next.footer.first {
        return Ok(());
    }
    let cache = Arc::new(BlockCache::new(CACHE_BYTES));
    let builder = Builder::new(Arc::new(MemoryFile::default()), SALT, SECRET, cache);
    let mut merge = Merge::new(vec![Arc::clone(run), next], builder)?;
    while !merge.step()? {}
    merge.finish(RUN + 1, 1)?;
    Ok(())
}

fn look_at_list(run: &Run, list: RunList) -> Result<(), LookupError> {
    let (count, last) = (list.count, list.last);
    let mut offsets = run.offsets(ReadMode::Disk);
    for index in [0, count / 2, count - 1] {
        let mut cursor = run.cursor(list.clone(), ReadMode::Disk);
        let Ok(position) = cursor.at(index) else { continue };
        let found = cursor.lower_bound(position)?;
        assert!(found <= count, "what is looked for in a list is found in it, or behind it");
        let _ = offsets.get(position);
    }
    for target in [0, last / 2, last, last.saturating_add(1)] {
        let _ = run.cursor(list.clone(), ReadMode::Disk).lower_bound(target);
    }
    if count <= SPREAD as usize {
        let (mut positions, mut buffer) = (Positions::new(list), Vec::new());
        while !positions.is_done() {
            positions.next(run, &mut buffer)?;
        }
    }
    Ok(())
}

/// Looks up a key as reads and appends do.
fn look_at_key(part: &PartRef<'_>, key: &[u8]) -> Result<(), LookupError> {
    let Some((kind, name)) = key.split_first() else { return Ok(()) };
    let Ok(text) = std::str::from_utf8(name) else { return Ok(()) };
    let mut item = Item::default();
    match *kind {
        1 => {
            let _ = part.head(&Key::stream(text), u64::MAX)?;
            let _ = part.find_id(&Key::stream(text), &Key::id(EventId::from_u128(0)));
            item.stream = text.parse().ok();
        }
        3 => item.types.extend(text.parse().ok()),
        4 => item.tags.extend(text.parse().ok()),
        _ => return Ok(()),
    }
    let plan = part.plan(&item.into());
    let mut plan = plan?;
    let mut from = 0;
    for _ in 0..20 {
        let Some(found) = plan.next(from)? else { break };
        let _ = part.locator().location(found);
        let Some(next) = found.checked_add(1) else { break };
        from = next;
    }
    Ok(())
}

/// Blocks of that file, each after the byte that chooses its kind.
pub(crate) fn sample_blocks() -> Vec<Vec<u8>> {
    let run = open(sample_file()).ok().flatten().expect("the sample is sound");
    let read = |at| run.blocks.read(at).expect("the sample is sound");
    let footer = run.footer.encode();
    let fence = &run.fence[0];
    let (filter, branch) = (read(fence.filter), read(fence.branch));
    let leaf = read(all_leaves(&branch).expect("it was just written")[0]);
    let lists = all_lists(&leaf).expect("it was just written");
    let chunks = lists.into_iter().filter(|(_, list)| list.count <= 1_024);
    let chunk = chunks.flat_map(|(_, list)| run.cursor(list, ReadMode::Disk).pointers().unwrap_or_default());
    let chunk = chunk.last().map(read).expect("some list has one chunk");
    let pieces =
        [&footer[..footer.len() - TRAILER_BYTES], &read(run.footer.fence), &branch, &leaf, &chunk, &filter];
    pieces.iter().zip(0..).map(|(piece, kind)| [&[kind], *piece].concat()).collect()
}
