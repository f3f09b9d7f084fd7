//! Clients of a model, over sockets.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::gdb::model::{Model, PANIC};
use crate::gdb::packet::framed;

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A model that is served.
struct Served {
    log: Arc<Mutex<Vec<&'static str>>>,
    server: Server,
    _directory: TempDir,
}

impl Served {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let model = Model::new(1);
        let log = Arc::clone(&model.log);
        let address = Address::Unix(directory.path().join("gdb.sock"));
        let server = Listener::bind(&address, false).unwrap().serve(Box::new(model)).unwrap();
        Self { log, server, _directory: directory }
    }

    fn connect(&self) -> UnixStream {
        let Address::Unix(path) = self.server.address() else { panic!("it is a socket") };
        let client = UnixStream::connect(path).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
    }
}

/// What comes back for `body`, up to `reply` or the end.
fn ask(client: &mut UnixStream, body: &str, reply: &str) -> String {
    client.write_all(&framed(body.as_bytes())).unwrap();
    let mut said = Vec::new();
    let mut byte = [0];
    while !String::from_utf8_lossy(&said).contains(reply) && client.read(&mut byte).unwrap() > 0 {
        said.push(byte[0]);
    }
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn a_session_that_breaks_down_lets_the_guest_go() {
    let served = Served::new();
    let mut client = served.connect();
    assert_eq!(ask(&mut client, "qC", "#c5"), "+$QC1#c5");
    assert_eq!(ask(&mut client, &format!("m{PANIC:x},1"), "$"), "", "the connection ends");
    assert_eq!(*served.log.lock().unwrap(), ["attach", "detach"]);
    let mut next = served.connect();
    assert!(ask(&mut next, "qC", "#c5").contains("$QC1#c5"), "and the next debugger is served");
}

#[test]
fn who_says_nothing_keeps_nobody_waiting() {
    let served = Served::new();
    let silent: Vec<UnixStream> = (0..MOST_WAITING / 2).map(|_| served.connect()).collect();
    let mut client = served.connect();
    assert!(!served.server.debugger().attached, "nobody is there who could be a debugger");
    assert_eq!(ask(&mut client, "qC", "#c5"), "+$QC1#c5");
    assert!(served.server.debugger().attached);
    let mut second = served.connect();
    assert!(ask(&mut second, "qC", "#").contains("$E.vmscope: another debugger is attached"));
    let mut late = silent.into_iter().next().unwrap();
    assert!(ask(&mut late, "qC", "#").contains("$E.vmscope: another debugger"), "it is heard when it speaks");
    assert_eq!(*served.log.lock().unwrap(), ["attach"]);
}
