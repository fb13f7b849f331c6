//! HTTP/1.1 with as little work as the wire allows: the generator must cost much less than what it measures.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// What of a message's head is needed to know where the message ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    /// In bytes, with the empty line.
    pub(crate) length: usize,
    pub(crate) content_length: usize,
}

impl Head {
    /// Reads the head at the start of `bytes`; none: it is not all there.
    pub(crate) fn parse(bytes: &[u8]) -> io::Result<Option<Self>> {
        let mut head = Self { length: 0, content_length: 0 };
        while let Some(end) = bytes[head.length..].iter().position(|byte| *byte == b'\n') {
            let line = bytes[head.length..head.length + end].trim_ascii_end();
            head.length += end + 1;
            if line.is_empty() {
                return Ok(Some(head));
            }
            // No other name in these messages begins so.
            if line.len() > 15 && line[..15].eq_ignore_ascii_case(b"content-length:") {
                let value = std::str::from_utf8(line[15..].trim_ascii_start()).ok().and_then(|text| text.parse().ok());
                head.content_length = value.ok_or_else(|| io::Error::other("content-length is not a number"))?;
            } else if line.len() > 18 && line[..18].eq_ignore_ascii_case(b"transfer-encoding:") {
                return Err(io::Error::other("a body without a length, where all have one"));
            }
        }
        Ok(None)
    }
}

/// A connection on which requests follow each other.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(server: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::with_capacity(16 * 1024) })
    }

    /// Sends a request and reads the answer, which must be a 200.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request).await?;
        self.read.clear();
        let head = loop {
            self.more().await?;
            if let Some(head) = Head::parse(&self.read)? {
                break head;
            }
        };
        while self.read.len() < head.length + head.content_length {
            self.more().await?;
        }
        if self.read.starts_with(b"HTTP/1.1 200") && self.read.len() == head.length + head.content_length {
            return Ok(());
        }
        Err(io::Error::other(format!("expected one answer with status 200: {}", String::from_utf8_lossy(&self.read))))
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}
