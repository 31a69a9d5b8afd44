//! What the clients do while they are watched: the damaged ones send what takes many of their small
//! windows, and the sound ones whatever could be taken for that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::crowd::Guests;
use crate::broker::HEADER;
use crate::client::Client;

/// Sizes of requests that a small window would have: of 64 KiB, of 100 KiB, shifted down by 7 and
/// up again by less.
const LIKE_WINDOWS: [u32; 6] = [512, 1_024, 1_600, 2_048, 4_096, 32_768];

/// What a damaged client sends at once, bytes: many of its windows. What was offered while the buffer
/// was still 4 MB is used up first: 64 KiB of it on 5.10, nearly all of it on the newest kernels.
const LONG: u32 = 30_000;

/// What a sound one sends at once that fills its path.
const BULK: u32 = 300_000;

/// Time between two requests of an application that has little to say.
const THINK: Duration = Duration::from_millis(60);

/// Clients at work.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    clients: Vec<Client>,
    threads: Vec<JoinHandle<Result<()>>>,
}

/// Sets all but most of the plain ones to work.
///
/// # Errors
/// When there is no descriptor left.
pub fn start(guests: &Guests) -> Result<Traffic> {
    let mut traffic = Traffic {
        stop: Arc::default(),
        clients: Vec::new(),
        threads: Vec::new(),
    };
    for (number, client) in guests.damaged.iter().enumerate() {
        let size = LONG + 97 * number as u32;
        traffic.work(client, vec![size], Duration::ZERO)?;
    }
    let suspicious = guests.earlier.iter().chain(&guests.routed);
    for (number, client) in suspicious.enumerate() {
        let sizes = match LIKE_WINDOWS.get(number % (LIKE_WINDOWS.len() + 2)) {
            // Always the same size.
            Some(size) => vec![*size],
            None if number % 2 == 0 => LIKE_WINDOWS.to_vec(),
            None => vec![BULK],
        };
        traffic.work(client, sizes, THINK)?;
    }
    for client in guests
        .without_options
        .iter()
        .chain(&guests.plain[..KIND_OF_PLAIN])
    {
        traffic.work(client, LIKE_WINDOWS.to_vec(), THINK)?;
    }
    Ok(traffic)
}

/// Plain ones that work too.
const KIND_OF_PLAIN: usize = 10;

impl Traffic {
    fn work(&mut self, client: &Client, sizes: Vec<u32>, think: Duration) -> Result<()> {
        let stop = Arc::clone(&self.stop);
        let mut client = client.share()?;
        self.clients.push(client.share()?);
        self.threads.push(std::thread::spawn(move || {
            for size in sizes.into_iter().cycle() {
                // With its header it is exactly that long.
                let done = client.request(size - HEADER as u32);
                if stop.load(Ordering::Acquire) {
                    break;
                }
                done?;
                std::thread::sleep(think);
            }
            Ok(())
        }));
        Ok(())
    }

    /// Ends their connections, in the midst of whatever they do.
    pub fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::Release);
        for client in &self.clients {
            client.shut_down()?;
        }
        for thread in self.threads {
            thread.join().map_err(|_| anyhow!("a client panicked"))??;
        }
        Ok(())
    }
}
