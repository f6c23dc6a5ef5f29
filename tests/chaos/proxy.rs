//! A way to a broker that can be cut and stalled.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// Forwards every connection to a broker that may come and go.
pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    target: SocketAddr,
    /// Both ends of each connection that was ever made; cutting one that is gone does nothing.
    streams: Mutex<Vec<TcpStream>>,
    is_stalled: Mutex<bool>,
    goes_on: Condvar,
    is_over: AtomicBool,
}

impl Proxy {
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            target,
            streams: Mutex::default(),
            is_stalled: Mutex::default(),
            goes_on: Condvar::new(),
            is_over: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.is_over.load(Ordering::Relaxed) {
                    return;
                }
                accepting.join(client.unwrap());
            }
        });
        Self { address, shared }
    }

    /// Ends every connection.
    pub fn cut(&self) {
        for stream in self.shared.streams.lock().unwrap().drain(..) {
            // It may be gone.
            stream.shutdown(Shutdown::Both).ok();
        }
    }

    /// Nothing goes through any more, or everything again. Connections stay.
    pub fn stall(&self, is_stalled: bool) {
        *self.shared.is_stalled.lock().unwrap() = is_stalled;
        self.shared.goes_on.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.stall(false);
        self.cut();
        // Wakes whoever accepts, who then ends.
        TcpStream::connect(self.address).ok();
    }
}

impl Shared {
    /// Joins a client to the broker. Where there is none now, the client's connection ends.
    fn join(self: &Arc<Self>, client: TcpStream) {
        let Ok(broker) = TcpStream::connect(self.target) else { return };
        for stream in [&client, &broker] {
            stream.set_nodelay(true).unwrap();
            self.streams.lock().unwrap().push(stream.try_clone().unwrap());
        }
        for (from, to) in [(client.try_clone(), broker.try_clone()), (Ok(broker), Ok(client))] {
            let (from, to, shared) = (from.unwrap(), to.unwrap(), Arc::clone(self));
            thread::spawn(move || shared.forward(from, to));
        }
    }

    fn forward(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = [0; 4_096];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            let stalled = self.is_stalled.lock().unwrap();
            drop(self.goes_on.wait_while(stalled, |is_stalled| *is_stalled).unwrap());
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        // Either end may be gone.
        from.shutdown(Shutdown::Both).ok();
        to.shutdown(Shutdown::Both).ok();
    }
}
