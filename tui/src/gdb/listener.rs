//! Clients come and go.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, bail};
use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::address::Address;
use super::debuggee::Debuggee;
use super::serve::{Client, serve};
use super::stream::{Acceptor, Stream};
use crate::debugger::Debugger;

/// So many connections at a time may say nothing yet, or be told that they are too many; more are closed at once.
const MOST_WAITING: usize = 32;
/// A client that comes so shortly after another has left is served, though it may take a moment to notice that.
const GRACE: Duration = Duration::from_millis(500);
/// How often a client that waits is looked after.
const LOOK: Duration = Duration::from_millis(10);

/// A place where clients can connect already; they wait.
#[derive(Debug)]
pub struct Listener {
    acceptor: Acceptor,
    address: Address,
    socket: Option<SocketFile>,
}

/// Removes a socket's file in the end.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have removed it before.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Clients are served until this is dropped.
#[derive(Debug)]
pub struct Server {
    address: Address,
    /// The same in words.
    shown: Arc<str>,
    shared: Arc<Shared>,
    /// Sessions end when it goes.
    closing: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
    _socket: Option<SocketFile>,
}

#[derive(Debug, Default)]
struct Shared {
    /// A client is served.
    busy: AtomicBool,
    /// Connections without a session.
    waiting: AtomicUsize,
    closed: AtomicBool,
}

impl Listener {
    /// Listens at `address`; from other machines only if `anywhere`.
    ///
    /// # Errors
    /// If the address cannot be had or may not.
    pub fn bind(address: &Address, anywhere: bool) -> anyhow::Result<Self> {
        if !address.is_local() && !anywhere {
            bail!(
                "--gdb {address}: other machines could connect, and whoever does has the guest; use 127.0.0.1, or say \
                 --gdb-anywhere"
            );
        }
        let (acceptor, address) = Acceptor::bind(address).with_context(|| format!("--gdb {address}"))?;
        let socket = match &address {
            Address::Unix(path) => Some(SocketFile(path.clone())),
            Address::Tcp(_) => None,
        };
        Ok(Self { acceptor, address, socket })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Serves clients with `debuggee`.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub(crate) fn serve(self, debuggee: Box<dyn Debuggee>) -> anyhow::Result<Server> {
        let shared = Arc::new(Shared::default());
        let (closing, closed) = bounded(0);
        let (clients, waiting) = bounded(1);
        let mut server = Server {
            shown: self.address.to_string().into(),
            address: self.address,
            shared: Arc::clone(&shared),
            closing: Some(closing),
            threads: Vec::new(),
            _socket: self.socket,
        };
        server.threads.push(thread::Builder::new().name("gdb".into()).spawn({
            let shared = Arc::clone(&shared);
            move || serve_all(&waiting, debuggee, &closed, &shared)
        })?);
        let acceptor = self.acceptor;
        server.threads.push(
            thread::Builder::new()
                .name("gdb-listener".into())
                .spawn(move || accept_all(&acceptor, &clients, &shared))?,
        );
        Ok(server)
    }
}

fn serve_all(
    clients: &Receiver<Client>,
    mut debuggee: Box<dyn Debuggee>,
    closing: &Receiver<()>,
    shared: &Shared,
) {
    loop {
        let client = select! {
            recv(clients) -> client => client,
            recv(closing) -> _ => return,
        };
        let Ok(client) = client else { return };
        // Once: from then on the next may be there, who is busy then.
        let mut over = Some(|| shared.busy.store(false, Ordering::Release));
        // A client that is gone is no error of ours. A panic has been reported when it happened: the debuggee is without
        // a debugger again, and the next one may have more luck.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            serve(client, debuggee.as_mut(), closing, || {
                if let Some(over) = over.take() {
                    over();
                }
            })
        }));
        // It has never come to a session.
        if let Some(over) = over {
            over();
        }
    }
}

fn accept_all(acceptor: &Acceptor, clients: &Sender<Client>, shared: &Arc<Shared>) {
    while !shared.closed.load(Ordering::Acquire) {
        let Ok(client) = acceptor.accept() else {
            // Out of file descriptors, for instance: it may pass.
            thread::sleep(LOOK);
            continue;
        };
        if shared.closed.load(Ordering::Acquire) {
            break;
        }
        if shared.waiting.fetch_add(1, Ordering::AcqRel) >= MOST_WAITING {
            shared.waiting.fetch_sub(1, Ordering::AcqRel);
            continue;
        }
        let (clients, own) = (clients.clone(), Arc::clone(shared));
        let started = thread::Builder::new().name("gdb-client".into()).spawn(move || {
            if let Some(client) = Client::hear(client, || own.closed.load(Ordering::Acquire)) {
                wait_or_refuse(client, &clients, &own);
            }
            own.waiting.fetch_sub(1, Ordering::AcqRel);
        });
        if started.is_err() {
            shared.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Gives a client to the session's thread. Returns it if there is another.
fn hand_over(client: Client, clients: &Sender<Client>, shared: &Shared) -> Option<Client> {
    if shared.busy.swap(true, Ordering::AcqRel) {
        return Some(client);
    }
    // There is room for the one that may come now; without a receiver nobody is served any more.
    let _ = clients.try_send(client);
    None
}

fn wait_or_refuse(mut client: Client, clients: &Sender<Client>, shared: &Shared) {
    let mut waited = Duration::ZERO;
    while !shared.closed.load(Ordering::Acquire) {
        match hand_over(client, clients, shared) {
            Some(back) => client = back,
            None => return,
        }
        if waited >= GRACE {
            break;
        }
        thread::sleep(LOOK);
        waited += LOOK;
    }
    // It may have gone meanwhile.
    let _ = client.refuse("vmscope: another debugger is attached to this guest; it has to detach first");
}

impl Server {
    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What there is to see of it for a UI beside.
    #[must_use]
    pub fn debugger(&self) -> Debugger {
        Debugger {
            address: Arc::clone(&self.shown),
            open: !self.address.is_local(),
            attached: self.shared.busy.load(Ordering::Acquire),
            place: None,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.closing = None;
        // The thread that accepts has to notice, and then the other has no more clients.
        let woken = Stream::connect(&self.address).is_ok();
        for thread in self.threads.drain(..).rev().filter(|_| woken) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
