//! The socket of a connection, encrypted or not.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;

use gesta_tls::Client;
use rustls::{ClientConnection, StreamOwned};

use crate::limits::{CONNECT_TIME, SILENCE_TIME};

pub(crate) enum Socket {
    Plain(TcpStream),
    Encrypted(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Socket {
    /// Connects to `host:port`. With a client, the server must have a good certificate for that host.
    pub(crate) fn connect(address: &str, client: Option<&Client>) -> io::Result<Self> {
        let socket = connect(address)?;
        let Some(client) = client else { return Ok(Self::Plain(socket)) };
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let name = Client::server_name(host)?;
        let connection =
            ClientConnection::new(Arc::clone(client.config()), name).map_err(io::Error::other)?;
        let mut encrypted = StreamOwned::new(connection, socket);
        let shaken = encrypted.conn.complete_io(&mut encrypted.sock);
        shaken.map_err(|error| match client.explain(&error) {
            Some(reason) => io::Error::new(io::ErrorKind::InvalidData, reason),
            None => error,
        })?;
        Ok(Self::Encrypted(Box::new(encrypted)))
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIME) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(SILENCE_TIME))?;
                stream.set_write_timeout(Some(SILENCE_TIME))?;
                return Ok(stream);
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Encrypted(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Encrypted(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Encrypted(stream) => stream.flush(),
        }
    }
}
