//! Takes the terminal as the UI does and panics on another thread; a test looks what is left of the terminal.

use std::error::Error;
use std::thread;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let screen = vmscope::terminal::Screen::take(true)?;
    let panicking: thread::JoinHandle<()> = thread::spawn(|| {
        thread::sleep(Duration::from_millis(100));
        panic!("as if something were wrong");
    });
    if let Err(panic) = panicking.join() {
        drop(screen);
        std::panic::resume_unwind(panic);
    }
    Ok(())
}
