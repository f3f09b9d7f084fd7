//! A guest that GDB can connect to, and GDB.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use vmscope_tests::{gdb, program};

/// What takes longer than this does not happen: only a test that fails waits for so long.
const PATIENCE: Duration = Duration::from_secs(300);

/// A run of `vmscope record` with `--gdb`.
pub(crate) struct Vmscope {
    child: Child,
    lines: Receiver<String>,
    /// What GDB connects to.
    pub(crate) address: String,
    /// The guest's image, with debug information; a file that GDB knows.
    image: Option<PathBuf>,
    directory: Option<TempDir>,
}

impl Vmscope {
    /// Runs the built-in guest `name` with these arguments more.
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Self {
        Self::listen(name, "127.0.0.1:0", arguments)
    }

    /// Runs the guest that `image` holds, one of [`vmscope_tests::images`].
    pub(crate) fn image(image: &[u8], arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("guest");
        std::fs::write(&path, image).unwrap();
        let symbols = image.starts_with(b"\x7fELF").then(|| path.clone());
        Self::record(&path.to_string_lossy(), symbols, directory, "127.0.0.1:0", arguments)
    }

    /// The same as [`Self::start`], listening at `address`; `DIR` in it is a directory of its own.
    pub(crate) fn listen(name: &str, address: &str, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join(format!("{name}.elf"));
        std::fs::write(&image, vmm_lite::guests::find(name).unwrap().image).unwrap();
        Self::record(name, Some(image), directory, address, arguments)
    }

    /// Runs the image file `guest`, of which GDB is told nothing.
    pub(crate) fn file(guest: &Path, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::record(&guest.to_string_lossy(), None, directory, "127.0.0.1:0", arguments)
    }

    fn record(
        guest: &str,
        image: Option<PathBuf>,
        directory: TempDir,
        address: &str,
        arguments: &[&str],
    ) -> Self {
        let trace = directory.path().join("t.vmt");
        let address = address.replace("DIR", &directory.path().to_string_lossy());
        let mut command =
            program::command(&["record", guest, "--gdb", &address, "-o", &trace.to_string_lossy()]);
        let mut child = command.args(arguments).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let errors = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut started = Self { child, lines, address: String::new(), image, directory: Some(directory) };
        let invitation = started.line(|line| line.starts_with("to debug it: "));
        let (_, rest) = invitation.split_once("target remote ").unwrap();
        started.address = rest.split('\'').next().unwrap().to_owned();
        started
    }

    /// The number of its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// The first line on standard error from now on that is `wanted`.
    pub(crate) fn line(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if wanted(&line) => return line,
                Ok(line) => seen.push(line),
                Err(error) => panic!("vmscope did not say it ({error}) but {seen:?}"),
            }
        }
    }

    /// Runs GDB with the guest's symbols and these commands after it has connected. What it prints on both outputs.
    pub(crate) fn gdb(&self, commands: &[&str]) -> String {
        let mut gdb = gdb::command();
        gdb.args(&self.image);
        let connect = format!("target remote {}", self.address);
        gdb::batch(gdb, [&*connect].into_iter().chain(commands.iter().copied()))
    }

    /// Where its trace is until it has ended.
    pub(crate) fn trace(&self) -> PathBuf {
        self.directory.as_ref().unwrap().path().join("t.vmt")
    }

    /// A connection without GDB.
    pub(crate) fn connect(&self) -> Raw {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Raw(stream)
    }

    /// Waits for its end: the last line it said, and how it exited.
    pub(crate) fn finish(mut self) -> (String, ExitStatus) {
        let status = self.child.wait().unwrap();
        let mut last = String::new();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            last = line;
        }
        (last, status)
    }

    /// Waits for its end; the guest must have found nothing wrong with itself. Returns the directory of the run.
    pub(crate) fn finish_well(self) -> TempDir {
        self.finish_as("the guest exited with status 0")
    }

    /// The same, of a guest that ends in its own way.
    pub(crate) fn finish_as(mut self, end: &str) -> TempDir {
        let directory = self.directory.take().unwrap();
        let (last, status) = self.finish();
        assert!(status.success() && last.contains(end), "{status}: {last}");
        directory
    }
}

impl Drop for Vmscope {
    fn drop(&mut self) {
        // A test that went well has waited for it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection that speaks the protocol byte by byte.
pub(crate) struct Raw(TcpStream);

impl Raw {
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    pub(crate) fn send(&mut self, body: &str) {
        let sum = body.bytes().fold(0_u8, u8::wrapping_add);
        self.write(format!("${body}#{sum:02x}").as_bytes());
    }

    /// The body of the next packet.
    pub(crate) fn receive(&mut self) -> String {
        let mut body = Vec::new();
        let mut byte = [0];
        let mut inside = false;
        loop {
            self.0.read_exact(&mut byte).unwrap();
            match byte[0] {
                b'$' => inside = true,
                b'#' if inside => break,
                other if inside => body.push(other),
                _ => {}
            }
        }
        self.0.read_exact(&mut [0; 2]).unwrap();
        String::from_utf8_lossy(&body).into_owned()
    }

    pub(crate) fn ask(&mut self, body: &str) -> String {
        self.send(body);
        self.receive()
    }

    /// Whether the other side has closed the connection, or does after what it has said.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.0.read_to_end(&mut Vec::new()).is_ok()
    }
}

/// GDB with its machine interface, that can be told to go on and be interrupted.
pub(crate) struct Gdb {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Gdb {
    /// Connects to `vmscope`.
    pub(crate) fn attach(vmscope: &Vmscope) -> Self {
        let mut command = gdb::command();
        command.arg("--interpreter=mi3").args(&vmscope.image);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let input = child.stdin.take().unwrap();
        let mut gdb = Self { child, input, lines };
        gdb.tell("-gdb-set mi-async on");
        gdb.expect("^done");
        gdb.tell(&format!("-target-select remote {}", vmscope.address));
        gdb.expect("*stopped");
        gdb
    }

    pub(crate) fn tell(&mut self, command: &str) {
        writeln!(self.input, "{command}").unwrap();
    }

    /// The next line that begins like this.
    pub(crate) fn expect(&mut self, start: &str) -> String {
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.starts_with(start) => return line,
                Ok(line) if line.starts_with("^error") => panic!("{line} after {seen:?}"),
                Ok(line) => seen.push(line),
                Err(error) => panic!("GDB did not say {start} ({error}) but {seen:?}"),
            }
        }
    }
}

impl Gdb {
    /// Lets the guest go on as `command` says, and waits until it stops.
    pub(crate) fn go(&mut self, command: &str) -> String {
        self.tell(command);
        self.expect("*stopped")
    }

    /// What an expression is.
    pub(crate) fn value(&mut self, expression: &str) -> String {
        let said = self.ask(&format!("output {expression}"));
        let printed = said.lines().find_map(|line| line.strip_prefix("~\"")?.strip_suffix('"'));
        printed.unwrap_or_else(|| panic!("{expression}: {said}")).to_owned()
    }

    /// What it prints for a command of its command line.
    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.tell(&format!("-interpreter-exec console \"{command}\""));
        let mut said = String::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.starts_with("^done") => return said,
                Ok(line) if line.starts_with("^error") => panic!("{command}: {line} after {said}"),
                Ok(line) => said += &(line + "\n"),
                Err(error) => panic!("GDB did not carry out {command} ({error}) but said {said}"),
            }
        }
    }
}

impl Drop for Gdb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
