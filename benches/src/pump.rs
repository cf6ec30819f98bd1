//! The pumps alone, over memory and without a kernel: for counting instructions.

#[derive(clap::Args)]
pub struct Args {
    /// Payload of each frame, in bytes.
    #[arg(long, default_value_t = 65536)]
    frame: usize,
    /// MiB that go through.
    #[arg(long, default_value_t = 16)]
    mib: usize,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let _ = (args.frame, args.mib);
    Ok(())
}
