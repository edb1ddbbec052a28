//! One connection: it connects, says who it is, and sends one command at a time.

use std::io::{self, BufReader, Write};

use gesta_tls::Client;

use crate::resp::{Reply, read_reply, write_command};
use crate::socket::Socket;
use crate::url::ValkeyUrl;

pub(crate) struct Connection {
    stream: BufReader<Socket>,
    /// True if it has answered a command before this one. An idle server may have closed it since.
    pub(crate) is_used: bool,
}

impl Connection {
    /// Connects to an address, with the user and the database of the URL, and encrypted by a client.
    pub(crate) fn open(address: &str, url: &ValkeyUrl, client: Option<&Client>) -> io::Result<Self> {
        let stream = BufReader::new(Socket::connect(address, client)?);
        let mut connection = Self { stream, is_used: false };
        if let Some(password) = &url.password {
            let user = url.user.as_ref().map(|user| user.as_bytes());
            let parts = [Some(&b"AUTH"[..]), user, Some(password.as_bytes())];
            connection.greet(&parts.into_iter().flatten().collect::<Vec<_>>())?;
        }
        if url.db != 0 {
            connection.greet(&[b"SELECT", url.db.to_string().as_bytes()])?;
        }
        connection.is_used = false;
        Ok(connection)
    }

    fn greet(&mut self, command: &[&[u8]]) -> io::Result<()> {
        match self.call(command)? {
            Reply::Status(_) => Ok(()),
            // Without the command: it has the password.
            Reply::Error(error) => Err(io::Error::new(io::ErrorKind::PermissionDenied, error)),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Sends a command and reads its answer. After an error the connection is of no use.
    pub(crate) fn call(&mut self, command: &[&[u8]]) -> io::Result<Reply> {
        let mut bytes = Vec::new();
        write_command(&mut bytes, command);
        let socket = self.stream.get_mut();
        socket.write_all(&bytes)?;
        socket.flush()?;
        let reply = read_reply(&mut self.stream)?;
        self.is_used = true;
        Ok(reply)
    }
}
