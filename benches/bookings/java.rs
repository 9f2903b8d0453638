//! The Java world: a JVM that stays, told over its input what to write.

use crate::{plan::TURN_MAX, report::Measured};
use std::{
    io::{BufRead, BufReader, Lines, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

pub const IDENTITY: &str = "identity";
pub const JAVA_WAYS: [(&str, &str); 4] = [
    (IDENTITY, "Hibernate saveAll(), IDENTITY"),
    ("assigned", "Hibernate, UUIDs, batch_size"),
    ("batch", "JDBC batch, rewritten"),
    ("copy", "pgjdbc CopyManager"),
];

pub struct Java {
    process: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Java {
    /// Nothing where there is no JDK, or not the libraries; `run.sh` says what is missing.
    pub fn start(sockets: &Path) -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/java/run.sh");
        let mut command = Command::new(script);
        command.arg(sockets.join(".s.PGSQL.5432")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let input = process.stdin.take();
        let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
        match output.next() {
            Some(Ok(line)) if line == "ready" => Some(Self { process, input, output }),
            _ => {
                let ended = process.wait().unwrap();
                eprintln!("The Java ways are left out: benches/java/run.sh ended with {ended}.");
                None
            }
        }
    }

    /// Its own time and CPU time; the server's are not its business.
    pub fn write(
        &mut self,
        way: &str,
        sale: &str,
        batch: usize,
        connections: usize,
        bookings: usize,
    ) -> Measured {
        let limit = TURN_MAX.as_nanos();
        writeln!(self.input.as_mut().unwrap(), "{way} {sale} {batch} {connections} {bookings} {limit}")
            .unwrap();
        let line = self.output.next().unwrap().unwrap();
        let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
        Measured {
            seconds: Duration::from_nanos(numbers[0]).as_secs_f64(),
            client: Duration::from_nanos(numbers[1]),
            booked: numbers[2] as usize,
            bookings: numbers[2] as usize,
            ..Measured::default()
        }
    }
}

impl Drop for Java {
    fn drop(&mut self) {
        // The end of its input ends it.
        self.input = None;
        let _ = self.process.wait();
    }
}
