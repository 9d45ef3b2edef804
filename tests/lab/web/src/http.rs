//! As much of HTTP/1.1 as a probe and a test's client need: requests without a body, answered in order.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Answers the requests of a connection, by their path, until the client closes it or asks to have it closed.
pub(crate) async fn serve(stream: TcpStream, respond: impl Fn(&str) -> String) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or("/").to_owned();
        let mut keep = line.trim_end().ends_with("HTTP/1.1");
        // The head ends with an empty line.
        while !line.trim().is_empty() {
            line.clear();
            stream.read_line(&mut line).await?;
            keep &= !line.trim().eq_ignore_ascii_case("connection: close");
        }
        stream.write_all(respond(&path).as_bytes()).await?;
        if !keep {
            return stream.shutdown().await;
        }
    }
}

/// The answer to a request that succeeded.
pub(crate) fn ok(body: &str) -> String {
    answer("200 OK", body)
}

/// An answer with this status.
pub(crate) fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}
