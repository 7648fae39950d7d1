//! The executable: hands the arguments to [`bcsync::cli`] and exits with the code it answers.

use std::process::ExitCode;

fn main() -> ExitCode {
    bcsync::cli::main()
}
