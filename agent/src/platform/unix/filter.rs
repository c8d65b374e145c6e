//! Programs of the system that secrets are handed to: through pipes, never among their arguments.

use std::{
    io::{self, Read as _, Write as _},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use camino::Utf8Path;
use zeroize::Zeroizing;

/// How often it is looked whether the program has ended: for 30 s, as TPMs may be slow.
const LOOKS: u32 = 3_000;
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Runs `program` with `input`, and gives back what it writes. Both fit into a pipe.
pub(in crate::platform) fn filter(
    program: &Utf8Path,
    arguments: &[&str],
    input: &[u8],
) -> io::Result<Zeroizing<Vec<u8>>> {
    #[expect(clippy::disallowed_methods, reason = "the platform starts what the system offers")]
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    // It may end without reading; why, it says itself.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input));
    let well = wait(&mut child)?;
    let mut output = Zeroizing::new(Vec::new());
    let mut said = String::new();
    child.stdout.take().map_or(Ok(0), |mut stdout| stdout.read_to_end(&mut output))?;
    child.stderr.take().map_or(Ok(0), |mut stderr| stderr.read_to_string(&mut said))?;
    let why = said.lines().last().unwrap_or("it does not say why");
    if well { Ok(output) } else { Err(io::Error::other(format!("`{program}`: {why}"))) }
}

/// Whether the program ends well; one that does not end is ended.
fn wait(child: &mut Child) -> io::Result<bool> {
    for _ in 0..LOOKS {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        thread::sleep(BETWEEN_LOOKS);
    }
    child.kill()?;
    child.wait()?;
    Err(io::Error::from(io::ErrorKind::TimedOut))
}
