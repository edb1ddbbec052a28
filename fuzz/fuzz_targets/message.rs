//! Any bytes are refused, or are the only form of the message.
#![no_main]

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, checksum};
use gesta_jetstream::Message;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    check(Bytes::copy_from_slice(bytes));
    // A fuzzer finds no checksum, so it is put right.
    if let Some((body, _)) = bytes.split_last_chunk::<4>() {
        let right = u32::try_from(checksum(CrcAlgorithm::Crc32Iscsi, body)).expect("a CRC-32 has 32 bits");
        check([body, &right.to_le_bytes()].concat().into());
    }
});

fn check(bytes: Bytes) {
    let Ok(message) = Message::decode(&bytes, 0) else { return };
    let again = message.to_draft().message_after(&message.tip_before(), 0);
    let (again, read) = again.expect("what was read can be published");
    assert_eq!(again, bytes, "a message has one form");
    assert_eq!(read, message);
}
