//! `targets --systemd-dropin`: the units that targets need, or the drop-in of an unsplit agent.

use std::path::Path;

use agent::config::{load, load_opener};
use agent::installed::{Installed, UNITS};
use service::exit::{Exit, ExitError, OrExit};
use service::unit;
use targets::sandbox::{DropIn, Units};

/// Writes the units into `into`, or where the installed service has them. Without either, the agent is unsplit.
pub(crate) fn write(file: &Path, into: Option<&Path>) -> Result<(), ExitError> {
    match into.or_else(|| of_service(file)) {
        Some(dir) => write_into(file, dir),
        None => print_drop_in(file),
    }
}

/// Where units of the installed service belong, if it is split.
fn of_service(file: &Path) -> Option<&'static Path> {
    Installed::with(file).is_some_and(|installed| installed.is_split()).then_some(Path::new(UNITS))
}

/// Writes the units that the targets need. All that is printed is a comment for systemd, because earlier versions printed a
/// drop-in, and scripts still put what is printed into its file.
fn write_into(file: &Path, dir: &Path) -> Result<(), ExitError> {
    let settings = load_opener(file).or_exit(Exit::Config)?;
    let units = Units::new(&settings.targets);
    let done = units.write(dir).or_exit(Exit::IoErr)?;
    let next = match (done.is_empty(), dir == Path::new(UNITS)) {
        (true, _) => "the units fit the targets: nothing was changed",
        (false, true) => "now run: systemctl daemon-reload && systemctl restart stream-agent",
        (false, false) => "the units are written",
    };
    for line in done.iter().map(|change| change.done(dir)).chain([next.to_owned()]) {
        println!("# {line}");
    }
    for remark in units.remarks() {
        // A file name may contain what ends a line for systemd.
        remark.split(char::is_control).for_each(|line| println!("#   {line}"));
    }
    Ok(())
}

fn print_drop_in(file: &Path) -> Result<(), ExitError> {
    let (_, settings) = load(file, unit::runs_as_root(file)).or_exit(Exit::Config)?;
    let drop_in = DropIn::new(&settings.targets);
    if drop_in.gives_root() {
        // With it the service runs as root, and root's agent refuses some targets.
        load(file, true).or_exit(Exit::Config)?;
    }
    print!("{drop_in}");
    Ok(())
}
