//! RESP 2: commands as bytes, and answers from bytes. Nothing that a server sends can make it panic or run out of memory.

use std::io::{self, BufRead, Read};

use bytes::Bytes;

use crate::limits::{ELEMENTS_MAX, LINE_BYTES_MAX, STRING_BYTES_MAX};

/// An answer of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Status(String),
    Error(String),
    Integer(i64),
    /// `None` is the null string.
    String(Option<Bytes>),
    /// Strings and numbers; deeper answers are not asked for.
    Array(Vec<Reply>),
}

/// Appends a command to `out`.
pub(crate) fn write_command(out: &mut Vec<u8>, parts: &[&[u8]]) {
    out.extend(format!("*{}\r\n", parts.len()).as_bytes());
    for part in parts {
        out.extend(format!("${}\r\n", part.len()).as_bytes());
        out.extend(*part);
        out.extend(b"\r\n");
    }
}

/// Reads one answer.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] for bytes that are no answer; the connection is of no use then.
pub(crate) fn read_reply(from: &mut impl BufRead) -> io::Result<Reply> {
    let line = read_line(from)?;
    match split(&line)? {
        (b'*', length) => {
            let length = length_of(length, ELEMENTS_MAX)?.unwrap_or(0);
            (0..length).map(|_| read_element(from)).collect::<io::Result<Vec<_>>>().map(Reply::Array)
        }
        (kind, rest) => read_scalar(kind, rest, from),
    }
}

fn read_element(from: &mut impl BufRead) -> io::Result<Reply> {
    let line = read_line(from)?;
    let (kind, rest) = split(&line)?;
    read_scalar(kind, rest, from)
}

fn read_scalar(kind: u8, rest: &str, from: &mut impl BufRead) -> io::Result<Reply> {
    match kind {
        b'+' => Ok(Reply::Status(rest.to_owned())),
        b'-' => Ok(Reply::Error(rest.to_owned())),
        b':' => rest.parse().map(Reply::Integer).map_err(|_| invalid("a number that is none")),
        b'$' => {
            let length = length_of(rest, STRING_BYTES_MAX)?;
            length.map(|length| read_string(from, length)).transpose().map(Reply::String)
        }
        _ => Err(invalid("an answer of an unknown kind")),
    }
}

/// A length; `None` for null.
fn length_of(text: &str, max: usize) -> io::Result<Option<usize>> {
    if text == "-1" {
        return Ok(None);
    }
    let length = text.parse::<usize>().map_err(|_| invalid("a length that is none"))?;
    if length > max { Err(invalid("an answer that is too long")) } else { Ok(Some(length)) }
}

fn read_string(from: &mut impl BufRead, length: usize) -> io::Result<Bytes> {
    let mut string = Vec::new();
    // It grows as bytes come, so a length alone takes no memory.
    from.take(length as u64 + 2).read_to_end(&mut string)?;
    if string.len() < length + 2 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if string.split_off(length) != b"\r\n" {
        return Err(invalid("a string without an end"));
    }
    Ok(string.into())
}

fn read_line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    from.take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line)?;
    match line.strip_suffix(b"\r\n") {
        Some(line) => Ok(String::from_utf8_lossy(line).into_owned()),
        None if line.len() == LINE_BYTES_MAX => Err(invalid("a line that is too long")),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn split(line: &str) -> io::Result<(u8, &str)> {
    match line.as_bytes().first() {
        Some(kind) if kind.is_ascii() => Ok((*kind, &line[1..])),
        _ => Err(invalid("an answer of an unknown kind")),
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the server sent {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Reply> {
        read_reply(&mut &bytes[..])
    }

    #[test]
    fn a_command_is_an_array_of_strings() {
        let mut out = Vec::new();
        write_command(&mut out, &[b"HGET", b"gesta:{a}", b"\r\n\x00"]);
        assert_eq!(out, b"*3\r\n$4\r\nHGET\r\n$9\r\ngesta:{a}\r\n$3\r\n\r\n\x00\r\n");
    }

    #[test]
    fn answers_of_every_kind_are_read() {
        let string = |text: &'static str| Reply::String(Some(Bytes::from_static(text.as_bytes())));
        for (bytes, expected) in [
            (&b"+OK\r\n"[..], Reply::Status("OK".to_owned())),
            (b"-ERR no\r\n", Reply::Error("ERR no".to_owned())),
            (b":-7\r\n", Reply::Integer(-7)),
            (b"$-1\r\n", Reply::String(None)),
            (b"$0\r\n\r\n", string("")),
            (b"$4\r\na\r\nb\r\n", string("a\r\nb")),
            (b"*0\r\n", Reply::Array(vec![])),
            (b"*-1\r\n", Reply::Array(vec![])),
            (b"*2\r\n$1\r\na\r\n:1\r\n", Reply::Array(vec![string("a"), Reply::Integer(1)])),
        ] {
            assert_eq!(read(bytes).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_answer_is_an_error_and_takes_no_memory() {
        for bytes in [
            &b""[..],
            b"\r\n",
            b"+OK",
            b"+OK\n",
            b"?1\r\n",
            b"\xff1\r\n",
            b":x\r\n",
            b"$-2\r\n",
            b"$3\r\nab",
            b"$3\r\nabcd\r\n",
            b"$99999999999999999999\r\n",
            b"$2000000000\r\n",
            b"*2000000000\r\n",
            b"*2\r\n:1\r\n",
            b"*1\r\n*1\r\n:1\r\n",
            &[b'+'; LINE_BYTES_MAX + 10],
        ] {
            assert!(read(bytes).is_err(), "{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(40)]));
        }
    }

    #[test]
    fn every_cut_of_an_answer_is_an_error() {
        let whole = b"*3\r\n$4\r\nabcd\r\n:12\r\n$-1\r\n";
        assert!(read(whole).is_ok());
        for end in 0..whole.len() {
            assert!(read(&whole[..end]).is_err(), "cut at {end}");
        }
    }
}
