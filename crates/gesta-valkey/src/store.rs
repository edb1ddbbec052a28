//! The calls of a snapshot store as commands.
//!
//! A hash and the index of all hashes are two keys, in a cluster on two slots, so no command spans both. A put writes the
//! hash first. A call that finds a hash empty removes its member from the index, looks again, and puts it back if a put came
//! between. So a hash with snapshots is always in the index, apart from the moment of a put.

use std::num::NonZeroU32;

use bytes::Bytes;
use gesta_core::{
    BlockingSnapshots, Snapshot, SnapshotError, SnapshotInfo, SnapshotKey, SnapshotPage, SnapshotStream,
    StoreId, Version,
};

use crate::cluster::Cluster;
use crate::keys::{INDEX, field_of, hash_of, key_of, member_of, range, version_of};
use crate::limits::PAGE_KEYS_MAX;
use crate::resp::Reply;

pub(crate) struct Store {
    cluster: Cluster,
}

impl Store {
    pub(crate) fn new(cluster: Cluster) -> Self {
        Self { cluster }
    }

    /// The versions of a hash, oldest first. Fields of others are passed over.
    fn versions(&mut self, hash: &str) -> Result<Vec<Version>, SnapshotError> {
        let fields = strings(self.call(&["HKEYS", hash])?)?;
        let mut versions = fields.iter().filter_map(|field| version_of(field)).collect::<Vec<_>>();
        versions.sort_unstable();
        Ok(versions)
    }

    fn state_bytes(&mut self, hash: &str, version: Version) -> Result<Option<u64>, SnapshotError> {
        let bytes = number(&self.call(&["HSTRLEN", hash, &field_of(version)])?)?;
        Ok(bytes.checked_sub(Snapshot::VALUE_HEADER_BYTES as u64))
    }

    /// The snapshots of a hash. One that vanishes meanwhile is left out.
    fn infos(&mut self, hash: &str) -> Result<Vec<SnapshotInfo>, SnapshotError> {
        let mut infos = Vec::new();
        for version in self.versions(hash)? {
            let state_bytes = self.state_bytes(hash, version)?;
            infos.extend(state_bytes.map(|state_bytes| SnapshotInfo { version, state_bytes }));
        }
        Ok(infos)
    }

    fn add_to_index(&mut self, member: &str) -> Result<(), SnapshotError> {
        self.call(&["ZADD", INDEX, "0", member]).map(drop)
    }

    fn remove_from_index(&mut self, hash: &str, member: &str) -> Result<(), SnapshotError> {
        self.call(&["ZREM", INDEX, member])?;
        if !self.is_empty(hash)? {
            self.add_to_index(member)?;
        }
        Ok(())
    }

    fn is_empty(&mut self, hash: &str) -> Result<bool, SnapshotError> {
        Ok(number(&self.call(&["HLEN", hash])?)? == 0)
    }

    fn call(&mut self, command: &[&str]) -> Result<Reply, SnapshotError> {
        let command = command.iter().map(|part| part.as_bytes()).collect::<Vec<_>>();
        self.cluster.call(&command)
    }
}

impl BlockingSnapshots for Store {
    fn newest(
        &mut self,
        of: &SnapshotKey,
        at_most: Option<Version>,
    ) -> Result<Option<Snapshot>, SnapshotError> {
        let hash = hash_of(of);
        let versions = self.versions(&hash)?;
        let versions = versions.into_iter().rev();
        for version in versions.filter(|version| at_most.is_none_or(|at_most| *version <= at_most)) {
            let value = string(self.call(&["HGET", &hash, &field_of(version)])?)?;
            let snapshot = value.and_then(|value| Snapshot::from_value(of, version, &value));
            if snapshot.is_some() {
                return Ok(snapshot);
            }
        }
        Ok(None)
    }

    fn put(&mut self, of: &SnapshotKey, snapshot: &Snapshot) -> Result<(), SnapshotError> {
        let (hash, field, value) = (hash_of(of), field_of(snapshot.version), snapshot.to_value(of));
        self.cluster.call(&[b"HSET", hash.as_bytes(), field.as_bytes(), &value])?;
        if let Some(ttl) = self.cluster.url().ttl {
            self.call(&["EXPIRE", &hash, &ttl.as_secs().to_string()])?;
        }
        self.add_to_index(&member_of(of))
    }

    fn list(&mut self, of: &SnapshotKey) -> Result<Vec<SnapshotInfo>, SnapshotError> {
        self.infos(&hash_of(of))
    }

    fn remove(&mut self, of: &SnapshotKey, versions: &[Version]) -> Result<(), SnapshotError> {
        if versions.is_empty() {
            return Ok(());
        }
        let hash = hash_of(of);
        let fields = versions.iter().map(|version| field_of(*version)).collect::<Vec<_>>();
        let command = ["HDEL", &hash].into_iter().chain(fields.iter().map(String::as_str));
        self.call(&command.collect::<Vec<_>>())?;
        if self.is_empty(&hash)? { self.remove_from_index(&hash, &member_of(of)) } else { Ok(()) }
    }

    fn streams(
        &mut self,
        within: Option<StoreId>,
        after: Option<&SnapshotKey>,
        limit: NonZeroU32,
    ) -> Result<SnapshotPage, SnapshotError> {
        let (from, to) = range(within, after);
        let limit = limit.get().min(PAGE_KEYS_MAX);
        let members = self.call(&["ZRANGEBYLEX", INDEX, &from, &to, "LIMIT", "0", &limit.to_string()])?;
        let members = strings(members)?;
        let is_full = u32::try_from(members.len()).is_ok_and(|members| members >= limit);
        let keys = members.iter().filter_map(|member| key_of(member)).collect::<Vec<_>>();
        let next = keys.last().filter(|_| is_full).cloned();
        let mut streams = Vec::new();
        for key in keys {
            let hash = hash_of(&key);
            let infos = self.infos(&hash)?;
            match infos.last() {
                Some(newest) => streams.push(SnapshotStream {
                    snapshots: infos.len() as u64,
                    state_bytes: infos.iter().map(|info| info.state_bytes).sum(),
                    newest: newest.version,
                    key,
                }),
                // Evicted or expired.
                None => self.remove_from_index(&hash, &member_of(&key))?,
            }
        }
        Ok(SnapshotPage { streams, next })
    }
}

fn number(reply: &Reply) -> Result<u64, SnapshotError> {
    match reply {
        Reply::Integer(number) => u64::try_from(*number).map_err(|_| unexpected()),
        _ => Err(unexpected()),
    }
}

fn string(reply: Reply) -> Result<Option<Bytes>, SnapshotError> {
    match reply {
        Reply::String(string) => Ok(string),
        _ => Err(unexpected()),
    }
}

fn strings(reply: Reply) -> Result<Vec<Bytes>, SnapshotError> {
    let Reply::Array(elements) = reply else { return Err(unexpected()) };
    elements.into_iter().map(|element| string(element)?.ok_or_else(unexpected)).collect()
}

fn unexpected() -> SnapshotError {
    SnapshotError::Unavailable { reason: "the server sent an answer of another kind".to_owned() }
}
