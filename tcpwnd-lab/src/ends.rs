//! Both ends of a connection of the kernel's own stack, held by one thread.

use std::io::Read;
use std::net::{Shutdown, TcpListener, TcpStream};

use anyhow::{Context, Result, ensure};

use crate::wait::PATIENCE;

/// A client and its server's end, which is accepted here: neither holds anything back, and neither waits
/// for ever.
///
/// # Errors
/// What the kernel refuses.
pub fn accept(listener: &TcpListener, client: TcpStream) -> Result<(TcpStream, TcpStream)> {
    let (server, _) = listener.accept().context("failed to accept")?;
    for end in [&client, &server] {
        end.set_nodelay(true).context("failed to set TCP_NODELAY")?;
        end.set_read_timeout(Some(PATIENCE))
            .context("failed to set a time-out")?;
    }
    Ok((client, server))
}

/// One end says its last word, and the other one hears it.
///
/// # Errors
/// When something else comes.
pub fn half_close(silent: &TcpStream, talking: &mut TcpStream) -> Result<()> {
    silent
        .shutdown(Shutdown::Write)
        .context("failed to shut down")?;
    let nothing = talking.read(&mut [0; 1]).context("no end came")?;
    ensure!(nothing == 0, "something came before the end");
    Ok(())
}
