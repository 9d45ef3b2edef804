//! The floor: a thread that writes what it is given to connections that are open.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::clients::{Clients, Told};

/// The thread, and its clients. Dropping it ends the thread.
pub struct Floor {
    clients: Clients,
    answers: Sender<Vec<u8>>,
    begun: Receiver<Instant>,
}

impl Floor {
    pub async fn with(count: usize) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let (mut clients, mut connections) = (Clients::default(), Vec::with_capacity(count));
        for _ in 0..count {
            clients.connect(port).await?;
            let (connection, _) = listener.accept()?;
            // These clients ask nothing, and so acknowledge late what they were sent before.
            connection.set_nodelay(true)?;
            connections.push(connection);
        }
        let (answers, to_write) = channel();
        let (begins, begun) = channel();
        thread::Builder::new().name("floor".into()).spawn(move || {
            if let Err(error) = write(&mut connections, &to_write, &begins) {
                eprintln!("the floor failed: {error}");
            }
        })?;
        Ok(Self { clients, answers, begun })
    }

    /// Writes the answer to all; since when.
    pub async fn round(&self, answer: &str) -> Result<(Instant, Told)> {
        let answer = answer.as_bytes().to_vec();
        // Its end shows as answers that do not come.
        let told = self.clients.told_of(|| drop(self.answers.send(answer))).await?;
        Ok((self.begun.recv().context("the floor has ended")?, told))
    }
}

fn write(connections: &mut [TcpStream], answers: &Receiver<Vec<u8>>, begins: &Sender<Instant>) -> Result<()> {
    while let Ok(answer) = answers.recv() {
        let begun = Instant::now();
        for connection in &mut *connections {
            connection.write_all(&answer)?;
        }
        begins.send(begun)?;
    }
    Ok(())
}
