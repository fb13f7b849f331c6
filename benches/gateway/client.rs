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
    is_chunked: bool,
}

impl Head {
    /// Reads the head at the start of `bytes`; none: it is not all there.
    pub(crate) fn parse(bytes: &[u8]) -> io::Result<Option<Self>> {
        let mut head = Self { length: 0, content_length: 0, is_chunked: false };
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
                head.is_chunked = true;
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
    /// Of a stream: what its chunks held, and has not been taken.
    content: Vec<u8>,
    has_ended: bool,
}

impl Connection {
    pub(crate) async fn open(server: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::with_capacity(16 * 1024), content: Vec::new(), has_ended: true })
    }

    /// Sends a request and reads the answer, which must be a 200.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> io::Result<()> {
        let head = self.send(request).await?;
        while self.read.len() < head.length + head.content_length {
            self.more().await?;
        }
        if self.read.len() == head.length + head.content_length && !head.is_chunked {
            return Ok(());
        }
        Err(io::Error::other(format!("expected one answer with a length: {}", String::from_utf8_lossy(&self.read))))
    }

    /// Sends a request whose answer is a stream of events.
    pub(crate) async fn begin_stream(&mut self, request: &[u8]) -> io::Result<()> {
        let head = self.send(request).await?;
        if !head.is_chunked {
            return Err(io::Error::other("expected a stream"));
        }
        self.read.drain(..head.length);
        self.content.clear();
        self.has_ended = false;
        Ok(())
    }

    /// The next event of the stream, or that it has ended as it should.
    pub(crate) async fn event(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.content.windows(2).position(|pair| pair == b"\n\n") {
                return Ok(Some(self.content.drain(..end + 2).collect()));
            }
            if self.has_ended {
                return Ok(None);
            }
            if !self.take_chunk()? {
                self.more().await?;
            }
        }
    }

    /// Moves a chunk (RFC 9112, section 7.1) from what was read to the content, if it is all there.
    fn take_chunk(&mut self) -> io::Result<bool> {
        let Some(line) = self.read.windows(2).position(|pair| pair == b"\r\n") else { return Ok(false) };
        let size = std::str::from_utf8(&self.read[..line]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let size = size.ok_or_else(|| io::Error::other("expected the size of a chunk"))?;
        let start = line + 2;
        if self.read.len() < start + size + 2 {
            return Ok(false);
        }
        self.content.extend_from_slice(&self.read[start..start + size]);
        self.read.drain(..start + size + 2);
        self.has_ended = size == 0;
        Ok(true)
    }

    /// Sends a request and reads at least the head of the answer, which must be a 200.
    async fn send(&mut self, request: &[u8]) -> io::Result<Head> {
        self.stream.write_all(request).await?;
        self.read.clear();
        loop {
            self.more().await?;
            match Head::parse(&self.read)? {
                Some(head) if self.read.starts_with(b"HTTP/1.1 200") => return Ok(head),
                Some(_) => return Err(io::Error::other(String::from_utf8_lossy(&self.read).into_owned())),
                None => {}
            }
        }
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}
