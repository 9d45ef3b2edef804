//! The server in the cluster's pods.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpStream, UdpSocket};

use anyhow::{Result, ensure};
use lab::cluster::LINES;
use lab::within;

/// Over HTTP twice on one connection, and in a datagram; and it is unready while it is told to be.
pub(crate) fn tells_its_name_in_every_way(at: IpAddr, name: &str) -> Result<()> {
    let mut stream = TcpStream::connect((at, 8080))?;
    stream.set_read_timeout(Some(within(10)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n")?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n")?;
    let mut answers = String::new();
    stream.read_to_string(&mut answers)?;
    ensure!(answers.matches("HTTP/1.1 200 OK").count() == 2, "two requests are answered: {answers}");
    ensure!(answers.matches(name).count() == 2, "both by {name}: {answers}");

    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(within(10)))?;
    socket.send_to(b"who?", (at, LINES))?;
    let mut answer = [0; 256];
    let (length, _) = socket.recv_from(&mut answer)?;
    ensure!(&answer[..length] == name.as_bytes(), "the datagram is answered by {name}");

    for (order, status) in [("/set?ready=0", "503"), ("/set?ready=1", "200")] {
        control(at, order)?;
        let answer = control(at, "/ready")?;
        ensure!(answer.split(' ').nth(1) == Some(status), "after {order}: {answer}");
    }
    Ok(())
}

fn control(at: IpAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect((at, 9001))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
